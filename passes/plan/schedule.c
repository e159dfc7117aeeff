/* Schedules: a template and a short vector for each size class of a spec. All tile sizes are decided here; what
 * the numbers of a vector are is documented beside the templates (backends/loop/tpl_*.c), which obey. */
#include "passes/plan/schedule_internal.h"

#include "ir/sum.h"

/* ---- tiles of a CPU ------------------------------------------------------------------ */

typedef struct Tile {
  int v[8];
} Tile;

static int lanes_of(const DhcTargetFacts *t) {
  return t->vector_bytes >= 64 ? 16 : t->vector_bytes >= 32 ? 8 : 4;
}

/* Rows by vectors of sums in registers: 6 x 4 of 16 lanes, 4 x 3 of 8, 4 x 2 of 4. */
static int tile_rows_of(const DhcTargetFacts *t) {
  return t->vector_bytes >= 64 ? 6 : 4;
}

static int tile_vectors(const DhcTargetFacts *t) {
  return t->vector_bytes >= 64 ? 4 : t->vector_bytes >= 32 ? 3 : 2;
}

/* The whole vector of the target's kind of template for s. */
static Tile cpu_tile(const DhcSpec *s, const DhcTargetFacts *t) {
  switch (s->kind) {
    case DHC_KIND_DOT: /* rows of A far apart stay in place up to 32 steps: their lines find room in the caches (64 to 512 measured) */
    case DHC_KIND_RAGGED: return (Tile){{tile_rows_of(t), tile_vectors(t), lanes_of(t), 16, 8, 32, 1024, 524288}};
    case DHC_KIND_CHAIN: return (Tile){{tile_rows_of(t), tile_vectors(t), lanes_of(t), 64}};
    case DHC_KIND_CONV: return (Tile){{t->vector_bytes >= 64 ? 8 : 4, t->vector_bytes >= 32 ? 3 : 2, lanes_of(t), 8, 64, 96, 196608, 4}};
    case DHC_KIND_WINOGRAD: return (Tile){{t->vector_bytes >= 64 ? 8 : 4, t->vector_bytes >= 32 ? 3 : 2, lanes_of(t), 8, 48, 240, 163840, 16}};
    case DHC_KIND_CONV_DW: return (Tile){{t->vector_bytes >= 64 ? 2 : 1, 2, lanes_of(t), 8, 196, 32, 8, 4}};
    case DHC_KIND_ROW: return (Tile){{0, t->task_elements, 4}};
    default: return (Tile){{0, t->task_elements}};
  }
}

static bool is_plain(const char *name) {
  return name && strstr(name, "_plain");
}

void dhc_schedule_complete(const DhcSpec *s, const DhcTargetFacts *t, DhcSchedule *x) {
  if (t->kind == DHC_TARGET_GPU) return; /* whole as they are: gpu_classes */
  Tile deep = {{0, 8, lanes_of(t), 0, 32, 256}};
  Tile all = !x->template_name || strcmp(x->template_name, "conv_deep") ? cpu_tile(s, t) : deep;
  if (is_plain(x->template_name)) all = (Tile){{0, t->task_elements}};
  for (int i = 0; i < 8; i++)
    if (!x->v[i]) x->v[i] = all.v[i];
}

/* ---- folds ----------------------------------------------------------------------------- */

enum { SPLIT_FOLDED = 32768, SPLIT_ROWS = 64, SHORT_ROW_OF_ARGMAX = 32, SHORT_ROW_OF_MAXIMA = 8, ROWS_OF_SHORT = 16, BARE_FOLD = 4, WIDE_COLUMNS = 64, LONG_COLUMNS = 64, FEW_SUMMED = 4 };

bool dhc_schedule_has_argmax(const DhcSpec *s) {
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD && s->node[n].op == DHC_OP_ARGMAX) return true;
  return false;
}

/* Are there maxima and minima alone, or places of them, and nothing stored of the elements? */
static bool chooses_alone(const DhcSpec *s) {
  uint32_t red = dhc_spec_axes(s, DHC_AXIS_RED);
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD && s->node[n].op != DHC_OP_ARGMAX && s->node[n].op != DHC_OP_REDUCE_MAX && s->node[n].op != DHC_OP_REDUCE_MIN) return false;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++)
    for (int t = 0; t < s->operand[o].n_terms; t++)
      for (int i = 0; i < s->operand[o].term[t].n_axes; i++)
        if (red >> s->operand[o].term[t].axis[i] & 1) return false;
  return true;
}

