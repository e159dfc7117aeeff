/* Every elementwise rewrite rule, and what computes anew where an extent is 1, over all
 * triples of special values: it fires, and every bit stays (NaNs are one value). Rules on views
 * have cases in simplify.gir. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ir/interp.h"
#include "passes/passes.h"

enum { SPECIAL = 12, N = SPECIAL * SPECIAL * SPECIAL };

static const double floats[SPECIAL] = {0.0,  -0.0,     1.0,     -1.0,     INFINITY, -INFINITY,
                                       NAN,  0x1p-1074, DBL_MIN, DBL_MAX, -DBL_MAX, 1.5};
static const int64_t ints[SPECIAL] = {0, 1, -1, 2, -2, 7, INT32_MAX, INT32_MIN, INT32_MAX - 1,
                                      INT32_MIN + 1, 1 << 24, 255};

/* %0, %1, %2 are the operands, of type T[1728]; the last line defines %9. `fill` lines are
 * written F(n, value). */
typedef struct Case {
  const char *rule;
  const char *type; /* f64, i32 or bool */
  const char *body; /* @ stands for the type's name with shape */
} Case;

#define F(n, v) "  %" #n " = fill() {value = " v ", dtype = $, shape = [1728]} : @\n"

static const Case cases[] = {
    {"neg_neg", "f64", "  %3 = neg(%0) : @\n  %9 = neg(%3) : @\n"},
    {"neg_neg", "i32", "  %3 = neg(%0) : @\n  %9 = neg(%3) : @\n"},
    {"abs_sign", "f64", "  %3 = neg(%0) : @\n  %9 = abs(%3) : @\n"},
    {"abs_sign", "f64", "  %3 = abs(%0) : @\n  %9 = abs(%3) : @\n"},
    {"not_not", "i32", "  %3 = not(%0) : @\n  %9 = not(%3) : @\n"},
    {"add_zero", "f64", F(3, "-0x0p+0") "  %9 = add(%0, %3) : @\n"},
    {"add_zero", "f64", F(3, "-0x0p+0") "  %9 = add(%3, %0) : @\n"},
    {"add_zero", "i32", F(3, "0x0p+0") "  %9 = add(%3, %0) : @\n"},
    {"add_neg", "f64", "  %3 = neg(%1) : @\n  %9 = add(%0, %3) : @\n"},
    {"add_neg", "f64", "  %3 = neg(%0) : @\n  %9 = add(%3, %1) : @\n"},
    {"add_neg", "i32", "  %3 = neg(%0) : @\n  %9 = add(%3, %1) : @\n"},
    {"sub_zero", "f64", F(3, "0x0p+0") "  %9 = sub(%0, %3) : @\n"},
    {"sub_zero", "i32", F(3, "0x0p+0") "  %9 = sub(%0, %3) : @\n"},
    {"sub_neg", "f64", "  %3 = neg(%1) : @\n  %9 = sub(%0, %3) : @\n"},
    {"sub_neg", "i32", "  %3 = neg(%1) : @\n  %9 = sub(%0, %3) : @\n"},
    {"mul_one", "f64", F(3, "0x1p+0") "  %9 = mul(%0, %3) : @\n"},
    {"mul_one", "i32", F(3, "0x1p+0") "  %9 = mul(%3, %0) : @\n"},
    {"mul_minus_one", "f64", F(3, "-0x1p+0") "  %9 = mul(%0, %3) : @\n"},
    {"mul_minus_one", "i32", F(3, "-0x1p+0") "  %9 = mul(%0, %3) : @\n"},
    {"mul_zero_int", "i32", F(3, "0x0p+0") "  %9 = mul(%0, %3) : @\n"},
    {"div_one", "f64", F(3, "0x1p+0") "  %9 = div(%0, %3) : @\n"},
    {"div_power_of_two", "f64", F(3, "0x1p+2") "  %9 = div(%0, %3) : @\n"},
    {"div_power_of_two", "f64", F(3, "-0x1p-3") "  %9 = div(%0, %3) : @\n"},
    {"minmax_same", "f64", "  %9 = max(%0, %0) : @\n"},
    {"minmax_same", "i32", "  %9 = min(%0, %0) : @\n"},
    {"bits_trivial", "i32", "  %9 = and(%0, %0) : @\n"},
    {"bits_trivial", "i32", F(3, "-0x1p+0") "  %9 = and(%3, %0) : @\n"},
    {"bits_trivial", "i32", F(3, "0x0p+0") "  %9 = and(%0, %3) : @\n"},
    {"bits_trivial", "i32", F(3, "0x0p+0") "  %9 = or(%0, %3) : @\n"},
    {"bits_trivial", "i32", F(3, "-0x1p+0") "  %9 = or(%0, %3) : @\n"},
    {"compare_same", "i32", "  %3 = le(%0, %0) : ?\n  %9 = select(%3, %0, %1) : @\n"},
    {"compare_same", "i32", "  %3 = ne(%0, %0) : ?\n  %9 = select(%3, %0, %1) : @\n"},
    {"select_const", "f64", "  %3 = fill() {value = 0x1p+0, dtype = bool, shape = [1728]} : ?\n"
                            "  %9 = select(%3, %0, %1) : @\n"},
    {"select_same", "f64", "  %3 = lt(%0, %1) : ?\n  %9 = select(%3, %2, %2) : @\n"},
    {"select_not", "f64", "  %3 = lt(%0, %1) : ?\n  %4 = not(%3) : ?\n"
                          "  %9 = select(%4, %1, %2) : @\n"},
    {"fma_one", "f64", F(3, "0x1p+0") "  %9 = fma(%0, %3, %1) : @\n"},
    {"fma_one", "f64", F(3, "0x1p+0") "  %9 = fma(%3, %0, %1) : @\n"},
    {"fma_one", "f64", F(3, "-0x0p+0") "  %9 = fma(%0, %1, %3) : @\n"},
    {"cast_same", "f64", "  %9 = cast(%0) {dtype = f64} : @\n"},
    {"cast_cast", "i32", "  %3 = cast(%0) {dtype = f64} : f64[1728]\n"
                         "  %9 = cast(%3) {dtype = i32} : @\n"},
    {"fold", "f64", F(3, "0x1.8p+1") F(4, "-0x1p-3") "  %5 = mul(%3, %4) : @\n"
                    "  %9 = add(%0, %5) : @\n"},
    {"fold", "i32", F(3, "0x1.fffffffcp+30") F(4, "0x1p+1") "  %5 = add(%3, %4) : @\n"
                    "  %9 = add(%0, %5) : @\n"},
    {"dim_arith", "i32", "  %3 = dim() {dim = 3} : i64[]\n  %4 = add(%3, %3) : i64[]\n"
                         "  %5 = cast(%4) {dtype = i32} : i32[]\n"
                         "  %6 = broadcast(%5) {shape = [1728]} : @\n  %9 = add(%0, %6) : @\n"},
    {"dim_const", "i32", "  %3 = dim() {dim = 1} : i64[]\n"
                         "  %5 = cast(%3) {dtype = i32} : i32[]\n"
                         "  %6 = broadcast(%5) {shape = [1728]} : @\n  %9 = add(%0, %6) : @\n"},
    {"linear_scan_one", "f64", "  %3 = reshape(%0) {shape = [1728, 1]} : f64[1728, 1]\n"
                               "  %4 = reshape(%1) {shape = [1728, 1]} : f64[1728, 1]\n"
                               "  %5 = linear_scan(%3, %4, %2) {axis = 1, reverse = false, flush = false} : f64[1728, 1]\n"
                               "  %9 = reshape(%5) {shape = [1728]} : @\n"},
    /* a is 0 or -1, as a infinite or NaN is the documented difference */
    {"linear_scan_rest", "f64", F(3, "0x0p+0") "  %4 = lt(%0, %2) : ?\n  %5 = cast(%4) {dtype = f64} : @\n"
                                "  %6 = neg(%5) : @\n"
                                "  %7 = reshape(%6) {shape = [1728, 1]} : f64[1728, 1]\n"
                                "  %8 = reshape(%1) {shape = [1728, 1]} : f64[1728, 1]\n"
                                "  %10 = linear_scan(%7, %8, %3) {axis = 1, reverse = true, flush = false} : f64[1728, 1]\n"
                                "  %9 = reshape(%10) {shape = [1728]} : @\n"},
    /* the other taps are 1.5: infinite ones are the documented difference */
    {"conv_one", "f64", "  %3 = reshape(%0) {shape = [1, 1728, 1]} : f64[1, 1728, 1]\n"
                        "  %4 = reshape(%1) {shape = [1728, 1, 1]} : f64[1728, 1, 1]\n"
                        "  %5 = fill() {value = 0x1.8p+0, dtype = f64, shape = [1728, 1, 2]} : f64[1728, 1, 2]\n"
                        "  %6 = concat(%5, %4) {axis = 2} : f64[1728, 1, 3]\n"
                        "  %7 = conv(%3, %6) {stride = [1], pad_low = [2], pad_high = [0], dilation = [1], "
                        "groups = 1728} : f64[1, 1728, 1]\n"
                        "  %9 = reshape(%7) {shape = [1728]} : @\n"},
};

