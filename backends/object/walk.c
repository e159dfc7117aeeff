/* From images to the entries of an object. */
#include "backends/object/object.h"
#include "runtime/sha256.h"

/* Where a buffer of the plan lies. */
typedef struct Home {
  bool known;
  DhcObjBase base;
  int param;
  const DhcObjX *at, *bytes;
} Home;

typedef struct Walk {
  const DhcObjRequest *rq;
  const DhcObjSource *src;
  const dhc_image *im;
  DhcArena *arena;
  DhcObject *o;
  DhcObjEntry *e;
  const DhcObjX **env; /* the plan's symbols */
  Home *home;          /* by buffer */
  bool *written;       /* by buffer without alias: the plan writes to it */
  int *param_of;       /* by tensor of the image: parameter of the function, or -1 */
  const char *why;
} Walk;

static const DhcObjX *number(Walk *w, int64_t v) { return dhc_obj_const(w->e, w->arena, v); }
static const DhcObjX *op(Walk *w, int o, const DhcObjX *x, const DhcObjX *y) { return dhc_obj_op(w->e, w->arena, o, x, y); }
static const DhcObjX *add(Walk *w, const DhcObjX *x, const DhcObjX *y) { return op(w, DHC_DIM_ADD, x, y); }

static void refuse(Walk *w, const char *why) {
  if (!w->why) w->why = why;
}

static const DhcObjX *value(Walk *w, dhc_dimprog p, int64_t absent) {
  const DhcObjX *x = dhc_obj_prog(w->e, w->arena, p, w->env, w->im->plan.n_symbols, absent);
  if (!x) DHC_BUG("entry '%s': a size has no program", w->src->name);
  return x;
}

/* ---- names ------------------------------------------------------------------------------------ */

static const char *const reserved[] = {
    "alignas",  "alignof",  "and",      "asm",       "auto",      "bool",     "break",   "case",     "catch",    "char",
    "class",    "const",    "continue", "default",   "delete",    "do",       "double",  "else",     "enum",     "explicit",
    "export",   "extern",   "false",    "float",     "for",       "friend",   "goto",    "if",       "inline",   "int",
    "long",     "mutable",  "namespace", "new",      "not",       "operator", "or",      "private",  "protected", "public",
    "register", "restrict", "return",   "short",     "signed",    "sizeof",   "static",  "struct",   "switch",   "template",
    "this",     "throw",    "true",     "try",       "typedef",   "typename", "union",   "unsigned", "using",    "virtual",
    "void",     "volatile", "while",    "xor",       "workspace", "state",    "weights", "exec",     "workers",  "workspace_bytes",
    "linux",    "unix",     "I",        "scalars",
    /* what C99 source itself calls things (c99.c) */
    "p",        "d",        "j",        "each",     "work",     "shared",   "scratch", "constants", "embedded", "launch",
    "job",      "i64",      "misaligned", "memcpy",  "memmove",  "memset"};

const char *dhc_object_identifier(const char *text, DhcArena *arena) {
  DhcText t = {.arena = arena};
  if (!*text || (*text >= '0' && *text <= '9')) dhc_text_puts(&t, "x");
  for (const char *c = text; *c; c++) {
    bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_';
    dhc_text_printf(&t, "%c", letter ? *c : '_');
  }
  for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
    if (!strcmp(dhc_text_str(&t), reserved[i])) {
      dhc_text_puts(&t, "_");
      break;
    }
  return dhc_text_str(&t);
}

static bool taken(const DhcObjEntry *e, const char *name) {
  for (int i = 0; i < e->n_symbols; i++)
    if (e->symbol[i] && !strcmp(e->symbol[i], name)) return true;
  for (int i = 0; i < e->n_params; i++)
    if (!strcmp(e->param[i].name, name)) return true;
  return false;
}

/* An identifier that no other parameter has. */
static const char *fresh(Walk *w, const char *text, const char *suffix) {
  const char *name = dhc_object_identifier(text, w->arena);
  while (taken(w->e, name)) name = dhc_arena_printf(w->arena, "%s%s", name, suffix);
  return name;
}

/* ---- sizes and parameters ---------------------------------------------------------------------- */

static bool told_by_shapes(const dhc_image *im, int symbol) {
  for (int i = 0; i < im->n_equations; i++)
    if (im->equations[i].symbol == symbol) return true;
  return false;
}

