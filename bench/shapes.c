#include "bench/shapes.h"

#include <stdlib.h>
#include <string.h>

/* ---- specs ----------------------------------------------------------------------------- */

static int axis(Bench *c, DhcAxisRole role, int64_t extent, bool constant) {
  c->s.axis[c->s.n_axes] = (DhcSpecAxis){role, constant ? extent : 0};
  c->extent[c->s.n_axes] = extent;
  return c->s.n_axes++;
}

static int operand(Bench *c, int stored) {
  c->s.operand[c->s.n_operands] = (DhcOperand){.dtype = DHC_F32, .out = stored >= 0, .stored = stored};
  return c->s.n_operands++;
}

static void plain(Bench *c, int o, int a, int64_t stride) {
  DhcOperand *p = &c->s.operand[o];
  c->stride[o][p->n_terms] = stride;
  p->term[p->n_terms++] =
      (DhcTerm){.n_axes = 1, .axis = {a}, .coef = {1}, .div = 1, .index = -1, .unit = stride == 1};
  c->size[o] += (c->extent[a] - 1) * stride;
}

/* index = cx * a + ct * b + offset, in [0, limit) */
static void guarded(Bench *c, int o, int n, const int *a, const int64_t *coef, int64_t stride, int64_t offset,
                    int64_t limit) {
  DhcOperand *p = &c->s.operand[o];
  int t = p->n_terms++;
  p->term[t] = (DhcTerm){.n_axes = n, .div = 1, .index = -1, .guarded = true, .unit = stride == 1};
  for (int i = 0; i < n; i++) p->term[t].axis[i] = a[i], p->term[t].coef[i] = coef[i];
  c->stride[o][t] = stride;
  c->offset[o] = offset;
  c->limit[o][t] = limit;
  c->size[o] += (limit - 1) * stride;
}

static int node(Bench *c, DhcSpecNode n) {
  c->node[c->s.n_nodes] = n;
  return c->s.n_nodes++;
}
static int load(Bench *c, int o) {
  return node(c, (DhcSpecNode){.kind = DHC_SN_LOAD, .dtype = DHC_F32, .a = {-1, -1, -1, -1}, .operand = o});
}
static int fold(Bench *c, DhcOp op, dhc_dtype t, uint32_t axes, int x, int y) {
  return node(c, (DhcSpecNode){.kind = DHC_SN_FOLD, .op = op, .dtype = t, .a = {x, y, -1, -1}, .axes = axes});
}

static void start(Bench *c, DhcKind kind) {
  memset(c, 0, sizeof *c);
  dhc_arena_init(&c->arena);
  c->s.kind = kind;
  c->s.node = c->node;
}

/* ---- shapes ------------------------------------------------------------------------------ */

/* form: bit 0 A is [k, m], bit 1 B is [k, n] (else [n, k], as a linear layer's weight) */
static void dot(Bench *c, int form, int64_t m, int64_t n, int64_t k) {
  start(c, DHC_KIND_DOT);
  int i = axis(c, DHC_AXIS_PAR, m, false), j = axis(c, DHC_AXIS_PAR, n, false),
      r = axis(c, DHC_AXIS_RED, k, false);
  int a = operand(c, -1), b = operand(c, -1);
  plain(c, a, i, form & 1 ? 1 : k);
  plain(c, a, r, form & 1 ? m : 1);
  plain(c, b, j, form & 2 ? 1 : k);
  plain(c, b, r, form & 2 ? n : 1);
  int y = operand(c, fold(c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << r, load(c, a), load(c, b)));
  plain(c, y, i, n);
  plain(c, y, j, 1);
  c->flops = 2.0 * (double)(m * n * k);
}

