/* Comparing a model with a reference file: param.*, input.*, cotangent.* go in, output.* and
 * grad.* are compared; a file with output.param.* holds training steps to be replayed.
 * Dropout is off, and so are the losses beside the main one unless the file's metadata has
 * their coefficients. A row's error is ||a - b|| / ||b||; where ||b|| = 0 it is ||a|| divided by
 * the largest gradient norm of the file. */
#include <math.h>
#include <stdlib.h>

#include "api/api.h"

typedef struct Verify {
  dhc_model *m;
  const dhc_verify_options *o;
  DhcSafetensors *file;
  dhc_program *p;
  DhcArena arena;
  double largest_grad;
  int n_rows, n_failed;
} Verify;

enum { MAX_INPUTS = 64 };

static const char *after(const char *name, const char *prefix) {
  size_t n = strlen(prefix);
  return strncmp(name, prefix, n) ? NULL : name + n;
}

static double norm(const DhcTensorView *v, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; i++) {
    double x = dhc_tensor_get(v, i);
    s += x * x;
  }
  return sqrt(s);
}

static int64_t elements(const DhcTensorView *v) {
  int64_t n = 1;
  for (int i = 0; i < v->rank; i++) n *= v->shape[i];
  return n;
}

static double tolerance(const Verify *v, bool gradient) {
  if (v->o->tolerance > 0) return v->o->tolerance;
  if (v->m->s->interp) return 1e-9;
  return gradient ? 1e-4 : 1e-5;
}

static void compare(Verify *v, const char *name, const void *got, dhc_dtype dtype, int64_t n_got, const DhcTensorView *want, int64_t first,
                    int64_t n, bool gradient) {
  DhcTensorView g = {.dtype = (int32_t)dtype, .data = got};
  double diff = 0, ref = 0, mag = 0;
  for (int64_t i = 0; i < n && n_got == n; i++) {
    double a = dhc_tensor_get(&g, i), b = dhc_tensor_get(want, first + i);
    diff += (a - b) * (a - b);
    ref += b * b;
    mag += a * a;
  }
  dhc_verify_row r = {.name = name, .tolerance = tolerance(v, gradient), .elements = n};
  r.error = ref > 0 ? sqrt(diff / ref) : sqrt(mag) / (v->largest_grad > 0 ? v->largest_grad : 1);
  if (n_got != n) r.error = INFINITY;
  r.passed = r.error <= r.tolerance; /* NaN fails */
  v->n_rows++;
  v->n_failed += !r.passed;
  if (v->o->row) v->o->row(v->o->ctx, &r);
}

/* The piece of results (or weights) that the file calls `name`: itself, or one index of a
 * tensor stored under an `as` pattern. */
static bool find_piece(Verify *v, const char *prefix, const char *name, const dhc_tensor *res, int n_res, dhc_tensor *out) {
  char full[512];
  snprintf(full, sizeof full, "%s%s", prefix, name);
  for (int i = 0; i < n_res; i++)
    if (!strcmp(res[i].name, full)) {
      *out = res[i];
      return true;
    }
  for (int i = 0; i < v->p->mem.place.n_slots; i++) {
    const DhcTensorDecl *d = v->p->mem.place.slots[i].decl;
    const char *star = d->as ? strchr(d->as, '*') : NULL;
    if (!d->as) continue;
    long long k = 0;
    if (star) {
      size_t head = (size_t)(star - d->as);
      char *end;
      if (strncmp(name, d->as, head)) continue;
      k = strtoll(name + head, &end, 10);
      if (end == name + head || strcmp(end, star + 1)) continue;
    } else if (strcmp(d->as, name)) {
      continue;
    }
    dhc_tensor whole;
    if (!strcmp(name, d->path) || !find_piece(v, prefix, d->path, res, n_res, &whole)) return false; /* looked for above */
    *out = whole;
    if (star) {
      int64_t each = dhc_tensor_elements(&whole) / whole.dim[0];
      out->data = (char *)whole.data + k * each * dhc_dtype_bytes(whole.dtype);
      out->rank--;
      memmove(out->dim, out->dim + 1, sizeof out->dim[0] * 7);
    }
    return true;
  }
  return false;
}

