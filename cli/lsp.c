/* lsp: a language server on standard input and output (Language Server Protocol 3.17, JSON-RPC): diagnostics, hover, definitions,
 * completion of what is open in an editor. A file is looked at as a whole whenever it changes, by a session of its own. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lsp.h"

typedef struct Document {
  char *uri, *path, *text;
  cJSON *known; /* dhc_source_json of the text; NULL: it could not be had */
  struct Document *next;
} Document;

typedef struct Server {
  const Cli *c;
  Document *documents;
  cJSON *library; /* shipped files' declarations and builtins */
  bool down;      /* asked to shut down: only exit may follow */
} Server;

/* ---- messages ---------------------------------------------------------------------------------- */

enum { MOST_BYTES = 64 << 20 };

/* The next message; NULL: the input has ended, or is no message. */
static cJSON *read_message(void) {
  char line[256];
  long n = -1;
  while (fgets(line, sizeof line, stdin)) {
    if (!strcmp(line, "\r\n") || !strcmp(line, "\n")) break;
    if (!strncmp(line, "Content-Length:", 15)) n = strtol(line + 15, NULL, 10);
  }
  if (n < 0 || n > MOST_BYTES) return NULL;
  char *text = malloc((size_t)n + 1);
  cJSON *m = text && fread(text, 1, (size_t)n, stdin) == (size_t)n ? cJSON_ParseWithLength(text, (size_t)n) : NULL;
  free(text);
  return m;
}

/* Takes the message over. */
static void send_message(cJSON *m) {
  cJSON_AddStringToObject(m, "jsonrpc", "2.0");
  char *text = cJSON_PrintUnformatted(m);
  if (text) printf("Content-Length: %zu\r\n\r\n%s", strlen(text), text);
  fflush(stdout);
  cJSON_free(text);
  cJSON_Delete(m);
}

static void answer(const cJSON *id, cJSON *result) {
  cJSON *m = cJSON_CreateObject();
  cli_add(m, "id", cJSON_Duplicate(id, true));
  cli_add(m, "result", result ? result : cJSON_CreateNull());
  send_message(m);
}

static void refuse(const cJSON *id, int code, const char *why) {
  cJSON *m = cJSON_CreateObject(), *e = cJSON_AddObjectToObject(m, "error");
  cli_add(m, "id", id ? cJSON_Duplicate(id, true) : cJSON_CreateNull());
  cJSON_AddNumberToObject(e, "code", code);
  cJSON_AddStringToObject(e, "message", why);
  send_message(m);
}

/* ---- documents ------------------------------------------------------------------------------------ */

/* "file:///a%20b.dhc" -> "/a b.dhc"; NULL: no file. */
static char *path_of(const char *uri) {
  if (strncmp(uri, "file://", 7)) return NULL;
  const char *at = strchr(uri + 7, '/');
  char *path = at ? malloc(strlen(at) + 1) : NULL, *to = path;
  for (; path && *at; at++) {
    unsigned byte;
    if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1 && byte) {
      *to++ = (char)byte;
      at += 2;
    } else {
      *to++ = *at;
    }
  }
  if (path) *to = 0;
  return path;
}

void lsp_uri(const char *path, char *to, size_t n) {
  size_t at = (size_t)snprintf(to, n, "file://");
  for (; *path && at + 4 < n; path++) {
    bool plain = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./~", *path) != NULL;
    at += (size_t)snprintf(to + at, n - at, plain ? "%c" : "%%%02X", plain ? *path : (unsigned char)*path);
  }
}

static Document *document(const Server *v, const char *uri) {
  Document *d = v->documents;
  while (d && uri && strcmp(d->uri, uri)) d = d->next;
  return uri ? d : NULL;
}

static void drop(Document *d) {
  free(d->uri);
  free(d->path);
  free(d->text);
  cJSON_Delete(d->known);
  free(d);
}

static void close_document(Server *v, const char *uri) {
  for (Document **at = &v->documents; *at && uri; at = &(*at)->next)
    if (!strcmp((*at)->uri, uri)) {
      Document *d = *at;
      *at = d->next;
      drop(d);
      return;
    }
}

static Document *open_document(Server *v, const char *uri) {
  Document *d = document(v, uri);
  if (d) return d;
  d = calloc(1, sizeof *d);
  if (!d) return NULL;
  d->uri = strdup(uri);
  d->path = path_of(uri);
  d->next = v->documents;
  v->documents = d;
  return d;
}

static void look(Document *d) {
  dhc_session *s = NULL;
  char *text = NULL;
  cJSON_Delete(d->known);
  d->known = NULL;
  dhc_status st = dhc_session_open(&(dhc_session_options){.threads = 1, .print_only = true, .cache_dir = ""}, &s);
  if (st.code == DHC_OK && d->path && d->text) st = dhc_source_json(s, d->path, d->text, &text);
  if (st.code == DHC_OK && text) d->known = cJSON_Parse(text);
  free(text);
  dhc_session_close(s);
}