/* 3x3, pad 1; pool: 2x2 maxima with argmax */
static void conv(Bench *c, bool back, bool pool, int64_t n_images, int64_t channels, int64_t outs,
                 int64_t h) {
  start(c, DHC_KIND_CONV);
  int64_t step = pool ? 2 : 1, out = h / step;
  int n = axis(c, DHC_AXIS_PAR, n_images, false), o = axis(c, DHC_AXIS_PAR, outs, false);
  int y = axis(c, DHC_AXIS_PAR, out, false), x = axis(c, DHC_AXIS_PAR, out, false);
  int wy = pool ? axis(c, DHC_AXIS_RED, 2, true) : -1, wx = pool ? axis(c, DHC_AXIS_RED, 2, true) : -1;
  int ci = axis(c, DHC_AXIS_RED, channels, false), ky = axis(c, DHC_AXIS_RED, 3, true),
      kx = axis(c, DHC_AXIS_RED, 3, true);
  int ox = operand(c, -1), ow = operand(c, -1);
  plain(c, ox, n, channels * h * h);
  plain(c, ox, ci, h * h);
  int64_t tap = back ? -1 : 1, offset = back ? 1 : -1;
  if (pool) {
    guarded(c, ox, 3, (int[]){y, wy, ky}, (int64_t[]){2, 1, tap}, h, offset, h);
    guarded(c, ox, 3, (int[]){x, wx, kx}, (int64_t[]){2, 1, tap}, 1, offset, h);
  } else {
    guarded(c, ox, 2, (int[]){y, ky}, (int64_t[]){1, tap}, h, offset, h);
    guarded(c, ox, 2, (int[]){x, kx}, (int64_t[]){1, tap}, 1, offset, h);
  }
  plain(c, ow, o, back ? 9 : channels * 9);
  plain(c, ow, ci, back ? outs * 9 : 9);
  plain(c, ow, ky, 3);
  plain(c, ow, kx, 1);
  int d = fold(c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << ci | 1u << ky | 1u << kx, load(c, ox), load(c, ow));
  uint32_t window = pool ? 1u << wy | 1u << wx : 0;
  int stored[2] = {d, -1};
  if (pool) {
    stored[0] = fold(c, DHC_OP_REDUCE_MAX, DHC_F32, window, d, -1);
    stored[1] = fold(c, DHC_OP_ARGMAX, DHC_I32, window, d, -1);
  }
  for (int i = 0; i < 2 && stored[i] >= 0; i++) {
    int q = operand(c, stored[i]);
    c->s.operand[q].dtype = i ? DHC_I32 : DHC_F32;
    plain(c, q, n, outs * out * out);
    plain(c, q, o, out * out);
    plain(c, q, y, out);
    plain(c, q, x, 1);
  }
  c->flops = 18.0 * (double)(n_images * channels * outs * out * out * step * step);
}

static void conv_dw(Bench *c, int64_t n_images, int64_t channels, int64_t outs, int64_t h) {
  start(c, DHC_KIND_CONV_DW);
  int o = axis(c, DHC_AXIS_PAR, outs, false), ci = axis(c, DHC_AXIS_PAR, channels, false);
  int ky = axis(c, DHC_AXIS_PAR, 3, true), kx = axis(c, DHC_AXIS_PAR, 3, true);
  int n = axis(c, DHC_AXIS_RED, n_images, false), y = axis(c, DHC_AXIS_RED, h, false),
      x = axis(c, DHC_AXIS_RED, h, false);
  int ox = operand(c, -1), oy = operand(c, -1);
  plain(c, ox, ci, h * h);
  plain(c, ox, n, channels * h * h);
  guarded(c, ox, 2, (int[]){ky, y}, (int64_t[]){1, 1}, h, -1, h);
  guarded(c, ox, 2, (int[]){kx, x}, (int64_t[]){1, 1}, 1, -1, h);
  plain(c, oy, o, h * h);
  plain(c, oy, n, outs * h * h);
  plain(c, oy, y, h);
  plain(c, oy, x, 1);
  int d = fold(c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << n | 1u << y | 1u << x, load(c, ox), load(c, oy));
  int q = operand(c, d);
  plain(c, q, o, channels * 9);
  plain(c, q, ci, 9);
  plain(c, q, ky, 3);
  plain(c, q, kx, 1);
  c->flops = 18.0 * (double)(n_images * channels * outs * h * h);
}

