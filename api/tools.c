/* Single parts of the compiler for people: passes on IR text, one kernel against its
 * reference, what this machine has, what an error code means. */
#include <math.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "api/api.h"
#include "api/json.h"
#include "dhc/version.h"
#include "passes/plan/schedule.h"

dhc_status api_opt_text(dhc_session *s, const char *name, const char *text, const char *passes, char **out) {
  NEED_OUT(out);
  NEED(s);
  NEED(name);
  NEED(text);
  NEED(passes);
  size_t n_out = 0, n_err = 0;
  char *err_text = NULL;
  FILE *to = open_memstream(out, &n_out), *err = open_memstream(&err_text, &n_err);
  if (!to || !err) {
    if (to) fclose(to);
    if (err) fclose(err);
    return dhc_status_memory(0, name);
  }
  DhcOptRequest rq = {.file_name = name, .text = text, .n_bytes = strlen(text), .passes = passes,
                      .disabled = s->o.disable_passes, .limit = s->o.pass_limit > 0 ? s->o.pass_limit : -1, .diags = &s->diags};
  int before = s->diags.n_errors, rc = dhc_opt_run(&rq, to, err);
  fclose(to);
  fclose(err);
  dhc_status st = session_errors_since(s, before);
  if (rc == 2) {
    err_text[strcspn(err_text, "\n")] = 0;
    st = dhc_status_make(DHC_E_USAGE, "%s", err_text);
  } else if (rc && st.code == DHC_OK) {
    st = dhc_status_make(DHC_E_INPUT, "%s: the passes could not be run", name);
  }
  free(err_text);
  return st;
}

/* ---- one kernel -------------------------------------------------------------------- */

/* Elements an operand reaches at these arguments: one past its largest address. */
static int64_t operand_elements(const DhcSpec *s, int o, const int64_t *dims) {
  int64_t last = 0;
  const DhcOperand *op = &s->operand[o];
  if (op->tag != DHC_TAG_ROW) {
    DhcTagShape x = dhc_tag_shape(s, o, dims);
    return x.matrices * dhc_tag_elements(op->tag, op->width, x.rows, x.cols);
  }
  for (int t = 0; t < op->n_terms; t++) {
    const DhcTerm *term = &op->term[t];
    int stride_arg = dhc_spec_stride_arg(s, o, t), offset_arg = dhc_spec_offset_arg(s, o, t);
    int64_t stride = stride_arg < 0 ? 1 : dims[stride_arg], top = 0;
    for (int i = 0; i < term->n_axes; i++) {
      int e = dhc_spec_extent_arg(s, term->axis[i]);
      int64_t extent = e < 0 ? s->axis[term->axis[i]].extent : dims[e];
      if (term->coef[i] > 0 && extent > 0) top += term->coef[i] * (extent - 1);
    }
    if (offset_arg >= 0) top = dims[offset_arg + 1] - 1;
    if (term->index >= 0) top += 15; /* random indices below 16 */
    if (stride > 0 && top > 0) last += stride * top;
  }
  return last + 1;
}

typedef struct KernelRun {
  const DhcSpec *spec;
  int64_t n[DHC_SPEC_MAX_OPERANDS];
  void *machine[DHC_SPEC_MAX_OPERANDS + 1]; /* in the operand's dtype; behind the last: shared memory */
  void *reference[DHC_SPEC_MAX_OPERANDS]; /* double or int64 */
} KernelRun;

static dhc_status fill_operands(KernelRun *k, const int64_t *dims, uint64_t seed, DhcArena *a) {
  for (int o = 0; o < k->spec->n_operands; o++) {
    const DhcOperand *op = &k->spec->operand[o];
    int64_t n = k->n[o] = operand_elements(k->spec, o, dims);
    if (n < 1 || n > (1 << 26)) return dhc_status_make(DHC_E_INPUT, "operand %d would have %lld elements", o, (long long)n);
    bool f = dhc_dtype_is_float(op->dtype);
    double *df = DHC_NEW_N(a, double, n);
    int64_t *di = (int64_t *)df;
    for (int64_t i = 0; i < n && !op->out; i++) {
      uint32_t bits = dhc_rng_bits((uint32_t)seed, (uint32_t)o, (uint64_t)i, 0);
      if (f)
        df[i] = (double)(float)(bits * 0x1p-31 - 1);
      else
        di[i] = op->dtype == DHC_BOOL ? bits & 1 : bits % 16;
    }
    k->reference[o] = df;
    k->machine[o] = dhc_arena_alloc(a, (size_t)(n * dhc_dtype_bytes(op->dtype)) + 64);
    dhc_tensor_convert(k->machine[o], (int32_t)op->dtype, df, f ? DHC_F64 : DHC_I64, n);
    if (f && !op->out) dhc_tensor_convert(df, DHC_F64, k->machine[o], (int32_t)op->dtype, n);
  }
  return dhc_status_ok();
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
    for (int64_t i = 0; i < k->n[o]; i++) scale = fmax(scale, fabs(dhc_tensor_get(&want, i)));
    for (int64_t i = 0; i < k->n[o]; i++) {
      double e = fabs(dhc_tensor_get(&got, i) - dhc_tensor_get(&want, i)) / (scale > 0 ? scale : 1);
      if (!(e <= max)) max = e, at = i;
    }
    dhc_text_printf(t, "output %d: %lld elements, largest error %.3e of the largest value", o, (long long)k->n[o], max);
    if (at >= 0) dhc_text_printf(t, " (at %lld: got %.9g, want %.9g)", (long long)at, dhc_tensor_get(&got, at), dhc_tensor_get(&want, at));
    dhc_text_puts(t, "\n");
    if (!(max <= worst)) worst = max;
  }
  return worst;
}