/* ---- diagnostics -------------------------------------------------------------------------------------- */

static size_t line_start(const char *text, int line) {
  size_t at = 0;
  for (; line > 0 && text[at]; at++) line -= text[at] == '\n';
  return at;
}

/* A protocol's position, UTF-16 units in a line, of a byte offset. */
cJSON *lsp_position(const char *text, size_t offset) {
  int line = 0, units = 0;
  for (size_t i = 0; i < offset && text[i]; i++) {
    unsigned char b = (unsigned char)text[i];
    if (b == '\n') line++, units = 0;
    else if ((b & 0xC0) != 0x80) units += b >= 0xF0 ? 2 : 1;
  }
  cJSON *p = cJSON_CreateObject();
  cJSON_AddNumberToObject(p, "line", line);
  cJSON_AddNumberToObject(p, "character", units);
  return p;
}

size_t lsp_offset(const char *text, const cJSON *position) {
  int line = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(position, "line"));
  int units = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(position, "character"));
  size_t at = line_start(text, line);
  while (units > 0 && text[at] && text[at] != '\n') {
    units -= (unsigned char)text[at] >= 0xF0 ? 2 : 1;
    do at++;
    while (((unsigned char)text[at] & 0xC0) == 0x80);
  }
  return at;
}

cJSON *lsp_range(const char *text, size_t begin, size_t end) {
  cJSON *r = cJSON_CreateObject();
  cli_add(r, "start", lsp_position(text, begin));
  cli_add(r, "end", lsp_position(text, end));
  return r;
}

static size_t offset_of(const char *text, const cJSON *row, const char *line, const char *column) {
  int l = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(row, line)), k = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(row, column));
  size_t at = line_start(text, l - 1), n = strlen(text);
  at += k > 0 ? (size_t)k - 1 : 0;
  return at < n ? at : n;
}

/* Of an imported file, or of none: at the document's beginning, with the place in words. */
static cJSON *diagnostic(const Document *d, const cJSON *row) {
  const char *severity = lsp_text(row, "severity"), *file = lsp_text(row, "file"), *hint = lsp_text(row, "hint");
  bool here = !strcmp(file, d->path);
  size_t begin = here ? offset_of(d->text, row, "line", "column") : 0, end = here ? offset_of(d->text, row, "end_line", "end_column") : 0;
  char text[2048], place[600] = "";
  cJSON *out = cJSON_CreateObject();
  if (!here && *file) snprintf(place, sizeof place, "%.500s:%.0f: ", file, cJSON_GetNumberValue(cJSON_GetObjectItem(row, "line")));
  snprintf(text, sizeof text, "%s%s%s%s", place, lsp_text(row, "message"), *hint ? "\nhint: " : "", hint);
  cli_add(out, "range", lsp_range(d->text, begin, end > begin ? end : begin + 1));
  cJSON_AddNumberToObject(out, "severity", !strcmp(severity, "error") ? 1 : !strcmp(severity, "warning") ? 2 : 3);
  cJSON_AddStringToObject(out, "code", lsp_text(row, "code"));
  cJSON_AddStringToObject(out, "source", "dhcc");
  cJSON_AddStringToObject(out, "message", text);
  cJSON *related = cJSON_AddArrayToObject(out, "relatedInformation");
  const cJSON *note;
  cJSON_ArrayForEach(note, cJSON_GetObjectItem(row, "notes")) {
    if (strcmp(lsp_text(note, "file"), d->path)) continue;
    cJSON *r = cJSON_CreateObject(), *at = cJSON_AddObjectToObject(r, "location");
    cJSON_AddStringToObject(at, "uri", d->uri);
    cli_add(at, "range", lsp_range(d->text, offset_of(d->text, note, "line", "column"), offset_of(d->text, note, "end_line", "end_column")));
    cJSON_AddStringToObject(r, "message", lsp_text(note, "message"));
    cli_add(related, NULL, r);
  }
  return out;
}

static void publish(const Document *d) {
  cJSON *m = cJSON_CreateObject(), *p, *list;
  const cJSON *row;
  cJSON_AddStringToObject(m, "method", "textDocument/publishDiagnostics");
  p = cJSON_AddObjectToObject(m, "params");
  cJSON_AddStringToObject(p, "uri", d->uri);
  list = cJSON_AddArrayToObject(p, "diagnostics");
  if (d->text) cJSON_ArrayForEach(row, cJSON_GetObjectItem(d->known, "diagnostics")) cli_add(list, NULL, diagnostic(d, row));
  send_message(m);
}