static void add_symbols(Walk *w) {
  const dhc_plan *plan = &w->im->plan;
  DhcObjEntry *e = w->e;
  e->symbol = DHC_NEW_N(w->arena, const char *, plan->n_symbols + 1);
  e->bound = DHC_NEW_N(w->arena, int64_t, plan->n_symbols + 1);
  w->env = DHC_NEW_N(w->arena, const DhcObjX *, plan->n_symbols + 1);
  e->n_symbols = plan->n_symbols;
  for (int i = 0; i < plan->n_symbols; i++) {
    e->symbol[i] = fresh(w, plan->symbols[i], "_");
    if (w->im->n_equations && !told_by_shapes(w->im, i)) e->bound[i] = 1;
    for (int k = 0; k < w->rq->n_bind; k++)
      if (!strcmp(w->rq->bind_name[k], plan->symbols[i])) e->bound[i] = w->rq->bind_value[k];
    w->env[i] = dhc_obj_symbol(e, w->arena, i);
  }
}

static bool is_required(const dhc_image *im, int tensor) {
  for (int i = 0; i < im->n_requires; i++)
    if (im->requires[i].tensor == tensor) return true;
  return false;
}

static void add_params(Walk *w) {
  const dhc_image *im = w->im;
  int n = im->n_params + im->n_results;
  w->e->param = DHC_NEW_N(w->arena, DhcObjParam, n + 1);
  w->param_of = DHC_NEW_N(w->arena, int, n + 1);
  for (int i = 0; i < n; i++) {
    const dhc_image_tensor *t = &im->tensors[i];
    bool out = i >= im->n_params;
    w->param_of[i] = -1;
    if (out ? is_required(im, i) : t->role != DHC_IMAGE_INPUT) continue;
    DhcObjParam p = {fresh(w, *t->name ? t->name : out ? "result" : "input", out ? "_out" : "_"), t, out};
    w->param_of[i] = w->e->n_params;
    w->e->param[w->e->n_params++] = p;
  }
}

/* ---- training --------------------------------------------------------------------------------------- */

static int64_t rounded(int64_t bytes, int64_t to) { return (bytes + to - 1) / to * to; }

static void keep(Walk *w, DhcObjKept k) { DHC_PUSH(w->arena, &w->e->train->kept, k); }

/* Segments one behind the other, as a program lays them out; tensors that callers may set and get in the order of their slots. */
static void begin_training(Walk *w) {
  DhcObjTrain *t = DHC_NEW(w->arena, DhcObjTrain);
  const dhc_layout *l = &w->im->layout;
  *t = (DhcObjTrain){.layout = l, .moments = rounded(l->bytes[DHC_SEGMENT_WEIGHTS], 64)};
  t->c_name = dhc_arena_printf(w->arena, "%s_%s", w->rq->name, dhc_object_identifier(w->src->name, w->arena));
  t->buffers = t->moments + rounded(l->bytes[DHC_SEGMENT_MOMENTS], 64);
  t->bytes = t->buffers + rounded(l->bytes[DHC_SEGMENT_BUFFERS], 64);
  w->e->train = t;
  for (int i = 0; i < l->n_slots; i++) {
    const dhc_slot *s = &l->slots[i];
    if (s->role != DHC_IMAGE_WEIGHT && s->role != DHC_IMAGE_BUFFER) continue;
    keep(w, (DhcObjKept){s->name, s, s->dtype, (s->role == DHC_IMAGE_WEIGHT ? 0 : t->buffers) + s->at, s->n});
  }
  for (int i = 0; i < l->n_ranges; i++)
    keep(w, (DhcObjKept){l->ranges[i].name, NULL, l->ranges[i].dtype, t->moments + l->ranges[i].at, l->ranges[i].n});
}

static bool has_scalar(const DhcObjTrain *t, const char *name) {
  for (int i = 0; i < t->scalars.n; i++)
    if (!strcmp(t->scalars.at[i].name, name)) return true;
  return false;
}

/* "$lr" is called lr. */
static int64_t scalar_member(Walk *w, int tensor) {
  const dhc_image_tensor *t = &w->im->tensors[tensor];
  DhcObjTrain *of = w->e->train;
  const DhcObjScalar *last = of->scalars.n ? &of->scalars.at[of->scalars.n - 1] : NULL;
  int64_t each = dhc_dtype_bytes((dhc_dtype)t->dtype), end = last ? last->at + dhc_dtype_bytes((dhc_dtype)last->tensor->dtype) : 0;
  const char *name = dhc_object_identifier(*t->name == '$' ? t->name + 1 : t->name, w->arena);
  while (has_scalar(of, name)) name = dhc_arena_printf(w->arena, "%s_", name);
  DhcObjScalar s = {name, t, rounded(end, each), w->src->scalar[tensor]};
  DHC_PUSH(w->arena, &of->scalars, s);
  return s.at;
}

/* ---- constants ------------------------------------------------------------------------------------ */

