/* Dims: the normal form is unique under the identities it promises, evaluation agrees with
 * the tree an expression was built from, and the prover never claims what is false. */
#include "tests/ir/support.h"

BENCH_OF_FILE

/* ---- normal form ------------------------------------------------------------------- */

static void equal_forms(void **state) {
  (void)state;
  static const char *const same[][2] = {
      {"(2*B)//2", "B"},
      {"(B + 2*H)//2", "H + B//2"},
      {"(x//2)//3", "x//6"},
      {"(2*B + 1)//4", "B//2"},
      {"(2*B + 3)//4", "(B + 1)//2"},
      {"(H - 1)//2 + 1", "(H + 1)//2"},
      {"(H + 2 - 3)//2 + 1", "(H + 1)//2"},
      {"(H - 2)//2 + 1", "H//2"},
      {"(x//2 + y)//3", "(x + 2*y)//6"},
      {"((H + 1)//2 + 1)//2", "(H + 3)//4"},
      {"(4*B + 2)//6", "(2*B + 1)//3"},
      {"(0 - B)//2", "B//2 - B"},
      {"(B + L)*(B - L)", "B*B - L*L"},
      {"3*(B + 1) - 3", "3*B"},
      {"B*L*H", "H*L*B"},
      {"B - B", "0"},
      {"7//2", "3"},
      {"(0 - 7)//2", "0 - 4"},
      {"(6*(B//2))//3", "2*(B//2)"},
      {"x//1", "x"},
      {"(B*L + 4*B)//4", "B + B*L//4"},
  };
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    const DhcDim *x = bench_dim(&b, same[i][0]), *y = bench_dim(&b, same[i][1]);
    if (x != y)
      fail_msg("%s is %s, %s is %s", same[i][0], bench_dim_text(&b, x), same[i][1],
               bench_dim_text(&b, y));
  }
}

static void text_forms(void **state) {
  (void)state;
  static const char *const text[][2] = {
      {"B*L*2 + H//2 - 1", "2*B*L + H//2 - 1"},
      {"0 - H//2", "-(H//2)"},
      {"2*(H//2)", "2*(H//2)"},
      {"(B*H)//2", "(B*H)//2"},
      {"W//2*H", "H*(W//2)"},
      {"(W//2)*(H//2)", "(H//2)*(W//2)"},
      {"3 - B", "-B + 3"},
      {"B - B", "0"},
      {"(H + 1)//2", "(H + 1)//2"},
      {"a.b*$c + _d", "$c*a.b + _d"},
  };
  for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
    const DhcDim *d = bench_dim(&b, text[i][0]);
    assert_string_equal(bench_dim_text(&b, d), text[i][1]);
    assert_ptr_equal(bench_dim(&b, text[i][1]), d);
  }
}

static void not_dims(void **state) {
  (void)state;
  static const char *const text[] = {"", "*", "B +", "(B", "B//0", "B//H", "99999999999999999999",
                                     "4611686018427387904*2*B", "-", "B*"};
  for (size_t i = 0; i < sizeof text / sizeof *text; i++)
    if (dhc_dim_parse(b.m->dims, text[i], NULL)) fail_msg("'%s' was taken for a dim", text[i]);
  char deep[400];
  memset(deep, '(', sizeof deep);
  deep[sizeof deep - 1] = 0;
  assert_null(dhc_dim_parse(b.m->dims, deep, NULL));
}

static void overflow_is_sticky(void **state) {
  (void)state;
  DhcDims *cx = b.m->dims;
  const DhcDim *big = dhc_dim_const(cx, INT64_MAX), *B = dhc_dim_symbol(cx, "B");
  assert_false(dhc_dims_overflowed(cx));
  assert_non_null(dhc_dim_add(cx, big, big));
  assert_true(dhc_dims_overflowed(cx));
  assert_false(dhc_dims_overflowed(cx)); /* asked and cleared */
  dhc_dim_mul(cx, dhc_dim_mulc(cx, B, INT64_MAX / 2), dhc_dim_addc(cx, B, 3));
  assert_true(dhc_dims_overflowed(cx));
  dhc_dim_const(cx, INT64_MIN);
  assert_true(dhc_dims_overflowed(cx));
  const DhcDim *p = B;
  for (int i = 0; i < 20; i++) p = dhc_dim_mul(cx, p, B); /* degree beyond the limit */
  assert_true(dhc_dims_overflowed(cx));
  const DhcDim *sum = dhc_dim_const(cx, 0);
  for (int i = 0; i < 300; i++) { /* terms beyond the limit */
    char name[8];
    snprintf(name, sizeof name, "s%d", i);
    sum = dhc_dim_add(cx, sum, dhc_dim_symbol(cx, name));
  }
  assert_true(dhc_dims_overflowed(cx));
}