/* Is what is folded what lies side by side? */
static bool along_rows(const DhcSpec *s) {
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  for (int o = 0; o < dhc_spec_n_inputs(s); o++)
    for (int t = 0; t < s->operand[o].n_terms; t++)
      if (s->operand[o].term[t].unit && (par >> s->operand[o].term[t].axis[0] & 1)) return false;
  return true;
}

/* Few rows of many elements are cut into blocks, which all threads share (two phases); many rows are
 * tasks enough, and short ones not worth a second phase. Maxima of short rows and their places: lanes are rows,
 * not elements, of which the best would be looked for among 16 lanes once a row. Ranks have a template of their own at all sizes. Bare sums down many rows take several vectors of columns
 * at a time: more than one line of each row that lies far from the one before; down few rows, all of these at once. */
static int row_classes(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = 0;
  DhcSpecRanks ranks;
  if (dhc_spec_ranks(s, &ranks)) return out[0] = (DhcSchedule){.template_name = "ranks"}, 1;
  bool known = true; /* folded axes of constant extent: windows */
  for (int a = 0; a < s->n_axes; a++) known = known && (s->axis[a].role != DHC_AXIS_RED || s->axis[a].extent);
  if (!known && dhc_spec_may_split(s)) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_const(&g, SPLIT_FOLDED);
    dhc_size_count(&g, dhc_spec_axes(s, DHC_AXIS_RED));
    dhc_size_put(&g, DHC_DIM_LE);
    dhc_size_count(&g, dhc_spec_axes(s, DHC_AXIS_PAR));
    dhc_size_const(&g, SPLIT_ROWS);
    dhc_size_put(&g, DHC_DIM_LE);
    dhc_size_put(&g, DHC_DIM_AND);
    out[n++] = (DhcSchedule){.template_name = "row_split", .guard = dhc_size_guard(&g)};
  }
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  if (!known && par && along_rows(s) && (dhc_schedule_has_argmax(s) || chooses_alone(s))) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    int last = 31 - __builtin_clz(par);
    dhc_size_bound(&g, dhc_spec_axes(s, DHC_AXIS_RED), dhc_schedule_has_argmax(s) ? SHORT_ROW_OF_ARGMAX : SHORT_ROW_OF_MAXIMA, true);
    dhc_size_bound(&g, 1u << last, ROWS_OF_SHORT, false);
    out[n++] = (DhcSchedule){.template_name = "row", .v = {1 + last}, .guard = dhc_size_guard(&g)};
  }
  if (!known && par && s->n_nodes <= BARE_FOLD && !along_rows(s) && !chooses_alone(s)) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_bound(&g, dhc_spec_axes(s, DHC_AXIS_RED), LONG_COLUMNS, false);
    dhc_size_bound(&g, 1u << (31 - __builtin_clz(par)), WIDE_COLUMNS, false);
    out[n++] = (DhcSchedule){.template_name = "row", .v = {0, 0, 0, WIDE_COLUMNS}, .guard = dhc_size_guard(&g)};
    out[n++] = (DhcSchedule){.template_name = "row", .v = {0, 0, 0, 0, FEW_SUMMED}};
    return n;
  }
  out[n++] = (DhcSchedule){.template_name = "row"};
  return n;
}

/* ---- maps --------------------------------------------------------------------------------- */

enum { FEW_LOOKED_UP = 4, MANY_ROWS_OF_PLACES = 16, TURNED_DOWN = 8, TURNED_ALONG = 6 };

/* What is looked up at an index for each element lies anywhere: where few are looked up in a row, lanes are rows. What
 * lies across the lines of the results is turned by tiles, not gathered. */