static const char *case_text(DhcArena *a, const Case *c) {
  DhcText t = {.arena = a};
  const char *type = dhc_arena_printf(a, "%s[1728]", c->type);
  dhc_text_printf(&t, "func @t(%%0: %s input \"a\", %%1: %s input \"b\", %%2: %s input \"c\") -> "
                      "(%%9 \"y\") entry {\n", type, type, type);
  for (const char *p = c->body; *p; p++) {
    const char one[2] = {*p, 0};
    dhc_text_puts(&t, *p == '@' ? type : *p == '?' ? "bool[1728]" : *p == '$' ? c->type : one);
  }
  dhc_text_puts(&t, "}\n");
  return dhc_text_str(&t);
}

/* Operand number `which`, over all triples. */
static DhcArray *operand(DhcArena *a, bool is_float, int which) {
  static const int64_t dim[1] = {N};
  DhcArray *x = dhc_array_new(a, is_float ? DHC_F64 : DHC_I32, 1, dim);
  for (int i = 0; i < N; i++) {
    int k = which == 0 ? i % SPECIAL : which == 1 ? i / SPECIAL % SPECIAL : i / (SPECIAL * SPECIAL);
    if (is_float)
      x->f[i] = floats[k];
    else
      x->i[i] = ints[k];
  }
  return x;
}

