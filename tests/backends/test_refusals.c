/* What a template does not lower it refuses in its own words; then the kind's plain one does, or says why not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backends/compile.h"
#include "backends/loop/tpl.h"

static const struct {
  const char *name; /* of the template */
  DhcTargetKind target;
  const char *spec, *message;
} refused[] = {
    {"map", DHC_TARGET_CPU, "spec map args 0 { axis seq in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0 }",
     "sequential axis in a template for maps and rows"},
    {"row", DHC_TARGET_CPU, "spec row args 0 { axis seq in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0 }",
     "sequential axis in a template for maps and rows"},
    {"scan", DHC_TARGET_CPU, "spec scan args 0 { axis par in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0 }",
     "no sequential axis"},
    {"scan", DHC_TARGET_CPU, "spec scan args 0 attrs 0 { axis par axis seq axis red in f32 row [s(a0), s(a1), 1(a2)] in f32 row [s(a0), 1(a2)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = scan(%0, %0, %1) : f32 %3 = scan(%2, %0, %1) : f32 %4 = fold reduce_sum(%3) a2 : f32"
     " %5 = fold reduce_sum(%2) a2 : f32 out f32 row [s(a0), 1(a1)] = %4 out f32 row [s(a0), 1(a1)] = %5 }",
     "two scans over states of variable number"},
    {"chain", DHC_TARGET_CPU, "spec chain args 0 { axis par in f32 row [1(a0)] %0 = load 0 : f32 out f32 row [1(a0)] = %0 }",
     "no rows of contractions to tile"},
    {"dot", DHC_TARGET_CPU, "spec dot args 0 { axis par axis red in f32 row [s(a0), 1(a1)] in f32 panel(16) [s(a0), 1(a1)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a1 : f32 out f32 row [1(a0)] = %2 }",
     "operand 1: packed storage"},
    {"dot", DHC_TARGET_CPU, "spec dot args 0 { axis par axis red in f32 row [1(a1)] in f32 panel(24) [s(a0), 1(a1)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a1 : f32 out f32 row [1(a0)] = %2 }",
     "operand 1: packed storage"},
    {"dot_plain", DHC_TARGET_CPU, "spec dot args 0 { axis par axis red in f32 row [1(a1)] in f32 panel(16) [s(a0), 1(a1)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a1 : f32 out f32 row [1(a0)] = %2 }",
     "operand 1: packed storage"},
    {"scatter_any", DHC_TARGET_GPU, "spec scatter args 0 { axis par in f32 row [1(a0)] in i32 row [1(a0)] %0 = load 0 : f32 %1 = load 1 : i32"
     " out f32 row [s(%1)?] = %0 }",
     "sums of other than integers"},
    {"elements", DHC_TARGET_GPU, "spec row args 0 { axis par axis red in f32 row [s(a0), 1(a1)] %0 = load 0 : f32"
     " %1 = fold reduce_sum(%0) a1 : f32 out f32 row [1(a0)] = %1 }",
     "folds of unknown length"},
    {"elements", DHC_TARGET_GPU, "spec dot args 0 { axis par axis par axis red in f32 row [s(a0), 1(a2)] in f32 row [s(a1), 1(a2)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a2 : f32 out f32 row [s(a0), 1(a1)] = %2 }",
     "a contraction that is most of the work"},
    {"elements", DHC_TARGET_GPU, "spec ragged args 0 { axis par axis par axis par axis red in f32 row [1(a1), s(a3)] in f32 row [1(a2), s(a3)]"
     " in f32 row [s(a0), s(a1), 1(a2)] in f32 row [s(a0), s(a1), 1(a2)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a3 : f32 %3 = load 2 : f32 %4 = add(%2, %3) : f32 %5 = load 3 : f32"
     " %6 = add(%4, %5) : f32 out f32 row [s(a0), s(a1), 1(a2)] = %4 out f32 row [s(a0), s(a1), 1(a2)] = %6 }",
     "ranges that are not read"},
    {"rows_split", DHC_TARGET_GPU, "spec row args 0 { axis par axis red in f32 row [s(a0), 1(a1)] %0 = load 0 : f32"
     " %1 = fold reduce_sum(%0) a1 : f32 %2 = sub(%0, %1) : f32 out f32 row [s(a0), 1(a1)] = %2 }",
     "folds that cannot be split"},
    {"ranks", DHC_TARGET_CPU, "spec row args 0 { axis par axis red in f32 row [s(a0), 1(a1)] %0 = load 0 : f32"
     " %1 = fold reduce_sum(%0) a1 : f32 out f32 row [1(a0)] = %1 }",
     "no ranks"},
    {"map_turned", DHC_TARGET_CPU, "spec map args 0 { axis par axis par in f32 row [s(a0), 1(a1)] %0 = load 0 : f32 out f32 row [s(a0), 1(a1)] = %0 }",
     "nothing lies across"},
    {"rows", DHC_TARGET_GPU, "spec row args 0 { axis par axis red in f32 row [s(a0), 1(a1)] %0 = load 0 : f32"
     " %1 = fold dot_general(%0, %0) a1 : f32 out f32 row [1(a0)] = %1 }",
     "a fold of another kind"},
    {"low", DHC_TARGET_GPU, "spec dot args 0 { axis par axis red in f32 row [1(a1)] in f32 row [s(a0), 1(a1)] %0 = load 0 : f32"
     " %1 = fold reduce_sum(%0) a1 : f32 %2 = mul(%0, %1) : f32 %3 = load 1 : f32 %4 = fold dot_general(%2, %3) a1 : f32 out f32 row [1(a0)] = %4 }",
     "a contraction of what is folded"},
    {"depthwise", DHC_TARGET_GPU, "spec conv_dw args 0 { axis par axis par axis red in f32 row [s(a0), 1(a2)] in f32 row [s(a1), 1(a2)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a2 : f32 out f32 row [s(a0), 1(a1)] = %2 }",
     "filter gradients of another form"},
    {"filters", DHC_TARGET_GPU, "spec conv_dw args 0 { axis par axis par axis red in f32 row [s(a0), 1(a2)] in f32 row [s(a1), 1(a2)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a2 : f32 out f32 row [s(a0), 1(a1)] = %2 }",
     "filter gradients of another form"},
    {"conv_deep", DHC_TARGET_CPU, "spec conv args 0 { axis par axis par axis red in f32 row [1(a0 + a2)?] in f32 row [s(a1), 1(a2)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a2 : f32 out f32 row [s(a0), 1(a1)] = %2 }",
     "a convolution that is not depthwise"},
    {"winograd", DHC_TARGET_CPU, "spec winograd args 0 { axis par axis par axis red in f32 row [1(a0 + a2)?] in f32 row [s(a1), 1(a2)]"
     " %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) a2 : f32 out f32 row [s(a0), 1(a1)] = %2 }",
     "a convolution by tiles of another form"},
    {"scatter", DHC_TARGET_CPU, "spec scatter args 0 { axis par axis seq in f32 row [s(a0), 1(a1)] in i32 row [1(a0)] in f32 row [1(a0)] %0 = load 0 : f32 %1 = load 1 : i32"
     " %2 = load 2 : f32 %3 = scan(%0, %0, %2) : f32 out f32 row [s(%1)?] = %3 }",
     "node 3: a scan in a template for other kinds"},
    {"row", DHC_TARGET_CPU, "spec row args 0 { axis par axis red axis red in f32 row [s(a0), s(a1), 1(a2)] %0 = load 0 : f32"
     " %1 = fold reduce_sum(%0) a1 : f32 %2 = mul(%0, %1) : f32 %3 = fold reduce_max(%2) a1 a2 : f32 %4 = fold reduce_sum(%1) a2 : f32 %5 = add(%3, %4) : f32 out f32 row [1(a0)] = %5 }",
     "axis 1: a fold over it is needed inside its own loop"},
    {"chain_plain", DHC_TARGET_CPU, "spec chain args 0 { axis par axis par axis red axis red 08 axis red 16 in f32 row [s(a0), s(a1), 1(a4)] in f32 row "
     "[s(a0), s(a2), 1(a3)] in f32 row [s(a0), s(a2), 1(a4)] %0 = load 0 : f32 %1 = load 1 : f32 %2 = fold dot_general(%0, %1) "
     "a3 : f32 %3 = fold reduce_max(%2) a4 : f32 %4 = sub(%2, %3) : f32 axis red 16 %5 = exp(%3) : f32 %6 = fold "
     "reduce_sum(%5) a2 : f32 %7 = div(%5, %3) : f32 %8 = load 2 : f32 %9 = fold dot_general(%7, %8) a2 : f32 out f32 row "
     "[s(a0), s(a1), 1(a4)] = %9 }",
     "axis 4: a fold over it is needed inside its own loop"},
};

