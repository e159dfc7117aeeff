/* Initial values: every tensor's initialiser, in float64. What an initialiser makes element by element, as nearly
 * all do, is made in pieces on all cores, straight into the program's memory: it is touched once. */
#include <stdlib.h>

#include "api/api.h"

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

static void make_elements(dhc_session *s, Job *j) {
  const dhc_exec *exec = dhc_pool_exec(s->pool);
  int64_t n = (j->n + TASK - 1) / TASK;
  if (n == 1) make_tasks(j, 0, 1, 0);
  else exec->parallel_for(exec->ctx, n, make_tasks, j);
}

/* All elements, where the host sees them; else a stage at a time. */
static dhc_status make_all(dhc_program *p, const dhc_slot *s, DhcDevicePtr at, Job *j, char **stage) {
  DhcDevice *d = dhc_prog_device(p->run);
  int64_t bytes = dhc_tensor_dtype_bytes(s->dtype);
  j->to = d->ops->view(d, at, s->n * bytes);
  if (j->to) {
    j->n = s->n;
    make_elements(p->m->s, j);
    return dhc_status_ok();
  }
  *stage = malloc((size_t)((s->n < STAGE ? s->n : STAGE) * bytes));
  if (!*stage) return dhc_status_memory(STAGE * (long long)bytes, "initial values");
  j->to = *stage;
  for (j->first = 0; j->first < s->n; j->first += STAGE) {
    j->n = s->n - j->first < STAGE ? s->n - j->first : STAGE;
    make_elements(p->m->s, j);
    DHC_TRY(d->ops->upload(d, at + (uint64_t)(j->first * bytes), *stage, j->n * bytes));
  }
  return dhc_status_ok();
}

static dhc_status in_pieces(dhc_program *p, const dhc_slot *s, DhcDevicePtr at, const DhcPieces *pieces) {
  Job j = {.pieces = pieces, .dtype = s->dtype, .each = (dhc_pieces_room(pieces) + 63) / 64 * 64};
  size_t all = j.each * (size_t)dhc_pool_threads(p->m->s->pool);
  char *stage = NULL;
  j.room = aligned_alloc(64, all);
  if (!j.room) return dhc_status_memory((long long)all, "initial values");
  dhc_status st = make_all(p, s, at, &j, &stage);
  free(stage);
  free(j.room);
  return st;
}

/* One initialiser. Its parameters are scalars of the module, "$seed" and
 * "$step" (0); values depend on (seed, path) alone, so equal names start equal. */
static dhc_status init_slot(dhc_program *p, int slot, DhcArena *scratch) {
  const DhcTensorDecl *decl = &p->m->module->tensors.at[slot]; /* slots are in the module's order */
  const dhc_slot *s = &dhc_prog_layout(p->run)->slots[slot];
  DhcFunc *f = decl->init;
  dhc_session *se = p->m->s;
  const DhcArray *args[64];
  if (!f) return dhc_status_make(DHC_E_INPUT, "tensor '%s' has no initialiser", decl->path);
  if (f->params.n > 64) return dhc_status_make(DHC_E_INPUT, "initialiser of '%s' reads more than 64 scalars", decl->path);
  for (int i = 0; i < f->params.n; i++) {
    dhc_dtype t = f->params.at[i]->type.dtype;
    DhcArray *a = dhc_array_new(scratch, t, 0, NULL);
    const double *v = program_scalar(p, f->param_info.at[i].name);
    if (!v) return dhc_status_make(DHC_E_USAGE, "more than %d scalars", DHC_PROG_MAX_SCALARS);
    if (a->f)
      a->f[0] = *v;
    else
      a->i[0] = dhc_dtype_from_double(t, *v);
    args[i] = a;
  }
  DhcArray *result;
  DhcPieces *pieces;
  if (!dhc_pieces_make(scratch, &se->diags, f, args, &pieces)) return session_errors(se);
  if (pieces) return in_pieces(p, s, dhc_prog_slot(p->run, slot, DHC_WEIGHTS), pieces);
  if (!dhc_interp_run(scratch, &se->diags, f, args, &result, NULL)) return session_errors(se);
  const void *from = result->f ? (const void *)result->f : (const void *)result->i;
  return dhc_device_put(dhc_prog_device(p->run), dhc_prog_slot(p->run, slot, DHC_WEIGHTS), s->dtype, from,
                        result->f ? DHC_F64 : DHC_I64, s->n);
}

dhc_status weights_begin(dhc_program *p, bool tables_only) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  dhc_status st = dhc_status_ok();
  const dhc_layout *l = dhc_prog_layout(p->run);
  dhc_prog_changed(p->run, false);
  if (!tables_only) dhc_prog_overwrite(p->run);
  for (int i = 0; i < l->n_slots && st.code == DHC_OK; i++) {
    if (!l->slots[i].n || (tables_only && l->slots[i].role != DHC_IMAGE_TABLE)) continue;
    st = init_slot(p, i, &scratch);
    dhc_arena_reset(&scratch);
  }
  dhc_arena_fini(&scratch);
  return st;
}

dhc_status api_program_init(dhc_program *p, uint64_t seed) {
  NEED(p);
  DHC_TRY(dhc_program_set_scalar(p, "$seed", (double)seed));
  dhc_status st = weights_begin(p, false);
  dhc_program_reset(p);
  return st.code == DHC_OK ? dhc_prog_begin_ranges(p->run) : st;
}