static int map_classes(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  int n = 0, last = par ? 31 - __builtin_clz(par) : 0;
  uint32_t rows = par & ~(1u << last);
  bool looks_up = false;
  for (int o = 0; o < dhc_spec_n_inputs(s); o++)
    for (int t = 0; t < s->operand[o].n_terms; t++) {
      int index = s->operand[o].term[t].index;
      looks_up = looks_up || (index >= 0 && (dhc_spec_varies(s, index) >> last & 1));
    }
  if (rows && looks_up && !s->axis[last].extent) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    int row = 31 - __builtin_clz(rows);
    dhc_size_bound(&g, 1u << last, FEW_LOOKED_UP, true);
    dhc_size_bound(&g, 1u << row, MANY_ROWS_OF_PLACES, false);
    out[n++] = (DhcSchedule){.template_name = "map", .v = {1 + row}, .guard = dhc_size_guard(&g)};
  }
  DhcSpecTurned turned;
  if (dhc_spec_turned(s, &turned)) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_bound(&g, 1u << turned.down, TURNED_DOWN, false);
    dhc_size_bound(&g, 1u << turned.along, TURNED_ALONG, false);
    out[n++] = (DhcSchedule){.template_name = "map_turned", .guard = dhc_size_guard(&g)};
  }
  out[n++] = (DhcSchedule){.template_name = "map"};
  return n;
}

/* ---- recurrences ----------------------------------------------------------------------- */

enum { FEW_OPS = 4 };

/* Steps that lie side by side: vectors over rows would gather every element. A row at a time is read as it lies, if it is little more
 * than the recurrence itself. */
static bool along_steps(const DhcSpec *s) {
  uint32_t seq = dhc_spec_axes(s, DHC_AXIS_SEQ);
  int ops = 0;
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_EW && dhc_dtype_is_float(s->node[n].dtype)) ops += dhc_op_work(s->node[n].op);
  for (int o = 0; o < s->n_operands; o++) {
    uint32_t walked = 0;
    for (int t = 0; t < s->operand[o].n_terms; t++) {
      const DhcTerm *e = &s->operand[o].term[t];
      for (int i = 0; i < e->n_axes; i++) walked |= 1u << e->axis[i];
      if (e->index >= 0) walked |= dhc_spec_varies(s, e->index);
    }
    int unit = dhc_spec_unit_axis(&s->operand[o]);
    if ((walked & seq) && !(unit >= 0 && (seq >> unit & 1))) return false;
  }
  return ops <= FEW_OPS && !dhc_spec_axes(s, DHC_AXIS_RED);
}

static int scan_classes(const DhcSpec *s, DhcSchedule out[DHC_MAX_CLASSES]) {
  out[0] = (DhcSchedule){.template_name = "scan", .v = {0, 0, along_steps(s)}};
  return 1;
}

/* ---- convolutions -------------------------------------------------------------------------- */

static bool is_guarded(const DhcOperand *p) {
  for (int t = 0; t < p->n_terms; t++)
    if (p->term[t].guarded) return true;
  return false;
}

static uint32_t plain_axes(const DhcOperand *p) {
  uint32_t m = 0;
  for (int t = 0; t < p->n_terms; t++)
    for (int i = 0; i < p->term[t].n_axes; i++) m |= 1u << p->term[t].axis[i];
  return m;
}

/* The output channels: the last parallel axis that the operand without spatial terms walks and the
 * other does not; -1: none, or a spec of another form. */
static int channel_axis(const DhcSpec *s) {
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (d->kind != DHC_SN_FOLD || d->op != DHC_OP_DOT_GENERAL) continue;
    const DhcSpecNode *x = &s->node[d->a[0]], *y = &s->node[d->a[1]];
    if (x->kind != DHC_SN_LOAD || y->kind != DHC_SN_LOAD) return -1;
    const DhcOperand *p = &s->operand[x->operand], *q = &s->operand[y->operand];
    if (is_guarded(p) == is_guarded(q)) return -1;
    uint32_t own = is_guarded(p) ? plain_axes(q) & ~plain_axes(p) : plain_axes(p) & ~plain_axes(q);
    own &= dhc_spec_axes(s, DHC_AXIS_PAR);
    for (int a = s->n_axes - 1; a >= 0; a--)
      if (own >> a & 1) return a;
  }
  return -1;
}

/* The class for up to `most` output channels, before the one for any number. */
static int few_channels(const DhcSpec *s, int64_t most, DhcSchedule few, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int axis = channel_axis(s), n = 0;
  if (axis >= 0 && s->axis[axis].extent <= most) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_count(&g, 1u << axis);
    dhc_size_const(&g, most);
    dhc_size_put(&g, DHC_DIM_LE);
    few.guard = dhc_size_guard(&g);
    out[n++] = few;
  }
  out[n++] = (DhcSchedule){.template_name = few.template_name};
  return n;
}

