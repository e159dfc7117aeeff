/* One kernel spec, given as text with any arguments, against its float64 meaning. Nothing runs
 * before every address that the spec can form is known to lie in its operand. */
#include <math.h>
#include <stdlib.h>

#include "api/api.h"
#include "passes/plan/schedule.h"

enum { RANDOM_INTS = 16 }; /* elements of integer operands are below this */
static const int64_t most_elements = 1 << 26; /* of an operand, of a value over its axes */
static const int64_t most_places = (int64_t)1 << 40; /* of all axes together: steps of the two runs */
static const int64_t most_bytes = (int64_t)1 << 31; /* of all of them */

/* ---- arguments ----------------------------------------------------------------------- */

/* "extent of a0", "stride 1 of operand 2", …: name of argument number `at`. */
static const char *argument_name(const DhcSpec *s, int at, DhcArena *a) {
  for (int i = 0; i < s->n_axes; i++)
    if (dhc_spec_extent_arg(s, i) == at) return dhc_arena_printf(a, "extent of a%d", i);
  for (int o = 0; o < s->n_operands; o++)
    for (int k = 0; k < s->operand[o].n_terms; k++) {
      if (dhc_spec_stride_arg(s, o, k) == at) return dhc_arena_printf(a, "stride %d of operand %d", k, o);
      if (dhc_spec_offset_arg(s, o, k) == at) return dhc_arena_printf(a, "offset %d of operand %d", k, o);
      if (dhc_spec_offset_arg(s, o, k) == at - 1) return dhc_arena_printf(a, "bound %d of operand %d", k, o);
    }
  return dhc_arena_printf(a, "argument %d", at);
}

/* All of them in their order. */
static const char *argument_names(const DhcSpec *s, DhcArena *a) {
  DhcText t = {.arena = a};
  for (int i = 0; i < dhc_spec_n_dims(s); i++) dhc_text_printf(&t, "%s%s", i ? ", " : "", argument_name(s, i, a));
  return dhc_text_str(&t);
}

/* Values that an integer may have; `known` is false where anything is possible. */
typedef struct Range {
  bool known;
  int64_t low, high;
} Range;

typedef struct KernelRun {
  const DhcSpec *spec;
  const int64_t *dims;
  int n_dims;
  DhcArena *arena;
  Range value[DHC_SPEC_MAX_NODES]; /* of integer nodes */
  int64_t n[DHC_SPEC_MAX_OPERANDS]; /* elements that an operand reaches */
  void *machine[DHC_SPEC_MAX_OPERANDS + 1]; /* in the operand's dtype; behind the last: shared memory */
  void *reference[DHC_SPEC_MAX_OPERANDS]; /* double or int64 */
} KernelRun;

static int64_t extent_of(const KernelRun *k, int axis) {
  int at = dhc_spec_extent_arg(k->spec, axis);
  return at < 0 ? k->spec->axis[axis].extent : k->dims[at];
}

/* Extents, strides and bounds are 0 or more, and all arguments so small that no sum of a few
 * products of two of them leaves 63 bits. Extra arguments are free. */
static dhc_status check_arguments(const KernelRun *k) {
  const DhcSpec *s = k->spec;
  int n_checked = dhc_spec_n_dims(s) - s->n_args;
  for (int i = 0; i < n_checked; i++) {
    bool offset = false;
    for (int o = 0; o < s->n_operands; o++)
      for (int t = 0; t < s->operand[o].n_terms; t++) offset = offset || dhc_spec_offset_arg(s, o, t) == i;
    int64_t low = offset ? -most_elements : 0;
    if (k->dims[i] < low || k->dims[i] > most_elements)
      return dhc_status_make(DHC_E_USAGE, "--dims: the %s is %lld: it must be %lld to %lld", argument_name(s, i, k->arena),
                             (long long)k->dims[i], (long long)low, (long long)most_elements);
  }
  return dhc_status_ok();
}

