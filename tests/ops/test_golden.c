/* The interpreter against results worked out by hand (or, for convolutions and dots over
 * several axes, from the definitions by other means): what pins down orders, directions,
 * ties and edges that identities between ops leave open. */
#include <math.h>
#include <stdlib.h>

#include "tests/ops/op_cases.h"

/* Operands and results as numbers, one array after the other, '|' between. */
typedef struct Golden {
  const char *name, *params, *node, *results, *in, *out;
} Golden;

#define SCAN_ATTRS "{body = @body, dims = [], n_carry = 1, n_xs = 1, axis = "

static const Golden golden[] = {
    {"iota", "", "%0 = iota() {axis = 1, dtype = i32, shape = [2, 3]} : i32[2, 3]", "%0", "", "0 1 2 0 1 2"},
    {"transpose", "f32[2, 3]", "%1 = transpose(%0) {perm = [1, 0]} : f32[3, 2]", "%1", "1 2 3 4 5 6", "1 4 2 5 3 6"},
    {"transpose 3", "f32[1, 2, 3]", "%1 = transpose(%0) {perm = [2, 0, 1]} : f32[3, 1, 2]", "%1", "1 2 3 4 5 6",
     "1 4 2 5 3 6"},
    {"broadcast rows", "f32[3]", "%1 = broadcast(%0) {shape = [2, 3]} : f32[2, 3]", "%1", "1 2 3", "1 2 3 1 2 3"},
    {"broadcast columns", "f32[2, 1]", "%1 = broadcast(%0) {shape = [2, 3]} : f32[2, 3]", "%1", "1 2", "1 1 1 2 2 2"},
    {"slice", "f32[2, 5]", "%1 = slice(%0) {start = [1, 1], size = [1, 2], step = [1, 3]} : f32[1, 2]", "%1",
     "0 1 2 3 4 5 6 7 8 9", "6 9"},
    {"reverse", "f32[2, 3]", "%1 = reverse(%0) {axes = [1]} : f32[2, 3]", "%1", "1 2 3 4 5 6", "3 2 1 6 5 4"},
    {"pad", "f32[2]", "%1 = pad(%0) {low = [1], high = [2], step = [3]} : f32[7]", "%1", "1 2", "0 1 0 0 2 0 0"},
    {"concat", "f32[2, 1], f32[2, 2]", "%2 = concat(%0, %1) {axis = 1} : f32[2, 3]", "%2", "1 2 | 3 4 5 6",
     "1 3 4 2 5 6"},
    {"dynamic_slice", "f32[2, 3], i64[]", "%2 = dynamic_slice(%0, %1) {axis = 1, size = 2} : f32[2, 2]", "%2",
     "1 2 3 4 5 6 | 1", "2 3 5 6"},
    {"dynamic_slice clamps", "f32[4], i64[]", "%2 = dynamic_slice(%0, %1) {axis = 0, size = 2} : f32[2]", "%2",
     "1 2 3 4 | 9", "3 4"},
    {"dynamic_update", "f32[4], f32[2], i64[]", "%3 = dynamic_update(%0, %1, %2) {axis = 0} : f32[4]", "%3",
     "1 2 3 4 | 8 9 | -5", "8 9 3 4"},
    {"gather", "f32[3, 2], i32[4]", "%2 = gather(%0, %1) {axis = 0} : f32[4, 2]", "%2", "1 2 3 4 5 6 | 2 0 3 -1",
     "5 6 1 2 0 0 0 0"},
    {"gather axis 1", "f32[2, 3], i32[2, 2]", "%2 = gather(%0, %1) {axis = 1} : f32[2, 2, 2]", "%2",
     "1 2 3 4 5 6 | 2 0 1 1", "3 1 2 2 6 4 5 5"},
    {"scatter_add", "f32[3], i32[4], f32[4]", "%3 = scatter_add(%0, %1, %2) {axis = 0} : f32[3]", "%3",
     "1 1 1 | 2 0 2 5 | 1 2 3 4", "3 1 5"},
    {"take_along", "f32[2, 3], i32[2, 2]", "%2 = take_along(%0, %1) {axis = 1} : f32[2, 2]", "%2",
     "1 2 3 4 5 6 | 2 0 1 1", "3 1 5 5"},
    {"put_along", "f32[2, 2], i32[2, 2]", "%2 = put_along(%0, %1) {axis = 1, size = 3} : f32[2, 3]", "%2",
     "1 2 3 4 | 2 0 1 1", "2 0 1 0 7 0"},
    {"put_along outside", "f32[2, 1], i32[2, 1]", "%2 = put_along(%0, %1) {axis = 1, size = 2} : f32[2, 2]", "%2",
     "5 6 | 2 -1", "0 0 0 0"},
    {"take_along outside", "f32[2, 2], i32[2, 1]", "%2 = take_along(%0, %1) {axis = 1} : f32[2, 1]", "%2",
     "1 2 3 4 | 2 -1", "0 0"},
    {"scatter_add outside", "f32[2, 1], i32[1], f32[2, 1]", "%3 = scatter_add(%0, %1, %2) {axis = 1} : f32[2, 1]", "%3",
     "1 2 | 1 | 7 8", "1 2"},
    {"reduce_sum", "f32[2, 3]", "%1 = reduce_sum(%0) {axes = [0], keep = false} : f32[3]", "%1", "1 2 3 4 5 6", "5 7 9"},
    {"reduce_max NaN", "f32[2, 2]", "%1 = reduce_max(%0) {axes = [1], keep = true} : f32[2, 1]", "%1", "1 nan -3 -4",
     "nan -3"},
    {"reduce_min", "i32[2, 2]", "%1 = reduce_min(%0) {axes = [0, 1], keep = false} : i32[]", "%1", "1 7 -3 4", "-3"},
    {"reduce_max below all", "i32[2]", "%1 = reduce_max(%0) {axes = [0], keep = false} : i32[]", "%1",
     "-2147483648 -2147483648", "-2147483648"},
    {"reduce_min above all", "u8[1]", "%1 = reduce_min(%0) {axes = [0], keep = false} : u8[]", "%1", "255", "255"},
    {"argmax", "f32[3, 4]", "%1 = argmax(%0) {axis = 1} : i32[3]", "%1", "1 5 2 5 0 0 0 0 1 nan 9 nan", "1 0 1"},
    {"argmax axis 0", "f32[3, 2]", "%1 = argmax(%0) {axis = 0} : i32[2]", "%1", "1 5 2 5 7 0", "2 0"},
    {"dot batch", "f32[2, 2, 3], f32[2, 3, 2]",
     "%2 = dot_general(%0, %1) {batch_a = [0], batch_b = [0], contract_a = [2], contract_b = [1]} : f32[2, 2, 2]", "%2",
     "-2 1 -3 0 3 -1 2 -2 1 -3 0 3 | -1 1 -2 0 2 -1 1 -2 0 2 -1 1", "-6 1 -8 1 1 -7 -6 9"},
    {"dot two axes", "f32[2, 3, 4], f32[4, 3]",
     "%2 = dot_general(%0, %1) {batch_a = [], batch_b = [], contract_a = [1, 2], contract_b = [1, 0]} : f32[2]", "%2",
     "-2 1 -3 0 3 -1 2 -2 1 -3 0 3 -1 2 -2 1 -3 0 3 -1 2 -2 1 -3 | -1 1 -2 0 2 -1 1 -2 0 2 -1 1", "2 -12"},
    {"dot outer", "f32[3, 2], f32[2, 2]",
     "%2 = dot_general(%0, %1) {batch_a = [1], batch_b = [0], contract_a = [], contract_b = []} : f32[2, 3, 2]", "%2",
     "-2 1 -3 0 3 -1 | -1 1 -2 0", "2 -2 3 -3 -3 3 -2 0 0 0 2 0"},
    {"ragged_dot", "f32[4, 1], f32[2, 1, 2], i32[3]", "%3 = ragged_dot(%0, %1, %2) : f32[4, 2]", "%3",
     "1 2 3 4 | 10 20 30 40 | 0 1 3", "10 20 60 80 90 120 0 0"},
    {"ragged_dot inner", "f32[2, 2], f32[2, 2, 1], i32[3]", "%3 = ragged_dot(%0, %1, %2) : f32[2, 1]", "%3",
     "1 2 3 4 | 10 20 30 40 | 0 1 2", "50 250"},
    {"ragged_dot_dw", "f32[3, 1], f32[3, 2], i32[3]", "%3 = ragged_dot_dw(%0, %1, %2) : f32[2, 1, 2]", "%3",
     "1 2 3 | 1 2 3 4 5 6 | 0 1 3", "1 2 21 26"},
    {"conv 1d", "f32[1, 2, 6], f32[2, 2, 3]",
     "%2 = conv(%0, %1) {stride = [2], pad_low = [1], pad_high = [0], dilation = [1], groups = 1} : f32[1, 2, 3]", "%2",
     "-2 1 -3 0 3 -1 2 -2 1 -3 0 3 | -1 1 -2 0 2 -1 1 -2 0 2 -1 1", "2 1 2 0 -1 -9"},
    {"conv 2d groups", "f32[1, 2, 3, 4], f32[4, 1, 2, 2]",
     "%2 = conv(%0, %1) {stride = [1, 2], pad_low = [1, 0], pad_high = [0, 1], dilation = [2, 1], groups = 2} : "
     "f32[1, 4, 2, 2]", "%2",
     "-2 1 -3 0 3 -1 2 -2 1 -3 0 3 -1 2 -2 1 -3 0 3 -1 2 -2 1 -3 | -1 1 -2 0 2 -1 1 -2 0 2 -1 1 -2 0 2 -1",
     "-6 -4 1 3 5 6 2 -12 3 -4 0 -2 -6 7 8 9"},
    {"window_max", "f32[3, 4]", "%1, %2 = window_max(%0) {window = [2, 2], stride = [1, 2]} : f32[2, 2], i32[2, 2]",
     "%1, %2", "1 5 2 2 5 0 2 2 nan 9 1 3", "5 2 nan 3 | 1 0 2 3"},
    {"window_gather", "f32[4], i32[2]", "%2 = window_gather(%0, %1) {window = [3], stride = [1]} : f32[2]", "%2",
     "1 2 3 4 | 2 0", "3 2"},
    {"window_scatter", "f32[2], i32[2]", "%2 = window_scatter(%0, %1) {window = [3], stride = [1], size = [4]} : f32[4]",
     "%2", "10 20 | 1 0", "0 30 0 0"},
    {"linear_scan", "f32[3], f32[3], f32[]", "%3 = linear_scan(%0, %1, %2) {axis = 0, reverse = false, flush = false} : f32[3]", "%3",
     "2 3 4 | 1 1 1 | 10", "21 64 257"},
    {"linear_scan reverse", "f32[3], f32[3], f32[]", "%3 = linear_scan(%0, %1, %2) {axis = 0, reverse = true, flush = false} : f32[3]",
     "%3", "2 3 4 | 1 1 1 | 10", "249 124 41"},
    {"linear_scan flush", "f32[2], f32[2], f32[]", "%3 = linear_scan(%0, %1, %2) {axis = 0, reverse = false, flush = true} : f32[2]",
     "%3", "0x1p-76 0.5 | 0 0 | 0x1p-50", "0x1p-126 0"},
    {"linear_scan of small values", "f32[2], f32[2], f32[]",
     "%3 = linear_scan(%0, %1, %2) {axis = 0, reverse = false, flush = false} : f32[2]", "%3", "0x1p-76 0.5 | 0 0 | 0x1p-50",
     "0x1p-126 0x1p-127"},
    {"scan", "f32[], f32[3]", "%2, %3 = scan(%0, %1) " SCAN_ATTRS "0, length = 3, reverse = false} : f32[], f32[3]",
     "%2, %3", "1 | 1 2 3", "7 | 2 4 7"},
    {"scan reverse", "f32[], f32[3]", "%2, %3 = scan(%0, %1) " SCAN_ATTRS "0, length = 3, reverse = true} : f32[], f32[3]",
     "%2, %3", "1 | 1 2 3", "7 | 7 6 4"},
    {"scan of small values", "f32[], f32[1]", "%2, %3 = scan(%0, %1) " SCAN_ATTRS "0, length = 1, reverse = false} : f32[], f32[1]",
     "%2, %3", "0 | 0x1p-149", "0x1p-149 | 0x1p-149"},
    {"scan of rows", "f32[2], f32[2, 2], i64[]",
     "%3, %4, %5 = scan(%0, %2, %1) {body = @rows, dims = [], n_carry = 2, n_xs = 1, axis = 1, length = 2, "
     "reverse = false} : f32[2], i64[], f32[2, 2]",
     "%3, %4, %5", "1 2 | 10 20 30 40 | 5", "31 72 | 7 | 11 31 32 72"},
    {"shr", "i32[3], i32[3]", "%2 = shr(%0, %1) : i32[3]", "%2", "0 -1 8 | 64 -1 2", "0 -1 2"},
    {"top_k", "f32[2, 5]", "%1, %2 = top_k(%0) {k = 3} : f32[2, 3], i32[2, 3]", "%1, %2",
     "1 3 3 0 2 -1 nan 5 nan 5", "3 3 2 nan nan 5 | 1 2 4 1 3 2"},
    {"route", "i32[3, 2]", "%1, %2, %3 = route(%0) {num = 3} : i32[6], i32[3, 2], i32[4]", "%1, %2, %3", "2 0 0 2 2 1",
     "0 1 2 0 1 2 | 3 0 1 4 5 2 | 0 2 3 6"},
    {"sigmoid", "f32[4]", "%1 = sigmoid(%0) : f32[4]", "%1", "0 inf -inf -1000", "0.5 1 0 0"},
    {"softplus", "f32[4]", "%1 = softplus(%0) : f32[4]", "%1", "1000 inf -inf nan", "1000 inf 0 nan"},
    {"sign", "f32[5]", "%1 = sign(%0) : f32[5]", "%1", "3 -2 0 inf nan", "1 -1 0 1 nan"},
    {"round to even", "f32[4]", "%1 = round(%0) : f32[4]", "%1", "0.5 1.5 2.5 -0.6", "0 2 2 -1"},
    {"max of NaN", "f32[3], f32[3]", "%2 = max(%0, %1) : f32[3]", "%2", "1 nan 2 | nan 1 3", "nan nan 3"},
    {"spread_ranks", "f32[3]", "%1 = spread_ranks(%0) {parts = [2, 1]} : f32[3]", "%1", "1 -2 0.5", "1 -2 0.5"},
    {"sum_ranks", "f32[3]", "%1 = sum_ranks(%0) : f32[3]", "%1", "1 -2 0.5", "1 -2 0.5"},
    {"update", "f32[2] buffer", "%1 = neg(%0) : f32[2]\n  %2 = update(%0, %1) : f32[2]", "%2", "1 2", "-1 -2"},
};