/* ---- random expressions --------------------------------------------------------------- */

enum { N_SYMBOLS = 3, MAX_TREE = 40 };
static const char *const symbol[N_SYMBOLS] = {"x", "y", "z"};

typedef struct Tree {
  char op; /* c constant, s symbol, + - * / */
  int64_t v;
  int a, b;
} Tree;
typedef struct Forest {
  Tree t[MAX_TREE];
  int n;
} Forest;

static int grow(Forest *f, uint64_t *seed, int depth) {
  int at = f->n++;
  Tree *t = &f->t[at];
  uint32_t r = bench_random(seed) % 10;
  if (depth == 0 || r < 2 || f->n > MAX_TREE - 4) {
    t->op = r % 2 ? 's' : 'c';
    t->v = t->op == 's' ? bench_random(seed) % N_SYMBOLS : (int64_t)(bench_random(seed) % 13) - 6;
    return at;
  }
  t->op = "++-*///-+*"[r];
  t->a = grow(f, seed, depth - 1);
  f->t[at].v = 1 + bench_random(seed) % 6; /* divisor */
  if (f->t[at].op != '/') f->t[at].b = grow(f, seed, depth - 1);
  return at;
}

static const DhcDim *dim_of(const Forest *f, int i) {
  DhcDims *cx = b.m->dims;
  const Tree *t = &f->t[i];
  switch (t->op) {
    case 'c': return dhc_dim_const(cx, t->v);
    case 's': return dhc_dim_symbol(cx, symbol[t->v]);
    case '+': return dhc_dim_add(cx, dim_of(f, t->a), dim_of(f, t->b));
    case '-': return dhc_dim_sub(cx, dim_of(f, t->a), dim_of(f, t->b));
    case '*': return dhc_dim_mul(cx, dim_of(f, t->a), dim_of(f, t->b));
    default: return dhc_dim_floordiv(cx, dim_of(f, t->a), t->v);
  }
}

static int64_t floordiv(int64_t a, int64_t k) { return a / k - (a % k < 0); }

/* Values stay far below overflow: at most 40 leaves of magnitude 40 under few products. */
static double value_of(const Forest *f, int i, const int64_t *env) {
  const Tree *t = &f->t[i];
  switch (t->op) {
    case 'c': return (double)t->v;
    case 's': return (double)env[t->v];
    case '+': return value_of(f, t->a, env) + value_of(f, t->b, env);
    case '-': return value_of(f, t->a, env) - value_of(f, t->b, env);
    case '*': return value_of(f, t->a, env) * value_of(f, t->b, env);
    default: {
      double x = value_of(f, t->a, env);
      return x > 1e15 || x < -1e15 ? 1e300 : (double)floordiv((int64_t)x, t->v);
    }
  }
}

static int64_t run_program(dhc_dimprog p, const int64_t *env) {
  int64_t s[64];
  int n = 0;
  for (int32_t i = 0; i < p.n_code; i++) switch (p.code[i]) {
      case DHC_DIM_CONST: s[n++] = p.code[++i]; break;
      case DHC_DIM_SYM: s[n++] = env[p.code[++i]]; break;
      case DHC_DIM_ADD: n--, s[n - 1] += s[n]; break;
      case DHC_DIM_MUL: n--, s[n - 1] *= s[n]; break;
      case DHC_DIM_FLOORDIV: n--, s[n - 1] = floordiv(s[n - 1], s[n]); break;
      default: fail_msg("unexpected code %d", (int)p.code[i]);
    }
  assert_int_equal(n, 1);
  return s[0];
}

