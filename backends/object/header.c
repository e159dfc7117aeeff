/* The C header of an object, and what it says about itself. */
#include "backends/object/object.h"

const char *dhc_object_c_type(int32_t dtype) {
  static const char *const name[DHC_N_DTYPES] = {
      [DHC_F64] = "double", [DHC_F32] = "float",    [DHC_BF16] = "uint16_t", [DHC_I64] = "int64_t",
      [DHC_I32] = "int32_t", [DHC_I16] = "int16_t", [DHC_I8] = "int8_t",     [DHC_U32] = "uint32_t",
      [DHC_U16] = "uint16_t", [DHC_U8] = "uint8_t", [DHC_BOOL] = "uint8_t"};
  return name[dtype];
}

static const char *upper(const char *text, DhcArena *arena) {
  char *copy = dhc_arena_strdup(arena, text);
  for (char *c = copy; *c; c++)
    if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 'a' + 'A');
  return copy;
}

/* ---- describe() ---------------------------------------------------------------------------- */

void dhc_object_json_text(DhcText *to, const char *text) {
  dhc_text_puts(to, "\"");
  for (const char *c = text ? text : ""; *c; c++) {
    if (*c == '"' || *c == '\\') dhc_text_printf(to, "\\%c", *c);
    else if ((unsigned char)*c < 0x20) dhc_text_printf(to, "\\u%04x", (unsigned)(unsigned char)*c);
    else dhc_text_printf(to, "%c", *c);
  }
  dhc_text_puts(to, "\"");
}

static void json_member(DhcText *to, const char *name, const char *text, const char *end) {
  dhc_object_json_text(to, name);
  dhc_text_puts(to, ": ");
  dhc_object_json_text(to, text);
  dhc_text_puts(to, end);
}

static void describe_tensors(DhcText *to, const DhcObjEntry *e, bool out) {
  bool first = true;
  for (int i = 0; i < e->n_params; i++) {
    const DhcObjParam *p = &e->param[i];
    if (p->out != out) continue;
    if (!first) dhc_text_puts(to, ", ");
    first = false;
    dhc_text_puts(to, "{");
    json_member(to, "name", p->tensor->name, ", ");
    json_member(to, "parameter", p->name, ", ");
    json_member(to, "type", p->tensor->type, "}");
  }
}

/* What the state holds, by the numbers of _set and _get, and the members of the struct of numbers. */
static void describe_training(DhcText *to, const DhcObjTrain *t) {
  dhc_text_puts(to, ", ");
  json_member(to, "training", t->c_name, ", \"state_tensors\": [");
  for (int i = 0; i < t->kept.n; i++) {
    const DhcObjKept *k = &t->kept.at[i];
    dhc_text_puts(to, i ? ", {" : "{");
    json_member(to, "name", k->name, ", ");
    json_member(to, "dtype", dhc_dtype_name((dhc_dtype)k->dtype), ", \"shape\": [");
    if (!k->slot) dhc_text_printf(to, "%lld", (long long)k->n);
    for (int d = 0; k->slot && d < k->slot->rank; d++) dhc_text_printf(to, "%s%lld", d ? ", " : "", (long long)k->slot->dim[d]);
    dhc_text_printf(to, "], \"at\": %lld}", (long long)k->at);
  }
  dhc_text_puts(to, "], \"scalars\": [");
  for (int i = 0; i < t->scalars.n; i++) {
    const DhcObjScalar *s = &t->scalars.at[i];
    dhc_text_puts(to, i ? ", {" : "{");
    json_member(to, "name", s->name, ", ");
    json_member(to, "dtype", dhc_dtype_name((dhc_dtype)s->tensor->dtype), "");
    dhc_text_printf(to, ", \"at\": %lld, \"value\": %.17g}", (long long)s->at, s->value);
  }
  dhc_text_puts(to, "]");
}

