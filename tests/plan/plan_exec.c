#include <stdlib.h>

#include "tests/plan/plan_exec.h"

#include <math.h>
#include <string.h>

#include "passes/plan/plan_internal.h"

/* One cell a byte of a segment; an element lies in the cell of its first byte. */
typedef struct Cell {
  double f;
  int64_t i;
} Cell;

typedef struct Exec {
  const DhcPlanned *p;
  DhcBound *bound;
  DhcArena *arena;
  const int64_t *symbols;
  Cell *cell[DHC_N_SEGMENTS];
  int64_t trip[DHC_MAX_LOOP_DEPTH];
  FILE *report;
  bool ok;
} Exec;

static const Cell poison = {NAN, INT64_C(0x5a5a5a5a5a)};

bool dhc_test_same(const DhcArray *a, const DhcArray *b) {
  if (!a || !b) return a == b;
  if (a->n != b->n) return false;
  for (int64_t i = 0; i < a->n; i++)
    if (a->f ? !(a->f[i] == b->f[i] || (a->f[i] != a->f[i] && b->f[i] != b->f[i])) : a->i[i] != b->i[i]) return false;
  return true;
}

bool dhc_test_fuse(DhcFunc **f, DhcPipelineStage at) {
  DhcPipeline way = dhc_pipeline_from(*f, at);
  bool ok = dhc_pipeline_run(&way, DHC_PIPELINE_FUSED);
  *f = way.func;
  return ok;
}

DhcPlanned *dhc_test_plan(DhcFunc **f, DhcPipelineStage at, bool plain) {
  DhcPipeline way = dhc_pipeline_from(*f, at);
  way.rq.plain = plain;
  bool ok = dhc_pipeline_run(&way, DHC_PIPELINE_PLAN);
  *f = way.func;
  return ok ? way.planned : NULL;
}

bool dhc_test_symbols(const DhcFunc *f, const DhcArray *const *args, int64_t *symbols) {
  bool bound[64] = {false};
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < f->params.n; i++)
      for (int d = 0; d < args[i]->rank; d++) {
        bool unbound = false;
        if (!dhc_dim_unify(f->params.at[i]->type.dim[d], args[i]->dim[d], f->symbols.n, f->symbols.at, symbols, bound, &unbound))
          return false;
      }
  for (int i = 0; i < f->symbols.n; i++)
    if (!bound[i]) symbols[i] = 1;
  return true;
}

static void no_kernel(void *const *ptr, const intptr_t *dim, intptr_t task0, intptr_t task1, void *scratch) {
  (void)ptr, (void)dim, (void)task0, (void)task1, (void)scratch;
}

static const dhc_kernel_class none = {.fn = no_kernel};

bool dhc_test_bind(const DhcPlanned *p, const int64_t *symbols, DhcArena *arena, DhcBound **out, FILE *report) {
  int n = p->plan.n_kernels;
  dhc_kernel *kernels = DHC_NEW_N(arena, dhc_kernel, n + 1);
  const dhc_kernel **at = DHC_NEW_N(arena, const dhc_kernel *, n + 1);
  for (int k = 0; k < n; k++) {
    kernels[k] = (dhc_kernel){.name = "none", .n_ptrs = p->specs[k]->n_operands, .n_dims = dhc_spec_n_dims(p->specs[k]),
                              .n_classes = 1, .classes = &none};
    at[k] = &kernels[k];
  }
  dhc_status st = dhc_plan_bind(&p->plan, at, symbols, 1, out);
  if (st.code != DHC_OK && report) fprintf(report, "bind: %s\n", st.message);
  return st.code == DHC_OK;
}

/* ---- memory --------------------------------------------------------------------------- */

static int64_t value_of(const Exec *x, dhc_dimprog prog) {
  int64_t v = 0;
  dhc_dimprog_eval(prog, x->symbols, x->p->plan.n_symbols, 0, &v);
  return v;
}

static void put(Cell *c, int64_t size, Cell v) {
  c[0] = v;
  for (int64_t b = 1; b < size; b++) c[b] = poison;
}

static Cell *buffer_cells(const Exec *x, int buffer) {
  return x->cell[x->p->plan.buffers[buffer].segment] + dhc_bound_buffer_offset(x->bound, buffer);
}

/* Byte offset of a reference within its buffer in this trip. */
static int64_t place_of(const Exec *x, const dhc_ref *r) {
  int64_t at = value_of(x, r->offset);
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++) at += value_of(x, r->step[d]) * x->trip[d];
  return at;
}

static void store_array(const Exec *x, int buffer, const DhcArray *a) {
  int64_t size = dhc_dtype_bytes(a->dtype);
  Cell *c = buffer_cells(x, buffer);
  for (int64_t e = 0; e < a->n; e++) put(c + e * size, size, (Cell){a->f ? a->f[e] : 0, a->f ? 0 : a->i[e]});
}

