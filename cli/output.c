/* Messages, colours and the fields that every JSON document carries. */
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

void cli_error(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fputs("dhcc: error: ", stderr);
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  va_end(ap);
}

void cli_note(const Cli *c, const char *fmt, ...) {
  if (c->quiet) return;
  va_list ap;
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  va_end(ap);
}

int cli_fail(dhc_status st) {
  if (st.code == DHC_OK) return 0;
  if (strstr(st.message, ": error: ")) /* a whole line, position first */
    fprintf(stderr, "%s\n", st.message);
  else if (st.message[0] && st.code != DHC_E_INTERRUPTED)
    cli_error("%s", st.message);
  if (st.code == DHC_E_INTERRUPTED) {
    if (st.message[0]) fprintf(stderr, "dhcc: %s\n", st.message);
    int sig = dhc_signal_caught();
    return 128 + (sig ? sig : 2);
  }
  return (int)st.code;
}

bool cli_color(const Cli *c, FILE *to) {
  if (c->color && !strcmp(c->color, "always")) return true;
  if (c->color && !strcmp(c->color, "never")) return false;
  const char *term = getenv("TERM");
  const char *none = getenv("NO_COLOR");
  if ((none && *none) || (term && !strcmp(term, "dumb"))) return false;
  return isatty(fileno(to)) != 0;
}

void cli_json_stats(cJSON *doc, const dhc_session *s) {
  dhc_compile_stats st = dhc_session_stats(s);
  cJSON_AddNumberToObject(doc, "kernels_compiled", st.kernels_compiled);
  cJSON_AddNumberToObject(doc, "kernels_reused", st.kernels_reused);
  cJSON_AddNumberToObject(doc, "compile_ms", st.compile_ms);
}

void cli_print_json(cJSON *doc) {
  char *text = cJSON_Print(doc);
  if (text) puts(text);
  free(text);
  cJSON_Delete(doc);
}

void cli_print_stats(const Cli *c, const dhc_session *s) {
  dhc_compile_stats st = dhc_session_stats(s);
  int n = st.kernels_compiled + st.kernels_reused;
  if (n) cli_note(c, "kernels: %d compiled, %d reused (%d from disk), %.0f ms", st.kernels_compiled,
                  st.kernels_reused, st.kernels_reused_disk, st.compile_ms);
}