/* ---- reach ----------------------------------------------------------------------------- */

static Range range_add(Range a, Range b) {
  Range r = {a.known && b.known, 0, 0};
  r.known = r.known && !__builtin_add_overflow(a.low, b.low, &r.low) && !__builtin_add_overflow(a.high, b.high, &r.high);
  return r;
}

static Range range_times(Range a, int64_t c) {
  Range r = {a.known, 0, 0};
  int64_t x, y;
  if (__builtin_mul_overflow(a.low, c, &x) || __builtin_mul_overflow(a.high, c, &y)) return (Range){0};
  r.low = x < y ? x : y;
  r.high = x < y ? y : x;
  return r;
}

/* What an integer node can be: a load of our own numbers, an axis, an argument, a constant, and
 * sums of these. */
static Range range_of(const KernelRun *k, int n) {
  const DhcSpecNode *d = &k->spec->node[n];
  switch (d->kind) {
    case DHC_SN_LOAD: return (Range){!dhc_dtype_is_float(d->dtype), 0, RANDOM_INTS - 1};
    case DHC_SN_AXIS: {
      int64_t e = extent_of(k, d->operand);
      return (Range){true, 0, e > 0 ? e - 1 : 0};
    }
    case DHC_SN_ARG: {
      int64_t v = k->dims[dhc_spec_extra_arg(k->spec, d->operand)];
      return (Range){true, v, v};
    }
    case DHC_SN_CONST: return (Range){!dhc_dtype_is_float(d->dtype), d->i, d->i};
    case DHC_SN_EW:
      if (d->op == DHC_OP_ADD && d->dtype == DHC_I64) return range_add(k->value[d->a[0]], k->value[d->a[1]]);
      if (d->op == DHC_OP_CAST && d->dtype == DHC_I64 && dhc_dtype_is_int(k->spec->node[d->a[0]].dtype)) return k->value[d->a[0]];
      return (Range){0};
    default: return (Range){0};
  }
}

/* Of a term's index, as far as elements are read or written there. */
static Range term_range(const KernelRun *k, int o, int t) {
  const DhcTerm *term = &k->spec->operand[o].term[t];
  int offset_arg = dhc_spec_offset_arg(k->spec, o, t);
  Range r = {true, 0, 0};
  for (int i = 0; i < term->n_axes; i++) {
    int64_t e = extent_of(k, term->axis[i]);
    r = range_add(r, range_times((Range){true, 0, e > 0 ? e - 1 : 0}, term->coef[i]));
  }
  if (term->index >= 0) r = range_add(r, k->value[term->index]);
  if (offset_arg < 0) return r;
  r = range_add(r, (Range){true, k->dims[offset_arg], k->dims[offset_arg]});
  int64_t bound = k->dims[offset_arg + 1];
  r.low = 0;
  r.high = r.high < 0 ? 0 : r.high / term->div;
  if (r.high >= bound) r.high = bound > 0 ? bound - 1 : 0;
  return r;
}

/* *n: one more than the largest address of operand o. */
static dhc_status reach(const KernelRun *k, int o, int64_t *n) {
  const DhcOperand *op = &k->spec->operand[o];
  Range r = {true, 0, 0};
  if (dhc_tag_is_panel(op->tag)) {
    DhcTagShape x = dhc_tag_shape(k->spec, o, k->dims);
    int64_t rows = x.rows > 0 ? (x.rows + op->width - 1) / op->width * (int64_t)op->width : 0;
    r = range_times(range_times((Range){true, 0, rows}, x.cols), x.matrices);
    r.high -= r.known && r.high > 0;
  }
  for (int t = 0; !dhc_tag_is_panel(op->tag) && t < op->n_terms; t++) {
    int stride_arg = dhc_spec_stride_arg(k->spec, o, t);
    Range index = term_range(k, o, t);
    if (!index.known && op->term[t].index >= 0)
      return dhc_status_make(DHC_E_INPUT, "operand %d is indexed by a computed value: a run on random numbers cannot bound it", o);
    r = range_add(r, range_times(index, stride_arg < 0 ? 1 : k->dims[stride_arg]));
  }
  if (!r.known) return dhc_status_make(DHC_E_USAGE, "--dims: the addresses of operand %d do not fit in 63 bits", o);
  if (r.low < 0 || r.high >= most_elements)
    return dhc_status_make(DHC_E_USAGE, "--dims: operand %d would reach from element %lld to %lld: it must stay in 0..%lld", o,
                           (long long)r.low, (long long)r.high, (long long)most_elements - 1);
  *n = r.high + 1;
  return dhc_status_ok();
}