static void describe_entry(DhcText *to, const DhcObject *o, const DhcObjEntry *e, const char *function) {
  dhc_text_puts(to, "{");
  json_member(to, "name", e->name, ", ");
  if (o->n_variants && !o->levels) json_member(to, "variant", o->variant[e->variant].name, ", ");
  json_member(to, "function", function, ", \"sizes\": [");
  bool first = true;
  for (int i = 0; i < e->n_symbols; i++) {
    if (!first) dhc_text_puts(to, ", ");
    first = false;
    dhc_text_puts(to, "{");
    json_member(to, "name", e->image->plan.symbols[i], "");
    if (e->bound[i]) dhc_text_printf(to, ", \"value\": %lld", (long long)e->bound[i]);
    dhc_text_puts(to, "}");
  }
  dhc_text_puts(to, "], \"inputs\": [");
  describe_tensors(to, e, false);
  dhc_text_puts(to, "], \"outputs\": [");
  describe_tensors(to, e, true);
  /* whether the function has these parameters */
  dhc_text_printf(to, "], \"weights\": %s, \"state\": %s", e->reads_weights && !o->blob ? "true" : "false", e->state_bytes ? "true" : "false");
  if (e->train) describe_training(to, e->train);
  dhc_text_puts(to, "}");
}

const char *dhc_object_describe(const DhcObject *o, const char *target, DhcArena *arena) {
  DhcText t = {.arena = arena};
  dhc_text_printf(&t, "{\"abi\": %d, ", DHC_OBJECT_ABI);
  json_member(&t, "name", o->name, ", ");
  json_member(&t, "model", o->model, ", ");
  json_member(&t, "hash", o->hash, ", ");
  json_member(&t, "build", o->build, ", ");
  json_member(&t, "target", target, ", ");
  if (o->bounded) dhc_text_puts(&t, "\"timing\": \"bounded\", ");
  if (dhc_object_quantized(o)) json_member(&t, "quantized", dhc_object_quantized(o), ", ");
  dhc_text_printf(&t, "\"weights_bytes\": %lld, \"weights\": [", (long long)o->blob_bytes);
  for (int i = 0; i < o->n_tensors; i++) {
    const dhc_slot *s = &o->layout->slots[o->tensor[i]];
    dhc_text_printf(&t, "%s{", i ? ", " : "");
    json_member(&t, "name", s->name, ", ");
    json_member(&t, "dtype", dhc_dtype_name((dhc_dtype)s->dtype), ", \"shape\": [");
    for (int d = 0; d < s->rank; d++) dhc_text_printf(&t, "%s%lld", d ? ", " : "", (long long)s->dim[d]);
    dhc_text_puts(&t, "]");
    if (dhc_object_is_rounded(o, o->tensor[i])) dhc_text_printf(&t, ", \"quantized\": true, \"f32\": %s", dhc_object_is_wide(o, o->tensor[i]) ? "true" : "false");
    dhc_text_puts(&t, "}");
  }
  if (o->n_variants) dhc_text_puts(&t, o->levels ? "], \"levels\": [" : "], \"variants\": [");
  for (int i = 0; i < o->n_variants; i++) {
    dhc_text_printf(&t, "%s{", i ? ", " : "");
    json_member(&t, "name", o->variant[i].name, ", ");
    if (o->levels) json_member(&t, "target", o->variant[i].target, "}");
    else json_member(&t, "hash", o->variant[i].hash, "}");
  }
  dhc_text_puts(&t, "], \"entries\": [");
  for (int i = 0; i < (o->levels ? o->choices.n : o->n_entries); i++) { /* of levels what callers see */
    const DhcObjEntry *e = o->entry[o->levels ? o->choices.at[i].entry[0] : i];
    if (i) dhc_text_puts(&t, ", ");
    describe_entry(&t, o, e, o->levels ? o->choices.at[i].c_name : e->c_name);
  }
  dhc_text_puts(&t, "]}");
  return dhc_text_str(&t);
}

/* ---- names ---------------------------------------------------------------------------------- */

typedef struct Names {
  DhcArena *arena;
  DHC_VEC(const char *) all;
} Names;

const char *const dhc_object_training_suffix[DHC_OBJ_N_TRAINING] = {
    [DHC_OBJ_INIT] = "_init", [DHC_OBJ_RESET] = "_reset", [DHC_OBJ_SET] = "_set", [DHC_OBJ_GET] = "_get"};

bool dhc_object_handles_state(const DhcObject *o, const DhcObjEntry *e) {
  for (int i = 0; e->train && i < o->n_entries; i++)
    if (o->entry[i]->train && !strcmp(o->entry[i]->train->c_name, e->train->c_name)) return o->entry[i] == e;
  return false;
}

static void exported(Names *n, const char *a, const char *b) {
  DHC_PUSH(n->arena, &n->all, dhc_arena_printf(n->arena, "%s%s", a, b));
}

