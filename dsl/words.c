/* words.c - Damerau's distance in its restricted form: insert, delete, replace, swap two
 * neighbours, each for 1. */
#include "dsl/words.h"

#include <string.h>

#include "base/utf8.h"

enum { MAX_POINTS = 48 }; /* longer names are not compared */

bool rh_is_word(const char *name, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(name, word, len) == 0;
}

bool rh_is_statement_word(const char *name, size_t len)
{
    static const char *const words[] = {"let", "sae", "model", "layer", "include",
                                        "steer", "ablate", "cap", "clamp", "scale"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (rh_is_word(name, len, words[i])) return true;
    return false;
}

static int code_points(uint32_t out[MAX_POINTS], const char *s, size_t len)
{
    int n = 0;
    for (size_t at = 0; at < len;) {
        uint32_t cp;
        size_t step = rh_utf8_next(&cp, s + at, len - at);
        if (n == MAX_POINTS) return -1;
        out[n++] = cp;
        at += step ? step : 1;
    }
    return n;
}

static int min3(int a, int b, int c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }

/* Rows i-2, i-1 and i of the table are enough. */
static int edit_distance(const uint32_t *a, int n, const uint32_t *b, int m)
{
    int rows[3][MAX_POINTS + 1];
    for (int j = 0; j <= m; j++) rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = rows[i % 3], *up = rows[(i + 2) % 3], *above = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            row[j] = min3(up[j] + 1, row[j - 1] + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && above[j - 2] + 1 < row[j])
                row[j] = above[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

rh_nearest rh_nearest_to(const char *name, size_t len)
{
    return (rh_nearest){.name = name, .name_len = len};
}

/* Near enough: a third of the letters differ, or one of two. */
void rh_nearest_try(rh_nearest *n, const char *word, size_t len)
{
    uint32_t a[MAX_POINTS], b[MAX_POINTS];
    int na = code_points(a, n->name, n->name_len), nb = code_points(b, word, len);
    if (na < 0 || nb < 0) return;
    int longer = na > nb ? na : nb, limit = longer < 3 ? (longer == 2 ? 1 : 0) : longer / 3;
    if ((na > nb ? na - nb : nb - na) > limit) return;
    int distance = edit_distance(a, na, b, nb);
    if (distance > limit || distance >= longer || (n->best && distance >= n->distance)) return;
    n->best = word;
    n->best_len = len;
    n->distance = distance;
}
