#include "runtime/status.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

dhc_status dhc_status_ok(void) {
  dhc_status s = {.code = DHC_OK, .message = ""};
  return s;
}

/* One line stays one line, whatever a file calls its tensors. */
static void clean(char *text) {
  for (; *text != '\0'; text++) {
    if ((unsigned char)*text < 0x20 || *text == 0x7f) {
      *text = '?';
    }
  }
}

dhc_status dhc_status_make(dhc_code code, const char *fmt, ...) {
  dhc_status s = {.code = code, .message = ""};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(s.message, sizeof s.message, fmt, ap);
  va_end(ap);
  clean(s.message);
  return s;
}

dhc_status dhc_status_file(const char *file, const char *fmt, ...) {
  dhc_status s = {.code = DHC_E_INPUT, .message = ""};
  int n = snprintf(s.message, sizeof s.message, "%s: error: ", file);
  size_t at = n < 0 ? 0 : (size_t)n < sizeof s.message ? (size_t)n : sizeof s.message - 1;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(s.message + at, sizeof s.message - at, fmt, ap);
  va_end(ap);
  clean(s.message);
  return s;
}

dhc_status dhc_status_errno(int err, const char *fmt, ...) {
  dhc_status s = {.code = DHC_E_ENVIRONMENT, .message = ""};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(s.message, sizeof s.message, fmt, ap);
  va_end(ap);
  char buffer[128] = "";
  char text[128];
  snprintf(text, sizeof text, "%s", strerror_r(err, buffer, sizeof buffer));
  /* "No space left" becomes "no space left"; "RPC …" and "I/O error" stay. */
  if (isupper((unsigned char)text[0]) && islower((unsigned char)text[1])) {
    text[0] = (char)tolower((unsigned char)text[0]);
  }
  size_t at = strlen(s.message);
  snprintf(s.message + at, sizeof s.message - at, ": %s", text);
  clean(s.message);
  return s;
}

dhc_status dhc_status_memory(long long bytes, const char *what) {
  return dhc_status_make(DHC_E_ENVIRONMENT, "out of memory (%lld bytes for %s)", bytes, what);
}

void dhc_warn(const DhcWarn *warn, DhcWarnLevel level, const char *fmt, ...) {
  if (warn == NULL || warn->emit == NULL) {
    return;
  }
  char line[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  warn->emit(warn->ctx, level, line);
}