const char **dhc_object_exports(const DhcObject *o, DhcArena *arena, int *n_out) {
  Names n = {.arena = arena};
  exported(&n, o->name, "_describe");
  if (!o->cuda) exported(&n, o->name, "_prefault");
  if (o->cuda) exported(&n, o->name, "_cuda_open"), exported(&n, o->name, "_cuda_close");
  if (o->blob_bytes && !o->blob) exported(&n, o->name, "_weights_check");
  if (dhc_object_sets_weights(o)) {
    exported(&n, o->name, "_weights_begin");
    exported(&n, o->name, "_weights_set");
  }
  if (o->tests.n) exported(&n, o->name, "_selftest");
  if (o->n_variants) exported(&n, o->name, o->levels ? "_level" : "_variant");
  for (int i = 0; i < (o->levels ? 0 : o->n_entries); i++)
    for (int k = 0; k < DHC_OBJ_N_CALLS; k++)
      if (k != DHC_OBJ_STATE_BYTES || o->entry[i]->state_bytes) exported(&n, o->entry[i]->c_name, dhc_object_call_suffix[k]);
  for (int i = 0; i < o->n_entries; i++)
    for (int k = 0; dhc_object_handles_state(o, o->entry[i]) && k < DHC_OBJ_N_TRAINING; k++)
      exported(&n, o->entry[i]->train->c_name, dhc_object_training_suffix[k]);
  for (int i = 0; i < o->choices.n; i++)
    for (int k = 0; k < DHC_OBJ_N_CALLS; k++)
      for (int by = DHC_OBJ_BY_NUMBER; by >= (o->levels ? DHC_OBJ_BY_CPU : DHC_OBJ_BY_NUMBER); by--)
        if (dhc_object_has_call(&o->choices.at[i], (DhcObjCall)k)) exported(&n, dhc_object_call_name(o, &o->choices.at[i], (DhcObjCall)k, by, arena), "");
  *n_out = n.all.n;
  return n.all.at;
}

/* ---- header ------------------------------------------------------------------------------------ */

static const char types[] =
    "#ifndef DHC_OBJECT_ABI\n"
    "#define DHC_OBJECT_ABI 1\n"
    "/* What functions of objects return. */\n"
    "typedef int dhc_object_status;\n"
    "enum {\n"
    "  DHC_OBJECT_OK = 0,\n"
    "  DHC_OBJECT_NULL = 1,      /* a pointer is NULL that may not be */\n"
    "  DHC_OBJECT_ALIGN = 2,     /* workspace, state or weights do not begin at a multiple of 64 */\n"
    "  DHC_OBJECT_DIMS = 3,      /* the model does not take these sizes: ..._why() says why */\n"
    "  DHC_OBJECT_WORKSPACE = 4, /* the workspace is too small */\n"
    "  DHC_OBJECT_WEIGHTS = 5,   /* the weights are cut short, damaged, or laid out for another object */\n"
    "  DHC_OBJECT_INDEX = 6,     /* an input holds an index outside its range: nothing was computed */\n"
    "  DHC_OBJECT_REQUIRE = 7,   /* a value that the model requires is not so: results mean nothing */\n"
    "  DHC_OBJECT_SELFTEST = 8,  /* ..._selftest(): an output is not what it has to be */\n"
    "  DHC_OBJECT_VARIANT = 9,   /* there is no variant or level of that number */\n"
    "  DHC_OBJECT_DEVICE = 10    /* of objects for GPUs: the driver refused something, or the GPU is none they have code for */\n"
    "};\n"
    "/* Who runs tasks, where a caller has threads. parallel_for calls f on disjoint ranges that cover [0, n), each\n"
    " * with a worker number below `workers`, and returns when all are done; it may not be NULL. Without a dhc_object_exec\n"
    " * (NULL) the calling thread does it all. Results do not depend on it. */\n"
    "typedef struct dhc_object_exec {\n"
    "  void *ctx;\n"
    "  int workers;\n"
    "  void (*parallel_for)(void *ctx, int64_t n, void (*f)(void *arg, int64_t t0, int64_t t1, int worker), void *arg);\n"
    "} dhc_object_exec;\n"
    "#elif DHC_OBJECT_ABI != 1\n"
    "#error \"headers of objects of different ABI versions in one file\"\n"
    "#endif\n";

