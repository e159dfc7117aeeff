/* Counts what went wrong over many generated cases, so that one run shows all. */
#ifndef DHC_TESTS_CHECK_H
#define DHC_TESTS_CHECK_H

#include <stdio.h>

#include "tests/ops/op_cases.h"

typedef struct Check {
  int cases, failed;
  const char *what;
} Check;

enum { CHECK_SHOWN = 20 };

__attribute__((format(printf, 3, 4))) static inline void check_fail(Check *k, const DhcOpCase *c,
                                                                   const char *fmt, ...) {
  if (++k->failed > CHECK_SHOWN) return;
  va_list ap;
  va_start(ap, fmt);
  fprintf(stderr, "%s: %s: ", k->what, c->name);
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  va_end(ap);
  if (c->diags->all.n > 0) dhc_diags_print(c->diags, stderr, false);
}

/* Walks every case of every op. Returns 0 or the exit status 1. */
static inline int check_all(const char *what, const DhcCaseOptions *o, DhcCaseFn fn, bool wrong) {
  Check k = {.what = what};
  for (int op = 0; op < DHC_N_OPS; op++)
    (wrong ? dhc_op_wrong_cases : dhc_op_cases)((DhcOp)op, o, fn, &k);
  printf("%s: %d cases, %d failed\n", what, k.cases, k.failed);
  return k.failed > 0 || k.cases == 0;
}

#endif
