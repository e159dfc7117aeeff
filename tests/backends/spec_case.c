#include "tests/backends/spec_case.h"

#include "passes/plan/schedule.h"
#include "backends/loop/interp.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---- building ------------------------------------------------------------------------- */

void case_init(SpecCase *c, DhcKind kind) {
  *c = (SpecCase){.lo = -2, .hi = 2, .int_hi = 9};
  dhc_arena_init(&c->arena);
  c->s = DHC_NEW(&c->arena, DhcSpec);
  c->s->kind = kind;
  c->s->node = DHC_NEW_N(&c->arena, DhcSpecNode, DHC_SPEC_MAX_NODES);
}
void case_free(SpecCase *c) { dhc_arena_fini(&c->arena); }

int case_axis(SpecCase *c, DhcAxisRole role, int64_t extent, bool constant) {
  int a = c->s->n_axes++;
  c->s->axis[a] = (DhcSpecAxis){role, constant ? extent : 0};
  c->extent[a] = extent;
  return a;
}

int case_operand(SpecCase *c, dhc_dtype t, int stored, int n_axes, const int *axes) {
  int o = c->s->n_operands++;
  DhcOperand *p = &c->s->operand[o];
  *p = (DhcOperand){.dtype = t, .out = stored >= 0, .stored = stored, .n_terms = n_axes};
  int64_t st = 1;
  for (int i = n_axes - 1; i >= 0; i--) {
    p->term[i] = (DhcTerm){.n_axes = 1, .axis = {axes[i]}, .coef = {1}, .div = 1, .index = -1,
                           .unit = i == n_axes - 1};
    c->stride[o][i] = st;
    st *= c->extent[axes[i]];
  }
  return o;
}

int case_term(SpecCase *c, int o, DhcTerm term, int64_t stride, int64_t offset, int64_t limit) {
  DhcOperand *p = &c->s->operand[o];
  int t = p->n_terms++;
  p->term[t] = term;
  c->stride[o][t] = stride;
  c->offset[o][t] = offset;
  c->limit[o][t] = limit;
  return t;
}

int case_node(SpecCase *c, DhcSpecNode n) {
  c->s->node[c->s->n_nodes] = n;
  return c->s->n_nodes++;
}
int case_load(SpecCase *c, int o) {
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_LOAD, .dtype = c->s->operand[o].dtype,
                                    .a = {-1, -1, -1, -1}, .operand = o});
}
int case_ew(SpecCase *c, DhcOp op, int a, int b, int d) {
  bool compare = op >= DHC_OP_EQ && op <= DHC_OP_GE;
  dhc_dtype t = compare || op == DHC_OP_IS_FINITE ? DHC_BOOL
                                                  : c->s->node[op == DHC_OP_SELECT ? b : a].dtype;
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = op, .dtype = t, .a = {a, b, d, -1}});
}
int case_fold(SpecCase *c, DhcOp op, dhc_dtype t, uint32_t axes, int a, int b) {
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_FOLD, .op = op, .dtype = t,
                                    .a = {a, b, -1, -1}, .axes = axes});
}
int case_const(SpecCase *c, double v) {
  return case_node(c, (DhcSpecNode){.kind = DHC_SN_CONST, .dtype = DHC_F32,
                                    .a = {-1, -1, -1, -1}, .f = v});
}

/* ---- running --------------------------------------------------------------------------- */

int64_t *case_dims(SpecCase *c) {
  const DhcSpec *s = c->s;
  int64_t *d = DHC_NEW_N(&c->arena, int64_t, dhc_spec_n_dims(s) + 1);
  for (int a = 0; a < s->n_axes; a++)
    if (dhc_spec_extent_arg(s, a) >= 0) d[dhc_spec_extent_arg(s, a)] = c->extent[a];
  for (int o = 0; o < s->n_operands; o++)
    for (int t = 0; t < s->operand[o].n_terms; t++) {
      int st = dhc_spec_stride_arg(s, o, t), of = dhc_spec_offset_arg(s, o, t);
      if (st >= 0) d[st] = c->stride[o][t];
      if (of >= 0) d[of] = c->offset[o][t], d[of + 1] = c->limit[o][t];
    }
  for (int k = 0; k < s->n_args; k++) d[dhc_spec_extra_arg(s, k)] = c->arg[k];
  return d;
}