static void sizes_of(const DhcObjEntry *e, DhcText *to, const char *before, const char *after) {
  bool any = false;
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) {
      dhc_text_printf(to, "%sint64_t %s", any ? ", " : before, e->symbol[i]);
      any = true;
    }
  if (any) dhc_text_puts(to, after);
}

static int free_sizes(const DhcObjEntry *e) {
  int n = 0;
  for (int i = 0; i < e->n_symbols; i++) n += !e->bound[i];
  return n;
}

static void entry_comment(const DhcObject *o, const DhcObjEntry *e, DhcText *to) {
  size_t width = 0;
  for (int i = 0; i < e->n_params; i++) width = strlen(e->param[i].name) > width ? strlen(e->param[i].name) : width;
  if (o->n_variants && !o->levels) dhc_text_printf(to, "/* ---- %s of variant %s ----\n", e->name, o->variant[e->variant].name);
  else dhc_text_printf(to, "/* ---- %s ----\n", e->name);
  for (int i = 0; i < e->n_params; i++)
    dhc_text_printf(to, " *   %-*s  %s %s\n", (int)width, e->param[i].name, e->param[i].out ? "out" : "in ", e->param[i].tensor->type);
  bool any = false;
  for (int i = 0; i < e->n_symbols; i++) {
    if (e->bound[i]) dhc_text_printf(to, "%s%s = %lld", any ? ", " : " * Sizes: ", e->symbol[i], (long long)e->bound[i]);
    else dhc_text_printf(to, "%s%s from 1", any ? ", " : " * Sizes: ", e->symbol[i]);
    any = true;
  }
  if (any) dhc_text_puts(to, ".\n");
  for (int i = 0; i < e->guards.n; i++) dhc_text_printf(to, " * %s\n", e->guards.at[i].message);
  if (e->train)
    dhc_text_puts(to, " * One step of training: forward, backward and optimiser. Weights, what the optimiser keeps and buffers are in state, which\n"
                      " * ..._init() begins; a step that is not finite (`finite` 0) changes nothing in it. State is plain memory: a copy of it is a\n"
                      " * checkpoint. Numbers of the step are in scalars.\n");
  else if (e->state_bytes)
    dhc_text_puts(to, e->n_params ? " * Goes on from state, which ..._reset() begins, and changes it. After a status other than DHC_OBJECT_OK and\n"
                                    " * DHC_OBJECT_REQUIRE it is as before; after the latter it means nothing.\n"
                                  : " * Begins state: as before the first position of a sequence.\n");
  if (dhc_object_needs_no_workspace(e)) dhc_text_puts(to, " * Needs no workspace: NULL and 0 will do.\n");
  dhc_text_puts(to, " * Tensors are dense, the last axis side by side, none overlaps another. */\n");
}

const char *dhc_object_prototype(const DhcObject *o, const DhcObjEntry *e, DhcArena *arena) {
  DhcText t = {.arena = arena};
  dhc_text_printf(&t, "dhc_object_status %s(", e->c_name);
  if (e->reads_weights && !o->blob) dhc_text_puts(&t, "const void *weights, ");
  if (e->state_bytes) dhc_text_puts(&t, "void *state, ");
  for (int i = 0; i < e->n_params; i++)
    dhc_text_printf(&t, "%s%s *%s, ", e->param[i].out ? "" : "const ", dhc_object_c_type(e->param[i].tensor->dtype), e->param[i].name);
  if (e->train) dhc_text_printf(&t, "const %s_scalars *scalars, ", e->train->c_name);
  sizes_of(e, &t, "", ", ");
  dhc_text_puts(&t, "void *workspace, int64_t workspace_bytes, ");
  if (o->cuda) dhc_text_printf(&t, "const %s_cuda *gpu)", o->name);
  else dhc_text_puts(&t, "const dhc_object_exec *exec)");
  return dhc_text_str(&t);
}

