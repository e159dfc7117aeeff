/* Derivatives of recurrences over states: the kernel that computes them again, its threads interpreted in several orders,
 * in one segment and in several, against the spec's meaning; the statements it is made of; what it refuses. */
#include "tests/backends/spec_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

typedef struct Shape {
  int64_t rows, steps, channels, states;
  bool reverse, begins; /* begins: from given states, whose gradient is asked for, and that of the last ones is given */
} Shape;

/* Gradients of y = sum over states of c h, h <- exp(t A) h + u b, by t, u, b, c, A and where h begins. */
static void build(SpecCase *c, const Shape *x) {
  case_init(c, DHC_KIND_SCAN_BACK);
  c->lo = -0.9;
  c->hi = 0.9;
  c->s->n_attrs = 1;
  c->s->attr[0] = x->reverse;
  int r = case_axis(c, DHC_AXIS_PAR, x->rows, false), d = case_axis(c, DHC_AXIS_PAR, x->channels, false);
  int l = case_axis(c, DHC_AXIS_SEQ, x->steps, false), n = case_axis(c, DHC_AXIS_RED, x->states, true);
  int t = case_load(c, case_operand(c, DHC_F32, -1, 3, (int[]){r, l, d}));
  int u = case_load(c, case_operand(c, DHC_F32, -1, 3, (int[]){r, l, d}));
  int b = case_load(c, case_operand(c, DHC_F32, -1, 3, (int[]){r, l, n}));
  int w = case_load(c, case_operand(c, DHC_F32, -1, 3, (int[]){r, l, n}));
  int A = case_load(c, case_operand(c, DHC_F32, -1, 2, (int[]){d, n}));
  int dy = case_load(c, case_operand(c, DHC_F32, -1, 3, (int[]){r, l, d}));
  int zero = case_const(c, 0), h0 = zero, k0 = zero;
  if (x->begins) {
    h0 = case_load(c, case_operand(c, DHC_F32, -1, 3, (int[]){r, d, n}));
    k0 = case_load(c, case_operand(c, DHC_F32, -1, 3, (int[]){r, d, n}));
  }
  int a = case_ew(c, DHC_OP_EXP, case_ew(c, DHC_OP_MUL, t, A, -1), -1, -1);
  int h = case_node(c, (DhcSpecNode){.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = DHC_F32, .i = DHC_SCAN_FLUSH,
                                     .a = {a, case_ew(c, DHC_OP_MUL, u, b, -1), h0, -1}});
  int before = case_node(c, (DhcSpecNode){.kind = DHC_SN_BEFORE, .dtype = DHC_F32, .a = {h, -1, -1, -1}});
  int g = case_node(c, (DhcSpecNode){.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = DHC_F32, .i = DHC_SCAN_FLUSH | DHC_SCAN_BACK,
                                     .a = {a, case_ew(c, DHC_OP_MUL, dy, w, -1), k0, -1}});
  int of_exp = case_ew(c, DHC_OP_MUL, case_ew(c, DHC_OP_MUL, g, before, -1), a, -1);
  uint32_t across = 1u << d, along = 1u << r | 1u << l, states = 1u << n;
  int of_t = case_ew(c, DHC_OP_MUL, of_exp, A, -1);
  case_operand(c, DHC_F32, case_fold(c, DHC_OP_REDUCE_SUM, DHC_F32, states, of_t, -1), 3, (int[]){r, l, d});
  case_operand(c, DHC_F32, case_fold(c, DHC_OP_REDUCE_SUM, DHC_F32, states, case_ew(c, DHC_OP_MUL, g, b, -1), -1), 3, (int[]){r, l, d});
  case_operand(c, DHC_F32, case_fold(c, DHC_OP_REDUCE_SUM, DHC_F32, across, case_ew(c, DHC_OP_MUL, g, u, -1), -1), 3, (int[]){r, l, n});
  case_operand(c, DHC_F32, case_fold(c, DHC_OP_REDUCE_SUM, DHC_F32, across, case_ew(c, DHC_OP_MUL, dy, h, -1), -1), 3, (int[]){r, l, n});
  case_operand(c, DHC_F32, case_fold(c, DHC_OP_REDUCE_SUM, DHC_F32, along, case_ew(c, DHC_OP_MUL, of_exp, t, -1), -1), 2, (int[]){d, n});
  if (x->begins) case_operand(c, DHC_F32, g, 3, (int[]){r, d, n});
}

static void check(Shape x, int segment, bool nearly) {
  SpecCase c;
  build(&c, &x);
  case_interpret(&c, &(DhcSchedule){.template_name = "scan_back", .v = {0, 256, segment, 2, nearly}}, 2e-5);
  case_free(&c);
}

static void one_segment(void **st) {
  (void)st;
  check((Shape){1, 19, 70, 16, false, true}, 0, false);
}
static void segments(void **st) {
  (void)st;
  check((Shape){2, 19, 5, 16, false, false}, 8, true);
  check((Shape){1, 17, 3, 8, true, true}, 8, false);
}
static void few(void **st) {
  (void)st;
  check((Shape){1, 1, 2, 4, false, true}, 0, true);
  check((Shape){2, 8, 1, 4, true, false}, 16, false);
}

