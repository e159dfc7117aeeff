/* Comparing a model with a reference file: param.* (buffers too, which may be called buffer.*), input.*,
 * cotangent.* go in, output.* and grad.* are compared; a file with output.param.* holds training steps
 * to be replayed. Every tensor of the file has a part in that, or the file is refused. Dropout is off, and
 * so are the losses beside the main one unless the file's metadata has their coefficients.
 *
 * A row's error is ||a - b|| / ||b||. A gradient that is zero but for rounding (||b|| below 2^-36 of the
 * file's largest, 2^-23 where the file's numbers are narrower than F64) and an output that is zero are taken
 * for zero and judged against the largest of their kind in the file: ||a|| / max ||b||. Equal infinities agree; NaN in a reference
 * agrees with nothing, and so does another shape. */
#include <math.h>
#include <stdlib.h>

#include "api/train/train.h"

typedef struct Verify {
  dhc_model *m;
  const dhc_verify_options *o;
  DhcSafetensors *file;
  dhc_program *p;
  DhcArena arena;
  double largest_grad, largest_output; /* norms in the file */
  bool *used;                          /* by the file's tensors */
  int n_rows, n_failed;
} Verify;

enum { MAX_INPUTS = 64 };

static const char *after(const char *name, const char *prefix) {
  size_t n = strlen(prefix);
  return strncmp(name, prefix, n) ? NULL : name + n;
}

static int64_t elements(const DhcTensorView *v) {
  int64_t n = 1;
  for (int i = 0; i < v->rank; i++) n *= v->shape[i];
  return n;
}

/* 0 where it is not finite: what is judged against it fails then, or is not zero. */
static double norm(const DhcTensorView *v) {
  double s = 0;
  for (int64_t i = 0, n = elements(v); i < n; i++) {
    double x = dhc_tensor_get(v, i);
    s += x * x;
  }
  return isfinite(s) ? sqrt(s) : 0;
}

static void use(Verify *v, const DhcTensorView *t) {
  for (int i = 0; i < dhc_safetensors_count(v->file); i++)
    if (dhc_safetensors_at(v->file, i) == t) v->used[i] = true;
}

/* ---- one row ------------------------------------------------------------------------ */

static double tolerance(const Verify *v, bool gradient) {
  if (v->o->tolerance >= 0) return v->o->tolerance;
  if (session_whole(v->m->s)) return 1e-9;
  return session_tolerance(v->m->s, gradient);
}

/* The part of a tensor of the file that a row is about: all of it, or one index of its first axis. */
typedef struct Part {
  const DhcTensorView *t;
  int skip; /* axes that are not of the row */
  int64_t first, n;
} Part;

static Part whole(const DhcTensorView *t) {
  return (Part){t, 0, 0, elements(t)};
}

static Part of_step(const DhcTensorView *t, int64_t step) {
  int64_t each = elements(t) / t->shape[0];
  return (Part){t, 1, step * each, each};
}

static bool same_shape(const dhc_tensor *got, const Part *want) {
  bool same = got->rank == want->t->rank - want->skip;
  for (int i = 0; same && i < got->rank; i++) same = got->dim[i] == want->t->shape[i + want->skip];
  return same || (!got->rank && want->t->rank == want->skip + 1 && want->n == 1); /* a scalar may be written as [1] */
}

/* The error of a row; *why says what no number says. */
static double row_error(Verify *v, const dhc_tensor *got, const Part *want, bool gradient, const char **why) {
  char here[128], there[128];
  if (!same_shape(got, want)) {
    *why = dhc_arena_printf(&v->arena, "the reference is %s, the model gives %s",
                            dhc_tensor_shape_text(want->t->rank - want->skip, want->t->shape + want->skip, there, sizeof there),
                            dhc_tensor_shape_text(got->rank, got->dim, here, sizeof here));
    return INFINITY;
  }
  DhcTensorView g = {.dtype = (int32_t)got->dtype, .data = got->data};
  double diff = 0, ref = 0, mag = 0;
  for (int64_t i = 0; i < want->n; i++) {
    double a = dhc_tensor_get(&g, i), b = dhc_tensor_get(want->t, want->first + i);
    if (isnan(b)) {
      *why = dhc_arena_printf(&v->arena, "the reference is NaN at index %lld", (long long)i);
      return (double)NAN;
    }
    if (isinf(b) && a == b) continue;
    diff += (a - b) * (a - b);
    ref += b * b;
    mag += a * a;
  }
  double largest = gradient ? v->largest_grad : v->largest_output;
  double zero = !gradient ? 0 : largest * (want->t->dtype == DHC_F64 ? 0x1p-36 : 0x1p-23);
  if (sqrt(ref) > zero) return sqrt(diff / ref);
  return mag == 0 ? 0 : largest > 0 ? sqrt(mag) / largest : INFINITY;
}