/* Sizes that are known for the preprocessor: what NAME_..._BYTES say. */
static void entry_numbers(const DhcObjEntry *e, DhcText *to) {
  const char *big = upper(e->c_name, to->arena);
  if (e->stack_bytes) dhc_text_printf(to, "#define %s_STACK_BYTES %lld /* at most, without exec */\n", big, (long long)e->stack_bytes);
  if (e->state_bytes && e->state_bytes->op == DHC_DIM_CONST)
    dhc_text_printf(to, "#define %s_STATE_BYTES %lld\n", big, (long long)e->state_bytes->value);
  if (e->work_bytes->op != DHC_DIM_CONST || e->shared_bytes->op != DHC_DIM_CONST || e->scratch_bytes->op != DHC_DIM_CONST) return;
  long long fixed = (long long)(e->work_bytes->value + e->shared_bytes->value), each = (long long)e->scratch_bytes->value;
  dhc_text_printf(to, "#define %s_WORKSPACE_BYTES %lld /* without exec */\n", big, fixed + each);
  dhc_text_printf(to, "#define %s_WORKSPACE_BYTES_FOR(workers) (%lld + %lld * (workers))\n", big, fixed, each);
}

/* Of all entries together, where all are known. */
static void object_numbers(const DhcObject *o, const char *big, DhcText *to) {
  int64_t work = 0, state = 0, stack = 0;
  for (int i = 0; i < o->n_entries; i++) stack = o->entry[i]->stack_bytes > stack ? o->entry[i]->stack_bytes : stack;
  if (stack) dhc_text_printf(to, "#define %s_STACK_BYTES %lld /* of every entry, without exec */\n", big, (long long)stack);
  bool known = o->n_entries > 0;
  for (int i = 0; i < o->n_entries; i++) {
    const DhcObjEntry *e = o->entry[i];
    known = known && e->work_bytes->op == DHC_DIM_CONST && e->shared_bytes->op == DHC_DIM_CONST && e->scratch_bytes->op == DHC_DIM_CONST;
    known = known && (!e->state_bytes || e->state_bytes->op == DHC_DIM_CONST);
    if (!known) return;
    int64_t all = e->work_bytes->value + e->shared_bytes->value + e->scratch_bytes->value;
    work = all > work ? all : work;
    if (e->state_bytes && e->state_bytes->value > state) state = e->state_bytes->value;
  }
  dhc_text_printf(to, "#define %s_WORKSPACE_BYTES %lld /* of every entry, without exec */\n", big, (long long)work);
  dhc_text_printf(to, "#define %s_STATE_BYTES %lld\n", big, (long long)state);
}

static void put_value(DhcText *to, const DhcObjScalar *s) {
  if (dhc_dtype_is_float((dhc_dtype)s->tensor->dtype)) dhc_text_printf(to, s->tensor->dtype == DHC_F32 ? "%.9gf" : "%.17g", s->value);
  else dhc_text_printf(to, "%lld", (long long)s->value);
}

/* A C literal of a float has a point or an exponent. */
static const char *literal(const DhcObjScalar *s, DhcArena *arena) {
  DhcText t = {.arena = arena};
  put_value(&t, s);
  const char *text = dhc_text_str(&t);
  if (!dhc_dtype_is_float((dhc_dtype)s->tensor->dtype) || strpbrk(text, ".e")) return text;
  bool f = text[strlen(text) - 1] == 'f';
  return dhc_arena_printf(arena, "%.*s.0%s", (int)strlen(text) - f, text, f ? "f" : "");
}

static void training(const DhcObjEntry *e, DhcText *to) {
  const DhcObjTrain *t = e->train;
  const char *big = upper(t->c_name, to->arena);
  dhc_text_printf(to, "/* Numbers of a step. step: from 0, opt_step: from 1, both one more every step that was finite; lr: the learning rate; clip:\n"
                      " * largest norm of the gradient, 0: any; limit: a gradient of a larger norm is refused. */\n"
                      "typedef struct %s_scalars {\n", t->c_name);
  for (int i = 0; i < t->scalars.n; i++)
    dhc_text_printf(to, "  %s %s;\n", dhc_object_c_type(t->scalars.at[i].tensor->dtype), t->scalars.at[i].name);
  dhc_text_printf(to, "} %s_scalars;\n/* Those that a training of the model begins with. */\n#define %s_SCALARS {", t->c_name, big);
  for (int i = 0; i < t->scalars.n; i++) dhc_text_printf(to, "%s%s", i ? ", " : "", literal(&t->scalars.at[i], to->arena));
  dhc_text_puts(to, "}\n/* Tensors of the state, by number:\n");
  for (int i = 0; i < t->kept.n; i++) {
    const DhcObjKept *k = &t->kept.at[i];
    dhc_text_printf(to, " *   %3d  %s %s[", i, k->name, dhc_dtype_name((dhc_dtype)k->dtype));
    if (!k->slot) dhc_text_printf(to, "%lld", (long long)k->n);
    for (int d = 0; k->slot && d < k->slot->rank; d++) dhc_text_printf(to, "%s%lld", d ? ", " : "", (long long)k->slot->dim[d]);
    dhc_text_printf(to, "]%s\n", k->slot ? "" : " of the optimiser");
  }
  dhc_text_printf(to, " * _init: as a training begins. _reset: what the optimiser keeps begins anew, after _set of weights. _set, _get: one tensor in its\n"
                      " * plain order; DHC_OBJECT_WEIGHTS: there is none of that number, or it is not so many bytes.%s */\n"
                      "dhc_object_status %s_init(void *state, int64_t state_bytes);\n"
                      "dhc_object_status %s_reset(void *state);\n"
                      "dhc_object_status %s_set(void *state, int tensor, const void *data, int64_t bytes);\n"
                      "dhc_object_status %s_get(const void *state, int tensor, void *data, int64_t bytes);\n",
                  e->numbers_at ? "\n * State is memory of the GPU, data the host's: each is done when it returns, and waits for no stream." : "", t->c_name, t->c_name, t->c_name,
                  t->c_name);
}

