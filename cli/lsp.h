/* The language server's parts: lsp.c speaks the protocol, lsp_find.c knows what stands where. */
#ifndef DHC_CLI_LSP_H
#define DHC_CLI_LSP_H

#include "cli/cli.h"

/* A place in a document, and what is known of it. */
typedef struct LspPlace {
  const struct cJSON *known;   /* dhc_source_json */
  const struct cJSON *library; /* rows with kind, name, module, text, comment */
  const char *path, *text;
  size_t offset;
} LspPlace;

/* Results as the protocol has them; NULL: none. */
struct cJSON *lsp_hover(const LspPlace *at);
struct cJSON *lsp_definition(const LspPlace *at);
struct cJSON *lsp_completion(const LspPlace *at);

/* Positions count UTF-16 units in a line, offsets bytes. */
struct cJSON *lsp_position(const char *text, size_t offset);
size_t lsp_offset(const char *text, const struct cJSON *position);
struct cJSON *lsp_range(const char *text, size_t begin, size_t end);
void lsp_uri(const char *path, char *to, size_t n);
const char *lsp_text(const struct cJSON *row, const char *key); /* "": none */

#endif
