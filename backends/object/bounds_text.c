/* The document of --bounds: every function of an object with its loops and its share of the stack. */
#include "backends/object/bounds.h"

typedef struct Doc {
  const DhcObject *o;
  DhcText *to;
  DhcArena *arena;
  bool first; /* of the list at hand */
} Doc;

static void bytes_or_null(DhcText *to, const char *name, int64_t v, bool known) {
  if (known) dhc_text_printf(to, "\"%s\": %lld", name, (long long)v);
  else dhc_text_printf(to, "\"%s\": null", name);
}

static void put_loop(Doc *d, DhcObjLoop l) {
  dhc_text_printf(d->to, "%s{\"depth\": %d, ", d->first ? "" : ", ", l.depth);
  d->first = false;
  bytes_or_null(d->to, "iterations", l.iterations, l.iterations >= 0);
  dhc_text_printf(d->to, ", \"by_values\": %s}", l.values ? "true" : "false");
}

static void put_count(Doc *d, int depth, int64_t at_most) {
  put_loop(d, (DhcObjLoop){.depth = depth, .iterations = at_most == INT64_MAX ? -1 : at_most});
}

/* Indices are looked at before anything is computed; then the plan's loops. */
static void entry_loops(Doc *d, const DhcObjEntry *e) {
  for (int i = 0; i < e->index_checks.n; i++)
    for (int k = 0; k < e->index_checks.at[i].rank; k++) put_count(d, k, dhc_object_at_most(e->index_checks.at[i].count[k]));
  int end[DHC_MAX_LOOP_DEPTH + 1], depth = 0;
  for (int i = 0; i < e->stmts.n; i++) {
    while (depth && i == end[depth - 1]) depth--;
    const DhcObjStmt *s = &e->stmts.at[i];
    if (s->kind != DHC_ITEM_LOOP) continue;
    put_count(d, depth, dhc_object_at_most(s->count));
    end[depth++] = i + 1 + s->n_body;
  }
}

/* Four bytes at a time, but for patterns that are one byte. */
static void fill_loop(Doc *d) {
  int64_t most = 0;
  for (int e = 0; e < d->o->n_entries; e++)
    for (int i = 0; i < d->o->entry[e]->stmts.n; i++) {
      const DhcObjStmt *s = &d->o->entry[e]->stmts.at[i];
      if (s->kind != DHC_ITEM_FILL) continue;
      int64_t bytes = dhc_object_at_most(s->bytes);
      most = bytes > most ? bytes : most;
    }
  put_count(d, 0, most == INT64_MAX ? most : most / 4);
}

static void pack_loops(Doc *d) {
  int64_t most[4] = {0};
  for (int i = 0; i < d->o->pieces.n; i++) {
    const DhcObjPiece *p = &d->o->pieces.at[i];
    if (p->kind != DHC_OBJ_PANEL) continue;
    const int64_t of[] = {p->matrices, (p->rows + p->width - 1) / p->width, p->cols, p->width};
    for (int k = 0; k < 4; k++) most[k] = of[k] > most[k] ? of[k] : most[k];
  }
  for (int k = 0; k < 4; k++) put_count(d, k, most[k]);
}

static void prefault_loops(Doc *d) {
  if (d->o->blob) put_count(d, 0, (d->o->blob_bytes + 4095) / 4096);
  put_count(d, 0, INT64_MAX); /* memory of the caller */
  put_count(d, 0, INT64_MAX);
}

static void differs_loop(Doc *d) {
  int64_t most = 0;
  for (int i = 0; i < d->o->tests.n; i++)
    for (int k = 0; k < d->o->entry[d->o->tests.at[i].entry]->n_params; k++)
      most = d->o->tests.at[i].bytes[k] > most ? d->o->tests.at[i].bytes[k] : most;
  put_count(d, 0, most);
}