static bool same_bits(const DhcArray *a, const DhcArray *b, int i) {
  if (!a->f) return a->i[i] == b->i[i];
  if (isnan(a->f[i]) || isnan(b->f[i])) return isnan(a->f[i]) && isnan(b->f[i]);
  return memcmp(&a->f[i], &b->f[i], sizeof a->f[i]) == 0;
}

static bool check(const Case *c) {
  DhcArena arena, scratch;
  dhc_arena_init(&arena);
  dhc_arena_init(&scratch);
  DhcStrings strings = {.arena = &arena};
  DhcSources sources = {.arena = &arena};
  DhcDiags diags = {.arena = &arena, .sources = &sources};
  const char *text = case_text(&arena, c);
  uint32_t file = dhc_sources_add(&sources, c->rule, c->rule, text, strlen(text));
  DhcModule *m = dhc_module_parse(&arena, &strings, &diags, file);
  const DhcArray *args[3];
  for (int i = 0; i < 3; i++) args[i] = operand(&arena, !strcmp(c->type, "f64"), i);
  DhcArray *before, *after;
  DhcPassCtx px;
  bool ok = m && dhc_interp_run(&arena, &diags, dhc_module_func(m, "t"), args, &before, NULL);
  if (ok) {
    dhc_pass_ctx_init(&px, m, &scratch);
    ok = dhc_passes_run(m, &px, "simplify") &&
         dhc_interp_run(&arena, &diags, dhc_module_func(m, "t"), args, &after, NULL);
  }
  if (!ok) {
    fprintf(stderr, "%s: does not run\n%s", c->rule, text);
    dhc_diags_print(&diags, stderr, false);
  } else if (px.all_changes == 0) {
    /* a cast to the same dtype is refused or never built; then there is nothing to fire on */
    fprintf(stderr, "%s (%s): does not fire\n%s", c->rule, c->type, text);
    ok = false;
  }
  for (int i = 0; ok && i < N; i++) {
    if (same_bits(before, after, i)) continue;
    fprintf(stderr, "%s (%s): differs at triple %d\n%s", c->rule, c->type, i, text);
    ok = false;
  }
  dhc_arena_fini(&scratch);
  dhc_arena_fini(&arena);
  return ok;
}

/* Rules on elementwise ops and dims; others move elements or depend on extents. */
static bool is_elementwise(const DhcRuleInfo *r) {
  return r->op == DHC_RULE_EXACT || dhc_op_info(r->op)->cls == DHC_CLASS_ELEMENTWISE || r->op == DHC_OP_DIM;
}

int main(void) {
  int n = (int)(sizeof cases / sizeof *cases), bad = 0;
  for (int i = 0; i < n; i++) bad += !check(&cases[i]);
  for (int r = 0; r < dhc_simplify_rule_count(); r++) {
    DhcRuleInfo info = dhc_simplify_rule_at(r);
    bool met = !is_elementwise(&info);
    for (int i = 0; i < n; i++) met |= !strcmp(cases[i].rule, info.name);
    if (!met) fprintf(stderr, "rule %s has no case\n", info.name);
    bad += !met;
  }
  printf("rules: %d cases over %d triples, %d failed\n", n, (int)N, bad);
  return bad > 0;
}