enum { FEW_TAPS = 9, FEW_PLACES = 400 };

/* Depthwise: lanes are channels, where these fill half a vector and turning them costs less than what pixels side by side waste. Few
 * taps over many places cost about as much either way, and a division's zeros are multiplied, too. */
static int deep_classes(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  DhcSizeGuard g = {.arena = arena, .spec = s};
  uint32_t places = 0, par = dhc_spec_axes(s, DHC_AXIS_PAR), all = par;
  int64_t taps = 1;
  bool divided = false;
  for (int o = 0; o < dhc_spec_n_inputs(s); o++)
    for (int i = 0; is_guarded(&s->operand[o]) && i < s->operand[o].n_terms; i++) {
      const DhcTerm *e = &s->operand[o].term[i];
      for (int k = 0; e->guarded && k < e->n_axes; k++) places |= 1u << e->axis[k] & par;
      divided = divided || e->div > 1;
    }
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *d = &s->node[n];
    if (d->kind != DHC_SN_FOLD) continue;
    for (int i = 0; i < 2; i++) all &= plain_axes(&s->operand[s->node[d->a[i]].operand]);
  }
  for (int a = 0; a < s->n_axes; a++)
    if (s->axis[a].role == DHC_AXIS_RED) taps *= s->axis[a].extent;
  dhc_size_bound(&g, all, lanes_of(t) / 2, false);
  if (taps <= FEW_TAPS || divided) dhc_size_bound(&g, places, FEW_PLACES, true);
  out[0] = (DhcSchedule){.template_name = "conv_deep", .guard = dhc_size_guard(&g)};
  out[1] = (DhcSchedule){.template_name = "conv"};
  return 2;
}

/* A tile of 8 channels by 3 vectors of pixels wastes half of itself and more on up to 4 channels; 4 by
 * 6 has as many sums. Weight gradients have vectors over output channels: two of 16, or one.
 * Targets of narrower vectors have lower tiles anyway. */
static int conv_classes(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  if (dhc_spec_deep(s)) return deep_classes(s, t, arena, out);
  bool dw = s->kind == DHC_KIND_CONV_DW;
  DhcSchedule few = dw ? (DhcSchedule){.template_name = "conv_dw", .v = {1, 1}}
                       : (DhcSchedule){.template_name = "conv", .v = {4, 6}};
  if (t->vector_bytes >= 64) return few_channels(s, dw ? t->vector_bytes / 4 : 4, few, arena, out);
  out[0] = (DhcSchedule){.template_name = few.template_name};
  return 1;
}

/* ---- contractions --------------------------------------------------------------- */

/* One class: the template's tile is low (6 rows), so few rows waste little, and a second
 * class would double the time that code generation takes. Measured at 1, 2 and 6 rows: packing
 * the columns takes as long as all else. */
static int dot_classes(DhcSchedule out[DHC_MAX_CLASSES]) {
  out[0] = (DhcSchedule){.template_name = "dot"};
  return 1;
}

/* Ragged contractions, too, have one class. Masked-dense, every expert on every row, was measured
 * at 1 to 256 tokens (bench_moe): 2 to 14 times slower, as it reads the weights of experts without
 * rows and multiplies rows with experts that are not theirs. */

int dhc_schedule_panel_width(const DhcTargetFacts *t, int n_folds) {
  if (t->kind == DHC_TARGET_GPU) return 0;
  return tile_vectors(t) / n_folds * lanes_of(t);
}

/* ---- GPUs --------------------------------------------------------------------------- */

enum {
  LONG_FOLD = 8192, FEW_FOLDS = 1024, HUGE_FOLDS = 1 << 24, /* elements of all folds: beyond, blocks of the sum rule are many */
  MANY_ROWS = 1024, ROW_PIECE = 2048, SHORT_PIECE = 512, PLAIN_NODES = 8, BARE_NODES = 3,
  FEW_FOLDED = 64, FEW_UNKNOWN = 4, FEW_ELEMENTS = 65536,
  FEW_PARTIALS = 16, SHORT_ROW = 128, MANY_PLACES = 2048, FEW_HELD = 256, HELD_THREADS = 128, NARROW = 8 /* columns of a block, where there are few of them */
};

