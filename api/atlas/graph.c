/* An entry as one graph over its units: every call written out, every op with the path of the layer that it was written
 * in, what it costs and what goes from op to op at given sizes. Views are no ops here: what they give is what they take. */
#include <stdlib.h>

#include "api/atlas/atlas.h"
#include "api/json.h"

typedef struct Walk {
  const dhc_model *m;
  AtlasGraph *g;
  DhcArena *a;
  const DhcModule *module; /* of the entry and what it calls */
  bool fits;
} Walk;

/* Where a function that is called is written out. */
typedef struct Frame {
  const DhcFunc *f;
  const int64_t *values; /* of its symbols */
  int *node;             /* by value: what made it; -1: nothing that is drawn */
  const char *was, *is;  /* paths: its layer as its text has it, and in this call */
} Frame;

/* ---- paths ---------------------------------------------------------------------------------- */

bool atlas_path_within(const char *path, const char *layer) {
  size_t n = strlen(layer);
  return !n || (!strncmp(path, layer, n) && (!path[n] || path[n] == '.'));
}

static bool all_within(const DhcFunc *f, const char *layer) {
  for (const DhcNode *n = f->first; n; n = n->next)
    if (n->op != DHC_OP_PARAM && !atlas_path_within(n->origin ? n->origin : "", layer)) return false;
  return true;
}

/* Functions that are equal are there once, with the paths of one of their layers: that which all their ops lie in. */
static const char *written_in(const Walk *w, const DhcFunc *f) {
  const char *best = "";
  for (int i = 0; i < w->module->funcs.n; i++)
    for (const DhcNode *n = w->module->funcs.at[i]->first; n; n = n->next)
      if (dhc_op_info(n->op)->cls == DHC_CLASS_CALL && dhc_node_callee(n) == f && n->origin && strlen(n->origin) > strlen(best) &&
          all_within(f, n->origin))
        best = n->origin;
  return best;
}

static const char *path_of(const Walk *w, const Frame *fr, const char *origin) {
  const char *o = origin ? origin : "";
  if (!atlas_path_within(o, fr->was)) return *o ? o : fr->is;
  const char *rest = o + strlen(fr->was);
  if (*fr->was && *rest == '.') rest++;
  if (!*rest) return fr->is;
  return *fr->is ? dhc_arena_printf(w->a, "%s.%s", fr->is, rest) : rest;
}

static int layer_of(const Walk *w, const char *path) {
  DhcLayerInfos l = dhc_model_layers(w->m->m);
  int best = 0;
  for (int i = 0; i < l.n; i++)
    if (atlas_path_within(path, l.at[i].path) && strlen(l.at[i].path) >= strlen(l.at[best].path)) best = i;
  return best;
}

/* ---- nodes --------------------------------------------------------------------------------------- */

/* "f32[16, 64]", its extents numbers. */
static const char *type_text(Walk *w, const DhcType *t, const Frame *fr) {
  DhcText to = {.arena = w->a};
  dhc_text_printf(&to, "%s[", dhc_dtype_name(t->dtype));
  for (int d = 0; d < t->rank; d++) {
    int64_t v = 0;
    if (!dhc_dim_eval(t->dim[d], fr->f->symbols.n, fr->f->symbols.at, fr->values, &v)) w->fits = false;
    dhc_text_printf(&to, "%s%lld", d ? ", " : "", (long long)v);
  }
  dhc_text_puts(&to, "]");
  return dhc_text_str(&to);
}

static int add(Walk *w, const char *op, const char *path, const char *type) {
  const AtlasNode n = {.op = op, .path = path, .type = type, .layer = layer_of(w, path)};
  DHC_PUSH(w->a, &w->g->nodes, n);
  return w->g->nodes.n - 1;
}

static void add_arg(Walk *w, int to, int from) {
  AtlasNode *n = &w->g->nodes.at[to];
  for (int i = 0; i < n->args.n; i++)
    if (n->args.at[i] == from) return;
  if (from >= 0) DHC_PUSH(w->a, &n->args, from);
}

static int64_t *callee_values(Walk *w, const DhcNode *n, const Frame *fr, const DhcFunc *callee) {
  const DhcAttr *dims = dhc_attr(n, "dims");
  int64_t *inner = DHC_NEW_N(w->a, int64_t, callee->symbols.n + 1);
  for (int i = 0; i < callee->symbols.n; i++)
    if (!dhc_dim_eval(dims->dims.at[i], fr->f->symbols.n, fr->f->symbols.at, fr->values, &inner[i])) w->fits = false;
  return inner;
}

static void walk(Walk *w, const Frame *fr);

