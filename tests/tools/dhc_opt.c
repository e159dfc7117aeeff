/* dhc-opt: passes on IR text, for FileCheck tests that need nothing but ir/ and passes/.
 *   dhc-opt [--pass=a,b] [--pass-limit=N] [--disable=a,b] [--stats] [--plan] FILE.gir  (- for stdin) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passes/passes.h"

static char *read_all(FILE *from, size_t *n) {
  size_t cap = 1 << 16;
  char *text = malloc(cap);
  *n = 0;
  while (text) {
    *n += fread(text + *n, 1, cap - *n, from);
    if (*n < cap) break;
    char *more = realloc(text, cap *= 2);
    if (!more) free(text);
    text = more;
  }
  return text;
}

int main(int argc, char **argv) {
  DhcOptRequest rq = {.passes = "", .limit = -1};
  for (int i = 1; i < argc; i++) {
    if (!strncmp(argv[i], "--pass=", 7))
      rq.passes = argv[i] + 7;
    else if (!strncmp(argv[i], "--pass-limit=", 13))
      rq.limit = strtoll(argv[i] + 13, NULL, 10);
    else if (!strncmp(argv[i], "--disable=", 10))
      rq.disabled = argv[i] + 10;
    else if (!strcmp(argv[i], "--plan"))
      rq.plan = true;
    else if (!strcmp(argv[i], "--stats"))
      rq.stats = true;
    else
      rq.file_name = argv[i];
  }
  if (!rq.file_name) {
    fprintf(stderr, "usage: dhc-opt [--pass=a,b] [--pass-limit=N] [--disable=a,b] FILE.gir\n");
    return 2;
  }
  FILE *from = strcmp(rq.file_name, "-") ? fopen(rq.file_name, "rb") : stdin;
  char *text = from ? read_all(from, &rq.n_bytes) : NULL;
  if (!text) {
    fprintf(stderr, "dhc-opt: error: %s: cannot be read\n", rq.file_name);
    return 3;
  }
  rq.text = text;
  int status = dhc_opt_run(&rq, stdout, stderr);
  free(text);
  if (from != stdin) fclose(from);
  return status;
}