/* Two steps of an output's axes must not meet in one element: which of them wins is not defined. */
static dhc_status check_overlap(const KernelRun *k, int o) {
  const DhcOperand *op = &k->spec->operand[o];
  int64_t stride[DHC_SPEC_MAX_TERMS], extent[DHC_SPEC_MAX_TERMS], below = 1;
  int n = 0;
  for (int t = 0; t < op->n_terms; t++) {
    const DhcTerm *term = &op->term[t];
    int at = dhc_spec_stride_arg(k->spec, o, t);
    if (term->n_axes != 1 || term->coef[0] != 1 || term->index >= 0 || term->guarded) return dhc_status_ok();
    if (extent_of(k, term->axis[0]) < 2) continue;
    int i = n++;
    for (; i > 0 && stride[i - 1] > (at < 0 ? 1 : k->dims[at]); i--) stride[i] = stride[i - 1], extent[i] = extent[i - 1];
    stride[i] = at < 0 ? 1 : k->dims[at];
    extent[i] = extent_of(k, term->axis[0]);
  }
  for (int i = 0; i < n; i++) {
    if (stride[i] < below)
      return dhc_status_make(DHC_E_USAGE, "--dims: operand %d is written with stride %lld, where %lld elements lie below: they overlap",
                             o, (long long)stride[i], (long long)below);
    below = stride[i] * (extent[i] - 1) + below;
  }
  return dhc_status_ok();
}

/* Everything that the two runs need, before any of it is allocated. */
static dhc_status measure(KernelRun *k) {
  const DhcSpec *s = k->spec;
  int64_t bytes = 0, places = 1;
  DHC_TRY(check_arguments(k));
  for (int a = 0; a < s->n_axes; a++)
    if (!dhc_size_mul(places, extent_of(k, a) > 0 ? extent_of(k, a) : 1, &places) || places > most_places)
      return dhc_status_make(DHC_E_USAGE, "--dims: the axes have more than %lld places together", (long long)most_places);
  for (int n = 0; n < s->n_nodes; n++) k->value[n] = range_of(k, n);
  for (int o = 0; o < s->n_operands; o++) {
    DHC_TRY(reach(k, o, &k->n[o]));
    if (s->operand[o].out && s->kind != DHC_KIND_SCATTER) DHC_TRY(check_overlap(k, o));
    bytes += k->n[o] * (8 + dhc_dtype_bytes(s->operand[o].dtype));
  }
  for (int n = 0; n < s->n_nodes; n++) {
    int64_t elements = 1;
    uint32_t axes = dhc_spec_varies(s, n);
    for (int a = 0; a < s->n_axes; a++)
      if ((axes >> a & 1) && (!dhc_size_mul(elements, extent_of(k, a), &elements) || elements > most_elements))
        return dhc_status_make(DHC_E_USAGE, "--dims: node %d would have more than %lld values", n, (long long)most_elements);
    bytes += elements * 8;
  }
  if (bytes > most_bytes) {
    char text[32], most[32];
    return dhc_status_make(DHC_E_USAGE, "--dims: operands and values need %s, the limit is %s", dhc_size_text(bytes, text, sizeof text),
                           dhc_size_text(most_bytes, most, sizeof most));
  }
  return dhc_status_ok();
}

