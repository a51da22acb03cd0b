#include "cli/layers.h"

#include <string.h>

rh_status cli_parse_layers(bool *wanted, cli *c, const char *text, int32_t n_layers, rh_error *err)
{
    if (!text || !strcmp(text, "all")) {
        for (int32_t l = 0; l < n_layers; l++) wanted[l] = true;
        return RH_OK;
    }
    for (const char *at = text;;) {
        size_t len = strcspn(at, ",");
        const char *dots = NULL;
        for (size_t i = 0; i + 1 < len && !dots; i++)
            if (at[i] == '.' && at[i + 1] == '.') dots = at + i;
        int64_t lo = 0, hi = 0;
        bool good = dots ? cli_integer(&lo, at, (size_t)(dots - at)) && cli_integer(&hi, dots + 2, len - (size_t)(dots - at) - 2)
                         : cli_integer(&lo, at, len);
        if (!dots) hi = lo;
        if (!good || lo > hi) return cli_wrong(c, err, "--layers needs layers such as 16, 3..5 or a comma list, not '%s'", text);
        if (lo < 0 || hi >= n_layers)
            return rh_fail(err, RH_ESITE, "the model has layers 0..%d, and --layers asks for %lld", n_layers - 1,
                           (long long)(lo < 0 ? lo : hi));
        for (int64_t l = lo; l <= hi; l++) wanted[l] = true;
        if (!at[len]) return RH_OK;
        at += len + 1;
    }
}
