/* What an initialiser makes element by element, as nearly all do, is made in pieces on all cores, straight into
 * the program's memory: it is touched once. */
#include "backends/begin.h"

#include <stdlib.h>

#include "ir/image_graph.h"
#include "ir/interp.h"

enum {
  TASK = 32 * DHC_PIECE,   /* elements of a task */
  STAGE = 64 * TASK        /* of what goes to a device at once whose memory the host does not see */
};

/* A run of elements of one tensor. */
typedef struct Job {
  const DhcPieces *pieces;
  int32_t dtype;
  int64_t first, n; /* elements */
  char *to;         /* of element `first` */
  char *room;       /* of worker w: room + w * each */
  size_t each;
} Job;

static void make_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Job *j = arg;
  int64_t end = t1 * TASK < j->n ? t1 * TASK : j->n;
  for (int64_t e = t0 * TASK; e < end; e += DHC_PIECE) {
    DhcLane x = dhc_pieces_eval(j->pieces, j->first + e, j->room + (size_t)worker * j->each);
    const void *from = x.f ? (const void *)x.f : (const void *)x.i;
    dhc_tensor_convert(j->to + e * dhc_tensor_dtype_bytes(j->dtype), j->dtype, from, x.f ? DHC_F64 : DHC_I64,
                       end - e < DHC_PIECE ? end - e : DHC_PIECE);
  }
}

static void make_elements(const dhc_exec *exec, Job *j) {
  int64_t n = (j->n + TASK - 1) / TASK;
  if (n == 1 || !exec) make_tasks(j, 0, n, 0);
  else exec->parallel_for(exec->ctx, n, make_tasks, j);
}

/* All elements, where the host sees them; else a stage at a time. */
static dhc_status make_all(const DhcBeginner *b, DhcDevice *d, const dhc_slot *s, DhcDevicePtr at, Job *j, char **stage) {
  int64_t each = dhc_tensor_dtype_bytes(s->dtype);
  j->to = d->ops->view(d, at, s->n * each);
  if (j->to) {
    j->n = s->n;
    make_elements(b->exec, j);
    return dhc_status_ok();
  }
  int64_t most = s->n < STAGE ? s->n : STAGE;
  for (j->first = 0; j->first < s->n; j->first += STAGE) {
    j->n = s->n - j->first < STAGE ? s->n - j->first : STAGE;
    j->to = d->ops->room ? d->ops->room(d, j->n * each) : NULL;
    if (!j->to && !*stage) *stage = malloc((size_t)(most * each));
    if (!j->to) j->to = *stage;
    if (!j->to) return dhc_status_memory((long long)(most * each), "initial values");
    make_elements(b->exec, j);
    DHC_TRY(d->ops->upload(d, at + (uint64_t)(j->first * each), j->to, j->n * each));
  }
  return dhc_status_ok();
}

static dhc_status in_pieces(const DhcBeginner *b, DhcDevice *d, const dhc_slot *s, DhcDevicePtr at, const DhcPieces *pieces) {
  Job j = {.pieces = pieces, .dtype = s->dtype, .each = (dhc_pieces_room(pieces) + 63) / 64 * 64};
  size_t all = j.each * (size_t)(b->exec ? b->exec->workers : 1);
  char *stage = NULL;
  j.room = aligned_alloc(64, all);
  if (!j.room) return dhc_status_memory((long long)all, "initial values");
  dhc_status st = make_all(b, d, s, at, &j, &stage);
  free(stage);
  free(j.room);
  return st;
}

/* ---- tensors ------------------------------------------------------------------------ */

/* The interpreter has said why, as a diagnostic. */
static dhc_status said(void) {
  return (dhc_status){.code = DHC_E_INPUT};
}

/* A scalar of the program as the interpreter takes it. */
static dhc_status scalar(DhcProg *p, const DhcFunc *f, int i, DhcArena *a, const DhcArray **out) {
  dhc_dtype t = f->params.at[i]->type.dtype;
  DhcArray *x = dhc_array_new(a, t, 0, NULL);
  const double *v = dhc_prog_scalar(p, f->param_info.at[i].name);
  if (!v) return dhc_status_make(DHC_E_USAGE, "more than %d scalars", DHC_PROG_MAX_SCALARS);
  if (x->f) x->f[0] = *v;
  else x->i[0] = dhc_dtype_from_double(t, *v);
  *out = x;
  return dhc_status_ok();
}

static dhc_status put(DhcProg *p, int32_t slot, int64_t n, const DhcArray *x) {
  const void *from = x->f ? (const void *)x->f : (const void *)x->i;
  return dhc_device_put(dhc_prog_device(p), dhc_prog_slot(p, slot, DHC_WEIGHTS), dhc_prog_layout(p)->slots[slot].dtype, from,
                        x->f ? DHC_F64 : DHC_I64, n);
}