static const char *refusal(SpecCase *c) {
  static const DhcTargetFacts gpu = {.kind = DHC_TARGET_GPU};
  const DhcSchedule schedule = {.template_name = "scan_back", .v = {0, 256, 0, 2}};
  DhcTplInput in = {c->s, &schedule, &gpu, &c->arena};
  const char *why = NULL;
  if (!dhc_spec_verify(c->s, &c->arena, &why)) return why;
  return dhc_template_build(&in, &why) ? NULL : why;
}

/* Another number of states, a sum of other axes; and what belongs to other specs. */
static void refused(void **st) {
  (void)st;
  SpecCase c;
  build(&c, &(Shape){1, 3, 2, 12, false, false});
  assert_string_equal(refusal(&c), "template scan_back: another number of states");
  case_free(&c);
  build(&c, &(Shape){2, 3, 2, 4, false, false});
  for (int n = 0; n < c.s->n_nodes; n++)
    if (c.s->node[n].kind == DHC_SN_FOLD && c.s->node[n].axes == 5u) c.s->node[n].axes = 4u;
  c.s->n_operands--;
  case_operand(&c, DHC_F32, c.s->n_nodes - 1, 3, (int[]){0, 1, 3});
  assert_string_equal(refusal(&c), "template scan_back: a sum over other axes");
  c.s->kind = DHC_KIND_SCAN;
  for (int n = 0; n < c.s->n_nodes; n++)
    if (c.s->node[n].kind == DHC_SN_FOLD) c.s->node[n].axes = 8u;
  assert_string_equal(refusal(&c), "node 11: not before a scan's step");
  for (int n = 0; n < c.s->n_nodes; n++)
    if (c.s->node[n].kind == DHC_SN_BEFORE) c.s->node[n] = (DhcSpecNode){.kind = DHC_SN_CONST, .dtype = DHC_F32, .a = {-1, -1, -1, -1}};
  assert_string_equal(refusal(&c), "node 13: a scan against its direction");
  case_free(&c);
}

/* The forward kernel, not to the last bit: in one segment and in several, forgetting or not. */
static void forward(Shape x, int segment, int bits) {
  SpecCase c;
  case_init(&c, DHC_KIND_SCAN);
  c.lo = -0.9;
  c.hi = 0.9;
  c.s->n_attrs = 1;
  c.s->attr[0] = x.reverse;
  int r = case_axis(&c, DHC_AXIS_PAR, x.rows, false), d = case_axis(&c, DHC_AXIS_PAR, x.channels, false);
  int l = case_axis(&c, DHC_AXIS_SEQ, x.steps, false), n = case_axis(&c, DHC_AXIS_RED, x.states, true);
  int t = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){r, l, d}));
  int b = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){r, l, n}));
  int A = case_load(&c, case_operand(&c, DHC_F32, -1, 2, (int[]){d, n}));
  int w = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){r, l, n}));
  int h0 = case_load(&c, case_operand(&c, DHC_F32, -1, 3, (int[]){r, d, n}));
  int a = case_ew(&c, DHC_OP_EXP, case_ew(&c, DHC_OP_MUL, t, A, -1), -1, -1);
  if (bits & DHC_SCAN_FORGET) a = case_ew(&c, DHC_OP_SELECT, case_ew(&c, DHC_OP_LT, t, case_const(&c, 0.3), -1), a, case_const(&c, 0));
  int h = case_node(&c, (DhcSpecNode){.kind = DHC_SN_SCAN, .op = DHC_OP_LINEAR_SCAN, .dtype = DHC_F32, .i = bits,
                                      .a = {a, case_ew(&c, DHC_OP_MUL, t, b, -1), h0, -1}});
  int y = case_fold(&c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << n, case_ew(&c, DHC_OP_MUL, h, w, -1), -1);
  case_operand(&c, DHC_F32, case_ew(&c, DHC_OP_ADD, y, t, -1), 3, (int[]){r, l, d});
  case_operand(&c, DHC_F32, h, 3, (int[]){r, d, n});
  case_interpret(&c, &(DhcSchedule){.template_name = "scan_states", .v = {0, 64, 8, 4, 1, segment}}, 2e-5);
  case_free(&c);
}

static void forwards(void **st) {
  (void)st;
  forward((Shape){2, 19, 70, 8, false, true}, 8, DHC_SCAN_FLUSH);
  forward((Shape){1, 21, 3, 16, true, true}, 16, DHC_SCAN_FORGET);
  forward((Shape){2, 5, 3, 4, false, true}, 8, 0);
  forward((Shape){1, 19, 2, 4, true, true}, 0, DHC_SCAN_FLUSH);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(one_segment), cmocka_unit_test(segments), cmocka_unit_test(few),
                                     cmocka_unit_test(refused), cmocka_unit_test(forwards)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