static DhcArray *load_array(const Exec *x, int buffer, const DhcType *t) {
  int64_t dim[DHC_MAX_RANK], size = dhc_dtype_bytes(t->dtype);
  for (int d = 0; d < t->rank; d++)
    if (!dhc_dim_eval(t->dim[d], x->p->plan.n_symbols, x->p->plan.symbols, x->symbols, &dim[d])) return NULL;
  DhcArray *a = dhc_array_new(x->arena, t->dtype, t->rank, dim);
  const Cell *c = buffer_cells(x, buffer);
  for (int64_t e = 0; e < a->n; e++) {
    if (a->f)
      a->f[e] = c[e * size].f;
    else
      a->i[e] = c[e * size].i;
  }
  return a;
}

/* ---- items ------------------------------------------------------------------------------ */

static bool within(const Exec *x, const dhc_ref *r, int64_t byte) {
  return byte >= value_of(x, r->low) && (!r->high.n_code || byte < value_of(x, r->high));
}

/* What the item says it does not touch of the buffer is nothing that it could use. */
static void hide(const Exec *x, const dhc_ref *r, dhc_dtype t, int64_t n, double *f) {
  for (int64_t e = 0; e < n; e++)
    if (!within(x, r, e * dhc_dtype_bytes(t))) {
      if (dhc_dtype_is_float(t)) f[e] = NAN;
      else ((int64_t *)f)[e] = -(INT64_C(1) << 40);
    }
}

/* Elements of the buffer behind an operand; what comes after its first element is exactly as
 * long as the buffer, so that a sanitizer sees stray reads. */
static void run_call(Exec *x, int item) {
  const dhc_item *it = &x->p->plan.items[item];
  const DhcSpec *s = x->p->specs[it->kernel];
  void *ptr[DHC_SPEC_MAX_OPERANDS];
  int64_t dims[512], n[DHC_SPEC_MAX_OPERANDS];
  DhcArena arena, scratch;
  dhc_arena_init(&arena);
  dhc_arena_init(&scratch);
  for (int d = 0; d < it->n_dims; d++) dims[d] = dhc_bound_item_dims(x->bound, item)[d];
  double *f[DHC_SPEC_MAX_OPERANDS], *before[DHC_SPEC_MAX_OPERANDS];
  for (int o = 0; o < s->n_operands; o++) {
    int64_t size = dhc_dtype_bytes(s->operand[o].dtype), at = place_of(x, &it->refs[o]);
    n[o] = dhc_bound_buffer_bytes(x->bound, it->refs[o].buffer) / size;
    if (at % size) x->ok = false;
    f[o] = DHC_NEW_N(&arena, double, n[o] + 1);
    int64_t *in = (int64_t *)f[o];
    const Cell *c = buffer_cells(x, it->refs[o].buffer);
    for (int64_t e = 0; e < n[o]; e++) {
      if (dhc_dtype_is_float(s->operand[o].dtype))
        f[o][e] = c[e * size].f;
      else
        in[e] = c[e * size].i;
    }
    hide(x, &it->refs[o], s->operand[o].dtype, n[o], f[o]);
    before[o] = dhc_arena_dup(&arena, f[o], sizeof(double) * (size_t)(n[o] + 1));
    ptr[o] = f[o] + at / size;
  }
  dhc_spec_interp(s, ptr, dims, &scratch);
  /* Only what changed is written back: another output may have written the rest. */
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    int64_t size = dhc_dtype_bytes(s->operand[o].dtype);
    Cell *c = buffer_cells(x, it->refs[o].buffer);
    bool is_float = dhc_dtype_is_float(s->operand[o].dtype);
    const int64_t *out = (const int64_t *)f[o];
    for (int64_t e = 0; e < n[o]; e++)
      if (memcmp(&f[o][e], &before[o][e], sizeof(double)) != 0) {
        if (!within(x, &it->refs[o], e * size)) x->ok = false;
        put(&c[e * size], size, (Cell){is_float ? f[o][e] : 0, is_float ? 0 : out[e]});
      }
  }
  dhc_arena_fini(&scratch);
  dhc_arena_fini(&arena);
}

static void run_copy(Exec *x, const dhc_item *it) {
  const Cell *from = buffer_cells(x, it->refs[0].buffer) + place_of(x, &it->refs[0]);
  Cell *to = buffer_cells(x, it->refs[1].buffer) + place_of(x, &it->refs[1]);
  int64_t n = value_of(x, it->bytes);
  if (from < to + n && to < from + n) x->ok = false;
  memcpy(to, from, sizeof *to * (size_t)n);
}