/* square sums of `rows` rows: along them, or down them ([n, rows] in memory) */
static void sums(Bench *c, bool down, int64_t n_rows, int64_t n) {
  start(c, DHC_KIND_ROW);
  int i = axis(c, DHC_AXIS_PAR, n_rows, false), r = axis(c, DHC_AXIS_RED, n, false);
  int x = operand(c, -1);
  plain(c, x, down ? r : i, down ? n_rows : n);
  plain(c, x, down ? i : r, 1);
  int e = load(c, x);
  int sq = node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_MUL, .dtype = DHC_F32, .a = {e, e, -1, -1}});
  plain(c, operand(c, fold(c, DHC_OP_REDUCE_SUM, DHC_F32, 1u << r, sq, -1)), i, 1);
  c->flops = 2.0 * (double)(n_rows * n);
}

/* lo[e] <= row < hi[e] */
static int in_range(Bench *c, int row, int e) {
  int wide[2], at = node(c, (DhcSpecNode){.kind = DHC_SN_AXIS, .dtype = DHC_I64, .a = {-1, -1, -1, -1}, .operand = row});
  for (int i = 0; i < 2; i++) {
    int o = operand(c, -1);
    c->s.operand[o].dtype = DHC_I32;
    plain(c, o, e, 1);
    int x = node(c, (DhcSpecNode){.kind = DHC_SN_LOAD, .dtype = DHC_I32, .a = {-1, -1, -1, -1}, .operand = o});
    wide[i] = node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_CAST, .dtype = DHC_I64, .a = {x, -1, -1, -1}});
  }
  int le = node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_LE, .dtype = DHC_BOOL, .a = {wide[0], at, -1, -1}});
  int lt = node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_LT, .dtype = DHC_BOOL, .a = {at, wide[1], -1, -1}});
  return node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_AND, .dtype = DHC_BOOL, .a = {le, lt, -1, -1}});
}

static int masked(Bench *c, int in, int o) {
  int zero = node(c, (DhcSpecNode){.kind = DHC_SN_CONST, .dtype = DHC_F32, .a = {-1, -1, -1, -1}});
  return node(c, (DhcSpecNode){.kind = DHC_SN_EW, .op = DHC_OP_SELECT, .dtype = DHC_F32, .a = {in, load(c, o), zero, -1}});
}

/* form 0: rows by matrices [8, out, in], 1: [8, in, out], 2: their gradient */
static void ragged(Bench *c, int form, int64_t n_rows, int64_t in, int64_t out) {
  enum { E = 8 };
  start(c, DHC_KIND_RAGGED);
  if (form == 2) {
    int e = axis(c, DHC_AXIS_PAR, E, false), i = axis(c, DHC_AXIS_PAR, in, false), j = axis(c, DHC_AXIS_PAR, out, false);
    int t = axis(c, DHC_AXIS_RED, n_rows, false), x = operand(c, -1);
    plain(c, x, i, 1);
    plain(c, x, t, in);
    int y, mask = in_range(c, t, e), m = masked(c, mask, x);
    y = operand(c, -1);
    plain(c, y, j, 1);
    plain(c, y, t, out);
    int q = operand(c, fold(c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << t, m, load(c, y)));
    plain(c, q, e, in * out);
    plain(c, q, i, out);
    plain(c, q, j, 1);
  } else {
    int t = axis(c, DHC_AXIS_PAR, n_rows, false), j = axis(c, DHC_AXIS_PAR, out, false), e = axis(c, DHC_AXIS_RED, E, false);
    int k = axis(c, DHC_AXIS_RED, in, false), x = operand(c, -1);
    plain(c, x, t, in);
    plain(c, x, k, 1);
    int m = masked(c, in_range(c, t, e), x), w = operand(c, -1);
    plain(c, w, j, form ? 1 : in);
    plain(c, w, e, in * out);
    plain(c, w, k, form ? out : 1);
    int q = operand(c, fold(c, DHC_OP_DOT_GENERAL, DHC_F32, 1u << e | 1u << k, m, load(c, w)));
    plain(c, q, t, out);
    plain(c, q, j, 1);
  }
  c->flops = 2.0 * (double)(n_rows * in * out);
}