static bool same_piece(const DhcObjPiece *a, const DhcObjPiece *b) {
  if (a->kind != b->kind) return false;
  if (a->kind == DHC_OBJ_SCALAR) return a->scalar->dtype == b->scalar->dtype && !strcmp(a->scalar->name, b->scalar->name) && !memcmp(&a->scalar->value, &b->scalar->value, sizeof(double));
  return a->slot == b->slot && a->width == b->width && a->tag == b->tag && a->matrices == b->matrices && a->rows == b->rows && a->cols == b->cols;
}

static int64_t piece(Walk *w, DhcObjPiece want) {
  DhcObject *o = w->o;
  for (int i = 0; i < o->pieces.n; i++)
    if (same_piece(&o->pieces.at[i], &want)) return o->pieces.at[i].at;
  int64_t align = want.kind == DHC_OBJ_SCALAR ? 8 : 64;
  if (!o->blob_bytes) o->blob_bytes = DHC_OBJ_BLOB_HEADER;
  want.at = (o->blob_bytes + align - 1) / align * align;
  o->blob_bytes = want.at + want.bytes;
  DHC_PUSH(w->arena, &o->pieces, want);
  return want.at;
}

static int64_t slot_piece(Walk *w, int slot) {
  const dhc_slot *s = &w->rq->layout->slots[slot];
  return piece(w, (DhcObjPiece){.kind = DHC_OBJ_SLOT, .slot = slot, .bytes = s->n * dhc_dtype_bytes((dhc_dtype)s->dtype)});
}

static int64_t panel_piece(Walk *w, const dhc_panel *x) {
  return piece(w, (DhcObjPiece){.kind = DHC_OBJ_PANEL, .slot = w->src->slot_of[w->im->tensors[x->tensor].place], .width = x->width,
                                .tag = (DhcTag)x->tag, .matrices = x->matrices, .rows = x->rows, .cols = x->cols,
                                .bytes = x->matrices * dhc_tag_bytes((DhcTag)x->tag, x->width, x->rows, x->cols)});
}

static int64_t scalar_piece(Walk *w, const dhc_image_tensor *t) {
  return piece(w, (DhcObjPiece){.kind = DHC_OBJ_SCALAR, .scalar = t, .bytes = 8});
}

/* ---- places ------------------------------------------------------------------------------------------- */

static int root_of(const dhc_plan *plan, int buffer) {
  while (plan->buffers[buffer].alias >= 0) buffer = plan->buffers[buffer].alias;
  return buffer;
}

static void find_written(Walk *w) {
  const dhc_plan *plan = &w->im->plan;
  w->written = DHC_NEW_N(w->arena, bool, plan->n_buffers + 1);
  for (int i = 0; i < plan->n_items; i++) {
    const dhc_item *it = &plan->items[i];
    for (int r = 0; r < it->n_refs; r++) {
      bool writes = it->kind == DHC_ITEM_CALL ? w->src->writes[it->kernel] >> r & 1 : it->kind == DHC_ITEM_COPY ? r == 1 : true;
      if (writes) w->written[root_of(plan, it->refs[r].buffer)] = true;
    }
  }
}

static void place(Walk *w, int buffer, DhcObjBase base, int param, const DhcObjX *at) {
  Home *h = &w->home[buffer];
  h->known = true;
  h->base = base;
  h->param = param;
  h->at = at;
  if (base == DHC_OBJ_WEIGHTS && w->written[buffer]) DHC_BUG("entry '%s' writes to weights or buffers, which only training does", w->src->name);
}

static const DhcObjX *tensor_bytes(Walk *w, const dhc_image_tensor *t) {
  const DhcObjX *n = number(w, dhc_dtype_bytes((dhc_dtype)t->dtype));
  for (int d = 0; d < t->rank; d++) n = op(w, DHC_DIM_MUL, n, value(w, t->dims[d], 0));
  return n;
}

static const dhc_image_tensor *state_in(const DhcObjSource *src, int slot) {
  const dhc_image *im = src->image;
  for (int i = 0; i < im->n_params; i++)
    if (im->tensors[i].role == DHC_IMAGE_STATE && src->slot_of[im->tensors[i].place] == slot) return &im->tensors[i];
  return NULL;
}

static bool has_state(const dhc_image *im) {
  for (int i = 0; i < im->n_params; i++)
    if (im->tensors[i].role == DHC_IMAGE_STATE) return true;
  return false;
}