static void compare(Verify *v, const char *name, const dhc_tensor *got, Part want, bool gradient) {
  dhc_verify_row r = {.name = name, .tolerance = tolerance(v, gradient), .elements = want.n};
  r.error = row_error(v, got, &want, gradient, &r.why);
  r.passed = r.error <= r.tolerance; /* NaN fails */
  v->n_rows++;
  v->n_failed += !r.passed;
  use(v, want.t);
  if (v->o->row) v->o->row(v->o->ctx, &r);
}

/* ---- what goes in -------------------------------------------------------------------- */

/* The number of the piece of a tensor that files call `name` (DhcNameParts), 0 if it is in one piece; -1: none. */
static int64_t piece_of(const char *names, const char *name) {
  const DhcNameParts p = dhc_name_parts(names);
  for (int k = 0; k < p.n; k++) {
    const DhcNamePart q = dhc_name_part(names, k, 0);
    const size_t length = (size_t)q.length, head = strcspn(q.name, "*\t\n");
    char *end = NULL;
    if (strncmp(name, q.name, head)) continue;
    if (!p.star && !name[head]) return k;
    if (!p.star || name[head] < '0' || name[head] > '9') continue;
    const long long index = strtoll(name + head, &end, 10);
    if (strlen(end) == length - head - 1 && !strncmp(end, q.name + head + 1, length - head - 1)) return index * p.n + k;
  }
  return -1;
}

/* Piece k of a tensor. */
static bool cut_piece(const char *names, int64_t k, dhc_tensor *t) {
  const DhcNameParts p = dhc_name_parts(names);
  const int64_t stacked = p.star && t->rank ? t->dim[0] : 1;
  if (t->rank < p.star + (p.n > 1) || k >= stacked * p.n) return false;
  const int64_t each = dhc_tensor_elements(t) / stacked, extent = t->rank > p.star ? t->dim[p.star] : 1;
  const DhcNamePart q = dhc_name_part(names, (int)(k % p.n), extent);
  t->data = (char *)t->data + (k / p.n * each + q.begin * (extent ? each / extent : 0)) * dhc_dtype_bytes(t->dtype);
  t->rank -= p.star;
  memmove(t->dim, t->dim + p.star, sizeof t->dim[0] * 7);
  if (p.n > 1) t->dim[0] = q.n;
  return true;
}

/* The piece of results (or weights) that the file calls `name`: itself, or a piece of a tensor with other names in files. */
static bool find_piece(Verify *v, const char *prefix, const char *name, const dhc_tensor *res, int n_res, dhc_tensor *out) {
  char full[512];
  snprintf(full, sizeof full, "%s%s", prefix, name);
  for (int i = 0; i < n_res; i++)
    if (!strcmp(res[i].name, full)) {
      *out = res[i];
      return true;
    }
  for (int i = 0; i < v->m->module->tensors.n; i++) {
    const DhcTensorDecl *d = &v->m->module->tensors.at[i];
    const int64_t k = d->as ? piece_of(d->as, name) : -1;
    if (k < 0) continue;
    if (!strcmp(name, d->path) || !find_piece(v, prefix, d->path, res, n_res, out)) return false; /* looked for above */
    return cut_piece(d->as, k, out);
  }
  return false;
}

/* A parameter that the entry does not read has the gradient zero. */
static bool unused_param(Verify *v, const char *prefix, const char *name, dhc_tensor *out) {
  if (strcmp(prefix, DHC_PREFIX_GRADIENT) || dhc_program_get(v->p, name, out).code != DHC_OK) return false;
  out->data = dhc_arena_alloc(&v->arena, (size_t)dhc_tensor_bytes(out) + 8);
  return true;
}

