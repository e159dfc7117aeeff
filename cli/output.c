/* Messages, colours and the document of --json. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

/* A part of the document, or of one that was read, is missing. cJSON tells only its allocator. */
static bool missing;

static void *document_malloc(size_t n) {
  void *p = malloc(n);
  if (!p) missing = true;
  return p;
}

void cli_doc_missing(void) {
  missing = true;
}

bool cli_doc_is_missing(void) {
  return missing;
}

void cli_begin_doc(CliReport *r, bool json) {
  cJSON_InitHooks(&(cJSON_Hooks){document_malloc, free});
  if (!json) return;
  r->doc = cJSON_CreateObject();
  r->messages = cJSON_CreateArray();
  cJSON_AddNullToObject(r->doc, "command");
  cJSON_AddArrayToObject(r->doc, "diagnostics");
}

void cli_add(cJSON *to, const char *name, cJSON *item) {
  if (!(name ? cJSON_AddItemToObject(to, name, item) : cJSON_AddItemToArray(to, item))) cJSON_Delete(item);
}

/* A message that belongs to no place of a file. */
static void add_message(const Cli *c, const char *severity, const char *text) {
  if (!c->report->doc) return;
  cJSON *row = cJSON_CreateObject();
  cJSON_AddStringToObject(row, "severity", severity);
  cJSON_AddNullToObject(row, "code");
  cJSON_AddNullToObject(row, "file");
  cJSON_AddStringToObject(row, "message", text);
  cli_add(c->report->messages, NULL, row);
}

void cli_error(const Cli *c, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  cli_watch_hold(c);
  fprintf(stderr, "dhcc: error: %s\n", text);
  cli_watch_release(c);
  add_message(c, "error", text);
}

void cli_system_error(const Cli *c, const char *what, int err) {
  const char *text = strerror(err);
  char first = (char)(text[0] >= 'A' && text[0] <= 'Z' ? text[0] - 'A' + 'a' : text[0]);
  cli_error(c, "%s: %c%s", what, first, text[0] ? text + 1 : "");
}

void cli_note(const Cli *c, const char *fmt, ...) {
  if (c->quiet) return;
  va_list ap;
  va_start(ap, fmt);
  cli_watch_hold(c);
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  cli_watch_release(c);
  va_end(ap);
}

void cli_warn_line(void *cli, const char *line) {
  const Cli *c = cli;
  const char *text = strstr(line, ": ");
  bool note = !strncmp(line, "note", 4);
  cli_watch_hold(c);
  if (!c->quiet || !note) fprintf(stderr, "dhcc: %s\n", line);
  cli_watch_release(c);
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

int cli_no_memory(const Cli *c) {
  cli_error(c, "out of memory");
  return 3;
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

cJSON *cli_json_file(const char *folder, const char *name) {
  char path[4096], *text = NULL;
  long n = 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  errno = 0;
  FILE *f = fopen(path, "rb");
  if (f && !fseek(f, 0, SEEK_END) && (n = ftell(f)) > 0 && !fseek(f, 0, SEEK_SET) && (text = malloc((size_t)n + 1))) {
    n = (long)fread(text, 1, (size_t)n, f);
    text[n] = 0;
  }
  if (!text && errno == ENOMEM) missing = true;
  if (f) fclose(f);
  cJSON *doc = text ? cJSON_Parse(text) : NULL;
  free(text);
  return doc;
}

void cli_csv_text(const char *text, FILE *to) {
  bool plain = !text[strcspn(text, ",\"\r\n")];
  if (!plain) fputc('"', to);
  for (; *text; text++) {
    if (*text == '"') fputc('"', to);
    fputc(*text, to);
  }
  if (!plain) fputc('"', to);
}

void cli_csv_number(double v, FILE *to) {
  char text[DHC_NUMBER_TEXT];
  dhc_format_number(v, text);
  if (!isnan(v)) fputs(text, to);
}

/* What --json promises where there is no room for more. */
static void print_least(const Cli *c) {
  const CliCommand *cmd = cli_command(c->command);
  printf("{\n\t\"command\":\t%s%s%s,\n\t\"diagnostics\":\t[{\n\t\t\t\"severity\":\t\"error\",\n\t\t\t\"message\":\t"
         "\"out of memory\"\n\t\t}],\n\t\"exit_status\":\t3\n}\n", cmd ? "\"" : "", cmd ? cmd->name : "null", cmd ? "\"" : "");
}

void cli_drop_doc(CliReport *r) {
  cJSON_Delete(r->doc);
  cJSON_Delete(r->messages);
  *r = (CliReport){0};
}

/* cJSON has 15 digits where 17 differ little; whoever reads the document gets the number itself. */
static void exact_numbers(cJSON *item) {
  char text[DHC_NUMBER_TEXT];
  for (; item; item = item->next) {
    if (item->child) exact_numbers(item->child);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)) continue;
    dhc_format_number(item->valuedouble, text);
    char *copy = document_malloc(strlen(text) + 1);
    if (!copy) return;
    strcpy(copy, text);
    item->valuestring = copy;
    item->type = (item->type & ~0xFF) | cJSON_Raw;
  }
}

int cli_print_doc(const Cli *c, bool json, int status) {
  if (missing && status != 3 && (json || !status)) status = cli_no_memory(c);
  cJSON *doc = c->report->doc, *all = cJSON_GetObjectItem(doc, "diagnostics"), *row, *name = NULL;
  if (c->command && doc) name = cJSON_CreateString(c->command);
  if (name && !cJSON_ReplaceItemInObject(doc, "command", name)) cJSON_Delete(name);
  while ((row = cJSON_DetachItemFromArray(c->report->messages, 0))) cli_add(all, NULL, row);
  if (doc) cJSON_AddNumberToObject(doc, "exit_status", status);
  exact_numbers(doc);
  char *text = doc && !missing ? cJSON_Print(doc) : NULL;
  if (json && missing) {
    if (status != 3) status = cli_no_memory(c);
    print_least(c);
  } else if (text) {
    puts(text);
  }
  free(text);
  cli_drop_doc(c->report);
  return status;
}