/* Bytes of a state that another entry carries on, whose sizes have the names of this one's. */
static const DhcObjX *others_bytes(Walk *w, const dhc_image *of, const dhc_image_tensor *t) {
  const DhcObjX **env = DHC_NEW_N(w->arena, const DhcObjX *, of->plan.n_symbols + 1);
  const DhcObjX *n = number(w, dhc_dtype_bytes((dhc_dtype)t->dtype));
  for (int i = 0; i < of->plan.n_symbols; i++)
    for (int k = 0; k < w->im->plan.n_symbols; k++)
      if (!strcmp(of->plan.symbols[i], w->im->plan.symbols[k])) env[i] = w->env[k];
  for (int d = 0; d < t->rank; d++) {
    for (int k = 1; k < t->dims[d].n_code; k++)
      if (t->dims[d].code[k - 1] == DHC_DIM_SYM && !env[t->dims[d].code[k]]) {
        refuse(w, dhc_arena_printf(w->arena, "entry '%s' does not tell how large state '%s' of another entry is: build them apart",
                                   w->src->name, t->name));
        return n;
      }
    const DhcObjX *x = dhc_obj_prog(w->e, w->arena, t->dims[d], env, of->plan.n_symbols, 0);
    n = op(w, DHC_DIM_MUL, n, x ? x : number(w, 0));
  }
  return n;
}

/* The states of all entries (of a variant) lie one after the other in the order of their slots: one memory serves them all. */
static void place_states(Walk *w) {
  const DhcObjX *at = number(w, 0);
  if (!has_state(w->im)) return;
  for (int s = 0; s < w->rq->layout->n_slots; s++) {
    const dhc_image_tensor *t = state_in(w->src, s);
    const DhcObjX *bytes = t ? tensor_bytes(w, t) : NULL;
    for (int i = 0; !bytes && i < w->rq->n_sources; i++) {
      const DhcObjSource *of = &w->rq->source[i];
      const dhc_image_tensor *other = of->variant == w->src->variant ? state_in(of, s) : NULL;
      if (other) bytes = others_bytes(w, of->image, other);
    }
    if (t && t->buffer >= 0) place(w, t->buffer, DHC_OBJ_STATE, 0, at);
    if (bytes) at = add(w, at, dhc_obj_align64(w->e, w->arena, bytes));
  }
  w->e->state_bytes = at;
}

/* Of a training step nothing is constant. */
static void place_trained(Walk *w) {
  const dhc_image *im = w->im;
  const DhcObjTrain *to = w->e->train;
  for (int i = 0; i < im->n_params; i++) {
    const dhc_image_tensor *t = &im->tensors[i];
    if (t->role == DHC_IMAGE_SCALAR) {
      int64_t at = scalar_member(w, i);
      if (t->buffer >= 0) place(w, t->buffer, DHC_OBJ_SCALARS, 0, number(w, at));
    }
    if (t->buffer < 0) continue;
    if (t->role == DHC_IMAGE_RANGE)
      place(w, t->buffer, DHC_OBJ_STATE, 0, number(w, t->place < 0 ? 0 : to->moments + to->layout->ranges[t->place].at));
    if (t->role == DHC_IMAGE_BUFFER || t->role == DHC_IMAGE_TABLE)
      place(w, t->buffer, DHC_OBJ_STATE, 0, number(w, to->buffers + to->layout->slots[t->place].at));
    if (t->role == DHC_IMAGE_WEIGHT) place(w, t->buffer, DHC_OBJ_STATE, 0, number(w, to->layout->slots[t->place].at));
  }
  if (im->n_panels) DHC_BUG("entry '%s' trains packed copies", w->src->name);
  w->e->state_bytes = number(w, to->bytes);
}

static void place_tensors(Walk *w) {
  const dhc_image *im = w->im;
  if (w->e->train) place_trained(w);
  for (int i = 0; i < im->n_params; i++) {
    const dhc_image_tensor *t = &im->tensors[i];
    if (t->buffer < 0 || (w->e->train && t->role != DHC_IMAGE_INPUT)) continue;
    switch (t->role) {
    case DHC_IMAGE_WEIGHT:
    case DHC_IMAGE_BUFFER:
    case DHC_IMAGE_TABLE: place(w, t->buffer, DHC_OBJ_WEIGHTS, 0, number(w, slot_piece(w, w->src->slot_of[t->place]))); break;
    case DHC_IMAGE_SCALAR: place(w, t->buffer, DHC_OBJ_WEIGHTS, 0, number(w, scalar_piece(w, t))); break;
    case DHC_IMAGE_INPUT: /* one that is written to is copied first: the caller's stays as it is */
      if (!w->written[t->buffer]) place(w, t->buffer, DHC_OBJ_PARAM, w->param_of[i], number(w, 0));
      break;
    case DHC_IMAGE_STATE: break;
    default: DHC_BUG("entry '%s' trains", w->src->name);
    }
  }
  for (int i = 0; i < im->n_panels; i++)
    place(w, im->panels[i].buffer, DHC_OBJ_WEIGHTS, 0, number(w, panel_piece(w, &im->panels[i])));
  for (int i = im->n_params; i < im->n_params + im->n_results; i++) {
    int b = im->tensors[i].buffer;
    if (b < 0 || w->param_of[i] < 0) continue;
    const dhc_buffer *x = &im->plan.buffers[b];
    if (x->alias < 0 && x->segment == DHC_SEGMENT_IO && !w->home[b].known) place(w, b, DHC_OBJ_PARAM, w->param_of[i], number(w, 0));
  }
  place_states(w);
}