/* Elements of all folds of one place, where the spec says how many; else -1. */
static int64_t folded(const DhcSpec *s) {
  int64_t n = 1;
  for (int a = 0; a < s->n_axes; a++)
    if (s->axis[a].role == DHC_AXIS_RED) n = s->axis[a].extent && n > 0 && n < 1 << 20 ? n * s->axis[a].extent : -1;
  return n;
}

/* Are there folds within folds, or over axes of their own? Their axes are known and short. */
static bool within(const DhcSpec *s) {
  uint32_t first = 0;
  for (int n = 0; n < s->n_nodes; n++) {
    if (s->node[n].kind != DHC_SN_FOLD) continue;
    if (s->node[n].op == DHC_OP_DOT_GENERAL || (first && s->node[n].axes != first)) return true;
    first = s->node[n].axes;
  }
  return false;
}

/* An element a thread where there are few: threads are what hides the way to memory. */
static int gpu_maps(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  DhcSizeGuard g = {.arena = arena, .spec = s};
  dhc_size_bound(&g, dhc_spec_axes(s, DHC_AXIS_PAR), FEW_ELEMENTS, true);
  out[0] = (DhcSchedule){.template_name = "elements", .v = {0, 128, 1}, .guard = dhc_size_guard(&g)};
  out[1] = (DhcSchedule){.template_name = "elements", .v = {0, 256, 4, 0, 4}};
  return 2;
}

/* Long folds in two phases: blocks of the sum rule are a block of threads each, or sixteen threads where there are
 * more of them than the machine holds at once. */
static int gpu_long_rows(const DhcSpec *s, int at_once, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR), red = dhc_spec_axes(s, DHC_AXIS_RED);
  DhcSizeGuard some = {.arena = arena, .spec = s}, many = some;
  for (int i = 0; i < 2; i++) {
    DhcSizeGuard *g = i ? &many : &some;
    dhc_size_bound(g, red, LONG_FOLD, false);
    dhc_size_bound(g, par, FEW_FOLDS, true);
  }
  int n = 0;
  dhc_size_bound(&some, par | red, HUGE_FOLDS, true);
  DhcSchedule whole = {.template_name = "rows_split", .v = {0, 256, NARROW, 2 * ROW_PIECE, at_once, 1}, .guard = dhc_size_guard(&some)};
  if (along_rows(s)) out[n++] = whole;
  out[n++] = (DhcSchedule){.template_name = "rows_split", .v = {0, 256, NARROW, ROW_PIECE, at_once}, .guard = dhc_size_guard(&many)};
  return n;
}

/* Windows and other folds of few elements are a thread's; many short rows sixteen threads' each, a partial sum a thread.
 * Few and long folds go in two phases; other rows are a block's, small blocks where there are many of them, so that many
 * wait for memory side by side. */
