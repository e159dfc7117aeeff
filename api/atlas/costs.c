/* Costs of an entry, from its graph and its plan: the plan is bound to sizes as for a run, on kernels that have
 * their templates' programs and no code. */
#include <math.h>
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "runtime/plan.h"

bool dhc_costs_field(const dhc_costs *c, int i, dhc_cost_info *info, double *value) {
  static const struct {
    dhc_cost_info info;
    size_t at;
  } fields[] = {
#define COST(field, name, unit, text) {{name, unit, text}, offsetof(dhc_costs, field)},
#include "dhc/costs.def"
  };
  if (i < 0 || i >= (int)(sizeof fields / sizeof *fields)) return false;
  if (info) *info = fields[i].info;
  if (value) *value = c ? *(const double *)((const char *)c + fields[i].at) : (double)NAN;
  return true;
}

double dhc_costs_cache_bytes(const dhc_costs *c, int64_t length) {
  if (!c || length < 0) return 0;
  double bytes = c->cache_bytes_token * (double)length;
  return bytes > c->cache_max_bytes ? c->cache_max_bytes : bytes;
}

/* ---- kernels seen in this session --------------------------------------------------------------- */

dhc_status seen_open(struct SeenKernels **out) {
  *out = calloc(1, sizeof **out);
  if (!*out) return dhc_status_memory((long long)sizeof **out, "a session");
  dhc_arena_init(&(*out)->arena);
  return dhc_status_ok();
}

void seen_close(struct SeenKernels *s) {
  if (s) dhc_arena_fini(&s->arena);
  free(s);
}

static bool seen_before(const dhc_session *s, const char *key) {
  for (int i = 0; i < s->seen->keys.n; i++)
    if (!strcmp(s->seen->keys.at[i], key)) return true;
  return false;
}

static void see(dhc_session *s, const DhcKernelFacts *k, int n) {
  for (int i = 0; i < n; i++)
    if (!seen_before(s, k[i].key)) DHC_PUSH(&s->seen->arena, &s->seen->keys, dhc_arena_printf(&s->seen->arena, "%s", k[i].key));
}

/* ---- a plan at sizes ------------------------------------------------------------------------------- */

typedef struct PlanCost {
  double flops, traffic, activations, scratch, planned;
  double kernels, shared, calls;
} PlanCost;

static double traffic(const DhcPlanned *p, const DhcBound *b, DhcArena *a) {
  double sum = 0;
  for (int i = 0; i < p->plan.n_items; i++) {
    const dhc_item *it = &p->plan.items[i];
    if (it->kind != DHC_ITEM_CALL) continue;
    const intptr_t *dims = dhc_bound_item_dims(b, i);
    int64_t wide[256], bytes;
    for (int d = 0; d < it->n_dims && d < 256; d++) wide[d] = dims[d];
    if (dhc_dimprog_eval(dhc_spec_bytes(p->specs[it->kernel], a), wide, it->n_dims, 0, &bytes))
      sum += (double)bytes * (double)dhc_bound_item_runs(b, i);
  }
  return sum;
}

/* Bytes that a program holds from run to run, but for streams' states. */
static int64_t outliving(const dhc_layout *l) {
  return l->bytes[DHC_SEGMENT_WEIGHTS] + l->bytes[DHC_SEGMENT_MOMENTS] + l->bytes[DHC_SEGMENT_BUFFERS] + DHC_PROG_SCALAR_BYTES;
}

static void unrolled(const DhcPlanned *p, Counts *c) {
  for (int i = 0; i < p->plan.n_kernels; i++)
    for (int x = 0; x < p->specs[i]->n_axes; x++)
      if (p->specs[i]->axis[x].extent) counts_unrolled(c, p->specs[i]->kind, p->specs[i]->axis[x].extent, NULL);
}

static dhc_status bind_plan(dhc_model *m, Version *v, const int64_t *symbols, DhcArena *a, PlanCost *out) {
  DhcKernelRequest *rq;
  DhcDevice *device;
  DhcDeviceInfo about;
  DhcBound *b;
  int n = v->planned->plan.n_kernels;
  DHC_TRY(pipeline_requests(m, v, &rq));
  DHC_TRY(session_device(m->s, &device));
  device->ops->describe(device, &about);
  DhcKernelFacts *facts = DHC_NEW_N(a, DhcKernelFacts, n + 1);
  const dhc_kernel **kernel = DHC_NEW_N(a, const dhc_kernel *, n + 1);
  DHC_TRY(dhc_compile_describe(m->s->compiler, rq, n, a, facts));
  for (int i = 0; i < n; i++) kernel[i] = &facts[i].kernel;
  DHC_TRY(dhc_plan_bind(&v->planned->plan, kernel, symbols, about.workers, &b));
  dhc_bound_lanes(b, about.lanes);
  out->activations = (double)dhc_bound_segment_bytes(b, DHC_SEGMENT_WORK);
  out->scratch = (double)dhc_bound_scratch_bytes(b);
  out->planned = out->activations + out->scratch + (double)dhc_bound_segment_bytes(b, DHC_SEGMENT_IO) +
                 (double)dhc_bound_segment_bytes(b, DHC_SEGMENT_PANELS) + (double)dhc_bound_segment_bytes(b, DHC_SEGMENT_STATES) +
                 (double)outliving(&v->image->layout);
  out->traffic = traffic(v->planned, b, a);
  out->kernels = n;
  out->calls = v->planned->n_calls;
  for (int i = 0; i < n; i++) out->shared += facts[i].there || seen_before(m->s, facts[i].key);
  see(m->s, facts, n);
  dhc_bound_free(b);
  return dhc_status_ok();
}