/* A call of a unit: its ops, in its layer. */
static void write_out(Walk *w, const DhcNode *n, const Frame *fr, const DhcFunc *callee) {
  Frame in = {.f = callee, .values = callee_values(w, n, fr, callee), .was = written_in(w, callee), .is = path_of(w, fr, n->origin)};
  in.node = DHC_NEW_N(w->a, int, callee->next_value_id + 1);
  for (int i = 0; i < callee->params.n; i++) in.node[callee->params.at[i]->id] = fr->node[n->args[i]->id];
  if (w->fits) walk(w, &in);
  for (int i = 0; i < n->n_results; i++) fr->node[n->results[i]->id] = in.node[callee->results.at[i]->id];
}

/* Bodies of recurrences and what has a kernel of its own are one node, with the cost of all of it. */
static double cost_of(Walk *w, const DhcNode *n, const Frame *fr, const DhcFunc *callee) {
  int64_t flops = 0, trips = 1;
  if (!callee) {
    if (!dhc_dim_eval(dhc_op_info(n->op)->flops(fr->f->module, n), fr->f->symbols.n, fr->f->symbols.at, fr->values, &flops)) w->fits = false;
    return (double)flops;
  }
  Counts c;
  const int64_t *inner = callee_values(w, n, fr, callee);
  if (n->op == DHC_OP_SCAN && !dhc_dim_eval(dhc_attr(n, "length")->dim, fr->f->symbols.n, fr->f->symbols.at, fr->values, &trips)) w->fits = false;
  if (w->fits && !counts_of(w->m, callee, inner, &c)) w->fits = false;
  return w->fits ? c.flops * (double)trips : 0;
}

static void take_op(Walk *w, const DhcNode *n, const Frame *fr) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  const DhcFunc *callee = info->cls == DHC_CLASS_CALL ? dhc_node_callee(n) : NULL;
  if (callee && n->op != DHC_OP_SCAN && !callee->kernel) {
    write_out(w, n, fr, callee);
    return;
  }
  int first = n->n_args ? fr->node[n->args[0]->id] : -1, any = -1;
  for (int i = 0; i < n->n_args && any < 0; i++) any = fr->node[n->args[i]->id];
  if (info->cls == DHC_CLASS_VIEW || any < 0) { /* of constants and weights alone: not drawn */
    for (int i = 0; i < n->n_results; i++) fr->node[n->results[i]->id] = first;
    return;
  }
  double flops = cost_of(w, n, fr, callee);
  int id = add(w, callee && callee->kernel ? callee->kernel : info->name, path_of(w, fr, n->origin),
               n->n_results ? type_text(w, &n->results[0]->type, fr) : "");
  w->g->nodes.at[id].flops = flops;
  for (int i = 0; i < n->n_args; i++) add_arg(w, id, fr->node[n->args[i]->id]);
  for (int i = 0; i < n->n_results; i++) fr->node[n->results[i]->id] = id;
}

static void walk(Walk *w, const Frame *fr) {
  for (const DhcNode *n = fr->f->first; n && w->fits; n = n->next)
    if (n->op != DHC_OP_PARAM) take_op(w, n, fr);
}

/* ---- layers --------------------------------------------------------------------------------------------- */

static int parent_of(const DhcLayerInfos *l, int i) {
  int best = -1;
  for (int k = 0; k < i; k++)
    if (atlas_path_within(l->at[i].path, l->at[k].path) && strcmp(l->at[i].path, l->at[k].path) && (best < 0 || strlen(l->at[k].path) > strlen(l->at[best].path)))
      best = k;
  return best;
}

static bool layer_within(const AtlasGraph *g, int layer, int of) {
  while (layer >= 0 && layer != of) layer = g->layers[layer].parent;
  return layer == of;
}

/* What node `from` gives goes to a node of layer `to` (-1: out of the model): an output of the layers that it leaves. */
static void leaves(const AtlasGraph *g, DhcArena *a, int from, int to) {
  const AtlasNode *n = &g->nodes.at[from];
  for (int i = n->layer; i >= 0 && (to < 0 || !layer_within(g, to, i)); i = g->layers[i].parent) {
    AtlasLayer *l = &g->layers[i];
    if (!l->output) l->output = n->type;
    else if (!strstr(l->output, n->type)) l->output = dhc_arena_printf(a, "%s, %s", l->output, n->type);
  }
}