/* Types that only files have are widened, at `index` of the first axis if that is `steps`. */
static dhc_tensor as_input(Verify *v, const DhcTensorView *t, const char *name, bool steps, int64_t index) {
  int skip = steps ? 1 : 0;
  bool foreign = t->dtype >= DHC_N_DTYPES;
  dhc_tensor r = {.name = name, .dtype = (dhc_dtype)t->dtype, .rank = t->rank - skip};
  if (foreign) r.dtype = dhc_tensor_dtype_is_float(t->dtype) ? DHC_F32 : DHC_I64;
  for (int i = 0; i < r.rank; i++) r.dim[i] = t->shape[i + skip];
  r.data = (void *)(uintptr_t)t->data;
  if (foreign) {
    r.data = dhc_arena_alloc(&v->arena, (size_t)(elements(t) * dhc_dtype_bytes(r.dtype)) + 8);
    dhc_tensor_convert(r.data, (int32_t)r.dtype, t->data, t->dtype, elements(t));
  }
  r.data = (char *)r.data + (skip ? index * dhc_tensor_bytes(&r) : 0);
  return r;
}

/* Inputs of the file; for a replay those of step `step`, of which there are `n_steps`. */
typedef struct Gathered {
  dhc_tensor in[MAX_INPUTS];
  const char *names[MAX_INPUTS]; /* without cotangents */
  int n, n_names;
} Gathered;

static dhc_status gather_inputs(Verify *v, bool replay, int64_t step, int64_t n_steps, Gathered *g) {
  g->n = g->n_names = 0;
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(v->file, i);
    const char *name = after(t->name, "input.");
    if (!name && !after(t->name, DHC_PREFIX_COTANGENT)) continue;
    if (g->n == MAX_INPUTS) return dhc_status_file(v->o->oracle, "more than %d inputs", MAX_INPUTS);
    if (replay && (t->rank < 1 || t->shape[0] != n_steps))
      return dhc_status_file(v->o->oracle, "'%s' has not one row for each of %lld steps", t->name, (long long)n_steps);
    if (name) g->names[g->n_names++] = name;
    g->in[g->n++] = as_input(v, t, name ? name : t->name, replay, step);
  }
  return dhc_status_ok();
}

/* Inputs and cotangents that the entry took, as its version of the last run says. */
static void use_inputs(Verify *v) {
  const dhc_image *im = v->p->entries[0].last->image;
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(v->file, i);
    const char *name = after(t->name, "input.");
    if (!name) name = after(t->name, DHC_PREFIX_COTANGENT) ? t->name : NULL;
    if (name && dhc_image_find(im, DHC_IMAGE_INPUT, name) >= 0) v->used[i] = true;
  }
}

/* Parameters must be there; buffers may be, as a checkpoint holds them or by a name of their own. */
static dhc_status read_weights(Verify *v) {
  DHC_TRY(weights_read(v->p, v->file, "param.", DHC_WEIGHTS, false, false));
  DHC_TRY(weights_read(v->p, v->file, "param.", DHC_WEIGHTS, true, true));
  DHC_TRY(weights_read(v->p, v->file, "buffer.", DHC_WEIGHTS, true, true));
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) v->used[i] |= dhc_safetensors_needed(v->file, i);
  return dhc_status_ok();
}

/* Scalars that a reference has only where its metadata says so. */
static void regularisers_off(Verify *v) {
  static const char *const off[] = {"dropout", "load_balance", "router_z"};
  for (int i = 0; i < dhc_prog_n_scalars(v->p->run); i++) {
    const char *name = dhc_prog_scalar_name(v->p->run, i);
    for (size_t k = 0; k < sizeof off / sizeof off[0]; k++) {
      size_t n = strlen(name), m = strlen(off[k]);
      if (n < m || strcmp(name + n - m, off[k])) continue;
      const char *text = k ? dhc_safetensors_meta(v->file, off[k]) : NULL;
      *program_scalar(v->p, name) = text ? strtod(text, NULL) : 0;
    }
  }
}

static dhc_status open_program(Verify *v, bool replay, int64_t n_steps) {
  Gathered *g = dhc_arena_alloc(&v->arena, sizeof *g);
  DHC_TRY(gather_inputs(v, replay, 0, n_steps, g));
  const char *entry = dhc_model_entry_for(v->m->m, g->names, g->n_names);
  if (!entry) return dhc_status_file(v->o->oracle, "no entry of %s takes exactly the file's inputs", v->m->name);
  bool grads = false;
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) grads |= after(dhc_safetensors_at(v->file, i)->name, DHC_PREFIX_GRADIENT) != NULL;
  DHC_TRY(dhc_program_open(v->m, entry, replay ? DHC_MODE_TRAIN : grads ? DHC_MODE_GRAD : DHC_MODE_RUN, &v->p));
  DHC_TRY(dhc_program_init(v->p, 0));
  DHC_TRY(read_weights(v));
  regularisers_off(v);
  return dhc_status_ok();
}