/* Everything else lies in the workspace: what the plan packed, then what it put among inputs and outputs. */
static void place_work(Walk *w) {
  const dhc_plan *plan = &w->im->plan;
  const DhcObjX *end = number(w, 0);
  for (int i = 0; i < plan->n_buffers; i++) {
    const dhc_buffer *b = &plan->buffers[i];
    Home *h = &w->home[i];
    h->bytes = value(w, b->bytes, 0);
    if (h->known || b->segment != DHC_SEGMENT_WORK) continue;
    const DhcObjX *at = value(w, b->at, 0);
    if (b->alias >= 0) {
      place(w, i, DHC_OBJ_WORK, 0, add(w, w->home[b->alias].at, at));
    } else {
      for (int k = 0; k < b->n_below; k++)
        at = dhc_obj_max(w->e, w->arena, at, add(w, w->home[b->below[k]].at, w->home[b->below[k]].bytes));
      place(w, i, DHC_OBJ_WORK, 0, b->n_below ? dhc_obj_align64(w->e, w->arena, at) : at);
    }
    end = dhc_obj_max(w->e, w->arena, end, add(w, h->at, h->bytes));
  }
  for (int i = 0; i < plan->n_buffers; i++) {
    const dhc_buffer *b = &plan->buffers[i];
    Home *h = &w->home[i];
    if (h->known) continue;
    if (b->alias >= 0) {
      const Home *of = &w->home[b->alias];
      place(w, i, of->base, of->param, add(w, of->at, value(w, b->at, 0)));
    } else if (b->segment == DHC_SEGMENT_IO) {
      place(w, i, DHC_OBJ_WORK, 0, dhc_obj_align64(w->e, w->arena, end));
      end = add(w, h->at, h->bytes);
    } else {
      DHC_BUG("entry '%s': buffer %d has no place in an object", w->src->name, i);
    }
  }
  w->e->work_bytes = dhc_obj_align64(w->e, w->arena, end);
}

/* ---- statements -------------------------------------------------------------------------------------------- */

static DhcObjRef whole(Walk *w, const Home *h) {
  if (h->base == DHC_OBJ_WEIGHTS) w->e->reads_weights = true;
  return (DhcObjRef){.base = h->base, .param = h->param, .at = h->at};
}

static DhcObjRef operand(Walk *w, const dhc_ref *r) {
  DhcObjRef ref = whole(w, &w->home[r->buffer]);
  ref.at = add(w, ref.at, value(w, r->offset, 0));
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++) {
    if (!r->step[d].n_code) continue;
    const DhcObjX *x = value(w, r->step[d], 0);
    if (!dhc_obj_is(x, 0)) ref.step[d] = x;
  }
  return ref;
}

static bool same_ref(const DhcObjRef *a, const DhcObjRef *b) {
  bool same = a->base == b->base && a->param == b->param && a->at == b->at;
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++) same = same && a->step[d] == b->step[d];
  return same;
}

/* Where a copy is none it still counts as a statement: loops count theirs. */
static void add_move(Walk *w, int kind, const DhcObjRef *refs, const DhcObjX *bytes, uint32_t pattern) {
  DhcObjStmt s = {.kind = kind, .n_refs = kind == DHC_ITEM_COPY ? 2 : 1, .pattern = pattern, .bytes = bytes};
  if (kind == DHC_ITEM_COPY && same_ref(&refs[0], &refs[1])) s.bytes = number(w, 0);
  s.refs = dhc_arena_dup(w->arena, refs, sizeof *refs * (size_t)s.n_refs);
  DHC_PUSH(w->arena, &w->e->stmts, s);
}

static int function_of(Walk *w, int kernel, int class) {
  DhcObject *o = w->o;
  const char *key = dhc_arena_printf(w->arena, "%s_%d", w->src->keys[kernel], class);
  for (int i = 0; i < o->functions.n; i++)
    if (!strcmp(o->functions.at[i].name, key)) return i;
  DHC_PUSH(w->arena, &o->functions, ((DhcObjFunction){key, o->levels ? w->src->variant : 0, w->src->programs[kernel][class]}));
  return o->functions.n - 1;
}

