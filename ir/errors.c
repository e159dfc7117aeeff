#include "ir/errors.h"

#include <stddef.h>

static const DhcErrorInfo rows[] = {
#define DHC_ERROR(code, title, text, how, example) {code, title, text, how, example},
#include "ir/errors.def"
#undef DHC_ERROR
};
enum { N_ROWS = sizeof rows / sizeof *rows };

const DhcErrorInfo *dhc_error_row(int i) {
  return i >= 0 && i < N_ROWS ? &rows[i] : NULL;
}