static dhc_status verify_once(Verify *v) {
  Gathered *g = dhc_arena_alloc(&v->arena, sizeof *g);
  const dhc_tensor *res;
  int n_res;
  DHC_TRY(gather_inputs(v, false, 0, 0, g));
  DHC_TRY(dhc_program_run(v->p, 0, g->in, g->n, &res, &n_res));
  use_inputs(v);
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(v->file, i);
    const char *name = after(t->name, "output."), *prefix = "";
    bool gradient = !name;
    if (!name && (name = after(t->name, DHC_PREFIX_GRADIENT "param."))) prefix = DHC_PREFIX_GRADIENT;
    if (!name && (name = after(t->name, DHC_PREFIX_GRADIENT "input."))) prefix = DHC_PREFIX_GRADIENT;
    if (!name) continue;
    dhc_tensor got;
    if (!find_piece(v, prefix, name, res, n_res, &got) && !unused_param(v, prefix, name, &got))
      return dhc_status_file(v->o->oracle, "'%s' is nothing that the entry computes", t->name);
    compare(v, t->name, &got, whole(t), gradient);
  }
  return dhc_status_ok();
}

static dhc_status scalar_from_meta(Verify *v, const char *key, const char *scalar, int nth) {
  const char *all = dhc_safetensors_meta(v->file, key), *text = all;
  for (; text && nth > 0; nth--) {
    text = strchr(text, ',');
    if (text) text++;
  }
  if (!text) return dhc_status_ok();
  char *end;
  double x = strtod(text, &end);
  if (end == text || !isfinite(x) || (*end && *end != ',' && *end != ' '))
    return dhc_status_file(v->o->oracle, "metadata '%s' is no number: \"%s\"", key, all);
  *program_scalar(v->p, scalar) = x;
  return dhc_status_ok();
}

static dhc_status replay_step(Verify *v, int64_t step, int64_t n_steps, Gathered *g) {
  Stepped done;
  const StepAt at = {.step = step, .age = step + 1, .lr = *program_scalar(v->p, DHC_NAME_LR)};
  DHC_TRY(gather_inputs(v, true, step, n_steps, g));
  DHC_TRY(stepper_run(v->p, 0, &at, g->in, NULL, g->n, &done));
  const dhc_tensor *res = done.results;
  use_inputs(v);
  for (int i = 0; i < done.n_results; i++) {
    const char *key = dhc_arena_printf(&v->arena, "output.%s", res[i].name);
    const DhcTensorView *t = dhc_safetensors_find(v->file, key);
    if (!t) continue;
    if (t->rank < 1 || t->shape[0] != n_steps)
      return dhc_status_file(v->o->oracle, "'%s' has not one row for each of %lld steps", key, (long long)n_steps);
    bool gradient = !strcmp(res[i].name, DHC_RESULT_GRAD_NORM); /* as exact as what it is the norm of */
    compare(v, dhc_arena_printf(&v->arena, "step %lld %s", (long long)step, res[i].name), &res[i], of_step(t, step), gradient);
  }
  return dhc_status_ok();
}

/* The weights after the last step. */
static dhc_status compare_weights(Verify *v) {
  const dhc_layout *l = dhc_prog_layout(v->p->run);
  dhc_tensor *all = DHC_NEW_N(&v->arena, dhc_tensor, l->n_slots + 1), got;
  int n = 0;
  for (int k = 0; k < l->n_slots; k++)
    if (l->slots[k].n) DHC_TRY(dhc_program_get(v->p, l->slots[k].name, &all[n++]));
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(v->file, i);
    const char *name = after(t->name, "output.param.");
    if (!name) continue;
    if (!find_piece(v, "", name, all, n, &got)) return dhc_status_file(v->o->oracle, "the model has no '%s'", name);
    compare(v, t->name, &got, whole(t), true);
  }
  return dhc_status_ok();
}