static void entry_functions(const DhcObject *o, const DhcObjEntry *e, DhcText *to) {
  if (dhc_object_handles_state(o, e)) training(e, to);
  entry_numbers(e, to);
  dhc_text_printf(to, "/* Bytes of workspace with so many workers (without exec: 1); -1: the model does not take these sizes. */\n");
  dhc_text_printf(to, "int64_t %s_workspace_bytes(", e->c_name);
  sizes_of(e, to, "", ", ");
  dhc_text_puts(to, "int workers);\n");
  if (e->state_bytes) {
    dhc_text_printf(to, "/* Bytes of state%s; -1: the model does not take these. */\nint64_t %s_state_bytes(",
                    e->train ? ", at all sizes the same" : ", the same for all entries at the same sizes", e->c_name);
    sizes_of(e, to, "", "");
    dhc_text_printf(to, "%s);\n", free_sizes(e) ? "" : "void");
  }
  dhc_text_printf(to, "/* Why the model does not take these sizes; NULL: it does. */\nconst char *%s_why(", e->c_name);
  sizes_of(e, to, "", "");
  dhc_text_printf(to, "%s);\n", free_sizes(e) ? "" : "void");
  dhc_text_printf(to, "%s;\n\n", dhc_object_prototype(o, e, to->arena));
}

/* Which variants there are, and the functions that take one. */
static void choices(const DhcObject *o, const char *big, DhcText *to) {
  dhc_text_puts(to, "/* ---- variants ----\n * Each has functions of its own; those that all have take its number, too. */\nenum {");
  for (int i = 0; i < o->n_variants; i++) dhc_text_printf(to, "%s%s_VARIANT_%s = %d", i ? ", " : " ", big, o->variant[i].name, i);
  dhc_text_printf(to, ", %s_N_VARIANTS = %d };\n/* The number of a variant by its name; -1: there is none. */\nint %s_variant(const char *name);\n\n", big,
                  o->n_variants, o->name);
  for (int i = 0; i < o->choices.n; i++) {
    const DhcObjChoice *c = &o->choices.at[i];
    for (int k = 0; k < DHC_OBJ_N_CALLS; k++)
      if (dhc_object_has_call(c, (DhcObjCall)k)) dhc_text_printf(to, "%s;\n", dhc_object_call_prototype(o, c, (DhcObjCall)k, DHC_OBJ_BY_NUMBER, to->arena));
    dhc_text_puts(to, "\n");
  }
}

/* Numbers that are known for the preprocessor, the largest of all levels. */
static void level_numbers(const DhcObject *o, const DhcObjChoice *c, DhcText *to) {
  const char *big = upper(c->c_name, to->arena);
  int64_t stack = 0, work = 0;
  bool known = true;
  for (int v = 0; v < o->n_variants; v++) {
    const DhcObjEntry *e = o->entry[c->entry[v]];
    stack = e->stack_bytes > stack ? e->stack_bytes : stack;
    known = known && e->work_bytes->op == DHC_DIM_CONST && e->shared_bytes->op == DHC_DIM_CONST && e->scratch_bytes->op == DHC_DIM_CONST;
    if (known && dhc_object_test_workspace(e) > work) work = dhc_object_test_workspace(e);
  }
  const DhcObjX *state = o->entry[c->entry[0]]->state_bytes;
  if (stack) dhc_text_printf(to, "#define %s_STACK_BYTES %lld /* at most, without exec, at any level */\n", big, (long long)stack);
  if (state && state->op == DHC_DIM_CONST) dhc_text_printf(to, "#define %s_STATE_BYTES %lld\n", big, (long long)state->value);
  if (known) dhc_text_printf(to, "#define %s_WORKSPACE_BYTES %lld /* without exec, at any level */\n", big, (long long)work);
}