typedef struct Case {
  DhcArena arena;
  DhcSources sources;
  DhcDiags diags;
} Case;

static DhcSpec *begin(Case *c, const char *text) {
  memset(c, 0, sizeof *c);
  dhc_arena_init(&c->arena);
  c->sources.arena = c->diags.arena = &c->arena;
  c->diags.sources = &c->sources;
  uint32_t end, file = dhc_sources_add(&c->sources, "t", "t", text, strlen(text));
  DhcSpec *s = dhc_spec_parse(&c->arena, &c->diags, file, 0, &end);
  if (!s) fail_msg("%s: %s", text, c->diags.all.at[0]->text);
  return s;
}

/* Why the template does not lower s, "" if it does. */
static const char *refusal(Case *c, const DhcSpec *s, const char *name, DhcTargetKind target) {
  const DhcTemplate *t = dhc_template_find(name, s->kind, target);
  assert_non_null(t);
  const DhcSchedule cpu = {.template_name = t->name, .v = {4, 1, 16, 1}}, gpu = {.template_name = t->name, .v = {0, 64}};
  const DhcTargetFacts facts = {.kind = target, .vector_bytes = 64, .task_elements = 16384, .has_fma = true};
  const DhcTplInput in = {s, target == DHC_TARGET_GPU ? &gpu : &cpu, &facts, &c->arena};
  DhcLp *b = dhc_lp_new(&c->arena, s->n_operands, dhc_spec_n_dims(s));
  t->build(&in, b);
  return b->refused ? b->refused : "";
}