void bench_shape(Bench *c, int kind, const int64_t number[4]) {
  const int64_t *n = number;
  if (kind == 0) dot(c, (int)n[0], n[1], n[2], n[3]);
  else if (kind == 6) ragged(c, (int)n[0], n[1], n[2], n[3]);
  else if (kind == 5) sums(c, n[0] != 0, n[1], n[2]);
  else if (kind == 4) conv_dw(c, n[0], n[1], n[2], n[3]);
  else conv(c, kind == 2, kind == 3, n[0], n[1], n[2], n[3]);
}

/* The unit term innermost, reduced axes but that outermost, as a range's matrix among others. */
static void row_major(Bench *c, int o) {
  const DhcOperand *p = &c->s.operand[o];
  int64_t size = 1;
  for (int round = 0; round < 3; round++)
    for (int t = p->n_terms - 1; t >= 0; t--) {
      const DhcTerm *e = &p->term[t];
      int turn = e->unit ? 0 : c->s.axis[e->axis[0]].role == DHC_AXIS_PAR ? 1 : 2;
      if (turn != round) continue;
      c->stride[o][t] = size;
      size *= c->extent[e->axis[0]];
    }
  c->size[o] = size - 1;
}

void bench_spec(Bench *c, const DhcSpec *s, const int *extent) {
  start(c, s->kind);
  c->s = *s;
  double results = 1;
  for (int a = 0; a < s->n_axes; a++) {
    c->extent[a] = s->axis[a].extent ? s->axis[a].extent : extent[a];
    if (s->axis[a].role != DHC_AXIS_RED) results *= (double)c->extent[a];
  }
  for (int o = 0; o < s->n_operands; o++) row_major(c, o);
  for (int n = 0; n < s->n_nodes; n++) /* a range's rows meet one matrix: the last axis' products */
    if (s->node[n].kind == DHC_SN_FOLD && s->node[n].op == DHC_OP_DOT_GENERAL) c->flops += 2 * results * (double)c->extent[s->n_axes - 1];
}

void bench_dims(const Bench *c, int64_t *dim) {
  const DhcSpec *s = &c->s;
  for (int a = 0; a < s->n_axes; a++)
    if (dhc_spec_extent_arg(s, a) >= 0) dim[dhc_spec_extent_arg(s, a)] = c->extent[a];
  for (int o = 0; o < s->n_operands; o++)
    for (int t = 0; t < s->operand[o].n_terms; t++) {
      int st = dhc_spec_stride_arg(s, o, t), of = dhc_spec_offset_arg(s, o, t);
      if (st >= 0) dim[st] = c->stride[o][t];
      if (of >= 0) dim[of] = c->offset[o], dim[of + 1] = c->limit[o][t];
    }
  for (int i = 0; i < s->n_args; i++) dim[dhc_spec_extra_arg(s, i)] = c->extent[s->n_axes - 1];
}

int64_t bench_prog(dhc_dimprog p, const int64_t *dim) {
  int64_t st[64];
  int n = 0;
  for (int i = 0; i < p.n_code; i++) {
    int64_t o = p.code[i];
    if (o == DHC_DIM_CONST || o == DHC_DIM_SYM) {
      int64_t v = p.code[++i];
      st[n++] = o == DHC_DIM_CONST ? v : dim[v];
      continue;
    }
    int64_t y = st[--n], x = st[n - 1];
    st[n - 1] = o == DHC_DIM_ADD        ? x + y
                : o == DHC_DIM_SUB      ? x - y
                : o == DHC_DIM_MUL      ? x * y
                : o == DHC_DIM_FLOORDIV ? x / y
                : o == DHC_DIM_CEILDIV  ? (x + y - 1) / y
                : o == DHC_DIM_MIN      ? (x < y ? x : y)
                : o == DHC_DIM_MAX      ? (x > y ? x : y)
                : o == DHC_DIM_LE       ? x <= y
                                        : x && y;
  }
  return n ? st[0] : 0;
}

int bench_numbers(char *at, int *out, int max) {
  int n = 0;
  while (n < max && *at) {
    out[n++] = (int)strtol(at, &at, 10);
    if (*at) at++;
  }
  return n;
}