/* A parameter that the entry does not read has the gradient zero. */
static bool unused_param(Verify *v, const char *prefix, const char *name, dhc_tensor *out) {
  if (strcmp(prefix, "grad.") || dhc_program_get(v->p, name, out).code != DHC_OK) return false;
  out->data = dhc_arena_alloc(&v->arena, (size_t)dhc_tensor_bytes(out) + 8);
  return true;
}

static dhc_tensor as_input(const DhcTensorView *t, const char *name, bool first_axis_away, int64_t index) {
  int skip = first_axis_away ? 1 : 0;
  dhc_tensor r = {.name = name, .dtype = (dhc_dtype)t->dtype, .rank = t->rank - skip};
  for (int i = 0; i < r.rank; i++) r.dim[i] = t->shape[i + skip];
  r.data = (char *)(uintptr_t)t->data + (skip ? index * dhc_tensor_bytes(&r) : 0);
  return r;
}

/* Inputs of the file; for a replay those of step `step`. */
static int gather_inputs(Verify *v, bool replay, int64_t step, dhc_tensor *in, const char **names, int *n_names) {
  int n = 0;
  *n_names = 0;
  for (int i = 0; i < dhc_safetensors_count(v->file) && n < MAX_INPUTS; i++) {
    const DhcTensorView *t = dhc_safetensors_at(v->file, i);
    const char *name = after(t->name, "input.");
    if (name)
      names[(*n_names)++] = name;
    else if (after(t->name, "cotangent."))
      name = t->name;
    else
      continue;
    in[n++] = as_input(t, name, replay, step);
  }
  return n;
}

/* Scalars that a reference has only where its metadata says so. */
static void regularisers_off(Verify *v) {
  static const char *const off[] = {"dropout", "load_balance", "router_z"};
  for (int i = 0; i < v->p->mem.n_scalars; i++) {
    const char *name = v->p->mem.scalar_names[i];
    for (size_t k = 0; k < sizeof off / sizeof off[0]; k++) {
      size_t n = strlen(name), m = strlen(off[k]);
      if (n < m || strcmp(name + n - m, off[k])) continue;
      const char *text = k ? dhc_safetensors_meta(v->file, off[k]) : NULL;
      v->p->mem.scalars[i] = text ? strtod(text, NULL) : 0;
    }
  }
}

static dhc_status open_program(Verify *v, bool replay) {
  dhc_tensor in[MAX_INPUTS];
  const char *names[MAX_INPUTS];
  int n_names;
  gather_inputs(v, replay, 0, in, names, &n_names);
  const char *entry = dhc_model_entry_for(v->m->m, names, n_names);
  if (!entry) return dhc_status_make(DHC_E_INPUT, "%s: no entry of %s takes exactly the file's inputs", v->o->oracle, v->m->name);
  bool grads = false;
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) grads |= after(dhc_safetensors_at(v->file, i)->name, "grad.") != NULL;
  DHC_TRY(dhc_program_open(v->m, entry, replay ? DHC_MODE_TRAIN : grads ? DHC_MODE_GRAD : DHC_MODE_RUN, &v->p));
  DHC_TRY(dhc_program_init(v->p, 0));
  DHC_TRY(weights_read(v->p, v->file, "param.", v->p->mem.weights, false, false));
  regularisers_off(v);
  return dhc_status_ok();
}

static dhc_status verify_once(Verify *v) {
  dhc_tensor in[MAX_INPUTS];
  const char *names[MAX_INPUTS];
  int n_names, n = gather_inputs(v, false, 0, in, names, &n_names), n_res;
  const dhc_tensor *res;
  DHC_TRY(dhc_program_run(v->p, 0, in, n, &res, &n_res));
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(v->file, i);
    const char *name = after(t->name, "output."), *prefix = "";
    bool gradient = !name;
    if (!name && (name = after(t->name, "grad.param."))) prefix = "grad.";
    if (!name && (name = after(t->name, "grad.input."))) prefix = "grad.";
    if (!name) continue;
    dhc_tensor got;
    if (!find_piece(v, prefix, name, res, n_res, &got) && !unused_param(v, prefix, name, &got))
      return dhc_status_make(DHC_E_INPUT, "%s: '%s' is nothing that the entry computes", v->o->oracle, t->name);
    compare(v, t->name, got.data, got.dtype, dhc_tensor_elements(&got), t, 0, elements(t), gradient);
  }
  return dhc_status_ok();
}

