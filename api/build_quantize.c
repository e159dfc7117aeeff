/* Objects whose weights of contractions and convolutions, and those whose rows are gathered, lie as int8 or bf16 (--quantize). Kernels widen an element and scale it, rounding once, before
 * they multiply: so the object gives, bit for bit, what the model gives with these weights rounded. The rounded weights are put in
 * place of the model's own, once the object's constants are made: self tests and what is said about accuracy are theirs. */
#include <math.h>
#include <unistd.h>

#include "api/build.h"

dhc_status build_quantize_form(const char *name, DhcTag *out) {
  *out = DHC_TAG_PANEL;
  if (!name) return dhc_status_ok();
  if (!strcmp(name, "int8")) *out = DHC_TAG_PANEL_I8;
  else if (!strcmp(name, "bf16")) *out = DHC_TAG_PANEL_BF16;
  else return dhc_status_make(DHC_E_USAGE, "--quantize: needs int8 or bf16, got \"%s\"", name);
  return dhc_status_ok();
}

static dhc_status not_finite(const char *name) {
  return dhc_status_make(DHC_E_INPUT, "--quantize: weights '%s' are not all finite", name);
}

static dhc_status round_slot(const DhcObject *o, const BuildModel *x, int own, DhcArena *scratch) {
  const char *name = x->layout->slots[own].name;
  dhc_tensor t = {0};
  DHC_TRY(dhc_program_get(x->program, name, &t));
  float *to = dhc_arena_alloc(scratch, (size_t)dhc_tensor_bytes(&t) + 1);
  dhc_object_round(o, x->slot_of[own], t.data, to);
  for (int64_t i = 0; i < dhc_tensor_elements(&t); i++)
    if (!isfinite(to[i])) return dhc_status_make(DHC_E_INPUT, "--quantize: a weight of '%s' is too large for it", name);
  t.data = to;
  return dhc_program_set(x->program, &t);
}

static dhc_status round_slots(Build *b, const BuildModel *x) {
  dhc_status st = dhc_status_ok();
  for (int own = 0; own < x->layout->n_slots && st.code == DHC_OK; own++) {
    DhcArena scratch;
    if (!dhc_object_is_rounded(b->object, x->slot_of[own])) continue;
    dhc_arena_init(&scratch);
    st = round_slot(b->object, x, own, &scratch);
    dhc_arena_fini(&scratch);
  }
  return st;
}

dhc_status build_quantize_check(const Build *b) {
  for (int i = 0; i < b->n_models; i++)
    if (b->model[i].trains) return dhc_status_make(DHC_E_USAGE, "--quantize: an entry of the object is a training step, whose weights are f32");
  if (!dhc_object_quantized(b->object)) return dhc_status_make(DHC_E_INPUT, "--quantize: no entry of the object reads weights that could lie so");
  for (int s = 0; s < b->layout->n_slots; s++) {
    const float *at = dhc_object_is_rounded(b->object, s) ? build_values(b, s) : NULL;
    for (int64_t i = 0; at && i < b->layout->slots[s].n; i++)
      if (!isfinite(at[i])) return not_finite(b->layout->slots[s].name);
  }
  return dhc_status_ok();
}

/* ---- what it costs --------------------------------------------------------------------------------------- */

/* Results of one entry on generated inputs, at sizes that it takes; NULL: none of those that were tried. */
static float *results(Build *b, const BuildModel *x, int entry, int index, int64_t *n) {
  const DhcObjEntry *e = b->object->entry[entry];
  static const int64_t sizes[] = {1, 16, 32, 64};
  for (size_t try = 0; try < sizeof sizes / sizeof *sizes; try++) {
    int64_t *size = DHC_NEW_N(b->arena, int64_t, e->n_symbols + 1);
    for (int s = 0; s < e->n_symbols; s++) size[s] = e->bound[s] ? e->bound[s] : sizes[try];
    dhc_tensor *in = DHC_NEW_N(b->arena, dhc_tensor, e->n_params + 1);
    const dhc_tensor *out;
    int n_in = 0, n_out = 0;
    for (int i = 0; i < e->n_params; i++)
      if (!e->param[i].out) in[n_in++] = build_generated(b, e, e->param[i].tensor, size, (uint32_t)i + 1);
    dhc_status st = dhc_program_run(x->program, index, in, n_in, &out, &n_out);
    if (st.code != DHC_OK) continue;
    *n = 0;
    for (int i = 0; i < n_out; i++) *n += out[i].dtype == DHC_F32 ? dhc_tensor_elements(&out[i]) : 0;
    float *all = DHC_NEW_N(b->arena, float, *n + 1);
    int64_t at = 0;
    for (int i = 0; i < n_out; i++) {
      if (out[i].dtype != DHC_F32) continue;
      memcpy(all + at, out[i].data, (size_t)dhc_tensor_bytes(&out[i]));
      at += dhc_tensor_elements(&out[i]);
    }
    return all;
  }
  return NULL;
}