/* Of the best level that the CPU has, and of one that the caller says. */
static void levels(const DhcObject *o, const char *big, DhcText *to) {
  dhc_text_puts(to, "/* ---- levels ----\n * Code for several levels of x86-64. Functions without _at take the best that the CPU and the system have; those with\n"
                    " * it the one that they are told, which has to be no higher. State goes on from any level at any other. */\nenum {");
  for (int i = 0; i < o->n_variants; i++) dhc_text_printf(to, "%s%s_LEVEL_%s = %d", i ? ", " : " ", big, o->variant[i].name, i);
  dhc_text_printf(to, ", %s_N_LEVELS = %d };\n/* The best; -1: none. Asks the CPU every time, which on virtual machines takes microseconds. */\nint %s_level(void);\n\n", big,
                  o->n_variants, o->name);
  for (int i = 0; i < o->choices.n; i++) {
    const DhcObjChoice *c = &o->choices.at[i];
    const DhcObjEntry *e = o->entry[c->entry[0]];
    entry_comment(o, e, to);
    if (e->train) training(e, to);
    level_numbers(o, c, to);
    dhc_text_puts(to, "/* Bytes of workspace (with so many workers) and state, why the model does not take these sizes, the entry itself. */\n");
    for (int by = DHC_OBJ_BY_CPU; by <= DHC_OBJ_BY_NUMBER; by++)
      for (int k = DHC_OBJ_N_CALLS - 1; k >= 0; k--)
        if (dhc_object_has_call(c, (DhcObjCall)k)) dhc_text_printf(to, "%s;\n", dhc_object_call_prototype(o, c, (DhcObjCall)k, by, to->arena));
    dhc_text_puts(to, "\n");
  }
}

static void selftest(const DhcObject *o, const char *big, DhcText *to) {
  bool weights = false;
  for (int i = 0; i < o->tests.n; i++) weights = weights || (o->entry[o->tests.at[i].entry]->reads_weights && !o->blob);
  dhc_text_printf(to, "/* ---- selftest ----\n * Runs %d calls that were run when the object was made, and compares every byte of what they give. */\n"
                      "#define %s_SELFTEST_WORKSPACE_BYTES %lld\n", o->tests.n, big, (long long)dhc_object_selftest_bytes(o));
  const char *gpu = o->cuda ? dhc_arena_printf(to->arena, ", const %s_cuda *gpu", o->name) : "";
  dhc_text_printf(to, "dhc_object_status %s_selftest(%svoid *workspace, int64_t workspace_bytes%s);\n\n", o->name, weights ? "const void *weights, " : "", gpu);
}

/* Functions for who passes the weights, and which tensors they are. */
static void weights_functions(const DhcObject *o, DhcText *to) {
  bool sets = dhc_object_sets_weights(o);
  dhc_text_puts(to, "/* ---- weights ----\n");
  for (int i = 0; i < o->n_tensors && sets; i++) {
    const dhc_slot *s = &o->layout->slots[o->tensor[i]];
    dhc_text_printf(to, " *   %3d  %s %s[", i, s->name, dhc_dtype_name((dhc_dtype)s->dtype));
    for (int d = 0; d < s->rank; d++) dhc_text_printf(to, "%s%lld", d ? ", " : "", (long long)s->dim[d]);
    dhc_text_puts(to, "]\n");
  }
  dhc_text_printf(to, " * A file of `dhcc build --weights-file`, mapped or read, is ready for use after _check%s */\n"
                      "/* DHC_OBJECT_WEIGHTS: cut short, damaged, or for another object. Reads all of it. */\n"
                      "dhc_object_status %s_weights_check(const void *weights, int64_t bytes);\n",
                  sets ? "; or _begin, then _set for\n * every tensor in its plain order." : ".", o->name);
  if (!sets) return;
  dhc_text_printf(to, "dhc_object_status %s_weights_begin(void *weights, int64_t bytes);\n"
                      "/* DHC_OBJECT_WEIGHTS: no such tensor, or it is not so many bytes. */\n"
                      "dhc_object_status %s_weights_set(void *weights, int tensor, const void *data, int64_t bytes);\n\n",
                  o->name, o->name);
}