/* elements that dense plain terms reach; guarded ones reach their limit */
static int64_t size_of(SpecCase *c, int o) {
  if (c->size[o]) return c->size[o];
  int64_t n = 1;
  for (int t = 0; t < c->s->operand[o].n_terms; t++) {
    const DhcTerm *e = &c->s->operand[o].term[t];
    int64_t top = e->guarded ? c->limit[o][t] : c->extent[e->axis[0]];
    n += (top > 0 ? top - 1 : 0) * c->stride[o][t];
  }
  return n;
}

static uint64_t state = 0x9e3779b97f4a7c15u;
static double uniform(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (double)(state >> 11) * 0x1p-53;
}

void case_put(dhc_dtype t, char *at, int64_t i, double *f, int64_t *n) {
  switch (t) {
  case DHC_F32: ((float *)(void *)at)[i] = (float)f[i]; f[i] = (double)((float *)(void *)at)[i]; break;
  case DHC_F64: ((double *)(void *)at)[i] = f[i]; break;
  case DHC_I64: ((int64_t *)(void *)at)[i] = n[i]; break;
  case DHC_I32:
  case DHC_U32: ((int32_t *)(void *)at)[i] = (int32_t)n[i]; break;
  case DHC_I16:
  case DHC_U16: ((int16_t *)(void *)at)[i] = (int16_t)n[i]; break;
  case DHC_BOOL: n[i] &= 1; at[i] = (char)n[i]; break;
  case DHC_U8:
  case DHC_I8: at[i] = (char)n[i]; break;
  case DHC_BF16: {
    float v = (float)f[i];
    uint32_t u;
    memcpy(&u, &v, 4);
    ((uint16_t *)(void *)at)[i] = (uint16_t)(u >> 16);
    u &= 0xffff0000u;
    memcpy(&v, &u, 4);
    f[i] = (double)v;
    break;
  }
  default: fail_msg("dtype %d", (int)t);
  }
}

double case_take(dhc_dtype t, const char *at, int64_t i) {
  switch (t) {
  case DHC_F32: return (double)((const float *)(const void *)at)[i];
  case DHC_F64: return ((const double *)(const void *)at)[i];
  case DHC_I64: return (double)((const int64_t *)(const void *)at)[i];
  case DHC_I32: return ((const int32_t *)(const void *)at)[i];
  case DHC_U32: return ((const uint32_t *)(const void *)at)[i];
  case DHC_I16: return ((const int16_t *)(const void *)at)[i];
  case DHC_U16: return ((const uint16_t *)(const void *)at)[i];
  case DHC_I8: return ((const signed char *)at)[i];
  case DHC_BF16: {
    uint32_t u = (uint32_t)((const uint16_t *)(const void *)at)[i] << 16;
    float v;
    memcpy(&v, &u, 4);
    return (double)v;
  }
  default: return ((const unsigned char *)at)[i];
  }
}

enum { PAD = 64 }; /* bytes behind every operand that must stay as they are */

typedef struct Memory {
  void *at[DHC_SPEC_MAX_OPERANDS + 1], *again[DHC_SPEC_MAX_OPERANDS + 1]; /* native */
  void *before[DHC_SPEC_MAX_OPERANDS];                                    /* as they begin */
  void *ref[DHC_SPEC_MAX_OPERANDS];                                       /* of the interpreter */
} Memory;

static size_t bytes_of(SpecCase *c, int o) {
  return (size_t)(size_of(c, o) * dhc_dtype_bytes(c->s->operand[o].dtype)) + PAD;
}