/* The first entry that carries no state, of the first model; -1: none. */
static int plain_entry(const Build *b) {
  for (int i = 0; i < b->model[0].n; i++)
    if (!b->object->entry[i]->state_bytes) return i;
  return -1;
}

static dhc_status deviation(Build *b, dhc_build_result *r) {
  BuildModel *x = &b->model[0];
  int entry = plain_entry(b), index = 0;
  int64_t n = 0, again = 0;
  if (entry > 0) DHC_TRY(dhc_program_add(x->program, x->version[entry]->entry, DHC_MODE_RUN, &index));
  const float *before = entry < 0 ? NULL : results(b, x, entry, index, &n);
  for (int i = 0; i < (b->object->levels ? 1 : b->n_models); i++) DHC_TRY(round_slots(b, &b->model[i]));
  const float *after = before ? results(b, x, entry, index, &again) : NULL;
  r->deviation = r->largest = after && n == again && n ? 0 : NAN;
  for (int64_t i = 0; i < n && !isnan(r->deviation); i++) {
    const double moved = fabs((double)after[i] - (double)before[i]);
    r->deviation = isnan(moved) && isfinite(before[i]) ? INFINITY : fmax(r->deviation, moved);
    r->largest = fmax(r->largest, fabs((double)before[i]));
  }
  return dhc_status_ok();
}

/* With the weights as they are rounded, from a file that is gone afterwards. */
static dhc_status evaluate_rounded(Build *b, const BuildModel *x, dhc_eval_options eval, dhc_eval_result *out) {
  const char *folder = NULL;
  DHC_TRY(build_folder(b, &folder));
  char *file = dhc_arena_printf(b->arena, "%s/w.safetensors", folder);
  eval.weights = file;
  dhc_status st = dhc_program_save(x->program, file, false);
  if (st.code == DHC_OK) st = dhc_evaluate(x->m, &eval, out);
  unlink(file);
  rmdir(folder);
  return st;
}

/* Of several variants the one whose loss grows most. */
static dhc_status accuracy(Build *b, dhc_build_result *r) {
  double worst = -INFINITY;
  for (int i = 0; i < (b->object->levels ? 1 : b->n_models); i++) {
    const BuildModel *x = &b->model[i];
    dhc_eval_options eval = {.data = b->o->data, .split = b->o->split, .batch = b->o->batch, .limit = b->o->limit, .weights = build_weights(b->o, x->variant)};
    dhc_eval_result before, after;
    DHC_TRY(dhc_evaluate(x->m, &eval, &before));
    DHC_TRY(evaluate_rounded(b, x, eval, &after));
    if (after.loss - before.loss <= worst) continue;
    worst = after.loss - before.loss;
    r->before = before;
    r->after = after;
  }
  return dhc_status_ok();
}

dhc_status build_quantize(Build *b, dhc_build_result *r) {
  const DhcObject *o = b->object;
  r->weights_bytes_before = o->blob_bytes;
  for (int i = 0; i < o->pieces.n; i++) {
    const DhcObjPiece *p = &o->pieces.at[i];
    if (p->kind == DHC_OBJ_PANEL) r->weights_bytes_before += p->matrices * dhc_tag_bytes(p->width ? DHC_TAG_PANEL : DHC_TAG_ROW, p->width, p->rows, p->cols) - p->bytes;
  }
  for (int i = 0; i < o->n_tensors; i++) r->n_quantized += dhc_object_is_rounded(o, o->tensor[i]);
  DHC_TRY(deviation(b, r));
  return b->o->data ? accuracy(b, r) : dhc_status_ok();
}
