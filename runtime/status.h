/* Making and handing on dhc_status values, and the callback through which the
 * runtime says things that stop nothing (a damaged cache entry, for instance).
 * The runtime itself never prints. */
#ifndef DHC_RUNTIME_STATUS_H
#define DHC_RUNTIME_STATUS_H

#include <stdbool.h>

#include "dhc/status.h"

/* Success: code DHC_OK, empty message. */
dhc_status dhc_status_ok(void);
/* A failure with a one-line message; a longer text is cut, never overrun, and
 * control characters (names come from files) become '?'.
 *
 * Wording: a message that contains ": error: " is a complete line whose position
 * comes first ("w.safetensors: error: tensor 'w' is listed twice"); to any other
 * a command adds "dhcc: error: ". */
dhc_status dhc_status_make(dhc_code code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* DHC_E_INPUT, "<file>: error: <text>": the contents of a file are wrong. */
dhc_status dhc_status_file(const char *file, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* DHC_E_ENVIRONMENT, "<text>: <what errno err means>", in lower case as our
 * messages are: "w.safetensors: no such file or directory". */
dhc_status dhc_status_errno(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* DHC_E_ENVIRONMENT, "out of memory (N bytes for WHAT)". */
dhc_status dhc_status_memory(long long bytes, const char *what);

/* Hands a failure on to the caller's caller. */
#define DHC_TRY(expr)                      \
  do {                                     \
    dhc_status dhc_try_ = (expr);          \
    if (dhc_try_.code != DHC_OK) {         \
      return dhc_try_;                     \
    }                                      \
  } while (0)

typedef enum DhcWarnLevel { DHC_WARN_NOTE, DHC_WARN_WARNING } DhcWarnLevel;

/* Who hears warnings: one line each, without program name or newline. emit may
 * be called from any thread that uses the object it was given to. A NULL
 * DhcWarn pointer or NULL emit drops them. */
typedef struct DhcWarn {
  void *ctx;
  void (*emit)(void *ctx, DhcWarnLevel level, const char *line);
} DhcWarn;
void dhc_warn(const DhcWarn *warn, DhcWarnLevel level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
