/* Routing: the kernel that chooses and sorts, its threads interpreted in several orders, in one block and in two phases,
 * against the spec's meaning; what is such a spec; what the template refuses. */
#include "tests/backends/spec_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static void build(SpecCase *c, int64_t rows, int64_t places, int64_t chosen, bool shares) {
  const int64_t of_axis[] = {rows, chosen, places + 1, places, places, rows, chosen};
  case_init(c, DHC_KIND_ROUTE);
  c->s = dhc_spec_route(&c->arena, places, chosen, shares);
  memcpy(c->extent, of_axis, sizeof of_axis);
  for (int o = 0; o < 4; o++) c->stride[o][0] = places, c->stride[o][1] = 1, c->size[o] = rows * places;
  for (int o = 4; o < 8; o++) c->stride[o][0] = chosen, c->stride[o][1] = 1, c->size[o] = rows * chosen;
  c->stride[6][0] = 1;
  c->limit[6][0] = rows * chosen;
  c->stride[8][0] = 1;
  c->size[8] = places + 1;
}

/* Equal values, infinities and what is no number. */
static void odd(const SpecCase *c, int operand, double *to) {
  static const double some[] = {1, 1, NAN, -INFINITY, INFINITY, 0, -0.0, 1, NAN, 2};
  for (int64_t i = 0; i < c->size[operand]; i++) to[i] = some[(i * i + i / 3) % 10];
}

static void check(int64_t rows, int64_t places, int64_t chosen, int threads, bool phases, bool draw_odd) {
  SpecCase c;
  for (int shares = 0; shares < 2; shares++) {
    build(&c, rows, places, chosen, shares);
    if (draw_odd) c.floats = odd;
    case_interpret(&c, &(DhcSchedule){.template_name = "route", .v = {0, threads, phases}}, shares ? 1e-6 : 0);
    case_free(&c);
  }
}

static void one_block(void **st) {
  (void)st;
  check(1, 2, 2, 32, false, false);
  check(16, 8, 2, 64, false, false);
  check(45, 5, 3, 32, false, false); /* two rows a thread */
  check(20, 16, 4, 32, false, true);
}
static void two_phases(void **st) {
  (void)st;
  check(70, 8, 2, 32, true, false);
  check(32, 4, 2, 32, true, true);
}

static void known(void **st) {
  (void)st;
  SpecCase c;
  int64_t places, chosen;
  bool shares;
  build(&c, 3, 8, 2, true);
  assert_true(dhc_spec_routes(c.s, &c.arena, &places, &chosen, &shares));
  assert_int_equal(places * 10 + chosen, 82);
  assert_true(shares);
  c.s->node[c.s->n_nodes - 1].op = DHC_OP_REDUCE_MAX;
  assert_false(dhc_spec_routes(c.s, &c.arena, &places, &chosen, &shares));
  case_free(&c);
}

static const char *refusal(SpecCase *c) {
  static const DhcTargetFacts gpu = {.kind = DHC_TARGET_GPU};
  const DhcSchedule schedule = {.template_name = "route", .v = {0, 32}};
  DhcTplInput in = {c->s, &schedule, &gpu, &c->arena};
  const char *why = NULL;
  return dhc_template_build(&in, &why) ? NULL : why;
}

static void refused(void **st) {
  (void)st;
  SpecCase c;
  build(&c, 3, 17, 2, false);
  assert_string_equal(refusal(&c), "template route: many places");
  case_free(&c);
  build(&c, 3, 4, 2, false);
  c.s->node[c.s->n_nodes - 1].op = DHC_OP_REDUCE_MAX;
  assert_string_equal(refusal(&c), "template route: no spec of routing");
  case_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(one_block), cmocka_unit_test(two_phases), cmocka_unit_test(known), cmocka_unit_test(refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