dhc_status atlas_version(dhc_model *m, const char *entry, dhc_mode mode, const Sizes *s, DhcArena *a, Version **out, int64_t **out_values) {
  Version *v = pipeline_graph(m, entry, mode, s->input, s->n_inputs);
  if (!v) return session_errors(m->s);
  int64_t *values = DHC_NEW_N(a, int64_t, v->func->symbols.n + 1);
  for (int i = 0; i < v->func->symbols.n; i++) {
    values[i] = 1;
    for (int k = 0; k < s->n; k++)
      if (!strcmp(s->names[k], v->func->symbols.at[i])) values[i] = s->values[k];
  }
  const dhc_layout *layout = pipeline_layout(m, mode == DHC_MODE_TRAIN);
  if (!layout) return session_errors(m->s);
  pipeline_image(m, v, layout);
  *out = v;
  *out_values = values;
  return program_guards(m->s, v, values);
}

/* Graph and plan of one entry in one mode. The graph is counted before fusion changes it. */
static dhc_status cost_entry(dhc_model *m, const char *entry, dhc_mode mode, bool compile, const Sizes *s, DhcArena *a, Counts *c,
                             PlanCost *out, double *active) {
  *out = (PlanCost){0};
  Version *v;
  int64_t *values;
  DHC_TRY(atlas_version(m, entry, mode, s, a, &v, &values));
  if (!counts_of(m, v->func, values, c))
    return dhc_status_make(DHC_E_INPUT, "entry '%s': operations at these sizes do not fit in 63 bits", entry);
  c->func = v->func;
  out->flops = c->flops;
  if (active) *active = counts_active(v->func, m->module);
  if (session_whole(m->s)) return dhc_status_ok();
  DHC_TRY(pipeline_fuse(m, v));
  unrolled(v->planned, c);
  DHC_TRY(bind_plan(m, v, values, a, out));
  return compile ? pipeline_compile(m, v) : dhc_status_ok();
}

/* ---- the whole --------------------------------------------------------------------------------------- */

const char *atlas_trained_entry(dhc_model *m) {
  DhcEntryInfos e = dhc_model_entries(m->m);
  for (int i = 0; i < e.n; i++)
    if (!strcmp(e.at[i].name, "loss") && !e.at[i].is_metric && dhc_model_n_params(m) > 0) return e.at[i].name;
  return NULL;
}

static void clear(dhc_costs *c) {
#define COST(field, name, unit, text) c->field = (double)NAN;
#include "dhc/costs.def"
}

static void put_run(dhc_costs *c, const Sizes *s, const Counts *n, const PlanCost *p, bool planned) {
  c->flops = p->flops;
  for (int i = 0; i < s->n; i++) {
    if (!strcmp(s->names[i], "B")) c->flops_example = p->flops / (double)s->values[i];
    if (!strcmp(s->names[i], "L")) c->sequence = s->values[i];
  }
  c->cache_bytes_token = n->cache_bytes_token;
  if (!planned) return;
  c->traffic_bytes = p->traffic;
  c->activation_bytes = p->activations;
  c->workspace_bytes = p->activations + p->scratch;
  c->planned_bytes = p->planned;
  c->kernels = p->kernels;
  c->kernels_shared = p->shared;
  c->calls = p->calls;
}

static void put_train(dhc_costs *c, const PlanCost *p, bool planned) {
  c->flops_train = p->flops;
  if (!planned) return;
  c->traffic_train_bytes = p->traffic;
  c->activation_train_bytes = p->activations;
  c->planned_train_bytes = p->planned;
  c->kernels_train = p->kernels;
  c->kernels_train_shared = p->shared;
  c->calls_train = p->calls;
}

