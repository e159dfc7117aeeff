/* Routing: the kernel that chooses and sorts, its threads interpreted in several orders, in one block and in two phases,
 * against the spec's meaning; what is such a spec; what the template refuses. */
#include "tests/backends/spec_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

static void build(SpecCase *c, int64_t rows, int64_t places, int64_t chosen) {
  const int64_t of_axis[] = {rows, chosen, places + 1, places, places, rows, chosen};
  case_init(c, DHC_KIND_ROUTE);
  c->s = dhc_spec_route(&c->arena, places, chosen);
  memcpy(c->extent, of_axis, sizeof of_axis);
  for (int o = 0; o < 5; o++) c->stride[o][0] = places, c->stride[o][1] = 1, c->size[o] = rows * places;
  c->limit[4][1] = places;
  for (int o = 5; o < 9; o++) c->stride[o][0] = chosen, c->stride[o][1] = 1, c->size[o] = rows * chosen;
  c->stride[7][0] = 1;
  c->limit[7][0] = rows * chosen;
  c->stride[9][0] = 1;
  c->size[9] = places + 1;
}

/* Equal values, infinities and what is no number. */
static void odd(const SpecCase *c, int operand, double *to) {
  static const double some[] = {1, 1, NAN, -INFINITY, INFINITY, 0, -0.0, 1, NAN, 2};
  for (int64_t i = 0; i < c->size[operand]; i++) to[i] = some[(i * i + i / 3) % 10];
}

static void check(int64_t rows, int64_t places, int64_t chosen, int threads, bool phases, bool draw_odd) {
  SpecCase c;
  build(&c, rows, places, chosen);
  if (draw_odd) c.floats = odd;
  case_interpret(&c, &(DhcSchedule){.template_name = "route", .v = {0, threads, phases}}, 0);
  case_free(&c);
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
  build(&c, 3, 8, 2);
  assert_true(dhc_spec_routes(c.s, &c.arena, &places, &chosen));
  assert_int_equal(places * 10 + chosen, 82);
  c.s->node[c.s->n_nodes - 1].op = DHC_OP_REDUCE_MAX;
  assert_false(dhc_spec_routes(c.s, &c.arena, &places, &chosen));
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
  build(&c, 3, 17, 2);
  assert_string_equal(refusal(&c), "template route: many places");
  case_free(&c);
  build(&c, 3, 4, 2);
  c.s->node[c.s->n_nodes - 1].op = DHC_OP_REDUCE_MAX;
  assert_string_equal(refusal(&c), "template route: no spec of routing");
  case_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(one_block), cmocka_unit_test(two_phases), cmocka_unit_test(known), cmocka_unit_test(refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