/* @body: h' = h + x, y = h' */
static const char body[] =
    "func @body(%0: f32[] plain \"h\", %1: f32[] plain \"x\") -> (%2 \"h\", %2 \"y\") body {\n"
    "  %2 = add(%0, %1) : f32[]\n}\n";

/* @rows: h' = h + x, n' = n + 1, y = h' */
static const char rows[] =
    "func @rows(%0: f32[2] plain \"h\", %1: i64[] plain \"n\", %2: f32[2] plain \"x\") -> (%3 \"h\", %5 \"n\", %3 "
    "\"y\") body {\n"
    "  %3 = add(%0, %2) : f32[2]\n"
    "  %4 = fill() {value = 0x1p+0, dtype = i64, shape = []} : i64[]\n"
    "  %5 = add(%1, %4) : i64[]\n}\n";

static const char *text_of(const Golden *g, DhcArena *arena) {
  DhcText t = {.arena = arena};
  int n = 0, depth = 0;
  if (strstr(g->node, "@body")) dhc_text_puts(&t, body);
  if (strstr(g->node, "@rows")) dhc_text_puts(&t, rows);
  dhc_text_puts(&t, "func @case(");
  for (const char *p = g->params; *p;) { /* cut at commas outside brackets */
    const char *end = p;
    for (; *end && (depth > 0 || *end != ','); end++) depth += (*end == '[') - (*end == ']');
    const char *role = memchr(p, ' ', (size_t)(end - p));
    bool has_role = role && strncmp(role, " buffer", 7) == 0;
    int length = (int)(has_role ? role - p : end - p);
    dhc_text_printf(&t, "%s%%%d: %.*s %s \"x%d\"", n ? ", " : "", n, length, p, has_role ? "buffer" : "input", n);
    n++;
    for (p = end; *p == ',' || *p == ' ';) p++;
  }
  dhc_text_puts(&t, ") -> (");
  n = 0;
  for (const char *p = g->results; *p;) {
    int length = (int)strcspn(p, ",");
    dhc_text_printf(&t, "%s%.*s \"r%d\"", n ? ", " : "", length, p, n);
    n++;
    for (p += length; *p == ',' || *p == ' ';) p++;
  }
  dhc_text_printf(&t, ") entry {\n  %s\n}\n", g->node);
  return dhc_text_str(&t);
}

