#include "tests/backends/spec_case.h"

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

static int64_t *dims_of(SpecCase *c) {
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

int64_t case_prog(dhc_dimprog p, const int64_t *dim) {
  int64_t st[64];
  int n = 0;
  for (int i = 0; i < p.n_code; i++) {
    switch ((int)p.code[i]) {
    case DHC_DIM_CONST: st[n++] = p.code[++i]; continue;
    case DHC_DIM_SYM: st[n++] = dim[p.code[++i]]; continue;
    default: break;
    }
    int64_t y = st[--n], x = st[n - 1];
    switch ((int)p.code[i]) {
    case DHC_DIM_ADD: x += y; break;
    case DHC_DIM_SUB: x -= y; break;
    case DHC_DIM_MUL: x *= y; break;
    case DHC_DIM_FLOORDIV: x /= y; break;
    case DHC_DIM_CEILDIV: x = (x + y - 1) / y; break;
    case DHC_DIM_MIN: x = x < y ? x : y; break;
    case DHC_DIM_MAX: x = x > y ? x : y; break;
    case DHC_DIM_LE: x = x <= y; break;
    default: x = x && y; break;
    }
    st[n - 1] = x;
  }
  return n ? st[0] : 0;
}

enum { PAD = 64 }; /* bytes behind every operand that must stay as they are */

static void alloc_operands(SpecCase *c, void **mem, void **ref, void **again) {
  for (int o = 0; o < c->s->n_operands; o++) {
    dhc_dtype t = c->s->operand[o].dtype;
    int64_t n = size_of(c, o);
    size_t bytes = (size_t)(n * dhc_dtype_bytes(t)) + PAD;
    mem[o] = aligned_alloc(64, (bytes + 63) / 64 * 64);
    again[o] = aligned_alloc(64, (bytes + 63) / 64 * 64);
    memset(mem[o], 0x5a, bytes);
    double *f = DHC_NEW_N(&c->arena, double, n + 1);
    ref[o] = f;
    bool out = c->s->operand[o].out && c->s->kind != DHC_KIND_SCATTER;
    for (int64_t i = 0; i < n; i++) {
      if (dhc_dtype_is_float(t)) f[i] = out ? -77 : c->lo + (c->hi - c->lo) * uniform();
      else ((int64_t *)(void *)f)[i] = out ? 0 : (int64_t)(uniform() * (double)(c->int_hi + 1));
      case_put(t, mem[o], i, f, (int64_t *)(void *)f);
    }
    memcpy(again[o], mem[o], bytes);
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

/* A template's kernel, linked into j. */
typedef struct Linked {
  dhc_kernel_fn fn;
  DhcLp *p;
} Linked;

static Linked link_kernel(SpecCase *c, const DhcCpuTarget *target, DhcCpuGen *g, DhcCpuJit *j,
                          const char *name, const DhcSchedule *schedule) {
  const char *why = NULL;
  DhcTplInput in = {c->s, schedule, &target->facts, &c->arena};
  Linked r = {.p = dhc_template_build(&in, &why)};
  if (!r.p) fail_msg("%s", why);
  if (getenv("CASE_LOOP")) {
    DhcText text = {.arena = &c->arena};
    dhc_lp_print(r.p, &text);
    puts(dhc_text_str(&text));
  }
  DhcCpuBytes object;
  dhc_status s = dhc_cpu_gen_run(g, (const DhcLp *const *)&r.p, &name, 1, DHC_CPU_OBJECT, &object);
  if (s.code) fail_msg("%s", s.message);
  if (getenv("CASE_ASM")) {
    DhcCpuBytes text;
    s = dhc_cpu_gen_run(g, (const DhcLp *const *)&r.p, &name, 1, DHC_CPU_ASM, &text);
    fwrite(text.bytes, 1, text.n_bytes, stdout);
    free(text.bytes);
  }
  s = dhc_cpu_jit_add(j, object.bytes, object.n_bytes, &name, 1, &r.fn);
  if (s.code) fail_msg("%s", s.message);
  free(object.bytes);
  return r;
}

static void *scratch_for(const DhcLp *p, const int64_t *dim) {
  size_t bytes = (size_t)(case_prog(p->scratch_bytes, dim) + 127) / 64 * 64;
  void *scratch = aligned_alloc(64, bytes);
  memset(scratch, 0xff, bytes); /* NaN: what is read before it is written shows */
  return scratch;
}

static void same_bits(SpecCase *c, void *const *x, void *const *y, const char *what) {
  for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++) {
    size_t bytes = (size_t)(size_of(c, o) * dhc_dtype_bytes(c->s->operand[o].dtype)) + PAD;
    if (memcmp(x[o], y[o], bytes)) fail_msg("operand %d: bits depend on %s", o, what);
  }
}

void case_check(SpecCase *c, const char *features, const int *v, double tol) {
  DhcArena *a = &c->arena;
  const char *why = NULL;
  if (!dhc_spec_verify(c->s, a, &why)) fail_msg("spec: %s", why);
  DhcCpuTarget target;
  DhcCpuGen *g = NULL;
  DhcCpuJit *j = NULL;
  dhc_status s = dhc_cpu_target(a, NULL, features, &target);
  if (!s.code) s = dhc_cpu_gen_open(&target, &g);
  if (!s.code) s = dhc_cpu_jit_open(&target, &j);
  if (s.code) fail_msg("%s", s.message);
  DhcSchedule schedule = {.template_name = ""}, plain = {.template_name = c->plain, .v = {c->plain_v0}};
  if (v) memcpy(schedule.v, v, sizeof schedule.v);
  Linked k = link_kernel(c, &target, g, j, "k", &schedule);

  void *mem[DHC_SPEC_MAX_OPERANDS], *ref[DHC_SPEC_MAX_OPERANDS], *again[DHC_SPEC_MAX_OPERANDS];
  alloc_operands(c, mem, ref, again);
  int64_t *dim = dims_of(c);
  int64_t n_tasks = case_prog(k.p->n_tasks, dim);
  void *scratch = scratch_for(k.p, dim);
  dhc_spec_interp(c->s, ref, dim, a);
  k.fn(mem, (const intptr_t *)dim, 0, n_tasks, scratch);
  for (int64_t t = n_tasks - 1; t >= 0; t--) k.fn(again, (const intptr_t *)dim, t, t + 1, scratch);
  for (int o = dhc_spec_n_inputs(c->s); o < c->s->n_operands; o++)
    compare(c, o, mem[o], ref[o], tol);
  same_bits(c, mem, again, "the cut");
  free(scratch);
  if (c->plain) {
    Linked slow = link_kernel(c, &target, g, j, "plain", &plain);
    scratch = scratch_for(slow.p, dim);
    slow.fn(again, (const intptr_t *)dim, 0, case_prog(slow.p->n_tasks, dim), scratch);
    same_bits(c, mem, again, "the template");
    free(scratch);
  }
  for (int o = 0; o < c->s->n_operands; o++) free(mem[o]), free(again[o]);
  dhc_cpu_jit_close(j);
  dhc_cpu_gen_close(g);
}