static void scalar_from_meta(Verify *v, const char *key, const char *scalar, int nth) {
  const char *text = dhc_safetensors_meta(v->file, key);
  for (; text && nth > 0; nth--) {
    text = strchr(text, ',');
    if (text) text++;
  }
  if (text) *memory_scalar(&v->p->mem, scalar) = strtod(text, NULL);
}

static dhc_status replay_step(Verify *v, int64_t step) {
  dhc_tensor in[MAX_INPUTS];
  const char *names[MAX_INPUTS];
  int n_names, n = gather_inputs(v, true, step, in, names, &n_names), n_res;
  *memory_scalar(&v->p->mem, "$step") = (double)step;
  *memory_scalar(&v->p->mem, "$opt_step") = (double)(step + 1);
  const dhc_tensor *res;
  DHC_TRY(dhc_program_run(v->p, 0, in, n, &res, &n_res));
  for (int i = 0; i < n_res; i++) {
    const char *key = dhc_arena_printf(&v->arena, "output.%s", res[i].name);
    const DhcTensorView *t = dhc_safetensors_find(v->file, key);
    if (!t || t->rank < 1) continue;
    int64_t each = elements(t) / t->shape[0];
    compare(v, dhc_arena_printf(&v->arena, "step %lld %s", (long long)step, res[i].name), res[i].data, res[i].dtype,
            dhc_tensor_elements(&res[i]), t, step * each, each, false);
  }
  return dhc_status_ok();
}

static dhc_status replay(Verify *v) {
  *memory_scalar(&v->p->mem, "$weight_decay") = 0;
  scalar_from_meta(v, "lr", "$lr", 0);
  scalar_from_meta(v, "clip", "$clip", 0);
  scalar_from_meta(v, "eps", "$eps", 0);
  scalar_from_meta(v, "betas", "$beta1", 0);
  scalar_from_meta(v, "betas", "$beta2", 1);
  scalar_from_meta(v, "weight_decay", "$weight_decay", 0);
  const DhcTensorView *loss = dhc_safetensors_find(v->file, "output.loss");
  if (!loss || loss->rank < 1) return dhc_status_make(DHC_E_INPUT, "%s: training steps need output.loss", v->o->oracle);
  for (int64_t step = 0; step < loss->shape[0]; step++) DHC_TRY(replay_step(v, step));
  for (int i = 0; i < dhc_safetensors_count(v->file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(v->file, i);
    const char *name = after(t->name, "output.param.");
    if (!name) continue;
    int n_weights = v->p->mem.place.n_slots;
    dhc_tensor *all = DHC_NEW_N(&v->arena, dhc_tensor, n_weights + 1), got;
    int n = 0;
    for (int k = 0; k < n_weights; k++)
      if (v->p->mem.place.slots[k].n) DHC_TRY(dhc_program_get(v->p, v->p->mem.place.slots[k].decl->path, &all[n++]));
    if (!find_piece(v, "", name, all, n, &got)) return dhc_status_make(DHC_E_INPUT, "%s: the model has no '%s'", v->o->oracle, name);
    compare(v, t->name, got.data, got.dtype, dhc_tensor_elements(&got), t, 0, elements(t), true);
  }
  return dhc_status_ok();
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
  bool steps = false;
  dhc_status st = dhc_safetensors_open(o->oracle, &v.file);
  for (int i = 0; st.code == DHC_OK && i < dhc_safetensors_count(v.file); i++) {
    const DhcTensorView *t = dhc_safetensors_at(v.file, i);
    steps |= after(t->name, "output.param.") != NULL;
    if (after(t->name, "grad.")) v.largest_grad = fmax(v.largest_grad, norm(t, elements(t)));
  }
  if (st.code == DHC_OK) st = open_program(&v, steps);
  if (st.code == DHC_OK) st = steps ? replay(&v) : verify_once(&v);
  *n_rows = v.n_rows;
  *n_failed = v.n_failed;
  if (st.code == DHC_OK && v.n_failed)
    st = dhc_status_make(DHC_E_INPUT, "%s: %d of %d rows are beyond the tolerance", o->oracle, v.n_failed, v.n_rows);
  if (st.code == DHC_OK && !v.n_rows) st = dhc_status_make(DHC_E_INPUT, "%s: nothing to compare", o->oracle);
  dhc_program_close(v.p);
  if (v.file) dhc_safetensors_close(v.file);
  dhc_arena_fini(&v.arena);
  return st;
}