static void add_call(Walk *w, const dhc_item *it, DhcObjStmt *s) {
  const dhc_kernel *k = &w->src->kernels[it->kernel];
  DhcObjEntry *e = w->e;
  DhcArena *a = w->arena;
  s->n_dims = it->n_dims;
  s->dims = DHC_NEW_N(a, const DhcObjX *, it->n_dims + 1);
  for (int i = 0; i < it->n_dims; i++) s->dims[i] = value(w, it->dims[i], 0);
  if (k->n_ptrs != it->n_refs || k->n_dims != it->n_dims || k->n_classes < 1 || k->n_classes > DHC_MAX_CLASSES)
    DHC_BUG("entry '%s': kernel %d does not fit its call", w->src->name, (int)it->kernel);
  const DhcObjX *scratch = number(w, 0), *shared = number(w, 0);
  for (int c = 0; c < k->n_classes; c++) {
    const dhc_kernel_class *from = &k->classes[c];
    const DhcObjX *guard = dhc_obj_prog(e, a, from->guard, s->dims, it->n_dims, 1);
    const DhcObjX *n = dhc_obj_prog(e, a, from->n_tasks, s->dims, it->n_dims, 1);
    const DhcObjX *first = dhc_obj_prog(e, a, from->first_tasks, s->dims, it->n_dims, 0);
    const DhcObjX *own = dhc_obj_prog(e, a, from->scratch_bytes, s->dims, it->n_dims, 0);
    const DhcObjX *all = dhc_obj_prog(e, a, from->shared_bytes, s->dims, it->n_dims, 0);
    if (!guard || !n || !first || !own || !all) {
      DHC_BUG("entry '%s': kernel %d has no sizes", w->src->name, (int)it->kernel);
    }
    if (dhc_obj_is(guard, 0)) continue;
    bool always = c == k->n_classes - 1 || guard->lo > 0;
    DhcObjClass *to = &s->class[s->n_classes++];
    *to = (DhcObjClass){always ? NULL : guard, function_of(w, it->kernel, c), n, dhc_obj_is(first, 0) ? NULL : first, {NULL}};
    for (int p = 0; p < DHC_MAX_PHASES - 2; p++)
      if (from->later_tasks[p].n_code) to->later_tasks[p] = dhc_obj_prog(e, a, from->later_tasks[p], s->dims, it->n_dims, 0);
    const DhcObjX *zero = number(w, 0); /* of a class that is not taken */
    scratch = dhc_obj_max(e, a, scratch, always ? own : dhc_obj_select(e, a, guard, own, zero));
    shared = dhc_obj_max(e, a, shared, always ? all : dhc_obj_select(e, a, guard, all, zero));
    if (always) break;
  }
  e->scratch_bytes = dhc_obj_max(e, a, e->scratch_bytes, dhc_obj_align64(e, a, scratch));
  e->shared_bytes = dhc_obj_max(e, a, e->shared_bytes, dhc_obj_align64(e, a, shared));
  e->most_refs = it->n_refs > e->most_refs ? it->n_refs : e->most_refs;
  e->most_dims = it->n_dims > e->most_dims ? it->n_dims : e->most_dims;
}

static void add_items(Walk *w) {
  const dhc_plan *plan = &w->im->plan;
  for (int i = 0; i < plan->n_items && !w->why; i++) {
    const dhc_item *it = &plan->items[i];
    DhcObjStmt s = {.kind = it->kind, .n_refs = it->n_refs, .label = it->label, .n_body = it->n_body};
    s.refs = DHC_NEW_N(w->arena, DhcObjRef, it->n_refs + 1);
    for (int r = 0; r < it->n_refs; r++) s.refs[r] = operand(w, &it->refs[r]);
    switch (it->kind) {
    case DHC_ITEM_COPY:
    case DHC_ITEM_FILL: add_move(w, it->kind, s.refs, value(w, it->bytes, 0), it->pattern); continue;
    case DHC_ITEM_LOOP: s.count = value(w, it->count, 0); break;
    case DHC_ITEM_RANKS:
    case DHC_ITEM_JOIN: continue; /* an object is the only rank */
    default: add_call(w, it, &s);
    }
    DHC_PUSH(w->arena, &w->e->stmts, s);
  }
}

static DhcObjRef param_ref(Walk *w, int param) {
  return (DhcObjRef){.base = DHC_OBJ_PARAM, .param = param, .at = number(w, 0)};
}

/* Inputs that the plan writes to, into the workspace. */
static void stage_inputs(Walk *w) {
  for (int i = 0; i < w->im->n_params; i++) {
    const dhc_image_tensor *t = &w->im->tensors[i];
    if (t->role != DHC_IMAGE_INPUT || t->buffer < 0 || w->home[t->buffer].base == DHC_OBJ_PARAM) continue;
    DhcObjRef refs[2] = {param_ref(w, w->param_of[i]), whole(w, &w->home[t->buffer])};
    add_move(w, DHC_ITEM_COPY, refs, tensor_bytes(w, t), 0);
  }
}

