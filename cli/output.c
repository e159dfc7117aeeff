/* Messages, colours and the document of --json. */
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

/* A message that belongs to no place of a file. */
static void add_message(const Cli *c, const char *severity, const char *text) {
  if (!c->report->doc) return;
  cJSON *row = cJSON_CreateObject();
  cJSON_AddStringToObject(row, "severity", severity);
  cJSON_AddNullToObject(row, "code");
  cJSON_AddNullToObject(row, "file");
  cJSON_AddStringToObject(row, "message", text);
  cJSON_AddItemToArray(c->report->messages, row);
}

void cli_error(const Cli *c, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  fprintf(stderr, "dhcc: error: %s\n", text);
  add_message(c, "error", text);
}

void cli_note(const Cli *c, const char *fmt, ...) {
  if (c->quiet) return;
  va_list ap;
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  va_end(ap);
}

void cli_warn_line(void *cli, const char *line) {
  const Cli *c = cli;
  const char *text = strstr(line, ": ");
  bool note = !strncmp(line, "note", 4);
  if (!c->quiet) fprintf(stderr, "dhcc: %s\n", line);
  add_message(c, note ? "note" : "warning", text ? text + 2 : line);
}

int cli_fail(const Cli *c, dhc_status st) {
  if (st.code == DHC_OK) return 0;
  if (st.code == DHC_E_INTERRUPTED) {
    int sig = dhc_signal_caught();
    if (st.message[0]) fprintf(stderr, "dhcc: %s\n", st.message);
    if (st.message[0]) add_message(c, "note", st.message);
    return 128 + (sig ? sig : 2);
  }
  if (strstr(st.message, ": error: ")) { /* a whole line, position first */
    fprintf(stderr, "%s\n", st.message);
    add_message(c, "error", st.message);
  } else if (st.message[0]) {
    cli_error(c, "%s", st.message);
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

int cli_columns(FILE *to) {
  struct winsize w;
  return ioctl(fileno(to), TIOCGWINSZ, &w) ? 0 : w.ws_col;
}

cJSON *cli_doc(const Cli *c) {
  return c->report->doc;
}

void cli_print_doc(Cli *c, int status) {
  cJSON *doc = c->report->doc, *all = cJSON_GetObjectItem(doc, "diagnostics"), *row;
  if (!doc) return;
  if (c->command) cJSON_ReplaceItemInObject(doc, "command", cJSON_CreateString(c->command));
  while ((row = cJSON_DetachItemFromArray(c->report->messages, 0))) cJSON_AddItemToArray(all, row);
  cJSON_Delete(c->report->messages);
  cJSON_AddNumberToObject(doc, "exit_status", status);
  char *text = cJSON_Print(doc);
  if (text) puts(text);
  free(text);
  cJSON_Delete(doc);
  *c->report = (CliReport){0};
}
