/* What an initialiser makes element by element, as nearly all do, is made in pieces on all cores, of several tensors at
 * once, straight into the program's memory: it is touched once. */
#include "backends/begin.h"

#include <stdlib.h>

#include "ir/image_graph.h"
#include "ir/interp.h"

enum {
  TASK = 8 * DHC_PIECE, /* elements of a task */
  STAGE = 4 << 20,      /* bytes that go at once to a device whose memory the host does not see */
  JOBS = 64,            /* of a batch: most tensors are too small for all cores */
  ALIGN = 64
};

/* A run of elements of one tensor. */
typedef struct Job {
  const DhcPieces *pieces;
  int32_t dtype;
  int64_t first, n; /* elements */
  int64_t task0;    /* its first among the batch's */
  DhcDevicePtr at;  /* of element `first`, on the device */
  char *to;         /* the same where the host writes it */
} Job;

/* What is made side by side. */
typedef struct Batch {
  const DhcBeginner *b;
  DhcDevice *d;
  Job job[JOBS];
  int n;
  int64_t n_tasks, bytes; /* to be staged */
  char *stage;            /* or NULL */
  char *room;             /* of worker w: room + w * each; grows */
  size_t each;
} Batch;

static int64_t bytes_of(const Job *j) { return j->n * dhc_tensor_dtype_bytes(j->dtype); }
static int64_t aligned(int64_t bytes) { return (bytes + ALIGN - 1) / ALIGN * ALIGN; }
static int64_t tasks_of(int64_t n) { return (n + TASK - 1) / TASK; }

static void make_task(const Job *j, int64_t task, char *room) {
  int64_t end = (task + 1) * TASK < j->n ? (task + 1) * TASK : j->n;
  for (int64_t e = task * TASK; e < end; e += DHC_PIECE) {
    DhcLane x = dhc_pieces_eval(j->pieces, j->first + e, room);
    const void *from = x.f ? (const void *)x.f : (const void *)x.i;
    dhc_tensor_convert(j->to + e * dhc_tensor_dtype_bytes(j->dtype), j->dtype, from, x.f ? DHC_F64 : DHC_I64,
                       end - e < DHC_PIECE ? end - e : DHC_PIECE);
  }
}

static void make_tasks(void *arg, int64_t t0, int64_t t1, int worker) {
  const Batch *b = arg;
  int i = 0;
  for (int64_t t = t0; t < t1; t++) {
    while (i < b->n - 1 && b->job[i + 1].task0 <= t) i++;
    make_task(&b->job[i], t - b->job[i].task0, b->room + (size_t)worker * b->each);
  }
}

/* Where the host writes what goes to the device afterwards. */
static dhc_status find_stage(Batch *b) {
  if (!b->bytes) return dhc_status_ok();
  char *to = b->d->ops->room ? b->d->ops->room(b->d, b->bytes) : NULL;
  if (!to && !b->stage) b->stage = malloc(STAGE);
  if (!to) to = b->stage;
  if (!to) return dhc_status_memory(STAGE, "initial values");
  for (int i = 0; i < b->n; i++)
    if (!b->job[i].to) b->job[i].to = to, to += aligned(bytes_of(&b->job[i]));
  return dhc_status_ok();
}

static dhc_status make_room(Batch *b) {
  size_t each = 0;
  for (int i = 0; i < b->n; i++) {
    size_t one = (dhc_pieces_room(b->job[i].pieces) + 63) / 64 * 64;
    if (one > each) each = one;
  }
  if (b->room && each <= b->each) return dhc_status_ok();
  size_t all = each * (size_t)(b->b->exec ? b->b->exec->workers : 1);
  free(b->room);
  b->each = each;
  b->room = aligned_alloc(64, all);
  return b->room ? dhc_status_ok() : dhc_status_memory((long long)all, "initial values");
}

static dhc_status make_batch(Batch *b) {
  const dhc_exec *exec = b->b->exec;
  bool staged = b->bytes > 0;
  if (!b->n) return dhc_status_ok();
  DHC_TRY(make_room(b));
  DHC_TRY(find_stage(b));
  if (b->n_tasks == 1 || !exec) make_tasks(b, 0, b->n_tasks, 0);
  else exec->parallel_for(exec->ctx, b->n_tasks, make_tasks, b);
  for (int i = 0; i < b->n && staged; i++) DHC_TRY(b->d->ops->upload(b->d, b->job[i].at, b->job[i].to, bytes_of(&b->job[i])));
  b->n = 0;
  b->n_tasks = b->bytes = 0;
  return dhc_status_ok();
}

/* A tensor's elements come with the batch, or with several where they are many. */
static dhc_status add_pieces(Batch *b, const dhc_slot *s, DhcDevicePtr at, const DhcPieces *pieces) {
  int64_t each = dhc_tensor_dtype_bytes(s->dtype);
  char *view = b->d->ops->view(b->d, at, s->n * each);
  for (int64_t first = 0, n; first < s->n; first += n) {
    n = s->n - first;
    if (b->n == JOBS || (!view && b->bytes + TASK * each > STAGE)) DHC_TRY(make_batch(b));
    int64_t most = (STAGE - b->bytes) / each / TASK * TASK;
    if (!view && n > most) n = most;
    Job *j = &b->job[b->n++];
    *j = (Job){pieces, s->dtype, first, n, b->n_tasks, at + (uint64_t)(first * each), view ? view + first * each : NULL};
    b->n_tasks += tasks_of(n);
    if (!view) b->bytes += aligned(n * each);
  }
  return dhc_status_ok();
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
static dhc_status begin_slot(Batch *batch, DhcProg *p, int32_t slot, DhcArena *scratch) {
  const DhcBeginner *b = batch->b;
  const dhc_slot *s = &dhc_prog_layout(p)->slots[slot];
  if (!s->begin.made && !s->begin.text) DHC_BUG("tensor '%s' has no initialiser", s->name);
  const DhcFunc *f = dhc_graph_func(&b->reader, &s->begin);
  if (!f) return said();
  const DhcArray **args = DHC_NEW_N(scratch, const DhcArray *, f->params.n + 1);
  for (int i = 0; i < f->params.n; i++) DHC_TRY(scalar(p, f, i, scratch, &args[i]));
  DhcArray *result;
  DhcPieces *pieces;
  if (!dhc_pieces_make(scratch, b->reader.diags, f, args, &pieces)) return said();
  if (pieces) return add_pieces(batch, s, dhc_prog_slot(p, slot, DHC_WEIGHTS), pieces);
  DHC_TRY(make_batch(batch));
  if (!dhc_interp_run(scratch, b->reader.diags, f, args, &result, NULL)) return said();
  return put(p, slot, s->n, result);
}

dhc_status dhc_begin_slots(const DhcBeginner *b, DhcProg *p, bool tables_only) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  dhc_status st = dhc_status_ok();
  const dhc_layout *l = dhc_prog_layout(p);
  Batch batch = {.b = b, .d = dhc_prog_device(p)};
  dhc_prog_changed(p, false);
  if (!tables_only) dhc_prog_overwrite(p);
  for (int32_t i = 0; i < l->n_slots && st.code == DHC_OK; i++) {
    if (!l->slots[i].n || (tables_only && l->slots[i].role != DHC_IMAGE_TABLE)) continue;
    st = begin_slot(&batch, p, i, &scratch);
    if (st.code == DHC_OK && batch.n == JOBS) st = make_batch(&batch);
    if (!batch.n) dhc_arena_reset(&scratch); /* else the batch is made of it */
  }
  if (st.code == DHC_OK) st = make_batch(&batch);
  free(batch.stage);
  free(batch.room);
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
