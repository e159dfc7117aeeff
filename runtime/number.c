#include "runtime/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The locale's decimal point, which may be several bytes, becomes '.'. */
static void point(char *text) {
  char *to = text;
  for (const char *p = text; *p != '\0'; p++) {
    if (strchr("0123456789+-e", *p) != NULL) {
      *to++ = *p;
    } else if (to == text || to[-1] != '.') {
      *to++ = '.';
    }
  }
  *to = '\0';
}

void dhc_number_text(double v, int least, int most, char text[DHC_NUMBER_CHARS]) {
  if (!isfinite(v)) {
    snprintf(text, DHC_NUMBER_CHARS, "%s", isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
    return;
  }
  if (v == floor(v) && fabs(v) < 9007199254740992.0) {
    snprintf(text, DHC_NUMBER_CHARS, "%.0f", v);
    return;
  }
  for (int digits = least; digits <= most; digits++) {
    snprintf(text, DHC_NUMBER_CHARS, "%.*g", digits, v);
    if (strtod(text, NULL) == v) {
      break;
    }
  }
  point(text);
}

int64_t dhc_number_whole(double v) {
  return v >= 0 && v <= 9007199254740992.0 && v == floor(v) ? (int64_t)v : -1;
}