static void alloc_operands(SpecCase *c, Memory *m) {
  for (int o = 0; o < c->s->n_operands; o++) {
    dhc_dtype t = c->s->operand[o].dtype;
    int64_t n = size_of(c, o);
    size_t bytes = bytes_of(c, o);
    m->at[o] = aligned_alloc(64, (bytes + 63) / 64 * 64);
    m->again[o] = aligned_alloc(64, (bytes + 63) / 64 * 64);
    memset(m->at[o], 0x5a, bytes);
    double *f = DHC_NEW_N(&c->arena, double, n + 1);
    m->ref[o] = f;
    bool out = c->s->operand[o].out && c->s->kind != DHC_KIND_SCATTER;
    bool is_float = dhc_dtype_is_float(t), alike = c->s->kind == DHC_KIND_ROUTE && !out && o > 0;
    bool given = alike || (is_float ? c->floats && !out : c->fill != NULL);
    if (alike) memcpy(f, m->ref[0], sizeof *f * (size_t)n);
    else if (given && is_float) c->floats(c, o, f);
    else if (given) c->fill(c, o, (int64_t *)(void *)f);
    for (int64_t i = 0; i < n; i++) {
      if (given) ;
      else if (dhc_dtype_is_float(t)) f[i] = out ? -77 : c->lo + (c->hi - c->lo) * uniform();
      else ((int64_t *)(void *)f)[i] = out ? 0 : (int64_t)(uniform() * (double)(c->int_hi + 1));
      case_put(t, m->at[o], i, f, (int64_t *)(void *)f);
    }
    m->before[o] = dhc_arena_dup(&c->arena, m->at[o], bytes);
  }
}

static void compare(SpecCase *c, int o, const char *got, const void *ref, double tol) {
  dhc_dtype t = c->s->operand[o].dtype;
  int64_t n = size_of(c, o);
  for (int64_t i = 0; i < n; i++) {
    double want = dhc_dtype_is_float(t) ? ((const double *)ref)[i] : (double)((const int64_t *)ref)[i];
    double g = case_take(t, got, i);
    if (isnan(want) && isnan(g)) continue;
    if (isinf(want) && g == want) continue;
    double allowed = dhc_dtype_is_float(t) ? tol * (1 + fabs(want)) : 0;
    if (!(fabs(g - want) <= allowed))
      fail_msg("operand %d element %lld: want %.9g, got %.9g", o, (long long)i, want, g);
  }
  const unsigned char *pad = (const unsigned char *)got + n * dhc_dtype_bytes(t);
  for (int i = 0; i < PAD; i++)
    if (pad[i] != 0x5a) fail_msg("operand %d: written past its end", o);
}

/* One size class of the case on a backend, whatever its guard says. */
static dhc_kernel_class forced(SpecCase *c, Conform *b, const DhcSchedule *schedule) {
  dhc_kernel k;
  if (!conform_compile(b, c->s, schedule, 1, &c->arena, &k)) fail_msg("the backend has no form of it");
  return k.classes[0];
}

/* Runs it on the operands as they begin; outputs go to `to`. */
static void run_class(SpecCase *c, Conform *b, Memory *m, const dhc_kernel_class *k, const int64_t *dim, bool backwards, void *const *to) {
  static const int64_t lo[DHC_SPEC_MAX_OPERANDS];
  size_t bytes[DHC_SPEC_MAX_OPERANDS];
  for (int o = 0; o < c->s->n_operands; o++) bytes[o] = bytes_of(c, o);
  const ConformRun r = {dim, (const void *const *)m->before, lo, bytes, to, backwards};
  conform_run(b, c->s, k, &r);
}

static void *junk(int64_t bytes) {
  size_t n = (size_t)(bytes + 127) / 64 * 64;
  void *p = aligned_alloc(64, n);
  memset(p, 0xff, n); /* NaN: what is read before it is written shows */
  return p;
}

static dhc_kernel_class class_of(const DhcLp *p) {
  dhc_kernel_class c = {.n_tasks = p->n_tasks, .first_tasks = p->first_tasks, .scratch_bytes = p->scratch_bytes, .shared_bytes = p->shared_bytes};
  memcpy(c.later_tasks, p->later_tasks, sizeof c.later_tasks);
  return c;
}

/* Runs another kernel of the case: the same bits. */
static void run_again(SpecCase *c, Conform *b, Memory *m, const dhc_kernel_class *k, const int64_t *dim, bool backwards, const char *what) {
  run_class(c, b, m, k, dim, backwards, m->again);
  for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++)
    if (memcmp(m->at[o], m->again[o], bytes_of(c, o))) fail_msg("operand %d: bits depend on %s", o, what);
}