static void random_expressions(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int round = 0; round < 3000; round++) {
    Forest f = {.n = 0};
    grow(&f, &seed, 4);
    const DhcDim *d = dim_of(&f, 0);
    if (dhc_dims_overflowed(b.m->dims)) continue;
    const char *text = bench_dim_text(&b, d);
    if (bench_dim(&b, text) != d) fail_msg("%s does not parse back", text);
    dhc_dimprog code = dhc_dim_program(d, N_SYMBOLS, symbol, &b.arena);
    for (int k = 0; k < 4; k++) {
      int64_t env[N_SYMBOLS], got;
      for (int i = 0; i < N_SYMBOLS; i++) env[i] = 1 + bench_random(&seed) % 9;
      double want = value_of(&f, 0, env);
      if (want > 1e15 || want < -1e15) continue;
      if (!dhc_dim_eval(d, N_SYMBOLS, symbol, env, &got)) continue;
      if (got != (int64_t)want || run_program(code, env) != got)
        fail_msg("%s at %d %d %d: %lld, not %.0f", text, (int)env[0], (int)env[1], (int)env[2],
                 (long long)got, want);
    }
  }
}

/* Ring laws, and floor((k p + q) / k) = p + floor(q / k). */
static void random_identities(void **state) {
  (void)state;
  DhcDims *cx = b.m->dims;
  uint64_t seed = 2;
  for (int round = 0; round < 2000; round++) {
    const DhcDim *e[3];
    for (int i = 0; i < 3; i++) {
      Forest f = {.n = 0};
      grow(&f, &seed, 3);
      e[i] = dim_of(&f, 0);
    }
    int64_t k = 1 + bench_random(&seed) % 7, l = 1 + bench_random(&seed) % 7;
    const DhcDim *p = e[0], *q = e[1], *r = e[2];
    const DhcDim *pair[][2] = {
        {dhc_dim_add(cx, p, q), dhc_dim_add(cx, q, p)},
        {dhc_dim_mul(cx, p, q), dhc_dim_mul(cx, q, p)},
        {dhc_dim_add(cx, dhc_dim_add(cx, p, q), r), dhc_dim_add(cx, p, dhc_dim_add(cx, q, r))},
        {dhc_dim_mul(cx, p, dhc_dim_add(cx, q, r)),
         dhc_dim_add(cx, dhc_dim_mul(cx, p, q), dhc_dim_mul(cx, p, r))},
        {dhc_dim_sub(cx, p, q), dhc_dim_mulc(cx, dhc_dim_sub(cx, q, p), -1)},
        {dhc_dim_floordiv(cx, dhc_dim_add(cx, dhc_dim_mulc(cx, p, k), q), k),
         dhc_dim_add(cx, p, dhc_dim_floordiv(cx, q, k))},
        {dhc_dim_floordiv(cx, dhc_dim_mulc(cx, p, k), k * l), dhc_dim_floordiv(cx, p, l)},
    };
    if (dhc_dims_overflowed(cx)) continue;
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
      if (pair[i][0] != pair[i][1])
        fail_msg("identity %zu: %s and %s", i, bench_dim_text(&b, pair[i][0]),
                 bench_dim_text(&b, pair[i][1]));
    const DhcDim *product = dhc_dim_mul(cx, p, q), *quotient = dhc_dim_divide(cx, product, q);
    if (!dhc_dims_overflowed(cx) && !dhc_dim_is(q, 0)) assert_ptr_equal(quotient, p);
  }
}

static void exact_division(void **state) {
  (void)state;
  DhcDims *cx = b.m->dims;
  assert_ptr_equal(dhc_dim_divide(cx, bench_dim(&b, "B*B - L*L"), bench_dim(&b, "B + L")),
                   bench_dim(&b, "B - L"));
  assert_null(dhc_dim_divide(cx, bench_dim(&b, "B*L + 1"), bench_dim(&b, "B")));
  assert_null(dhc_dim_divide(cx, bench_dim(&b, "3*B"), bench_dim(&b, "2")));
  assert_null(dhc_dim_divide(cx, bench_dim(&b, "B"), bench_dim(&b, "0")));
  assert_ptr_equal(dhc_dim_divide(cx, bench_dim(&b, "0"), bench_dim(&b, "B")), bench_dim(&b, "0"));
}