/* Next numbers of the list go into a; moves on behind the '|'. */
static void fill(DhcArray *a, const char **p) {
  for (int64_t e = 0; e < a->n; e++) {
    char *end;
    double v = strtod(*p, &end);
    if (a->f)
      a->f[e] = v;
    else
      a->i[e] = (int64_t)v;
    *p = end;
  }
  *p += strspn(*p, " |");
}

static DhcArray *new_like(DhcArena *arena, const DhcType *t) {
  int64_t dim[DHC_MAX_RANK];
  for (int d = 0; d < t->rank; d++) dhc_dim_is_const(t->dim[d], &dim[d]);
  return dhc_array_new(arena, t->dtype, t->rank, dim);
}

static bool holds(const Golden *g, DhcArena *arena) {
  DhcStrings strings = {.arena = arena};
  DhcSources sources = {.arena = arena};
  DhcDiags diags = {.arena = arena, .sources = &sources};
  const char *text = text_of(g, arena), *in = g->in, *out = g->out;
  uint32_t file = dhc_sources_add(&sources, g->name, g->name, text, strlen(text));
  DhcModule *m = dhc_module_parse(arena, &strings, &diags, file);
  DhcFunc *f = m ? dhc_module_func(m, "case") : NULL;
  const DhcArray *args[4];
  DhcArray *got[4], *updated[4] = {NULL};
  bool good = f != NULL;
  for (int p = 0; good && p < f->params.n; p++) {
    DhcArray *a = new_like(arena, &f->params.at[p]->type);
    fill(a, &in);
    args[p] = a;
  }
  good = good && dhc_interp_run(arena, &diags, f, args, got, updated);
  if (!good) dhc_diags_print(&diags, stderr, false);
  for (int r = 0; good && r < f->results.n; r++) {
    DhcArray *want = new_like(arena, &f->results.at[r]->type);
    DhcArray *zero = dhc_array_new(arena, DHC_F64, want->rank, want->dim);
    fill(want, &out);
    int64_t at = dhc_case_mismatch(want, got[r], zero);
    if (at < 0) continue;
    good = false;
    fprintf(stderr, "%s: result %d [%lld]: want %g, got %g\n", g->name, r, (long long)at,
            want->f ? want->f[at] : (double)want->i[at], got[r]->f ? got[r]->f[at] : (double)got[r]->i[at]);
  }
  if (strcmp(g->name, "update") == 0 && good) good = updated[0] && updated[0]->f[1] == -2;
  return good;
}

int main(void) {
  int bad = 0, n = (int)(sizeof golden / sizeof *golden);
  for (int k = 0; k < n; k++) {
    DhcArena arena;
    dhc_arena_init(&arena);
    if (!holds(&golden[k], &arena)) {
      fprintf(stderr, "%s: WRONG\n", golden[k].name);
      bad++;
    }
    dhc_arena_fini(&arena);
  }
  printf("golden: %d cases, %d failed\n", n, bad);
  return bad > 0;
}