static void run_fill(Exec *x, const dhc_item *it) {
  dhc_dtype t = x->p->dtypes[it->refs[0].buffer];
  int64_t size = dhc_dtype_bytes(t), n = value_of(x, it->bytes) / size;
  float f;
  memcpy(&f, &it->pattern, 4);
  int64_t i = t == DHC_I32 ? (int32_t)it->pattern : (int64_t)it->pattern;
  Cell v = {dhc_dtype_is_float(t) ? (double)f : 0, i};
  Cell *to = buffer_cells(x, it->refs[0].buffer) + place_of(x, &it->refs[0]);
  for (int64_t e = 0; e < n; e++) put(to + e * size, size, v);
}

static void run_items(Exec *x, int begin, int end, int depth) {
  for (int i = begin; i < end; i++) {
    const dhc_item *it = &x->p->plan.items[i];
    switch (it->kind) {
      case DHC_ITEM_CALL: run_call(x, i); break;
      case DHC_ITEM_COPY: run_copy(x, it); break;
      case DHC_ITEM_FILL: run_fill(x, it); break;
      case DHC_ITEM_RANKS:
      case DHC_ITEM_JOIN: break;
      default: {
        int64_t count = value_of(x, it->count);
        if (depth >= DHC_MAX_LOOP_DEPTH) abort();
        for (x->trip[depth] = 0; x->trip[depth] < count; x->trip[depth]++)
          run_items(x, i + 1, i + 1 + it->n_body, depth + 1);
        x->trip[depth] = 0;
        i += it->n_body;
      }
    }
  }
}

bool dhc_test_run_plan(const DhcPlanned *p, const DhcFunc *f, const DhcArray *const *args, DhcArena *arena,
                       DhcArray **results, DhcArray **after, FILE *report) {
  int64_t symbols[64];
  Exec x = {.p = p, .arena = arena, .symbols = symbols, .report = report, .ok = true};
  if (!dhc_test_symbols(f, args, symbols) || !dhc_test_bind(p, symbols, arena, &x.bound, report)) return false;
  DhcArena memory;
  dhc_arena_init(&memory);
  for (int a = 0; a < DHC_N_SEGMENTS; a++) {
    int64_t n = dhc_bound_segment_bytes(x.bound, a);
    x.cell[a] = DHC_NEW_N(&memory, Cell, n + 1);
    for (int64_t i = 0; i < n; i++) x.cell[a][i] = poison;
  }
  for (int i = 0; i < p->n_params; i++)
    if (p->params[i].buffer >= 0) store_array(&x, p->params[i].buffer, args[i]);
  run_items(&x, 0, p->plan.n_items, 0);
  for (int i = 0; i < p->n_results; i++) results[i] = load_array(&x, p->results[i].buffer, &p->results[i].type);
  for (int i = 0; i < p->n_params; i++)
    after[i] = p->params[i].buffer < 0 ? NULL : load_array(&x, p->params[i].buffer, &p->params[i].type);
  dhc_arena_fini(&memory);
  dhc_bound_free(x.bound);
  if (!x.ok && report) fprintf(report, "an item copies onto itself or lies askew\n");
  return x.ok;
}

/* ---- lifetimes ----------------------------------------------------------------------------- */

bool dhc_test_apart(const DhcPlanned *p, const int64_t *symbols, DhcArena *arena, FILE *report) {
  DhcBound *b;
  if (!dhc_test_bind(p, symbols, arena, &b, report)) return false;
  DhcSpanOfItems *life = dhc_memory_lives(&p->plan, p->specs, arena);
  bool ok = true;
  for (int i = 0; i < p->plan.n_buffers; i++)
    for (int j = 0; j < i; j++) {
      const dhc_buffer *x = &p->plan.buffers[i], *y = &p->plan.buffers[j];
      if (x->segment != y->segment || x->alias >= 0 || y->alias >= 0) continue;
      bool meet = life[i].first <= life[j].last && life[j].first <= life[i].last;
      if (x->segment == DHC_SEGMENT_WORK && !meet) continue;
      int64_t xb = dhc_bound_buffer_offset(b, i), xe = xb + dhc_bound_buffer_bytes(b, i);
      int64_t yb = dhc_bound_buffer_offset(b, j), ye = yb + dhc_bound_buffer_bytes(b, j);
      if (xb >= ye || yb >= xe) continue;
      if (report) fprintf(report, "buffers %d [%lld, %lld) and %d [%lld, %lld) overlap\n", i, (long long)xb, (long long)xe, j, (long long)yb, (long long)ye);
      ok = false;
    }
  dhc_bound_free(b);
  return ok;
}
