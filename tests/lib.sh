# Shell functions shared by examples/quickstart, tests/run and tests/avx512: what has to be installed, and how.
# Sourced with $root set to the top of the checkout. POSIX sh.

# What Rhumb is built from, what `rhumb fetch` calls, and what only the tests need.
build_packages="build-essential cmake ninja-build pkg-config libopenblas-serial-dev liblapacke-dev
    libsentencepiece-dev libpcre2-dev libcsv-dev libjansson-dev libminizip-dev zlib1g-dev libedit-dev nettle-dev
    libunistring-dev python3 python3-pip ca-certificates"
test_packages="libcmocka-dev clang libomp-dev libopenmpi-dev openmpi-bin"

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Print a command as one could type it, then run it.
run() {
    printf '$'
    for word; do
        case $word in
            '' | *[!A-Za-z0-9_./:=,+@%-]*) printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$@"
}

have_package() {
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) in
        ii*) return 0 ;;
        *) return 1 ;;
    esac
}

# install_missing PACKAGE...: Debian packages, only those that are not there; as root or by sudo.
install_missing() {
    if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
        echo "This is no Debian system; the equivalents of these packages are needed:" $*
        return 0
    fi
    missing=
    for package; do
        have_package "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    as_root=
    if [ "$(id -u)" != 0 ]; then
        # Without a terminal sudo cannot ask for a password.
        if command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
            as_root="sudo"
        else
            die "these packages are missing, and only root can install them:
    apt-get install$missing"
        fi
    fi
    options="-q -o DPkg::Lock::Timeout=300"
    # The lists may be old or, in a new container, absent: without them install finds nothing.
    run $as_root apt-get $options update
    run $as_root env DEBIAN_FRONTEND=noninteractive apt-get $options install -y --no-install-recommends $missing ||
        die "apt-get could not install:$missing"
}

models_folder() { printf '%s/rhumb/models\n' "${XDG_CACHE_HOME:-$HOME/.cache}"; }