static dhc_status replay(Verify *v, int64_t n_steps) {
  *program_scalar(v->p, DHC_NAME_WEIGHT_DECAY) = 0;
  DHC_TRY(scalar_from_meta(v, "lr", DHC_NAME_LR, 0));
  DHC_TRY(scalar_from_meta(v, "clip", DHC_NAME_CLIP, 0));
  DHC_TRY(scalar_from_meta(v, "eps", DHC_NAME_OF("eps"), 0));
  DHC_TRY(scalar_from_meta(v, "betas", DHC_NAME_OF("beta1"), 0));
  DHC_TRY(scalar_from_meta(v, "betas", DHC_NAME_OF("beta2"), 1));
  DHC_TRY(scalar_from_meta(v, "weight_decay", DHC_NAME_WEIGHT_DECAY, 0));
  Gathered *g = dhc_arena_alloc(&v->arena, sizeof *g);
  for (int64_t step = 0; step < n_steps; step++) DHC_TRY(replay_step(v, step, n_steps, g));
  return compare_weights(v);
}

/* Whether the file holds training steps, and how many. */
static dhc_status count_steps(const Verify *v, bool *steps, int64_t *n) {
  *steps = false;
  *n = 0;
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) *steps |= after(dhc_safetensors_at(v->file, i)->name, "output.param.") != NULL;
  if (!*steps) return dhc_status_ok();
  const DhcTensorView *loss = dhc_safetensors_find(v->file, "output.loss");
  if (!loss || loss->rank < 1 || loss->shape[0] < 1)
    return dhc_status_file(v->o->oracle, "training steps need output.loss, one for each");
  *n = loss->shape[0];
  return dhc_status_ok();
}

/* Every tensor can be read; the largest of a kind. */
static dhc_status look_over(Verify *v) {
  v->used = DHC_NEW_N(&v->arena, bool, dhc_safetensors_count(v->file) + 1);
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(v->file, i);
    DHC_TRY(dhc_safetensors_readable(v->file, t));
    if (after(t->name, DHC_PREFIX_GRADIENT) || after(t->name, "output.param.")) v->largest_grad = fmax(v->largest_grad, norm(t));
    else if (after(t->name, "output.")) v->largest_output = fmax(v->largest_output, norm(t));
  }
  return dhc_status_ok();
}

static dhc_status all_used(const Verify *v) {
  for (int i = 0; i < dhc_safetensors_count(v->file); i++)
    if (!v->used[i])
      return dhc_status_file(v->o->oracle, "'%s' has no part in the comparison (known: param.*, buffer.*, input.*, cotangent.*, "
                             "output.*, grad.param.*, grad.input.* of what the model has)", dhc_safetensors_at(v->file, i)->name);
  return dhc_status_ok();
}

static void drop(void *what) {
  Verify *v = what;
  dhc_program_close(v->p);
  if (v->file) dhc_safetensors_close(v->file);
  dhc_arena_fini(&v->arena);
}

dhc_status api_verify_oracle(dhc_model *m, const dhc_verify_options *o, int *n_rows, int *n_failed) {
  NEED(m);
  NEED(o);
  NEED(o->oracle);
  NEED(n_rows);
  NEED(n_failed);
  Verify v = {.m = m, .o = o};
  *n_rows = *n_failed = 0;
  dhc_arena_init(&v.arena);
  bool steps;
  int64_t n_steps;
  DhcHeld held;
  dhc_hold(&held, drop, &v);
  dhc_status st = dhc_safetensors_open(o->oracle, &v.file);
  if (st.code == DHC_OK) st = look_over(&v);
  if (st.code == DHC_OK) st = count_steps(&v, &steps, &n_steps);
  if (st.code == DHC_OK) st = open_program(&v, steps, n_steps);
  if (st.code == DHC_OK) st = steps ? replay(&v, n_steps) : verify_once(&v);
  if (st.code == DHC_OK) st = all_used(&v);
  *n_rows = v.n_rows;
  *n_failed = v.n_failed;
  if (st.code == DHC_OK && v.n_failed)
    st = dhc_status_make(DHC_E_INPUT, "%s: %d of %d rows are beyond the tolerance", o->oracle, v.n_failed, v.n_rows);
  if (st.code == DHC_OK && !v.n_rows) st = dhc_status_file(o->oracle, "nothing to compare");
  dhc_release(&held);
  drop(&v);
  return st;
}