/* Results that share another tensor's memory, to the caller. */
static void hand_out(Walk *w) {
  for (int i = w->im->n_params; i < w->im->n_params + w->im->n_results; i++) {
    const dhc_image_tensor *t = &w->im->tensors[i];
    if (w->param_of[i] < 0) continue;
    DhcObjRef refs[2] = {whole(w, &w->home[t->buffer]), param_ref(w, w->param_of[i])};
    if (!same_ref(&refs[0], &refs[1])) add_move(w, DHC_ITEM_COPY, refs, tensor_bytes(w, t), 0);
  }
}

/* Results that no caller sees: whether values were as the model requires. */
static void add_required(Walk *w) {
  for (int i = 0; i < w->im->n_requires; i++) {
    const dhc_image_tensor *t = &w->im->tensors[w->im->requires[i].tensor];
    DHC_PUSH(w->arena, &w->e->required, whole(w, &w->home[t->buffer]));
  }
}

static void add_index_check(Walk *w, const dhc_index_check *from) {
  const dhc_image_tensor *t = &w->im->tensors[from->tensor];
  DhcObjIndexCheck c = {.param = w->param_of[from->tensor], .rank = t->rank, .at = number(w, 0), .extent = value(w, from->extent, 0),
                        .exempt = from->exempt, .exempted = from->exempted};
  const DhcObjX *stride = number(w, 1);
  for (int d = t->rank - 1; d >= 0; d--) {
    const DhcObjX *extent = value(w, t->dims[d], 0);
    c.count[d] = from->has_part ? value(w, from->size[d], 0) : extent;
    c.step[d] = from->has_part ? op(w, DHC_DIM_MUL, number(w, from->step[d]), stride) : stride;
    if (from->has_part) c.at = add(w, c.at, op(w, DHC_DIM_MUL, value(w, from->start[d], 0), stride));
    stride = op(w, DHC_DIM_MUL, stride, extent);
  }
  if (!from->has_part) { /* all elements: one loop */
    c.rank = 1;
    c.count[0] = stride;
    c.step[0] = number(w, 1);
  }
  DHC_PUSH(w->arena, &w->e->index_checks, c);
}

static void add_guards(Walk *w) {
  const dhc_plan *plan = &w->im->plan;
  for (int i = 0; i < plan->n_guards; i++) {
    DhcObjGuard g = {value(w, plan->guards[i].cond, 1), plan->guards[i].message};
    if (g.cond->lo == 1) continue; /* holds at all sizes */
    if (dhc_obj_is(g.cond, 0)) refuse(w, g.message);
    DHC_PUSH(w->arena, &w->e->guards, g);
  }
}

/* Values that no size can give: sizes that are fixed may be too large. */
static void check_sizes(Walk *w) {
  for (int i = 0; i < w->e->x.n; i++) {
    const DhcObjX *x = w->e->x.at[i];
    if (x->checked && x->a->op == DHC_DIM_CONST && x->b->op == DHC_DIM_CONST)
      refuse(w, dhc_arena_printf(w->arena, "entry '%s': at these sizes a number of bytes does not fit in 63 bits", w->src->name));
  }
}