/* Which weights have fewer bits. */
static void quantised(const DhcObject *o, DhcText *to) {
  dhc_text_printf(to, "/* Weights that have the values of %s; those marked f32 also lie in f32, for kernels that read them so:\n",
                  dhc_tag_is_i8(o->tag) ? "int8 with a scale for each row" : "bf16");
  for (int i = 0; i < o->n_tensors; i++)
    if (dhc_object_is_rounded(o, o->tensor[i]))
      dhc_text_printf(to, " *   %s%s\n", o->layout->slots[o->tensor[i]].name, dhc_object_is_wide(o, o->tensor[i]) ? " (f32)" : "");
  dhc_text_puts(to, " */\n");
}

void dhc_object_header(const DhcObject *o, const char *file, DhcText *to) {
  const char *guard = upper(o->name, to->arena);
  dhc_text_printf(to, "/* %s: model %s as an object, written by dhcc %s.\n * Model hash %s.\n *\n", file, o->model, o->build, o->hash);
  if (o->cuda)
    dhc_text_puts(to, " * Weights, state, tensors and workspace that entries are given are memory of the GPU, which is all the caller's; functions\n"
                      " * for weights work on the host, from where they are copied. Entries put their work into the stream and do not wait for\n"
                      " * it, but where they look at indices and at what the model requires.");
  else
    dhc_text_puts(to, " * All memory is the caller's. Workspace (any contents) and weights begin at multiples of 64 bytes; tensors at\n"
                    " * those of their elements. Every function may be called from any number of threads at once, each with a\n"
                    " * workspace, and outputs, of its own.");
  if (o->bounded) dhc_text_puts(to, " How much is done hangs on sizes alone.");
  dhc_text_puts(to, " */\n");
  if (dhc_object_quantized(o)) quantised(o, to);
  dhc_text_printf(to, "#ifndef %s_OBJECT_H\n#define %s_OBJECT_H\n\n#include <stdint.h>\n\n", guard, guard);
  dhc_text_puts(to, "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
  dhc_text_puts(to, types);
  dhc_text_printf(to, "\n#define %s_ALIGN 64 /* of workspace, state and weights */\n", guard);
  dhc_text_printf(to, "#define %s_WEIGHTS_BYTES %lld\n", guard, (long long)o->blob_bytes);
  object_numbers(o, guard, to);
  dhc_text_printf(to, "\n/* One JSON object: entries, inputs, outputs, sizes, types, model hash, ABI version. */\n"
                      "const char *%s_describe(void);\n\n", o->name);
  if (!o->cuda)
    dhc_text_printf(to, "/* Touches every page of what is embedded, of weights that are passed, and of other memory of the caller (workspace, state),\n"
                        " * whose contents stay, so that no call that follows waits for one. Either may be NULL with 0 bytes. */\n"
                        "void %s_prefault(const void *weights, int64_t weights_bytes, void *memory, int64_t memory_bytes);\n\n", o->name);
  if (o->cuda)
    dhc_text_printf(to, "/* The code on the GPU of the context that is current in the calling thread, and the stream (NULL: the default one) that it\n"
                        " * goes to. Open until _cuda_close; any number at a time. */\n"
                        "typedef struct %s_cuda {\n  void *stream, *module, *function[%d];\n  int multiprocessors;\n} %s_cuda;\n"
                        "dhc_object_status %s_cuda_open(%s_cuda *gpu, void *stream);\nvoid %s_cuda_close(%s_cuda *gpu);\n\n",
                    o->name, o->functions.n ? o->functions.n : 1, o->name, o->name, o->name, o->name, o->name);
  if (o->blob_bytes && !o->blob) weights_functions(o, to);
  for (int i = 0; i < o->n_entries && !o->levels; i++) {
    entry_comment(o, o->entry[i], to);
    entry_functions(o, o->entry[i], to);
  }
  if (o->levels) levels(o, guard, to);
  else if (o->n_variants) choices(o, guard, to);
  if (o->tests.n) selftest(o, guard, to);
  dhc_text_puts(to, "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}