/* Values depend on ("$seed", path) alone, so equal names start equal. */
static dhc_status begin_slot(const DhcBeginner *b, DhcProg *p, int32_t slot, DhcArena *scratch) {
  const dhc_slot *s = &dhc_prog_layout(p)->slots[slot];
  if (!s->begin.made && !s->begin.text) DHC_BUG("tensor '%s' has no initialiser", s->name);
  const DhcFunc *f = dhc_graph_func(&b->reader, &s->begin);
  if (!f) return said();
  const DhcArray **args = DHC_NEW_N(scratch, const DhcArray *, f->params.n + 1);
  for (int i = 0; i < f->params.n; i++) DHC_TRY(scalar(p, f, i, scratch, &args[i]));
  DhcArray *result;
  DhcPieces *pieces;
  if (!dhc_pieces_make(scratch, b->reader.diags, f, args, &pieces)) return said();
  if (pieces) return in_pieces(b, dhc_prog_device(p), s, dhc_prog_slot(p, slot, DHC_WEIGHTS), pieces);
  if (!dhc_interp_run(scratch, b->reader.diags, f, args, &result, NULL)) return said();
  return put(p, slot, s->n, result);
}

dhc_status dhc_begin_slots(const DhcBeginner *b, DhcProg *p, bool tables_only) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  dhc_status st = dhc_status_ok();
  const dhc_layout *l = dhc_prog_layout(p);
  dhc_prog_changed(p, false);
  if (!tables_only) dhc_prog_overwrite(p);
  for (int32_t i = 0; i < l->n_slots && st.code == DHC_OK; i++) {
    if (!l->slots[i].n || (tables_only && l->slots[i].role != DHC_IMAGE_TABLE)) continue;
    st = begin_slot(b, p, i, &scratch);
    dhc_arena_reset(&scratch);
  }
  dhc_arena_fini(&scratch);
  return st;
}

/* ---- states --------------------------------------------------------------------------------- */

static int64_t state_elements(const DhcProg *p, int32_t slot) {
  int64_t n = 1;
  for (int i = 0; i < dhc_prog_layout(p)->slots[slot].rank; i++) n *= dhc_prog_state_dim(p, slot)[i];
  return n;
}

static int32_t state_named(const DhcProg *p, const char *name) {
  const dhc_layout *l = dhc_prog_layout(p);
  for (int32_t i = 0; i < l->n_slots; i++)
    if (l->slots[i].role == DHC_IMAGE_STATE && !strcmp(l->slots[i].name, name)) return i;
  return -1;
}

/* Those that are not one number everywhere: all results of the image's `reset` at once. */
static dhc_status run_reset(const DhcBeginner *b, DhcProg *p, const dhc_image *im, const DhcWantState *want, DhcArena *a) {
  const DhcFunc *f = dhc_graph_func(&b->reader, &im->reset);
  if (!f) return said();
  const DhcArray **args = DHC_NEW_N(a, const DhcArray *, f->params.n + 1);
  DhcArray **results = DHC_NEW_N(a, DhcArray *, f->results.n + 1);
  for (int i = 0; i < f->params.n; i++) {
    int32_t state = f->param_info.at[i].role == DHC_ROLE_SCALAR ? -1 : state_named(p, f->param_info.at[i].name);
    const DhcType *t = &f->params.at[i]->type;
    if (state >= 0) args[i] = dhc_array_new(a, t->dtype, t->rank, dhc_prog_state_dim(p, state)); /* for its sizes */
    else DHC_TRY(scalar(p, f, i, a, &args[i]));
  }
  if (!dhc_interp_run(a, b->reader.diags, f, args, results, NULL)) return said();
  for (int32_t i = 0; i < im->n_begins; i++) {
    const dhc_begin *x = &im->begins[i];
    if (x->result >= 0 && x->result < f->results.n && want[x->slot].in) DHC_TRY(put(p, x->slot, state_elements(p, x->slot), results[x->result]));
  }
  return dhc_status_ok();
}

dhc_status dhc_begin_states(const DhcBeginner *b, DhcProg *p, const dhc_image *im, const DhcWantState *want) {
  const dhc_layout *l = dhc_prog_layout(p);
  bool other = false;
  for (int32_t i = 0; i < im->n_begins; i++) {
    const dhc_begin *x = &im->begins[i];
    if (!want[x->slot].in) continue;
    other = other || x->result >= 0;
    if (x->result < 0)
      DHC_TRY(dhc_device_set(dhc_prog_device(p), dhc_prog_slot(p, x->slot, DHC_WEIGHTS), l->slots[x->slot].dtype, x->value,
                             state_elements(p, x->slot)));
  }
  if (!other) return dhc_status_ok();
  DhcArena a;
  dhc_arena_init(&a);
  dhc_status st = run_reset(b, p, im, want, &a);
  dhc_arena_fini(&a);
  return st;
}