/* Every class on the other backend; alone: none has run before, and the first one's bits are the reference. */
static void check_elsewhere(SpecCase *c, Conform *b, Memory *m, const int64_t *dim, double tol, bool alone) {
  dhc_kernel k;
  if (!conform_compile(b, c->s, NULL, 0, &c->arena, &k)) return;
  for (int i = 0; i < k.n_classes; i++) {
    for (int o = 0; c->exact && o < dhc_spec_n_inputs(c->s); o++) memcpy(m->again[o], m->before[o], bytes_of(c, o));
    run_class(c, b, m, &k.classes[i], dim, false, m->again);
    for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++) {
      compare(c, o, m->again[o], m->ref[o], tol);
      if (alone && !i) memcpy(m->at[o], m->again[o], bytes_of(c, o));
      if (alone && memcmp(m->at[o], m->again[o], bytes_of(c, o))) fail_msg("operand %d: bits depend on size class %d of %d", o, i, k.n_classes);
      conform_bits(m->at[o], m->again[o], bytes_of(c, o));
    }
    if (c->exact) c->exact(c, m->again);
  }
}

/* ---- a GPU's programs, interpreted -------------------------------------------------------- */

enum { MAX_INTERPRETED = 3000, MAX_IN_BLOCKS = 150 }; /* elements of all operands: more takes too long */

static void interpret(SpecCase *c, Memory *m, const DhcLp *p, const int64_t *dim, double tol, DhcLpOrder order) {
  DhcArena *a = &c->arena;
  const char *why = NULL;
  DhcLpMemory ptr[DHC_SPEC_MAX_OPERANDS + 1] = {0};
  int64_t cut[DHC_MAX_PHASES + 1];
  dhc_kernel_class cls = class_of(p);
  conform_phases(&cls, dim, cut);
  for (int o = 0; o < c->s->n_operands; o++) {
    memcpy(m->again[o], m->before[o], bytes_of(c, o));
    ptr[o] = (DhcLpMemory){m->again[o], m->again[o], (char *)m->again[o] + bytes_of(c, o) - PAD};
  }
  int64_t shared = conform_prog(p->shared_bytes, dim);
  char *all = shared ? junk(shared) : NULL;
  ptr[c->s->n_operands] = (DhcLpMemory){all, all, all + shared};
  for (int phase = 0; phase < DHC_MAX_PHASES; phase++)
    if (!dhc_lp_interp(p, ptr, dim, cut[phase], cut[phase + 1], order, a, &why)) fail_msg("on a GPU, order %d: %s", (int)order, why);
  free(all);
  for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++) {
    compare(c, o, m->again[o], m->ref[o], tol);
    if (c->all_classes && memcmp(m->at[o], m->again[o], bytes_of(c, o))) fail_msg("operand %d: a GPU's program has other bits than the CPU's", o);
  }
}

static void free_operands(SpecCase *c, Memory *m) {
  for (int o = 0; o < c->s->n_operands; o++) free(m->at[o]), free(m->again[o]);
}

void case_interpret(SpecCase *c, const DhcSchedule *s, double tol) {
  static const DhcTargetFacts gpu = {.kind = DHC_TARGET_GPU, .vector_bytes = 64, .task_elements = 1, .by_threads = true, .has_fma = true, .compute = DHC_COMPUTE_TF32};
  const char *why = NULL;
  Memory m;
  if (!dhc_spec_verify(c->s, &c->arena, &why)) fail_msg("spec: %s", why);
  alloc_operands(c, &m);
  int64_t *dim = case_dims(c);
  dhc_spec_interp(c->s, m.ref, dim, &c->arena);
  DhcTplInput in = {c->s, s, &gpu, &c->arena};
  DhcLp *p = dhc_template_build(&in, &why);
  if (!p) fail_msg("%s", why);
  if (!p->threads) fail_msg("refused: %s", why ? why : "?"); /* not the plain template's */
  assert_true(dhc_lp_legal(p, DHC_TARGET_GPU, &c->arena, &why));
  for (int order = 0; order < DHC_LP_N_ORDERS; order++) interpret(c, &m, p, dim, tol, (DhcLpOrder)order);
  free_operands(c, &m);
}

/* Of what is asked for in less than f32 every class has a program as well; test_tiles.c runs its tiles. */
static void build_in(SpecCase *c, const DhcTargetFacts *exact, DhcCompute compute) {
  DhcTargetFacts facts = *exact;
  facts.compute = compute;
  DhcSchedule classes[DHC_MAX_CLASSES];
  int n = dhc_schedule_choose(c->s, &facts, &c->arena, classes);
  for (int i = 0; i < n; i++) {
    const char *why = NULL;
    DhcTplInput in = {c->s, &classes[i], &facts, &c->arena};
    if (!classes[i].v[5]) continue;
    if (!dhc_template_build(&in, &why)) fail_msg("on a GPU, compute %d: %s", compute, why);
  }
}