/* "a0, a1, stride of operand 0, …": the spec's arguments in their order. */
static const char *argument_names(const DhcSpec *s, DhcArena *a) {
  int n = dhc_spec_n_dims(s);
  const char **of = DHC_NEW_N(a, const char *, n + 1);
  DhcText t = {.arena = a};
  for (int i = 0; i < s->n_axes; i++) {
    int at = dhc_spec_extent_arg(s, i);
    if (at >= 0 && at < n) of[at] = dhc_arena_printf(a, "extent of a%d", i);
  }
  for (int o = 0; o < s->n_operands; o++)
    for (int k = 0; k < s->operand[o].n_terms; k++) {
      int at = dhc_spec_stride_arg(s, o, k);
      if (at >= 0 && at < n) of[at] = dhc_arena_printf(a, "stride %d of operand %d", k, o);
    }
  for (int i = 0; i < n; i++) dhc_text_printf(&t, "%s%s", i ? ", " : "", of[i] ? of[i] : "offset or its bound");
  return dhc_text_str(&t);
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
  DhcSpec *spec = dhc_spec_parse(&s->arena, &s->diags, file, 0, &end);
  if (!spec) return session_errors(s);
  if (n_dims != dhc_spec_n_dims(spec))
    return dhc_status_make(DHC_E_USAGE, "--dims: this spec has %d arguments, got %d; in order: %s", dhc_spec_n_dims(spec), n_dims,
                           argument_names(spec, &s->arena));
  DhcCompiler *c;
  DHC_TRY(session_compiler(s, &c));
  DhcKernelRequest rq = {.spec = spec};
  rq.n_classes = dhc_schedule_choose(spec, dhc_compiler_target(c), &s->arena, rq.classes);
  dhc_kernel kernel;
  DhcCompileStats st = {0};
  DHC_TRY(dhc_compile(c, &rq, 1, &kernel, &st));
  DhcArena a;
  dhc_arena_init(&a);
  KernelRun k = {.spec = spec};
  dhc_status status = fill_operands(&k, dims, seed, &a);
  if (status.code == DHC_OK) {
    intptr_t *arg = DHC_NEW_N(&a, intptr_t, n_dims + 1);
    for (int i = 0; i < n_dims; i++) arg[i] = (intptr_t)dims[i];
    int cls = 0;
    int64_t guard, tasks = 1, scratch = 0, shared = 0;
    while (cls < kernel.n_classes - 1 && dhc_dimprog_eval(kernel.classes[cls].guard, dims, n_dims, 1, &guard) && !guard) cls++;
    dhc_dimprog_eval(kernel.classes[cls].n_tasks, dims, n_dims, 1, &tasks);
    dhc_dimprog_eval(kernel.classes[cls].scratch_bytes, dims, n_dims, 0, &scratch);
    dhc_dimprog_eval(kernel.classes[cls].shared_bytes, dims, n_dims, 0, &shared);
    void *mem = dhc_aligned_alloc(scratch + 64), *all = dhc_aligned_alloc(shared + 64);
    k.machine[spec->n_operands] = all;
    if (mem && all) kernel.classes[cls].fn((void *const *)k.machine, arg, 0, (intptr_t)tasks, mem);
    dhc_aligned_free(mem);
    dhc_aligned_free(all);
    dhc_spec_interp(spec, k.reference, dims, &a);
    DhcText t = {.arena = &a};
    dhc_text_printf(&t, "%s: size class %d of %d, %lld tasks, %lld bytes of scratch\n", kernel.name, cls + 1, kernel.n_classes,
                    (long long)tasks, (long long)scratch);
    *max_rel = worst_error(&k, &t);
    *report = strdup(dhc_text_str(&t));
    if (!(*max_rel <= 1e-5)) status = dhc_status_make(DHC_E_INPUT, "%s: kernel and reference differ by %.3e", name, *max_rel);
  }
  dhc_arena_fini(&a);
  return status;
}

/* ---- doctor ------------------------------------------------------------------------- */

dhc_status api_doctor_json(dhc_session *s, char **out) {
  NEED_OUT(out);
  NEED(s);
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "dhcc", dhc_version());
  struct utsname u;
  if (!uname(&u)) json_text(&d, d.root, "machine", u.machine);
  json_number(&d, d.root, "threads", dhc_session_threads(s));
  json_bool(&d, d.root, "cpu backend", dhc_backend_compiles("cpu"));
  dhc_status st = dhc_status_ok();
  DhcCompiler *c;
  bool compiles = dhc_backend_compiles(dhc_backend_name(0));
  if (compiles) st = session_compiler(s, &c);
  if (compiles && st.code == DHC_OK) {
    const DhcTargetFacts *f = dhc_compiler_target(c);
    json_number(&d, d.root, "vector bytes", f->vector_bytes);
    json_bool(&d, d.root, "fma", f->has_fma);
    if (!f->has_fma)
      json_text(&d, d.root, "without fma", "fused multiply-adds are emulated: the same bits, contractions take some 15 times as long");
    json_text(&d, d.root, "features", dhc_compiler_host_features(&s->arena, s->o.cpu_features));
    const char *path = dhc_store_path(s->store);
    json_text(&d, d.root, "kernel store", path ? path : "memory only");
  }
  json_text(&d, d.root, "models", s->n_roots ? s->roots[0] : "(none found)");
  return json_end(&d, st, false, out);
}