static int gpu_rows(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = 0, at_once = s->n_nodes > PLAIN_NODES ? 8 : s->n_nodes > BARE_NODES ? 16 : along_rows(s) ? 32 : 64; /* sums down columns have few threads */
  int64_t few = folded(s);
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR), red = dhc_spec_axes(s, DHC_AXIS_RED);
  if (few >= 0 && few <= FEW_UNKNOWN) return gpu_maps(s, arena, out);
  if (few >= 0 && (few <= FEW_FOLDED || within(s))) { /* four places a thread would hold 64 partials: more than its registers */
    out[0] = (DhcSchedule){.template_name = "elements", .v = {0, 128, 1}};
    return 1;
  }
  if (dhc_spec_may_split(s)) n = gpu_long_rows(s, at_once, arena, out);
  if (few < 0) {
    DhcSizeGuard tiny = {.arena = arena, .spec = s}, small = tiny, brief = tiny;
    dhc_size_bound(&tiny, red, FEW_UNKNOWN, true);
    out[n++] = (DhcSchedule){.template_name = "elements", .v = {0, 256, 4, 1}, .guard = dhc_size_guard(&tiny)};
    dhc_size_bound(&small, red, FEW_PARTIALS, true);
    dhc_size_bound(&small, par, MANY_PLACES, false);
    out[n++] = (DhcSchedule){.template_name = "elements", .v = {0, 128, 1, 1}, .guard = dhc_size_guard(&small)};
    dhc_size_bound(&brief, red, SHORT_ROW, true);
    dhc_size_bound(&brief, par, MANY_PLACES, false);
    if (along_rows(s)) out[n++] = (DhcSchedule){.template_name = "row", .v = {0, 1}, .guard = dhc_size_guard(&brief)};
  }
  for (int few_rows = 1; few_rows >= 0 && dhc_spec_holds(s); few_rows--) { /* of many only such as small blocks hold */
    DhcSizeGuard held = {.arena = arena, .spec = s};
    const int threads = few_rows ? HELD_THREADS : HELD_THREADS / 2;
    if (few_rows) dhc_size_bound(&held, par, FEW_HELD, true);
    dhc_size_bound(&held, red, 4 * threads, true);
    dhc_size_count(&held, red);
    dhc_size_count(&held, red);
    dhc_size_const(&held, 4);
    dhc_size_put(&held, DHC_DIM_FLOORDIV);
    dhc_size_const(&held, 4);
    dhc_size_put(&held, DHC_DIM_MUL);
    dhc_size_put(&held, DHC_DIM_LE);
    dhc_size_put(&held, DHC_DIM_AND);
    out[n++] = (DhcSchedule){.template_name = "rows", .v = {0, threads, NARROW, SHORT_PIECE, at_once, 0, 1}, .guard = dhc_size_guard(&held)};
  }
  if (n < DHC_MAX_CLASSES - 1) {
    DhcSizeGuard many = {.arena = arena, .spec = s};
    dhc_size_bound(&many, par, MANY_ROWS, false);
    out[n++] = (DhcSchedule){.template_name = "rows", .v = {0, 64, 32, SHORT_PIECE, at_once}, .guard = dhc_size_guard(&many)};
  }
  out[n++] = (DhcSchedule){.template_name = "rows", .v = {0, 256, NARROW, ROW_PIECE, at_once}};
  return n;
}

enum { MOST_COUNTED = 1 << 24, MANY_CHANNELS = 16384, BACK_SEGMENT = 128 };

static int gpu_scans(const DhcSpec *s, bool nearly, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = 0;
  if (dhc_spec_counts(s)) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_count(&g, dhc_spec_axes(s, DHC_AXIS_SEQ));
    dhc_size_const(&g, MOST_COUNTED);
    dhc_size_put(&g, DHC_DIM_LE);
    out[n++] = (DhcSchedule){.template_name = "count", .v = {0, 512}, .guard = dhc_size_guard(&g)};
  }
  bool states = dhc_spec_axes(s, DHC_AXIS_RED) != 0;
  if (states && nearly) { /* few channels are cut into segments of steps, so that there is something for every multiprocessor */
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_bound(&g, dhc_spec_axes(s, DHC_AXIS_PAR), MANY_CHANNELS, false);
    out[n++] = (DhcSchedule){.template_name = "scan_states", .v = {0, 64, 64, 8, 1}, .guard = dhc_size_guard(&g)};
    out[n++] = (DhcSchedule){.template_name = "scan_states", .v = {0, 64, 64, 8, 1, 64}};
    return n;
  }
  out[n++] = states ? (DhcSchedule){.template_name = "scan_states", .v = {0, 64, 64, 4}} : (DhcSchedule){.template_name = "scan", .v = {0, 1}};
  return n;
}

/* Few channels are cut into segments of steps, so that there is something for every multiprocessor. */
static int gpu_scans_back(const DhcSpec *s, bool nearly, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  DhcSizeGuard g = {.arena = arena, .spec = s};
  int channels = 0; /* the last parallel axis */
  while (channels < s->n_axes && s->axis[channels].role == DHC_AXIS_PAR) channels++;
  dhc_size_bound(&g, dhc_spec_axes(s, DHC_AXIS_PAR), MANY_CHANNELS, false);
  out[0] = (DhcSchedule){.template_name = "scan_back", .v = {channels, 256, 0, 2, nearly}, .guard = dhc_size_guard(&g)};
  out[1] = (DhcSchedule){.template_name = "scan_back", .v = {channels, 256, BACK_SEGMENT, 2, nearly}};
  return 2;
}