static void refusals(void **state) {
  (void)state;
  int bad = 0;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    Case c;
    const DhcSpec *s = begin(&c, refused[i].spec);
    const char *why = refusal(&c, s, refused[i].name, refused[i].target);
    if (strcmp(why, refused[i].message)) {
      print_error("%zu, %s: wanted \"%s\", got \"%s\"\n", i, refused[i].name, refused[i].message, why);
      bad++;
    }
    dhc_arena_fini(&c.arena);
  }
  assert_int_equal(bad, 0);
}

/* A spec that the verifier would not let pass. */
static void unbound(void **state) {
  (void)state;
  Case c;
  DhcSpec *s = begin(&c, "spec scan args 0 attrs 0 { axis par axis seq in f32 row [s(a0), 1(a1)] in f32 row [1(a0)] %0 = load 0 : f32 %1 = load 1 : f32"
                         " %2 = scan(%0, %0, %1) : f32 out f32 row [s(a0), 1(a1)] = %2 }");
  assert_string_equal(refusal(&c, s, "scan", DHC_TARGET_CPU), "");
  s->node[2].a[2] = 0;
  assert_string_equal(refusal(&c, s, "scan", DHC_TARGET_CPU), "node 0 varies over an axis that is not bound where it is needed");
  dhc_arena_fini(&c.arena);
}

/* The interpreter as a device takes the text of an entry at a time, and nothing else. */
static void interpreter(void **state) {
  (void)state;
  DhcDevice *d;
  const char *name = "kernel", *two[] = {"f", "g"};
  dhc_kernel_fn fn;
  assert_int_equal(dhc_backend_device("interp", &(DhcDeviceOptions){0}, &d).code, 0);
  dhc_status st = d->ops->load(d, "code", 4, &name, 1, &fn);
  assert_int_equal(st.code, DHC_E_INPUT);
  assert_string_equal(st.message, "the interpreter takes entries as text: 'func', 'tensor', 'scalar', 'spec' or 'module' expected");
  st = d->ops->load(d, "", 0, two, 2, &fn);
  assert_int_equal(st.code, DHC_E_USAGE);
  assert_string_equal(st.message, "the interpreter takes one entry at a time");
  dhc_device_close(d);
  st = dhc_backend_device("none", &(DhcDeviceOptions){0}, &d);
  assert_int_equal(st.code, DHC_E_ENVIRONMENT);
  assert_string_equal(st.message, "this build has no such backend");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(refusals), cmocka_unit_test(unbound), cmocka_unit_test(interpreter)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