/* ---- the protocol ---------------------------------------------------------------------------------------- */

static void take_item(void *ctx, const dhc_library_item *i) {
  cJSON *row = cJSON_CreateObject();
  cJSON_AddStringToObject(row, "kind", i->kind);
  cJSON_AddStringToObject(row, "name", i->name);
  cJSON_AddStringToObject(row, "module", i->module);
  cJSON_AddStringToObject(row, "text", i->signature);
  cJSON_AddStringToObject(row, "comment", i->comment);
  cli_add(ctx, NULL, row);
}

static cJSON *initialize(Server *v) {
  dhc_session *s = NULL;
  v->library = cJSON_CreateArray();
  dhc_status st = dhc_session_open(&(dhc_session_options){.threads = 1, .print_only = true, .cache_dir = ""}, &s);
  if (st.code == DHC_OK) st = dhc_library(s, take_item, v->library);
  dhc_session_close(s);
  if (st.code != DHC_OK) cli_error(v->c, "%s", st.message);
  cJSON *r = cJSON_CreateObject(), *caps = cJSON_AddObjectToObject(r, "capabilities"), *about = cJSON_AddObjectToObject(r, "serverInfo");
  cJSON_AddNumberToObject(caps, "textDocumentSync", 1); /* whole texts */
  cJSON_AddBoolToObject(caps, "hoverProvider", true);
  cJSON_AddBoolToObject(caps, "definitionProvider", true);
  cJSON_AddObjectToObject(caps, "completionProvider");
  cJSON_AddStringToObject(about, "name", "dhcc");
  cJSON_AddStringToObject(about, "version", dhc_version());
  return r;
}

static void changed(Server *v, const char *uri, const char *text) {
  Document *d = uri && text ? open_document(v, uri) : NULL;
  if (!d) return;
  free(d->text);
  d->text = strdup(text);
  look(d);
  publish(d);
}

static const cJSON *last_of(const cJSON *list) {
  return cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1);
}

static void notified(Server *v, const char *method, const cJSON *params) {
  const cJSON *about = cJSON_GetObjectItem(params, "textDocument");
  const char *uri = cJSON_GetStringValue(cJSON_GetObjectItem(about, "uri"));
  if (!strcmp(method, "textDocument/didOpen")) changed(v, uri, cJSON_GetStringValue(cJSON_GetObjectItem(about, "text")));
  if (!strcmp(method, "textDocument/didChange"))
    changed(v, uri, cJSON_GetStringValue(cJSON_GetObjectItem(last_of(cJSON_GetObjectItem(params, "contentChanges")), "text")));
  if (!strcmp(method, "textDocument/didClose")) close_document(v, uri);
}

static void asked(Server *v, const cJSON *id, const char *method, const cJSON *params) {
  static const struct {
    const char *method;
    cJSON *(*find)(const LspPlace *at);
  } finders[] = {{"textDocument/hover", lsp_hover}, {"textDocument/definition", lsp_definition}, {"textDocument/completion", lsp_completion}};
  if (!strcmp(method, "initialize")) {
    answer(id, initialize(v));
    return;
  }
  if (!strcmp(method, "shutdown")) {
    v->down = true;
    answer(id, NULL);
    return;
  }
  for (size_t i = 0; i < sizeof finders / sizeof *finders; i++) {
    if (strcmp(method, finders[i].method)) continue;
    const Document *d = document(v, cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(params, "textDocument"), "uri")));
    LspPlace at = {.known = d ? d->known : NULL, .library = v->library, .path = d ? d->path : NULL, .text = d ? d->text : NULL};
    if (at.text) at.offset = lsp_offset(d->text, cJSON_GetObjectItem(params, "position"));
    answer(id, at.known && at.text ? finders[i].find(&at) : NULL);
    return;
  }
  refuse(id, -32601, "no such method");
}

int cmd_lsp(const Cli *c) {
  Server v = {.c = c};
  cJSON *m;
  bool ended = false;
  while (!ended && (m = read_message())) {
    const char *method = cJSON_GetStringValue(cJSON_GetObjectItem(m, "method"));
    const cJSON *id = cJSON_GetObjectItem(m, "id"), *params = cJSON_GetObjectItem(m, "params");
    ended = method && !strcmp(method, "exit");
    if (!method) refuse(id, -32600, "a message needs a method");
    else if (id && v.down) refuse(id, -32600, "the server is shut down");
    else if (id) asked(&v, id, method, params);
    else notified(&v, method, params);
    cJSON_Delete(m);
  }
  while (v.documents) close_document(&v, v.documents->uri);
  cJSON_Delete(v.library);
  return ended && !v.down ? 1 : 0;
}