/* A thread a row where its sums fit into one block of the sum rule. */
static int gpu_chains(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  uint32_t unknown = 0;
  for (int a = 0; a < s->n_axes; a++)
    if (s->axis[a].role == DHC_AXIS_RED && !s->axis[a].extent) unknown |= 1u << a;
  DhcSizeGuard g = {.arena = arena, .spec = s};
  dhc_size_count(&g, unknown);
  dhc_size_const(&g, DHC_SUM_BLOCK);
  dhc_size_put(&g, DHC_DIM_LE);
  out[0] = (DhcSchedule){.template_name = "chain_rows", .v = {0, 64, 32, 4}, .guard = dhc_size_guard(&g)};
  out[1] = (DhcSchedule){.template_name = "chain_plain", .v = {0, 1}};
  return 2;
}

static int gpu_scatters(const DhcSpec *s, DhcSchedule out[DHC_MAX_CLASSES]) {
  bool whole = true;
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) {
    dhc_dtype t = s->operand[o].dtype;
    whole = whole && (t == DHC_I32 || t == DHC_U32 || t == DHC_I64);
  }
  out[0] = whole ? (DhcSchedule){.template_name = "scatter_any", .v = {0, 256}} : (DhcSchedule){.template_name = "scatter", .v = {0, 1}};
  return 1;
}

enum { FEW_ROUTED = 1024 };

static int gpu_routes(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  DhcSizeGuard g = {.arena = arena, .spec = s};
  dhc_size_arg(&g, 0);
  dhc_size_const(&g, FEW_ROUTED);
  dhc_size_put(&g, DHC_DIM_LE);
  out[0] = (DhcSchedule){.template_name = "route", .v = {0, 512}, .guard = dhc_size_guard(&g)};
  out[1] = (DhcSchedule){.template_name = "route", .v = {0, 256, 1}};
  return 2;
}

/* One row, or one vector of 16 lanes, a task: tasks are many and cheap. */
static int gpu_classes(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  bool nearly = t->compute != DHC_COMPUTE_F32;
  switch ((int)s->kind) {
  case DHC_KIND_MAP: return gpu_maps(s, arena, out);
  case DHC_KIND_ROW: return gpu_rows(s, arena, out);
  case DHC_KIND_SCAN: return gpu_scans(s, nearly, arena, out);
  case DHC_KIND_SCAN_BACK: return gpu_scans_back(s, nearly, arena, out);
  case DHC_KIND_ROUTE: return gpu_routes(s, arena, out);
  case DHC_KIND_SCATTER: return gpu_scatters(s, out);
  case DHC_KIND_CHAIN: return gpu_chains(s, arena, out);
  default: return dhc_schedule_tiles(s, t, arena, out);
  }
}

/* ---- places of 32 bits ---- */

enum { NEAR = 1 << 30, SLACK = 256, SPLIT_PRODUCTS = 1 << 20 };

static void put_size(DhcSizeGuard *g, int arg) { /* of a stride or an offset */
  dhc_size_arg(g, arg);
  dhc_size_const(g, 0);
  dhc_size_arg(g, arg);
  dhc_size_put(g, DHC_DIM_SUB);
  dhc_size_put(g, DHC_DIM_MAX);
}

/* The farthest place along a term, in its operand's elements; what tiles compute of beyond the ends counts, too. */
static void put_term_reach(DhcSizeGuard *g, int operand, int term) {
  const DhcTerm *t = &g->spec->operand[operand].term[term];
  dhc_size_const(g, 0);
  for (int i = 0; i < t->n_axes; i++) {
    dhc_size_count(g, 1u << t->axis[i]);
    dhc_size_const(g, SLACK);
    dhc_size_put(g, DHC_DIM_ADD);
    dhc_size_const(g, t->coef[i] < 0 ? -t->coef[i] : t->coef[i]);
    dhc_size_put(g, DHC_DIM_MUL);
    dhc_size_put(g, DHC_DIM_ADD);
  }
  if (t->guarded) {
    int offset = dhc_spec_offset_arg(g->spec, operand, term);
    put_size(g, offset);
    dhc_size_put(g, DHC_DIM_ADD);
    dhc_size_arg(g, offset + 1);
    dhc_size_put(g, DHC_DIM_ADD);
  }
  if (t->unit) return;
  put_size(g, dhc_spec_stride_arg(g->spec, operand, term));
  dhc_size_put(g, DHC_DIM_MUL);
}