/* An entry that sees one token at a time attends to nothing in its whole form; its stream does. */
static void stream_attends(dhc_model *m, const char *entry, const Sizes *s, Counts *n) {
  bool any = false;
  for (int i = 0; i < m->module->tensors.n; i++) any = any || m->module->tensors.at[i].role == DHC_ROLE_STATE;
  if (!any || n->n_attends) return;
  DhcEntryRequest rq = {.form = DHC_FORM_STREAM, .may_lack = true};
  DhcForm asked;
  dhc_model_form(m->m, entry, &rq.name, &asked);
  const DhcFunc *f = dhc_model_entry(m->m, &rq);
  if (!f) return;
  int64_t values[DHC_IMAGE_MAX_SYMBOLS];
  for (int i = 0; i < f->symbols.n && i < DHC_IMAGE_MAX_SYMBOLS; i++) {
    values[i] = 1;
    for (int k = 0; k < s->n; k++)
      if (!strcmp(s->names[k], f->symbols.at[i])) values[i] = s->values[k];
  }
  Counts stream;
  if (f->symbols.n > DHC_IMAGE_MAX_SYMBOLS || !counts_of(m, f, values, &stream)) return;
  memcpy(n->attends, stream.attends, sizeof n->attends);
  n->n_attends = stream.n_attends;
  n->cache_bytes_token = stream.cache_bytes_token;
}

/* One mixer of a kind by itself, over a sequence: bytes of keys and values that it has of a token. */
static double mixer_cache(dhc_model *m, const char *path, int64_t batch) {
  const DhcEntryRequest rq = {.name = "forward", .may_lack = true};
  const DhcFunc *f = dhc_model_layer_entry(m->m, path, &rq);
  int64_t values[DHC_IMAGE_MAX_SYMBOLS];
  Counts n;
  if (!f || f->symbols.n > DHC_IMAGE_MAX_SYMBOLS) return 0;
  for (int i = 0; i < f->symbols.n; i++) values[i] = i ? 16 : batch;
  return counts_of(m, f, values, &n) ? n.cache_bytes_token : 0;
}

/* A model that gives its mixers one token has nothing to attend to; what they would keep of a sequence is asked of each
 * kind of mixer by itself. */
static void mixers_attend(dhc_model *m, const Sizes *s, Counts *n) {
  DhcKindInfos kinds = dhc_model_kinds(m->m);
  DhcLayerInfos l = dhc_model_layers(m->m);
  if (n->n_attends) return;
  for (int k = 0; k < kinds.n; k++) {
    int first = 0;
    while (first < l.n && strcmp(l.at[first].layer, kinds.at[k].layer)) first++;
    if (first < l.n && kinds.at[k].count) n->cache_bytes_token += kinds.at[k].count * mixer_cache(m, l.at[first].path, s->n ? s->values[0] : 1);
  }
}

static void put_states(dhc_costs *c, const dhc_model *m, const Counts *n, const Sizes *s) {
  double caches, states;
  counts_states(m, n, s, &caches, &states);
  c->state_bytes = states;
  if (caches > 0) c->cache_max_bytes = caches;
  if (!(c->cache_bytes_token > 0) || !(states > 0)) return;
  double length = ceil(states / c->cache_bytes_token);
  if (!(length * c->cache_bytes_token > c->cache_max_bytes)) c->cross_length = length;
}

static void put_parameters(dhc_costs *c, const dhc_model *m, double active) {
  double buffers = 0;
  for (int i = 0; i < m->module->tensors.n; i++) {
    const DhcTensorDecl *d = &m->module->tensors.at[i];
    int64_t k;
    if (d->role == DHC_ROLE_BUFFER && dhc_dim_is_const(dhc_type_elements(m->module->dims, &d->type), &k)) buffers += (double)k;
  }
  c->parameters = (double)dhc_model_n_params(m);
  c->active_parameters = active;
  c->buffers = buffers;
  c->weight_bytes = 4 * c->parameters;
}

dhc_status atlas_costs(dhc_model *m, const dhc_costs_options *o, DhcArena *a, Counts *run, dhc_costs *out) {
  const char *entry = o->entry ? o->entry : "forward", *train = o->no_train ? NULL : atlas_trained_entry(m);
  Sizes s, st;
  PlanCost p;
  Counts trained;
  double active = 0;
  clear(out);
  DHC_TRY(sizes_bind(m, entry, o->sizes, false, a, &s));
  snprintf(out->sizes, sizeof out->sizes, "%s", sizes_text(&s, a));
  DHC_TRY(cost_entry(m, entry, DHC_MODE_RUN, o->compile, &s, a, run, &p, &active));
  stream_attends(m, entry, &s, run);
  mixers_attend(m, &s, run);
  put_run(out, &s, run, &p, !session_whole(m->s));
  put_parameters(out, m, active);
  put_states(out, m, run, &s);
  if (!train) return dhc_status_ok();
  DHC_TRY(sizes_bind(m, train, o->sizes, true, a, &st));
  DHC_TRY(cost_entry(m, train, DHC_MODE_TRAIN, false, &st, a, &trained, &p, NULL));
  put_train(out, &p, !session_whole(m->s));
  return dhc_status_ok();
}

dhc_status api_model_costs(dhc_model *m, const dhc_costs_options *o, dhc_costs *out) {
  NEED(m);
  NEED(out);
  const dhc_costs_options none = {0};
  Counts run;
  DhcArena a;
  *out = (dhc_costs){0};
  dhc_arena_init(&a);
  dhc_status st = atlas_costs(m, o ? o : &none, &a, &run, out);
  dhc_arena_fini(&a);
  return st;
}