static void walk_entry(Walk *w) {
  const dhc_image *im = w->im;
  DhcObjEntry *e = w->e;
  e->name = w->src->name;
  e->c_name = dhc_arena_printf(w->arena, "%s_%s%s%s", w->rq->name, w->o->n_variants ? w->o->variant[w->src->variant].name : "",
                               w->o->n_variants ? "_" : "", dhc_object_identifier(w->src->name, w->arena));
  e->variant = w->src->variant;
  e->image = im;
  if (w->src->scalar) begin_training(w);
  add_symbols(w);
  add_params(w);
  e->scratch_bytes = e->shared_bytes = number(w, 0);
  w->home = DHC_NEW_N(w->arena, Home, im->plan.n_buffers + 1);
  find_written(w);
  add_guards(w);
  place_tensors(w);
  place_work(w);
  if (w->why) return;
  stage_inputs(w);
  add_items(w);
  hand_out(w);
  add_required(w);
  for (int i = 0; i < im->n_index_checks; i++) add_index_check(w, &im->index_checks[i]);
  check_sizes(w);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

/* Constants laid out otherwise, or of another model, have another number. */
static uint64_t blob_id(const DhcObject *o, DhcArena *arena) {
  DhcText t = {.arena = arena};
  dhc_text_printf(&t, "%d %s\n", DHC_OBJECT_ABI, o->hash);
  for (int i = 0; i < o->pieces.n; i++) {
    const DhcObjPiece *p = &o->pieces.at[i];
    if (p->tag > DHC_TAG_PANEL) dhc_text_printf(&t, "%d ", (int)p->tag);
    dhc_text_printf(&t, "%d %s %d %lld %lld %lld %lld %lld\n", p->kind,
                    p->kind == DHC_OBJ_SCALAR ? p->scalar->name : o->layout->slots[p->slot].name, p->width, (long long)p->matrices,
                    (long long)p->rows, (long long)p->cols, (long long)p->at, (long long)p->bytes);
  }
  uint8_t digest[32];
  uint64_t id = 0;
  dhc_sha256_bytes(dhc_text_str(&t), (size_t)t.n, digest);
  for (int i = 0; i < 8; i++) id |= (uint64_t)digest[i] << 8 * i;
  return id;
}

/* Dims that are one number in all calls of a kernel become that number in its program. */
static void fix_dims(DhcObject *o, int function) {
  const DhcLp *p = o->functions.at[function].program;
  for (int i = 0; i < p->code.n; i++) {
    DhcLpInst *n = p->code.at[i];
    const DhcObjX *one = NULL;
    bool same = n->kind == DHC_LP_DIM;
    for (int e = 0; e < o->n_entries && same; e++)
      for (int s = 0; s < o->entry[e]->stmts.n && same; s++) {
        const DhcObjStmt *call = &o->entry[e]->stmts.at[s];
        for (int c = 0; c < call->n_classes && same; c++) {
          if (call->class[c].function != function) continue;
          const DhcObjX *x = call->dims[n->i];
          same = x->op == DHC_DIM_CONST && (!one || one->value == x->value);
          one = x;
        }
      }
    if (!same || !one) continue;
    n->kind = DHC_LP_CONST; /* the program is this object's alone */
    n->i = one->value;
  }
}

static void list_tensors(DhcObject *o, DhcArena *arena) {
  o->tensor = DHC_NEW_N(arena, int, o->layout->n_slots + 1);
  for (int s = 0; s < o->layout->n_slots; s++)
    for (int i = 0; i < o->pieces.n; i++) {
      const DhcObjPiece *p = &o->pieces.at[i];
      if (p->kind == DHC_OBJ_SCALAR || p->slot != s || dhc_object_piece_is_fixed(o, p)) continue;
      o->tensor[o->n_tensors++] = s;
      break;
    }
}

/* Kernels by their number: names say nothing of who generated them. */
static void name_functions(DhcObject *o, const DhcObjRequest *rq, DhcArena *arena) {
  for (int i = 0; i < o->functions.n; i++) {
    const char *key = o->functions.at[i].name, *kind = "kernel";
    for (int s = 0; s < rq->n_sources; s++)
      for (int k = 0; k < rq->source[s].image->plan.n_kernels; k++)
        if (!strncmp(rq->source[s].keys[k], key, strlen(rq->source[s].keys[k]))) kind = rq->source[s].kernels[k].name;
    o->functions.at[i].name = dhc_arena_printf(arena, "%s%s%s_k%d_%s", rq->name, o->levels ? "_" : "",
                                               o->levels ? o->variant[o->functions.at[i].level].name : "", i, kind);
  }
}

DhcObject *dhc_object_walk(const DhcObjRequest *rq, DhcArena *arena, const char **why) {
  DhcObject *o = DHC_NEW(arena, DhcObject);
  *o = (DhcObject){.name = rq->name, .model = rq->model, .hash = rq->hash, .build = rq->build, .layout = rq->layout, .variant = rq->variant, .n_variants = rq->n_variants};
  o->levels = o->n_variants && o->variant[0].target;
  o->entry = DHC_NEW_N(arena, DhcObjEntry *, rq->n_sources + 1);
  for (int i = 0; i < rq->n_sources; i++) {
    Walk w = {.rq = rq, .src = &rq->source[i], .im = rq->source[i].image, .arena = arena, .o = o, .e = DHC_NEW(arena, DhcObjEntry)};
    o->entry[o->n_entries++] = w.e;
    walk_entry(&w);
    if (w.why) {
      *why = w.why;
      return NULL;
    }
  }
  *why = dhc_object_choose(o, arena);
  if (*why) return NULL;
  for (int i = 0; i < o->functions.n; i++) fix_dims(o, i);
  name_functions(o, rq, arena);
  o->blob_bytes = (o->blob_bytes + 63) / 64 * 64;
  list_tensors(o, arena);
  o->tag = DHC_TAG_PANEL;
  o->row_axes = rq->row_axes;
  for (int i = 0; i < o->n_tensors; i++)
    if (rq->row_axes[o->tensor[i]]) o->tag = rq->tag;
  o->blob_id = blob_id(o, arena);
  return o;
}