/* Every class of the schedule for a GPU, and the barrier rules; threads in several orders (of large cases in one where
 * sanitizers watch the interpreter, which itself looks at every access: orders differ in values, not in its code). */
static void check_on_gpu(SpecCase *c, Memory *m, const int64_t *dim, double tol) {
  static const DhcTargetFacts cuda = {.kind = DHC_TARGET_GPU, .vector_bytes = 64, .task_elements = 1, .by_threads = true, .has_fma = true};
  DhcSchedule classes[DHC_MAX_CLASSES];
  int64_t elements = 0;
  for (int o = 0; o < c->s->n_operands; o++) elements += size_of(c, o);
  int n = dhc_schedule_choose(c->s, &cuda, &c->arena, classes);
  for (int i = 0; i < n; i++) {
    const char *why = NULL;
    DhcTplInput in = {c->s, &classes[i], &cuda, &c->arena};
    DhcLp *p = dhc_template_build(&in, &why);
    if (!p) fail_msg("on a GPU: %s", why);
    if (!dhc_lp_legal(p, DHC_TARGET_GPU, &c->arena, &why)) {
      assert_non_null(strstr(why, "scratch"));
      continue;
    }
    if (elements > (p->threads ? MAX_IN_BLOCKS : MAX_INTERPRETED) && !(c->all_classes && p->threads)) continue;
    bool once = !p->threads || (elements > MAX_INTERPRETED && getenv("DHC_SANITIZED"));
    for (int order = 0; order < (once ? 1 : DHC_LP_N_ORDERS); order++) {
      interpret(c, m, p, dim, tol, (DhcLpOrder)order);
      if (c->exact) c->exact(c, m->again);
    }
  }
  for (int compute = DHC_COMPUTE_TF32; compute < DHC_N_COMPUTES; compute++) build_in(c, &cuda, (DhcCompute)compute);
}

/* Every way to run the case on a backend: in one piece, cut into single tasks, in another template and in every class. */
static void check_on(SpecCase *c, Conform *b, Memory *m, const int64_t *dim, const int *v, double tol) {
  DhcSchedule schedule = {.template_name = ""}, plain = {.template_name = c->plain, .v = {c->plain_v0}}, classes[DHC_MAX_CLASSES];
  if (v) memcpy(schedule.v, v, sizeof schedule.v);
  dhc_schedule_complete(c->s, conform_target(b), &schedule);
  dhc_schedule_complete(c->s, conform_target(b), &plain);
  dhc_kernel_class k = forced(c, b, &schedule);
  run_class(c, b, m, &k, dim, false, m->at);
  for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++) compare(c, o, m->at[o], m->ref[o], tol);
  if (c->exact) c->exact(c, m->at);
  run_again(c, b, m, &k, dim, true, "the cut");
  if (c->plain) {
    dhc_kernel_class slow = forced(c, b, &plain);
    run_again(c, b, m, &slow, dim, false, "the template");
  }
  int n = dhc_schedule_choose(c->s, conform_target(b), &c->arena, classes);
  for (int i = 0; i < n; i++) {
    dhc_kernel_class one = forced(c, b, &classes[i]);
    run_again(c, b, m, &one, dim, i % 2 == 0, dhc_arena_printf(&c->arena, "size class %d of %d", i, n));
  }
}

void case_check(SpecCase *c, const char *features, const int *v, double tol) {
  const char *why = NULL;
  if (!dhc_spec_verify(c->s, &c->arena, &why)) fail_msg("spec: %s", why);
  Memory m;
  alloc_operands(c, &m); /* draws what it draws, whoever has the case */
  if (!conform_has(c->s)) {
    free_operands(c, &m);
    return;
  }
  int64_t *dim = case_dims(c);
  dhc_spec_interp(c->s, m.ref, dim, &c->arena);
  Conform *first = conform_first(features);
  if (first) check_on(c, first, &m, dim, v, tol);
  if (first) check_on_gpu(c, &m, dim, tol); /* its interpreter needs no GPU */
  if (conform_other()) check_elsewhere(c, conform_other(), &m, dim, tol, !first);
  free_operands(c, &m);
}