static void sum_layers(const dhc_model *m, AtlasGraph *g, DhcArena *a) {
  DhcLayerInfos l = dhc_model_layers(m->m);
  g->n_layers = l.n;
  g->layers = DHC_NEW_N(a, AtlasLayer, l.n + 1);
  for (int i = 0; i < l.n; i++) g->layers[i].parent = parent_of(&l, i);
  for (int k = 0; k < g->nodes.n; k++) {
    const AtlasNode *n = &g->nodes.at[k];
    for (int i = n->layer; i >= 0; i = g->layers[i].parent) g->layers[i].flops += n->flops;
    for (int i = 0; i < n->args.n; i++) leaves(g, a, n->args.at[i], n->layer);
    if (n->result) leaves(g, a, k, -1);
  }
}

dhc_status atlas_graph(dhc_model *m, const char *entry, const char *sizes, DhcArena *a, AtlasGraph *out) {
  *out = (AtlasGraph){0};
  DHC_TRY(sizes_bind(m, entry, sizes, false, a, &out->sizes));
  Version *v;
  int64_t *values;
  DHC_TRY(atlas_version(m, entry, DHC_MODE_RUN, &out->sizes, a, &v, &values));
  Walk w = {.m = m, .g = out, .a = a, .module = v->module, .fits = true};
  Frame fr = {.f = v->func, .values = values, .node = DHC_NEW_N(a, int, v->func->next_value_id + 1), .was = "", .is = ""};
  for (int i = 0; i < v->func->params.n; i++) {
    const DhcParamInfo *p = &v->func->param_info.at[i];
    const DhcValue *x = v->func->params.at[i];
    bool input = p->role == DHC_ROLE_INPUT;
    fr.node[x->id] = input ? add(&w, "input", "", type_text(&w, &x->type, &fr)) : -1;
    if (input) out->nodes.at[fr.node[x->id]].name = p->name;
  }
  walk(&w, &fr);
  for (int i = 0; i < v->func->results.n && w.fits; i++) {
    const DhcValue *x = v->func->results.at[i];
    int from = fr.node[x->id], id = add(&w, "result", "", type_text(&w, &x->type, &fr));
    if (from >= 0) out->nodes.at[from].result = true;
    out->nodes.at[id].name = v->func->result_names.at[i];
    add_arg(&w, id, from);
  }
  if (!w.fits) return dhc_status_make(DHC_E_INPUT, "entry '%s': operations at these sizes do not fit in 63 bits", entry);
  sum_layers(m, out, a);
  return dhc_status_ok();
}

/* ---- as a document --------------------------------------------------------------------------------- */

static void put_nodes(JsonDoc *doc, const AtlasGraph *g) {
  cJSON *list = json_array(doc, doc->root, "nodes");
  for (int k = 0; k < g->nodes.n; k++) {
    const AtlasNode *n = &g->nodes.at[k];
    cJSON *row = json_object(doc, list, NULL);
    json_text(doc, row, "op", n->op);
    if (n->name) json_text(doc, row, "name", n->name);
    json_number(doc, row, "layer", n->layer);
    json_text(doc, row, "type", n->type);
    json_number(doc, row, "flops", n->flops);
    cJSON *args = json_array(doc, row, "args");
    for (int i = 0; i < n->args.n; i++) json_number(doc, args, NULL, n->args.at[i]);
  }
}

dhc_status api_model_graph_json(dhc_model *m, const char *entry, const char *sizes, char **out) {
  NEED_OUT(out);
  NEED(m);
  JsonDoc doc;
  DhcArena a;
  AtlasGraph g;
  const char *name = entry ? entry : "forward";
  dhc_arena_init(&a);
  dhc_status st = atlas_graph(m, name, sizes, &a, &g);
  json_begin(&doc);
  if (st.code == DHC_OK) {
    json_text(&doc, doc.root, "model", m->name);
    json_text(&doc, doc.root, "entry", name);
    json_text(&doc, doc.root, "sizes", sizes_text(&g.sizes, &a));
    DhcLayerInfos l = dhc_model_layers(m->m);
    cJSON *layers = json_array(&doc, doc.root, "layers");
    for (int i = 0; i < l.n; i++) {
      cJSON *row = json_object(&doc, layers, NULL);
      json_text(&doc, row, "path", l.at[i].path);
      json_text(&doc, row, "layer", l.at[i].layer);
      json_number(&doc, row, "parent", g.layers[i].parent);
      json_number(&doc, row, "parameters", (double)l.at[i].n_params);
      json_number(&doc, row, "flops", g.layers[i].flops);
      if (g.layers[i].output) json_text(&doc, row, "output", g.layers[i].output);
    }
    put_nodes(&doc, &g);
  }
  st = json_end(&doc, st, false, out);
  dhc_arena_fini(&a);
  return st;
}