/* Those of the object's own, by what stands behind its name. */
static void helper_loops(Doc *d, const char *name) {
  static const struct {
    const char *end;
    void (*loops)(Doc *);
  } of[] = {{"_fill", fill_loop}, {"_pack", pack_loops}, {"_prefault", prefault_loops}, {"_differs", differs_loop}};
  size_t n = strlen(d->o->name);
  for (size_t i = 0; i < sizeof of / sizeof *of && !strncmp(name, d->o->name, n); i++)
    if (!strcmp(name + n, of[i].end)) of[i].loops(d);
  if (!strncmp(name, d->o->name, n) && !strcmp(name + n, "_weights_check")) put_count(d, 0, (d->o->blob_bytes - DHC_OBJ_BLOB_HEADER) / 8);
}

static void put_function(Doc *d, const char *name, const DhcObjFrame *f, bool more) {
  const DhcObject *o = d->o;
  dhc_text_puts(d->to, more ? ",\n  {\"name\": " : "\n  {\"name\": ");
  dhc_object_json_text(d->to, name);
  dhc_text_puts(d->to, ", ");
  bytes_or_null(d->to, "frame_bytes", f ? f->frame : 0, f != NULL);
  dhc_text_puts(d->to, ", ");
  bytes_or_null(d->to, "stack_bytes", f ? f->deepest : 0, f != NULL);
  dhc_text_puts(d->to, ", \"loops\": [");
  d->first = true;
  for (int i = 0; i < o->functions.n; i++) {
    if (strcmp(o->functions.at[i].name, name)) continue;
    DhcObjLoops loops;
    dhc_object_function_loops(o, i, d->arena, &loops);
    for (int k = 0; k < loops.all.n; k++) put_loop(d, loops.all.at[k]);
  }
  for (int i = 0; i < o->n_entries; i++)
    if (!strcmp(o->entry[i]->c_name, name)) entry_loops(d, o->entry[i]);
  helper_loops(d, name);
  dhc_text_puts(d->to, "]}");
}

static void put_entry(Doc *d, const DhcObjEntry *e, bool more) {
  dhc_text_puts(d->to, more ? ",\n  {\"name\": " : "\n  {\"name\": ");
  dhc_object_json_text(d->to, e->name);
  dhc_text_puts(d->to, ", \"function\": ");
  dhc_object_json_text(d->to, e->c_name);
  dhc_text_puts(d->to, ", \"sizes\": {");
  for (int i = 0; i < e->n_symbols; i++) {
    if (i) dhc_text_puts(d->to, ", ");
    bytes_or_null(d->to, e->image->plan.symbols[i], e->bound[i], e->bound[i] > 0);
  }
  dhc_text_puts(d->to, "}, ");
  bytes_or_null(d->to, "stack_bytes", e->stack_bytes, e->stack_bytes > 0);
  dhc_text_puts(d->to, "}");
}

void dhc_object_bounds(const DhcObject *o, const char *target, DhcText *to) {
  Doc d = {.o = o, .to = to, .arena = to->arena};
  dhc_text_printf(to, "{\"abi\": %d, \"object\": ", DHC_OBJECT_ABI);
  dhc_object_json_text(to, o->name);
  dhc_text_puts(to, ", \"hash\": ");
  dhc_object_json_text(to, o->hash);
  dhc_text_puts(to, ", \"target\": ");
  dhc_object_json_text(to, target);
  dhc_text_puts(to, ",\n \"entries\": [");
  for (int i = 0; i < o->n_entries; i++) put_entry(&d, o->entry[i], i > 0);
  dhc_text_puts(to, "],\n \"functions\": [");
  int n = o->frames ? o->frames->all.n : 0;
  for (int i = 0; i < n; i++) put_function(&d, o->frames->all.at[i].name, &o->frames->all.at[i], i > 0);
  if (!n) { /* source: its compiler lays frames out */
    for (int i = 0; i < o->functions.n; i++) put_function(&d, o->functions.at[i].name, NULL, i > 0);
    for (int i = 0; i < o->n_entries; i++) put_function(&d, o->entry[i]->c_name, NULL, i + o->functions.n > 0);
  }
  dhc_text_puts(to, "]}\n");
}