/* ---- running ---------------------------------------------------------------------------- */

static void fill_operands(KernelRun *k, uint64_t seed) {
  for (int o = 0; o < k->spec->n_operands; o++) {
    const DhcOperand *op = &k->spec->operand[o];
    int64_t n = k->n[o];
    bool f = dhc_dtype_is_float(op->dtype);
    double *df = DHC_NEW_N(k->arena, double, n);
    int64_t *di = (int64_t *)df;
    for (int64_t i = 0; i < n && !op->out; i++) {
      uint32_t bits = dhc_rng_bits((uint32_t)seed, (uint32_t)o, (uint64_t)i, 0);
      if (f)
        df[i] = (double)(float)(bits * 0x1p-31 - 1);
      else
        di[i] = op->dtype == DHC_BOOL ? bits & 1 : bits % RANDOM_INTS;
    }
    k->reference[o] = df;
    k->machine[o] = dhc_arena_alloc(k->arena, (size_t)(n * dhc_dtype_bytes(op->dtype)) + 64);
    dhc_tensor_convert(k->machine[o], (int32_t)op->dtype, df, f ? DHC_F64 : DHC_I64, n);
    if (f && !op->out) dhc_tensor_convert(df, DHC_F64, k->machine[o], (int32_t)op->dtype, n);
  }
}

/* Never NaN: a NaN that only one side has is infinitely far from what the other has. */
static double apart(double got, double want) {
  if (isnan(got) || isnan(want)) return isnan(got) && isnan(want) ? 0 : INFINITY;
  return got == want ? 0 : fabs(got - want);
}

static double worst_error(const KernelRun *k, DhcText *t) {
  double worst = 0;
  for (int o = 0; o < k->spec->n_operands; o++) {
    const DhcOperand *op = &k->spec->operand[o];
    if (!op->out) continue;
    bool f = dhc_dtype_is_float(op->dtype);
    DhcTensorView got = {.dtype = (int32_t)op->dtype, .data = k->machine[o]};
    DhcTensorView want = {.dtype = f ? DHC_F64 : DHC_I64, .data = k->reference[o]};
    double scale = 0, max = 0;
    int64_t at = -1;
    for (int64_t i = 0; i < k->n[o]; i++) {
      double m = fabs(dhc_tensor_get(&want, i));
      if (isfinite(m)) scale = fmax(scale, m);
    }
    for (int64_t i = 0; i < k->n[o]; i++) {
      double e = apart(dhc_tensor_get(&got, i), dhc_tensor_get(&want, i)) / (scale > 0 ? scale : 1);
      if (e > max) max = e, at = i;
    }
    dhc_text_printf(t, "output %d: %lld elements, largest error %.3e of the largest value", o, (long long)k->n[o], max);
    if (at >= 0) dhc_text_printf(t, " (at %lld: got %.9g, want %.9g)", (long long)at, dhc_tensor_get(&got, at), dhc_tensor_get(&want, at));
    dhc_text_puts(t, "\n");
    worst = fmax(worst, max);
  }
  return worst;
}

