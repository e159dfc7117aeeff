/* Values of number and string literals, independent of the locale. */
#ifndef DHC_FRONTEND_LITERAL_H
#define DHC_FRONTEND_LITERAL_H

#include "ir/arena.h"

/* Decimal digits with single '_' between them. False if above INT64_MAX. */
bool dhc_literal_int(const char *text, size_t n, int64_t *out);
/* Correctly rounded. False if it overflows, or if a non-zero number would become 0. */
bool dhc_literal_float(DhcArena *a, const char *text, size_t n, double *out);
/* text without its quotes. Escapes: \n \t \\ \" . On an unknown one returns NULL and
 * its offset in *bad. */
char *dhc_literal_string(DhcArena *a, const char *text, size_t n, size_t *n_out, size_t *bad);
/* First byte that is not UTF-8 (overlong, surrogate and NUL included), n if none. */
size_t dhc_utf8_invalid(const char *text, size_t n);

#endif
