#include "frontend/explain.h"

#include <stddef.h>
#include <string.h>

typedef struct Row {
  const char *code, *title, *text;
} Row;

static const Row rows[] = {
#define DHC_ERROR(code, title, text) {code, title, text},
#include "frontend/syntax_errors.def"
#include "frontend/elab_errors.def"
#undef DHC_ERROR
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const char *dhc_frontend_explain(const char *code) {
  for (int i = 0; i < N_ROWS; i++)
    if (strcmp(rows[i].code, code) == 0) return rows[i].text;
  return NULL;
}

_Bool dhc_frontend_error(int i, const char **code, const char **title) {
  if (i < 0 || i >= N_ROWS) return 0;
  *code = rows[i].code;
  *title = rows[i].title;
  return 1;
}
