/* Floats as text, exactly and whatever the locale. */
#include <ctype.h>
#include <locale.h>
#include <stdlib.h>

#include "ir/ir_internal.h"

void dhc_print_double(double v, DhcText *to) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
  int exponent = (int)(bits >> 52 & 0x7ff);
  if (exponent == 0x7ff && fraction) {
    dhc_text_puts(to, "nan");
    return;
  }
  if (bits >> 63) dhc_text_puts(to, "-");
  if (exponent == 0x7ff) {
    dhc_text_puts(to, "inf");
    return;
  }
  bool tiny = exponent == 0; /* zero or subnormal: no leading one */
  dhc_text_puts(to, tiny ? "0x0" : "0x1");
  if (fraction) dhc_text_puts(to, ".");
  for (int shift = 48; fraction; shift -= 4) {
    dhc_text_printf(to, "%llx", (unsigned long long)(fraction >> shift & 15));
    fraction &= (UINT64_C(1) << shift) - 1;
  }
  bool zero = (bits << 1) == 0;
  dhc_text_printf(to, "p%+d", zero ? 0 : tiny ? -1022 : exponent - 1023);
}

const char *dhc_read_double(const char *text, double *out) {
  const char *c = text + (*text == '-');
  bool word = strncmp(c, "inf", 3) == 0 || strncmp(c, "nan", 3) == 0;
  if (!isdigit((unsigned char)*c) && !word) return NULL;
  locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  if (!plain) return NULL;
  char *end;
  *out = strtod_l(text, &end, plain);
  freelocale(plain);
  return end == text ? NULL : end;
}