/* The first size class whose guard holds, on one thread. What its programs say fits, as the places of all axes do. */
static dhc_status run_machine(KernelRun *k, const dhc_kernel *kernel, DhcText *t) {
  intptr_t *arg = DHC_NEW_N(k->arena, intptr_t, k->n_dims + 1);
  for (int i = 0; i < k->n_dims; i++) arg[i] = (intptr_t)k->dims[i];
  int cls = 0;
  int64_t guard, tasks = 0, scratch = 0, shared = 0;
  while (cls < kernel->n_classes - 1 && dhc_dimprog_eval(kernel->classes[cls].guard, k->dims, k->n_dims, 1, &guard) && !guard) cls++;
  const dhc_kernel_class *c = &kernel->classes[cls];
  if (!dhc_dimprog_eval(c->n_tasks, k->dims, k->n_dims, 1, &tasks) || !dhc_dimprog_eval(c->scratch_bytes, k->dims, k->n_dims, 0, &scratch) ||
      !dhc_dimprog_eval(c->shared_bytes, k->dims, k->n_dims, 0, &shared))
    DHC_BUG("%s: its sizes do not fit in 63 bits", kernel->name);
  void *mem = dhc_aligned_alloc(scratch + 64), *all = dhc_aligned_alloc(shared + 64);
  k->machine[k->spec->n_operands] = all;
  if (mem && all) c->fn((void *const *)k->machine, arg, 0, (intptr_t)tasks, mem);
  dhc_aligned_free(mem);
  dhc_aligned_free(all);
  if (!mem || !all) return dhc_status_memory((long long)(scratch + shared), "a kernel's scratch");
  dhc_text_printf(t, "%s: size class %d of %d, %lld tasks, %lld bytes of scratch\n", kernel->name, cls + 1, kernel->n_classes,
                  (long long)tasks, (long long)scratch);
  return dhc_status_ok();
}

static dhc_status compile(dhc_session *s, const DhcSpec *spec, dhc_kernel *kernel) {
  DhcCompiler *c;
  DHC_TRY(session_compiler(s, &c));
  DhcKernelRequest rq = {.spec = spec};
  rq.n_classes = dhc_schedule_choose(spec, dhc_compiler_target(c), &s->arena, rq.classes);
  DhcCompileStats st = {0};
  return dhc_compile(c, &rq, 1, kernel, &st);
}

static dhc_status check(dhc_session *s, KernelRun *k, uint64_t seed, double *max_rel, char **report) {
  dhc_kernel kernel;
  DhcText t = {.arena = k->arena};
  DHC_TRY(measure(k));
  DHC_TRY(compile(s, k->spec, &kernel));
  fill_operands(k, seed);
  DHC_TRY(run_machine(k, &kernel, &t));
  dhc_spec_interp(k->spec, k->reference, k->dims, k->arena);
  *max_rel = worst_error(k, &t);
  *report = strdup(dhc_text_str(&t));
  return *report ? dhc_status_ok() : dhc_status_memory(t.n, "a report");
}

dhc_status api_kernel_check(dhc_session *s, const char *name, const char *text, const int64_t *dims, int n_dims, uint64_t seed,
                            double *max_rel, char **report) {
  NEED_OUT(report);
  NEED(s);
  NEED(name);
  NEED(text);
  NEED(max_rel);
  if (n_dims > 0) NEED(dims);
  uint32_t file = dhc_sources_add(&s->sources, name, name, text, strlen(text)), end;
  int before = s->diags.n_errors;
  DhcSpec *spec = dhc_spec_parse(&s->arena, &s->diags, file, 0, &end);
  if (!spec) return session_errors_since(s, before);
  for (int o = 0; o < spec->n_operands; o++)
    if (spec->operand[o].tag > DHC_TAG_PANEL)
      return dhc_status_make(DHC_E_INPUT, "operand %d lies in fewer bits: objects alone have such weights (--quantize)", o);
  if (n_dims != dhc_spec_n_dims(spec))
    return dhc_status_make(DHC_E_USAGE, "--dims: this spec has %d arguments, got %d; in order: %s", dhc_spec_n_dims(spec), n_dims,
                           argument_names(spec, &s->arena));
  DhcArena a;
  dhc_arena_init(&a);
  KernelRun k = {.spec = spec, .dims = dims, .n_dims = n_dims, .arena = &a};
  dhc_status st = check(s, &k, seed, max_rel, report);
  if (st.code == DHC_OK && !(*max_rel <= 1e-5))
    st = dhc_status_make(DHC_E_INPUT, "%s: kernel and reference differ by %.3e", name, *max_rel);
  dhc_arena_fini(&a);
  return st;
}
