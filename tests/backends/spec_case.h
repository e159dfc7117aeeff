/* Small specs by hand, and one way to run them: through a backend's compiler onto its device, against the
 * spec interpreter, in one piece and cut into single tasks in falling order, in every size
 * class that the schedule gives the spec. */
#ifndef DHC_TESTS_BACKENDS_SPEC_CASE_H
#define DHC_TESTS_BACKENDS_SPEC_CASE_H

#include "backends/loop/tpl.h"
#include "tests/backends/conform.h"

typedef struct SpecCase {
  DhcArena arena;
  DhcSpec *s;
  int64_t extent[DHC_SPEC_MAX_AXES];
  int64_t stride[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];
  int64_t offset[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];
  int64_t limit[DHC_SPEC_MAX_OPERANDS][DHC_SPEC_MAX_TERMS];
  int64_t arg[8];
  int64_t size[DHC_SPEC_MAX_OPERANDS]; /* elements; 0: from the terms */
  double lo, hi;                       /* floats are drawn from here */
  int64_t int_hi;                      /* integers from [0, int_hi] */
  bool all_classes;                    /* however many elements: blocks of threads are interpreted in every
                                          class, and have the bits of compiled code: the spec has no maths functions */
  const char *plain; /* another template of the kind that must give the same bits, or NULL */
  int plain_v0;      /* and its first schedule number */
  /* What operands must hold afterwards, to the bit; fails the test otherwise. NULL: not asked. */
  void (*exact)(const struct SpecCase *c, void *const *at);
  void (*fill)(const struct SpecCase *c, int operand, int64_t *to); /* of integers, instead of drawing them; or NULL */
  void (*floats)(const struct SpecCase *c, int operand, double *to); /* the same of floats */
} SpecCase;

void case_init(SpecCase *c, DhcKind kind);
void case_free(SpecCase *c);
/* constant: the extent is part of the spec */
int case_axis(SpecCase *c, DhcAxisRole role, int64_t extent, bool constant);
/* Dense operand over the axes, last innermost and unit; -1 as stored for an input. */
int case_operand(SpecCase *c, dhc_dtype t, int stored, int n_axes, const int *axes);
int case_term(SpecCase *c, int operand, DhcTerm term, int64_t stride, int64_t offset, int64_t limit);
int case_node(SpecCase *c, DhcSpecNode n);
int case_load(SpecCase *c, int operand);
int case_ew(SpecCase *c, DhcOp op, int a, int b, int d);
int case_fold(SpecCase *c, DhcOp op, dhc_dtype t, uint32_t axes, int a, int b);
int case_const(SpecCase *c, double v);

/* Element i of dtype t from f[i] or n[i] (which become what was stored), and back. */
void case_put(dhc_dtype t, char *at, int64_t i, double *f, int64_t *n);
double case_take(dhc_dtype t, const char *at, int64_t i);

/* The case's dim[]. */
int64_t *case_dims(SpecCase *c);

/* Runs; fails the test where an output differs from the interpreter by more than
 * tol * (1 + |want|), or bits differ between ways to cut the tasks or between size classes, each
 * forced whatever its guard says. v: schedule; features: what the first backend is capped to. */
void case_check(SpecCase *c, const char *features, const int *v, double tol);

/* A GPU's program of a schedule, interpreted with its threads in every order, against the reference. */
void case_interpret(SpecCase *c, const DhcSchedule *s, double tol);

#endif