/* What template "winograd_blocks" leaves in the shared memory: weights in tiles, 16 elements for nine and rounded up; results before their
 * windows. */
static void put_tiles(DhcSizeGuard *g) {
  const DhcSpec *s = g->spec;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD || f->op != DHC_OP_DOT_GENERAL) continue;
    dhc_size_bound(g, dhc_spec_varies(s, n), NEAR, true);
    for (int i = 0; i < 2; i++) {
      const DhcSpecNode *x = &s->node[f->a[i]];
      bool guarded = x->kind != DHC_SN_LOAD;
      for (int t = 0; !guarded && t < s->operand[x->operand].n_terms; t++) guarded = s->operand[x->operand].term[t].guarded;
      if (!guarded) dhc_size_bound(g, dhc_spec_varies(s, f->a[i]), NEAR / 4, true);
    }
  }
}

/* All places of all operands, and all counts, are far below 2^31; false: the spec does not say so. Joined by and with
 * the guard so far. exact: of a split contraction's pieces, too, which are as many as blocks of the product rule. */
static bool put_reach(DhcSizeGuard *g, bool exact) {
  const DhcSpec *s = g->spec;
  bool joined = g->code.n > 0;
  dhc_size_const(g, 0);
  for (int o = 0; o < s->n_operands; o++) {
    dhc_size_const(g, 0);
    for (int t = 0; t < s->operand[o].n_terms; t++) {
      if (s->operand[o].term[t].index >= 0 && !s->operand[o].term[t].guarded) return false;
      put_term_reach(g, o, t);
      dhc_size_put(g, DHC_DIM_ADD);
    }
    dhc_size_put(g, DHC_DIM_MAX);
  }
  dhc_size_const(g, NEAR);
  dhc_size_put(g, DHC_DIM_LE);
  if (joined) dhc_size_put(g, DHC_DIM_AND);
  dhc_size_bound(g, dhc_spec_axes(s, DHC_AXIS_PAR), NEAR, true);
  dhc_size_bound(g, dhc_spec_axes(s, DHC_AXIS_SEQ), NEAR, true);
  dhc_size_bound(g, dhc_spec_axes(s, DHC_AXIS_RED), exact ? SPLIT_PRODUCTS : NEAR, true);
  if (s->kind == DHC_KIND_WINOGRAD) put_tiles(g);
  return true;
}

/* Classes whose places are of 32 bits, and one more for what is larger. */
static int gpu_widths(const DhcSpec *s, bool exact, DhcArena *arena, int n, DhcSchedule out[DHC_MAX_CLASSES]) {
  DhcSchedule last = out[n - 1];
  last.wide = true;
  bool any = dhc_spec_extra_arg(s, 0) > 0 && n < DHC_MAX_CLASSES;
  for (int i = 0; i < n; i++) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    for (int k = 0; k < out[i].guard.n_code; k++) dhc_size_put(&g, out[i].guard.code[k]);
    any = any && put_reach(&g, exact);
    if (!any) out[i].wide = true;
    else out[i].guard = dhc_size_guard(&g);
  }
  if (any) out[n++] = last;
  return n;
}

/* ---- all kinds ---------------------------------------------------------------------- */

static int choose(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  static const char *const names[DHC_N_KINDS] = {
#define KIND(id, name, ...) [DHC_KIND_##id] = name,
#include "ir/kinds.def"
  };
  if (t->kind == DHC_TARGET_GPU) return gpu_widths(s, t->compute == DHC_COMPUTE_F32, arena, gpu_classes(s, t, arena, out), out);
  if (s->kind == DHC_KIND_DOT) return dot_classes(out);
  if (s->kind == DHC_KIND_ROW) return row_classes(s, arena, out);
  if (s->kind == DHC_KIND_MAP) return map_classes(s, arena, out);
  if (s->kind == DHC_KIND_SCAN) return scan_classes(s, out);
  if (s->kind == DHC_KIND_CONV || s->kind == DHC_KIND_CONV_DW) return conv_classes(s, t, arena, out);
  out[0] = (DhcSchedule){.template_name = names[s->kind]};
  return 1;
}

int dhc_schedule_choose(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = choose(s, t, arena, out);
  for (int i = 0; i < n; i++) dhc_schedule_complete(s, t, &out[i]);
  return n;
}