/* ---- solving ------------------------------------------------------------------------------ */

static void unification(void **state) {
  (void)state;
  const char *names[] = {"B", "L"};
  int64_t v[2] = {0};
  bool bound[2] = {false}, open = false;
  assert_true(dhc_dim_unify(bench_dim(&b, "B*L"), 12, 2, names, v, bound, &open));
  assert_true(open);
  assert_true(dhc_dim_unify(bench_dim(&b, "2*B - 1"), 5, 2, names, v, bound, &open));
  assert_true(bound[0] && v[0] == 3);
  open = false;
  assert_true(dhc_dim_unify(bench_dim(&b, "B*L"), 12, 2, names, v, bound, &open));
  assert_true(bound[1] && v[1] == 4 && !open);
  assert_false(dhc_dim_unify(bench_dim(&b, "B + L"), 8, 2, names, v, bound, &open));
  assert_true(dhc_dim_unify(bench_dim(&b, "L//3"), 1, 2, names, v, bound, &open));
  bound[1] = false;
  assert_false(dhc_dim_unify(bench_dim(&b, "B*L"), 13, 2, names, v, bound, &open)); /* 13/3 */
  assert_false(dhc_dim_unify(bench_dim(&b, "L"), 0, 2, names, v, bound, &open));    /* below 1 */
  assert_true(dhc_dim_unify(bench_dim(&b, "L//2"), 3, 2, names, v, bound, &open));
  assert_true(open && !bound[1]);
}

static void solving_and_substitution(void **state) {
  (void)state;
  DhcDims *cx = b.m->dims;
  const DhcDim *s = dhc_dim_solve(cx, bench_dim(&b, "H*x + 2*H"), "x", bench_dim(&b, "3*H*W + 2*H"));
  assert_ptr_equal(s, bench_dim(&b, "3*W"));
  assert_null(dhc_dim_solve(cx, bench_dim(&b, "x//2"), "x", bench_dim(&b, "W")));
  assert_null(dhc_dim_solve(cx, bench_dim(&b, "x*x"), "x", bench_dim(&b, "4")));
  const char *from[] = {"x", "y"};
  const DhcDim *to[] = {bench_dim(&b, "y"), bench_dim(&b, "x")};
  assert_ptr_equal(dhc_dim_subst(cx, bench_dim(&b, "x - 2*y + x//3"), 2, from, to),
                   bench_dim(&b, "y - 2*x + y//3"));
  to[0] = bench_dim(&b, "6*B");
  assert_ptr_equal(dhc_dim_subst(cx, bench_dim(&b, "x//3"), 1, from, to), bench_dim(&b, "2*B"));
  const char *names[4];
  assert_int_equal(dhc_dim_symbols(bench_dim(&b, "(c + 1)//2*a + b + a"), names, 4), 3);
  assert_string_equal(names[0], "a");
  assert_string_equal(names[1], "c");
  assert_string_equal(names[2], "b");
}

/* ---- order ------------------------------------------------------------------------------------ */

static DhcFacts facts_of(const char *const *text, int n) {
  DhcFacts f = {0};
  for (int i = 0; i < n; i++) DHC_PUSH(&b.arena, &f.nonneg, bench_dim(&b, text[i]));
  return f;
}

