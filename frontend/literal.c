#include "frontend/literal.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

bool dhc_literal_int(const char *text, size_t n, int64_t *out) {
  int64_t v = 0;
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '_') continue;
    if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
        __builtin_add_overflow(v, (int64_t)(text[i] - '0'), &v))
      return false;
  }
  *out = v;
  return true;
}

bool dhc_literal_float(DhcArena *a, const char *text, size_t n, double *out) {
  char small[64];
  char *buf = n < sizeof small ? small : dhc_arena_alloc(a, n + 1);
  size_t k = 0;
  bool nonzero = false, in_exponent = false;
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '_') continue;
    if (text[i] == 'e' || text[i] == 'E') in_exponent = true;
    if (!in_exponent && text[i] >= '1' && text[i] <= '9') nonzero = true;
    buf[k++] = text[i];
  }
  buf[k] = 0;
  /* The "C" locale object is a static one of the C library: no allocation, no leak. */
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (c) {
    *out = strtod_l(buf, NULL, c);
    freelocale(c);
  }
  return c && isfinite(*out) && !(nonzero && *out == 0);
}

char *dhc_literal_string(DhcArena *a, const char *text, size_t n, size_t *n_out, size_t *bad) {
  char *out = dhc_arena_alloc(a, n + 1);
  size_t k = 0;
  for (size_t i = 0; i < n; i++) {
    char ch = text[i];
    if (ch == '\\') {
      ch = i + 1 < n ? text[i + 1] : 0;
      if (ch != 'n' && ch != 't' && ch != '\\' && ch != '"') {
        *bad = i;
        return NULL;
      }
      if (ch == 'n') ch = '\n';
      if (ch == 't') ch = '\t';
      i++;
    }
    out[k++] = ch;
  }
  out[k] = 0;
  *n_out = k;
  return out;
}

/* Length of the well-formed sequence at s (Unicode 15, table 3-7), 0 if there is none. */
static size_t utf8_length(const unsigned char *s, size_t n) {
  unsigned char b = s[0];
  if (b == 0) return 0;
  if (b < 0x80) return 1;
  if (b < 0xC2 || b > 0xF4) return 0;
  size_t len = b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
  if (len > n) return 0;
  unsigned char lo = 0x80, hi = 0xBF;
  if (b == 0xE0) lo = 0xA0;
  if (b == 0xED) hi = 0x9F;
  if (b == 0xF0) lo = 0x90;
  if (b == 0xF4) hi = 0x8F;
  if (s[1] < lo || s[1] > hi) return 0;
  for (size_t i = 2; i < len; i++)
    if (s[i] < 0x80 || s[i] > 0xBF) return 0;
  return len;
}

size_t dhc_utf8_invalid(const char *text, size_t n) {
  size_t i = 0;
  while (i < n) {
    size_t len = utf8_length((const unsigned char *)text + i, n - i);
    if (len == 0) return i;
    i += len;
  }
  return n;
}