static void decided_order(void **state) {
  (void)state;
  static const char *const known[] = {"H - W", "W - 4", "20 - L"};
  DhcFacts facts = facts_of(known, 3);
  static const struct {
    const char *a, *b;
    DhcTruth le;
  } row[] = {
      {"1", "B", DHC_TRUE},           {"B", "B", DHC_TRUE},          {"B + 1", "B", DHC_FALSE},
      {"B", "B*H", DHC_TRUE},         {"H//2", "H", DHC_TRUE},       {"(H + 1)//2", "H", DHC_TRUE},
      {"1", "(H + 1)//2", DHC_TRUE},  {"4*(L//4)", "L", DHC_TRUE},   {"W", "H", DHC_TRUE},
      {"H", "W", DHC_UNKNOWN},        {"4", "W", DHC_TRUE},          {"4", "H", DHC_TRUE},
      {"B*W", "B*H", DHC_TRUE},       {"2", "W//2", DHC_TRUE},       {"3", "W//2", DHC_UNKNOWN},
      {"L", "20", DHC_TRUE},          {"L//4", "5", DHC_TRUE},       {"21", "L", DHC_FALSE},
      {"L", "H", DHC_UNKNOWN},        {"3", "B", DHC_UNKNOWN},       {"1", "(H - 3)//2 + 1", DHC_TRUE},
      {"W + W", "2*H", DHC_TRUE},     {"2*(W//2) + 2", "W", DHC_FALSE},
      {"W//2*2 + 2", "W - 3", DHC_FALSE}, {"B*L + 1", "B", DHC_FALSE},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    DhcTruth t = dhc_dim_le(b.m->dims, &facts, bench_dim(&b, row[i].a), bench_dim(&b, row[i].b));
    if (t != row[i].le) fail_msg("order %s <= %s: %d", row[i].a, row[i].b, (int)t);
  }
  DhcDims *cx = b.m->dims;
  assert_int_equal(dhc_dim_eq(cx, &facts, bench_dim(&b, "B"), bench_dim(&b, "B")), DHC_TRUE);
  assert_int_equal(dhc_dim_eq(cx, &facts, bench_dim(&b, "H + 1"), bench_dim(&b, "W")), DHC_FALSE);
  assert_int_equal(dhc_dim_eq(cx, &facts, bench_dim(&b, "H"), bench_dim(&b, "W")), DHC_UNKNOWN);
  assert_int_equal(dhc_dim_lt(cx, NULL, bench_dim(&b, "B//2"), bench_dim(&b, "B")), DHC_TRUE);
}

/* Whatever the prover claims is checked on every point of a box that the facts admit. */
static void order_is_sound(void **state) {
  (void)state;
  DhcDims *cx = b.m->dims;
  uint64_t seed = 3;
  int claims = 0;
  for (int round = 0; round < 1500; round++) {
    DhcFacts facts = {0};
    const DhcDim *e[4];
    for (int i = 0; i < 4; i++) {
      Forest f = {.n = 0};
      grow(&f, &seed, i < 2 ? 3 : 2);
      e[i] = dim_of(&f, 0);
    }
    for (int i = 2; i < 4; i++) DHC_PUSH(&b.arena, &facts.nonneg, e[i]);
    if (dhc_dims_overflowed(cx)) continue;
    DhcTruth t = dhc_dim_le(cx, &facts, e[0], e[1]);
    claims += t != DHC_UNKNOWN;
    for (int point = 0; point < 512 && t != DHC_UNKNOWN; point++) {
      int64_t env[3] = {1 + point % 8, 1 + point / 8 % 8, 1 + point / 64}, v[4];
      bool whole = true;
      for (int i = 0; i < 4; i++) whole &= dhc_dim_eval(e[i], 3, symbol, env, &v[i]);
      if (!whole || v[2] < 0 || v[3] < 0) continue;
      if ((v[0] <= v[1]) != (t == DHC_TRUE))
        fail_msg("%s <= %s claimed %d, facts %s, %s", bench_dim_text(&b, e[0]),
                 bench_dim_text(&b, e[1]), (int)t, bench_dim_text(&b, e[2]), bench_dim_text(&b, e[3]));
    }
  }
  assert_true(claims > 500); /* and it does claim things */
}

static void facts_in_words(void **state) {
  (void)state;
  DhcText t = {.arena = &b.arena};
  dhc_dim_print_fact(b.m->dims, bench_dim(&b, "H - 2*W - 3"), &t);
  assert_string_equal(dhc_text_str(&t), "H >= 2*W + 3");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(f) BENCH_TEST(f)
      T(equal_forms),       T(text_forms),        T(not_dims),     T(overflow_is_sticky),
      T(random_expressions), T(random_identities), T(exact_division), T(unification),
      T(solving_and_substitution), T(decided_order), T(order_is_sound), T(facts_in_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
