/* Schedules: a template and a short vector for each size class of a spec. All tile sizes are decided here; what
 * the numbers of a vector are is documented beside the templates (backends/loop/tpl_*.c), which obey. */
#include "passes/plan/schedule.h"

#include "ir/sum.h"

/* ---- guards ------------------------------------------------------------------------ */

typedef struct Guard {
  DhcArena *arena;
  const DhcSpec *spec;
  DHC_VEC(int64_t) code;
} Guard;

static void put(Guard *g, int64_t word) {
  DHC_PUSH(g->arena, &g->code, word);
}

/* Product of the extents of some axes. */
static void put_count(Guard *g, uint32_t axes) {
  put(g, DHC_DIM_CONST);
  put(g, 1);
  for (int a = 0; a < g->spec->n_axes; a++) {
    if (!(axes >> a & 1)) continue;
    int arg = dhc_spec_extent_arg(g->spec, a);
    put(g, arg < 0 ? DHC_DIM_CONST : DHC_DIM_SYM);
    put(g, arg < 0 ? g->spec->axis[a].extent : arg);
    put(g, DHC_DIM_MUL);
  }
}

static void put_const(Guard *g, int64_t v) {
  put(g, DHC_DIM_CONST);
  put(g, v);
}

static dhc_dimprog guard_of(const Guard *g) {
  return (dhc_dimprog){g->code.at, g->code.n};
}

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
    case DHC_KIND_RAGGED: return (Tile){{tile_rows_of(t), tile_vectors(t), lanes_of(t), 16, 8, 32, 1024}};
    case DHC_KIND_CHAIN: return (Tile){{tile_rows_of(t), tile_vectors(t), lanes_of(t), 64}};
    case DHC_KIND_CONV: return (Tile){{t->vector_bytes >= 64 ? 8 : 4, t->vector_bytes >= 32 ? 3 : 2, lanes_of(t), 8, 64, 96, 196608, 4}};
    case DHC_KIND_CONV_DW: return (Tile){{t->vector_bytes >= 64 ? 2 : 1, 4, lanes_of(t), 8, 196, 32, 8, 4}};
    case DHC_KIND_ROW: return (Tile){{0, t->task_elements, 4}};
    default: return (Tile){{0, t->task_elements}};
  }
}

static bool is_plain(const char *name) {
  return name && strstr(name, "_plain");
}

void dhc_schedule_complete(const DhcSpec *s, const DhcTargetFacts *t, DhcSchedule *x) {
  if (t->kind == DHC_TARGET_GPU) return; /* whole as they are: gpu_classes */
  Tile all = is_plain(x->template_name) ? (Tile){{0, t->task_elements}} : cpu_tile(s, t);
  for (int i = 0; i < 8; i++)
    if (!x->v[i]) x->v[i] = all.v[i];
}

/* ---- folds ----------------------------------------------------------------------------- */

enum { SPLIT_FOLDED = 32768, SPLIT_ROWS = 64 };

/* Few rows of many elements are cut into blocks, which all threads share (two phases); many rows are
 * tasks enough, and short ones not worth a second phase. */
static int row_classes(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = 0;
  bool known = true; /* folded axes of constant extent: windows */
  for (int a = 0; a < s->n_axes; a++) known = known && (s->axis[a].role != DHC_AXIS_RED || s->axis[a].extent);
  if (!known && dhc_spec_may_split(s)) {
    Guard g = {.arena = arena, .spec = s};
    put_const(&g, SPLIT_FOLDED);
    put_count(&g, dhc_spec_axes(s, DHC_AXIS_RED));
    put(&g, DHC_DIM_LE);
    put_count(&g, dhc_spec_axes(s, DHC_AXIS_PAR));
    put_const(&g, SPLIT_ROWS);
    put(&g, DHC_DIM_LE);
    put(&g, DHC_DIM_AND);
    out[n++] = (DhcSchedule){.template_name = "row_split", .guard = guard_of(&g)};
  }
  out[n++] = (DhcSchedule){.template_name = "row"};
  return n;
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
    Guard g = {.arena = arena, .spec = s};
    put_count(&g, 1u << axis);
    put_const(&g, most);
    put(&g, DHC_DIM_LE);
    few.guard = guard_of(&g);
    out[n++] = few;
  }
  out[n++] = (DhcSchedule){.template_name = few.template_name};
  return n;
}

/* A tile of 8 channels by 3 vectors of pixels wastes half of itself and more on up to 4 channels; 4 by
 * 6 has as many sums. Weight gradients have vectors over output channels: two of 16, or one.
 * Targets of narrower vectors have lower tiles anyway. */
static int conv_classes(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
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

/* A contraction by tiles (backends/loop/tpl_tile_roles.c): rows are what one operand alone varies over, columns, with the
 * result's last axis, the other; batch, both. */
typedef struct Roles {
  uint32_t rows, cols, batch, k;
  bool pair, ranges;
} Roles;

static Roles roles_of(const DhcSpec *s) {
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  Roles r = {.ranges = s->kind == DHC_KIND_RAGGED};
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD || f->op != DHC_OP_DOT_GENERAL) continue;
    r.pair = r.k != 0;
    uint32_t u = dhc_spec_varies(s, f->a[0]) & ~f->axes, v = dhc_spec_varies(s, f->a[1]) & ~f->axes;
    int last = -1;
    for (int a = 0; a < s->n_axes; a++)
      if ((u | v) & par & 1u << a) last = a;
    bool swap = last >= 0 && !(v >> last & 1);
    r.rows = swap ? v & ~u : u & ~v;
    r.cols = swap ? u & ~v : v & ~u;
    r.batch = u & v;
    r.k = f->axes;
  }
  return r;
}

/* lo <= product of extents (or, at_most, the other way round), joined by and with the guard so far. */
static void put_bound(Guard *g, uint32_t axes, int64_t bound, bool at_most) {
  bool joined = g->code.n > 0;
  if (at_most) put_count(g, axes);
  put_const(g, bound);
  if (!at_most) put_count(g, axes);
  put(g, DHC_DIM_LE);
  if (joined) put(g, DHC_DIM_AND);
}

enum { FEW_ROWS = 16, MANY_TILES = 128, FEW_TILES = 100, FEW_LARGE = 8, DEEP = 512, GRAND_TILES = 120 };

static DhcSchedule tile_class(const Guard *g, const int v[8]) {
  DhcSchedule s = {.template_name = "tile", .guard = guard_of(g)};
  memcpy(s.v, v, sizeof s.v);
  return s;
}

/* A gradient follows what a pooling window chose among results: what decides is nearly exact. */
static bool chooses(const DhcSpec *s) {
  for (int n = 0; n < s->n_nodes; n++)
    if (s->node[n].kind == DHC_SN_FOLD && s->node[n].op == DHC_OP_ARGMAX) return true;
  return false;
}

enum { TWO_PARTS = 16, IN_BF16 = 32, IN_GROUPS = 64 }; /* + v[5] */

static void put_arg(Guard *g, int arg) {
  put(g, DHC_DIM_SYM);
  put(g, arg);
}

/* step * places, windows counted whole. */
static void put_places(Guard *g, const DhcSpecLine *l) {
  put_count(g, 1u << l->place);
  put_const(g, l->step);
  put(g, DHC_DIM_MUL);
}

static void put_line(Guard *g, const DhcSpecWindow *w) { /* of a plane in block memory, its four zeros left out */
  put_arg(g, dhc_spec_offset_arg(g->spec, w->image, w->across.term) + 1);
  put_const(g, 4);
  put(g, DHC_DIM_CEILDIV);
  put_const(g, 4);
  put(g, DHC_DIM_MUL);
}

/* Template "image" at these sizes: a line, or whole windows of lines, fit a tile; what the tile sees fits a plane, and
 * beside a line it sees no more than four zeros. Joined by and with the guard so far. */
static void put_image(Guard *g, const DhcSpecWindow *w, int tile, int plane) {
  bool joined = g->code.n > 0;
  int back = w->across.sign < 0 ? (int)w->across.taps - 1 : 0;
  put_places(g, &w->across);
  put_const(g, w->down.step);
  put(g, DHC_DIM_MUL);
  put_const(g, tile);
  put(g, DHC_DIM_LE);
  if (joined) put(g, DHC_DIM_AND);
  put_const(g, back - 4);
  put_arg(g, dhc_spec_offset_arg(g->spec, w->image, w->across.term));
  put(g, DHC_DIM_LE);
  put(g, DHC_DIM_AND);
  put_places(g, &w->across);
  put_arg(g, dhc_spec_offset_arg(g->spec, w->image, w->across.term));
  put(g, DHC_DIM_ADD);
  put_const(g, w->across.taps - 1 - back - 4);
  put(g, DHC_DIM_ADD);
  put_line(g, w);
  put(g, DHC_DIM_LE);
  put(g, DHC_DIM_AND);
  /* images of a tile */
  put_const(g, tile);
  put_places(g, &w->down);
  put_places(g, &w->across);
  put(g, DHC_DIM_MUL);
  put(g, DHC_DIM_FLOORDIV);
  put_const(g, 1);
  put(g, DHC_DIM_MAX);
  /* times lines seen of each */
  put_const(g, tile);
  put_places(g, &w->across);
  put(g, DHC_DIM_FLOORDIV);
  put_places(g, &w->down);
  put(g, DHC_DIM_MIN);
  put_const(g, w->down.taps - 1);
  put(g, DHC_DIM_ADD);
  put(g, DHC_DIM_MUL);
  put_line(g, w);
  put_const(g, 4);
  put(g, DHC_DIM_ADD);
  put(g, DHC_DIM_MUL);
  put_const(g, plane - 4);
  put(g, DHC_DIM_LE);
  put(g, DHC_DIM_AND);
}

typedef struct ImageForm {
  int v[8], tiles, outs; /* at least so many tiles and outs */
} ImageForm;

/* Convolutions that walk images by single pixels: large tiles where they are many, smaller ones whose warps share the
 * channels of a step where not. */
static int image_tiles(const DhcSpec *s, const Roles *r, int parts, bool bf16, DhcArena *arena, DhcSchedule *out) {
  static const ImageForm tf32[] = {{{128, 256, 8, 2, 4, 1, 3, 488}, 100, 96},
                                   {{128, 128, 8, 2, 4, 1, 3, 296}, 100, 96},
                                   {{64, 64, 16, 2, 2, 2, 2, 168}, 100, 0},
                                   {{32, 64, 32, 1, 2, 4, 2, 168}, 0, 0}},
                         pairs[] = {{{128, 256, 16, 2, 4, 1, 2, 488}, 100, 96},
                                    {{128, 128, 16, 2, 4, 1, 2, 296}, 100, 96},
                                    {{64, 64, 16, 2, 4, 1, 2, 168}, 100, 0},
                                    {{32, 64, 32, 1, 4, 2, 2, 168}, 0, 0}};
  const ImageForm *form = bf16 ? pairs : tf32;
  DhcSpecWindow w;
  if (s->kind != DHC_KIND_CONV || !dhc_spec_window(s, &w) || !(r->rows >> w.out & 1)) return 0;
  for (int i = 0; i < 4; i++) {
    Guard g = {.arena = arena, .spec = s};
    put_bound(&g, 1u << w.channel, tf32[i].v[2], false);
    if (form[i].tiles) put_bound(&g, r->rows | r->cols | r->batch, (int64_t)form[i].tiles * form[i].v[0] * form[i].v[1], false);
    if (form[i].outs) put_bound(&g, r->rows, form[i].outs, false);
    put_image(&g, &w, form[i].v[1], form[i].v[7]);
    int v[8];
    memcpy(v, form[i].v, sizeof v);
    if (i >= 2) v[5] += parts;
    out[i] = (DhcSchedule){.template_name = "image", .guard = guard_of(&g)};
    memcpy(out[i].v, v, sizeof v);
  }
  return 4;
}

/* Template "filters" at these sizes: a line fits a step of so many pixels, and what a band sees a plane, twelve elements
 * less for what is read beyond; beside a line lie no more than four zeros. Joined by and with the guard so far. */
static void put_filters(Guard *g, const DhcSpecFilters *w, int pixels) {
  int offset = dhc_spec_offset_arg(g->spec, w->image, w->across.term);
  put_const(g, -4);
  put_arg(g, offset);
  put_op(g, DHC_DIM_LE);
  put_op(g, DHC_DIM_AND);
  put_count(g, 1u << w->across.place);
  put_arg(g, offset);
  put_op(g, DHC_DIM_ADD);
  put_const(g, w->across.taps - 5);
  put_op(g, DHC_DIM_ADD);
  put_arg(g, offset + 1);
  put_op(g, DHC_DIM_LE);
  put_op(g, DHC_DIM_AND);
  for (int i = 0; i < 2; i++) { /* pixels of a line, with zeros; then lines of a band */
    if (i) put_const(g, pixels);
    put_count(g, 1u << w->across.place);
    put_const(g, 8);
    put_op(g, DHC_DIM_CEILDIV);
    put_const(g, 8);
    put_op(g, DHC_DIM_MUL);
    if (!i) {
      put_const(g, pixels);
      put_op(g, DHC_DIM_LE);
      put_op(g, DHC_DIM_AND);
    }
  }
  put_op(g, DHC_DIM_FLOORDIV);
  put_count(g, 1u << w->down.place);
  put_op(g, DHC_DIM_MIN);
  put_const(g, w->down.taps - 1);
  put_op(g, DHC_DIM_ADD);
  put_arg(g, offset + 1);
  put_const(g, 4);
  put_op(g, DHC_DIM_CEILDIV);
  put_const(g, 1);
  put_op(g, DHC_DIM_ADD);
  put_const(g, 4);
  put_op(g, DHC_DIM_MUL);
  put_op(g, DHC_DIM_MUL);
  put_const(g, pixels + DHC_FILTERS_PLANE - 12);
  put_op(g, DHC_DIM_LE);
  put_op(g, DHC_DIM_AND);
}

/* Filter gradients of that form, of not too few channels. */
static int filter_tiles(const DhcSpec *s, DhcArena *arena, DhcSchedule *out) {
  static const int form[2][8] = {{128, 32, 64, 2, 4, 1, 3, 132}, {64, 32, 64, 1, 4, 1, 3, 264}}, outs[2] = {72, 24};
  DhcSpecFilters w;
  if (s->kind != DHC_KIND_CONV_DW || !dhc_spec_filters(s, &w) || w.down.taps * w.across.taps > 9) return 0;
  for (int i = 0; i < 2; i++) {
    Guard g = {.arena = arena, .spec = s};
    put_bound(&g, 1u << w.channel, 12, false);
    put_bound(&g, 1u << w.out, outs[i], false);
    put_filters(&g, &w, form[i][2]);
    out[i] = (DhcSchedule){.template_name = "filters", .guard = guard_of(&g)};
    memcpy(out[i].v, form[i], sizeof out[i].v);
  }
  return 2;
}

/* In tf32 or bf16, with matrix instructions: few rows take low tiles, whose warps share the ks of a step; many tiles large
 * ones, which read each element less often; few tiles of long sums are cut along k, of short ones they are small. Rows
 * of ranges have tiles range by range, most of them not full. Operands are rounded where multiplying is what takes the
 * time, in tiles that fill the machine, long sums and convolutions that nothing chooses by; elsewhere, where experts are
 * chosen too, two parts cost little. */
static int warp_tiles(const DhcSpec *s, const Roles *r, bool bf16, bool groups, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = 0, parts = chooses(s) ? TWO_PARTS : 0, large_step = bf16 ? 32 : 16, large_stages = bf16 ? 3 : 4;
  bool conv = s->kind == DHC_KIND_CONV || s->kind == DHC_KIND_CONV_DW;
  uint32_t results = r->rows | r->cols | r->batch;
  Guard few = {.arena = arena, .spec = s}, grand = few, many = few, wide = few, deep = few, small = few;
  bool grouped = groups && !bf16 && !conv; /* a group's tile is 128 rows by all columns of the tile */
  if (r->ranges && r->k & (r->k - 1)) { /* of rows: ranges and ks are summed over */
    put_bound(&few, r->rows, 512, true);
    Guard narrow = {.arena = arena, .spec = s};
    put_bound(&narrow, r->rows, 512, true);
    put_bound(&narrow, r->cols, 512, true);
    out[n++] = tile_class(&narrow, (int[8]){16, 16, 128, 1, 2, 4 + TWO_PARTS, 3});
    out[n++] = tile_class(&few, (int[8]){16, 64, 32, 1, 4, 1 + TWO_PARTS, 4});
  } else if (!r->ranges) {
    put_bound(&few, r->rows, FEW_ROWS, true);
    out[n++] = tile_class(&few, (int[8]){16, 8, 128, 1, 1, 8 + TWO_PARTS, 3});
    int images = image_tiles(s, r, parts, bf16, arena, out + n), filters = bf16 ? 0 : filter_tiles(s, arena, out + n);
    n += images + filters;
    put_bound(&many, results, (int64_t)MANY_TILES * 128 * 128, false);
    put_bound(&many, r->rows, 96, false);
    if (grouped && !r->pair) {
      put_bound(&grand, results, (int64_t)GRAND_TILES * 128 * 256, false);
      put_bound(&grand, r->rows, 96, false);
      put_bound(&grand, r->cols, 192, false);
      put_bound(&grand, r->k, DEEP, false);
      out[n++] = tile_class(&grand, (int[8]){128, 256, 32, 8, 1, 1 + IN_GROUPS, 4});
    }
    if (grouped) out[n++] = tile_class(&many, (int[8]){128, 128, 32, 8, 1, 1 + IN_GROUPS, r->pair ? 4 : 3});
    else if (!r->pair && !images && !filters) out[n++] = tile_class(&many, (int[8]){128, 128, large_step, 2, 2, 1, large_stages});
    put_bound(&wide, results, (int64_t)MANY_TILES * 128 * 128, false);
    put_bound(&wide, r->cols, 256, false);
    if (conv) out[n++] = tile_class(&wide, (int[8]){64, 256, 32, 2, 4, 1, 2});
    if (!conv) {
      Guard large = {.arena = arena, .spec = s};
      put_bound(&large, results, (int64_t)FEW_LARGE * 128 * 128, false);
      put_bound(&large, r->k, 4 * DEEP, false);
      put_bound(&large, r->rows, 96, false);
      if (grouped && !r->pair) out[n++] = tile_class(&large, (int[8]){128, 128, 32, 8, 1, 1 + IN_GROUPS, 3, 2 * MANY_TILES});
      else if (!r->pair) out[n++] = tile_class(&large, (int[8]){128, 128, large_step, 2, 2, 1, large_stages, 2 * MANY_TILES});
    }
    put_bound(&deep, results, (int64_t)FEW_TILES * 64 * 64, true);
    put_bound(&deep, r->k, DEEP, false);
    if (s->kind == DHC_KIND_CONV_DW && !filters) {
      Guard tall = {.arena = arena, .spec = s};
      put_bound(&tall, results, (int64_t)FEW_TILES * 64 * 64, true);
      put_bound(&tall, r->k, DEEP, false);
      put_bound(&tall, r->rows, 96, false);
      out[n++] = tile_class(&tall, (int[8]){128, 64, 32, 2, 4, 1, 3, 2 * MANY_TILES});
    }
    int wider = s->kind == DHC_KIND_CONV ? 128 : 64;
    if (!images) out[n++] = tile_class(&deep, (int[8]){64, wider, 32, 2, 4, 1 + parts, 3, 2 * MANY_TILES});
    put_bound(&small, results, (int64_t)MANY_TILES * 64 * 64, true);
    if (!conv) out[n++] = tile_class(&small, (int[8]){32, 32, 64, 2, 2, 2 + TWO_PARTS, 3});
  }
  bool plain = !conv && !r->ranges && !r->pair; /* four warps: fragments of 32 x 32 are read for more products */
  if (plain) out[n++] = tile_class(&(Guard){0}, (int[8]){64, 64, 32, 2, 2, 1, 4});
  else out[n++] = tile_class(&(Guard){0}, (int[8]){64, 64, 32, 2, 4, 1 + (conv ? parts : TWO_PARTS), 3});
  for (int i = 0; i < n && bf16; i++) out[i].v[5] += IN_BF16;
  return n;
}

/* Exact: few rows waste a tile of 64; those of ragged contractions meet many matrices, a few rows each. Few tiles of long
 * sums are cut into the blocks of the product rule. */
static int gpu_tiles(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  Roles r = roles_of(s);
  if (t->compute != DHC_COMPUTE_F32) return warp_tiles(s, &r, t->compute == DHC_COMPUTE_BF16, t->groups, arena, out);
  int n = 0;
  Guard few = {.arena = arena, .spec = s}, deep = few;
  put_bound(&few, r.rows, r.ranges ? 1024 : FEW_ROWS, true);
  out[n++] = tile_class(&few, (int[8]){16, 16, 64, 1, 2, 0, 3});
  put_bound(&deep, r.rows | r.cols | r.batch, (int64_t)FEW_TILES * 64 * 64, true);
  put_bound(&deep, r.k, DEEP, false);
  if (!r.ranges) out[n++] = tile_class(&deep, (int[8]){64, 64, 16, 4, 4, 0, 3, 1});
  out[n++] = tile_class(&(Guard){0}, (int[8]){64, 64, 16, 4, 4, 0, 3});
  return n;
}

enum {
  LONG_FOLD = 8192, FEW_FOLDS = 1024, HUGE_FOLDS = 1 << 24, /* elements of all folds: beyond, blocks of the sum rule are many */
  MANY_ROWS = 1024, ROW_PIECE = 2048, SHORT_PIECE = 512, PLAIN_NODES = 8,
  FEW_FOLDED = 64, FEW_UNKNOWN = 4, FEW_ELEMENTS = 65536,
  FEW_PARTIALS = 16, SHORT_ROW = 128, MANY_PLACES = 2048
};

/* Elements of all folds of one place, where the spec says how many; else -1. */
static int64_t folded(const DhcSpec *s) {
  int64_t n = 1;
  for (int a = 0; a < s->n_axes; a++)
    if (s->axis[a].role == DHC_AXIS_RED) n = s->axis[a].extent && n > 0 && n < 1 << 20 ? n * s->axis[a].extent : -1;
  return n;
}

/* An element a thread where there are few: threads are what hides the way to memory. */
static int gpu_maps(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  Guard g = {.arena = arena, .spec = s};
  put_bound(&g, dhc_spec_axes(s, DHC_AXIS_PAR), FEW_ELEMENTS, true);
  out[0] = (DhcSchedule){.template_name = "elements", .v = {0, 128, 1}, .guard = guard_of(&g)};
  out[1] = (DhcSchedule){.template_name = "elements", .v = {0, 256, 4}};
  return 2;
}

/* Is what is folded what lies side by side? */
static bool along_rows(const DhcSpec *s) {
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR);
  for (int o = 0; o < dhc_spec_n_inputs(s); o++)
    for (int t = 0; t < s->operand[o].n_terms; t++)
      if (s->operand[o].term[t].unit && (par >> s->operand[o].term[t].axis[0] & 1)) return false;
  return true;
}

/* Long folds in two phases: blocks of the sum rule are a block of threads each, or sixteen threads where there are
 * more of them than the machine holds at once. */
static int gpu_long_rows(const DhcSpec *s, int at_once, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR), red = dhc_spec_axes(s, DHC_AXIS_RED);
  Guard some = {.arena = arena, .spec = s}, many = some;
  for (int i = 0; i < 2; i++) {
    Guard *g = i ? &many : &some;
    put_bound(g, red, LONG_FOLD, false);
    put_bound(g, par, FEW_FOLDS, true);
  }
  int n = 0;
  put_bound(&some, par | red, HUGE_FOLDS, true);
  DhcSchedule whole = {.template_name = "rows_split", .v = {0, 256, 32, 2 * ROW_PIECE, at_once, 1}, .guard = guard_of(&some)};
  if (along_rows(s)) out[n++] = whole;
  out[n++] = (DhcSchedule){.template_name = "rows_split", .v = {0, 256, 32, ROW_PIECE, at_once}, .guard = guard_of(&many)};
  return n;
}

/* Windows and other folds of few elements are a thread's; many short rows sixteen threads' each, a partial sum a thread.
 * Few and long folds go in two phases; other rows are a block's, small blocks where there are many of them, so that many
 * wait for memory side by side. */
static int gpu_rows(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = 0, at_once = s->n_nodes <= PLAIN_NODES ? 16 : 8;
  int64_t few = folded(s);
  uint32_t par = dhc_spec_axes(s, DHC_AXIS_PAR), red = dhc_spec_axes(s, DHC_AXIS_RED);
  if (few >= 0 && few <= FEW_UNKNOWN) return gpu_maps(s, arena, out);
  if (few >= 0 && few <= FEW_FOLDED) { /* four places a thread would hold 64 partials: more than its registers */
    out[0] = (DhcSchedule){.template_name = "elements", .v = {0, 128, 1}};
    return 1;
  }
  if (dhc_spec_may_split(s)) n = gpu_long_rows(s, at_once, arena, out);
  if (few < 0) {
    Guard tiny = {.arena = arena, .spec = s}, small = tiny, brief = tiny;
    put_bound(&tiny, red, FEW_UNKNOWN, true);
    out[n++] = (DhcSchedule){.template_name = "elements", .v = {0, 256, 4, 1}, .guard = guard_of(&tiny)};
    put_bound(&small, red, FEW_PARTIALS, true);
    put_bound(&small, par, MANY_PLACES, false);
    out[n++] = (DhcSchedule){.template_name = "elements", .v = {0, 128, 1, 1}, .guard = guard_of(&small)};
    put_bound(&brief, red, SHORT_ROW, true);
    put_bound(&brief, par, MANY_PLACES, false);
    if (along_rows(s)) out[n++] = (DhcSchedule){.template_name = "row", .v = {0, 1}, .guard = guard_of(&brief)};
  }
  if (n < DHC_MAX_CLASSES - 1) {
    Guard many = {.arena = arena, .spec = s};
    put_bound(&many, par, MANY_ROWS, false);
    out[n++] = (DhcSchedule){.template_name = "rows", .v = {0, 64, 32, SHORT_PIECE, at_once}, .guard = guard_of(&many)};
  }
  out[n++] = (DhcSchedule){.template_name = "rows", .v = {0, 256, 32, ROW_PIECE, at_once}};
  return n;
}

enum { MOST_COUNTED = 1 << 24, MANY_CHANNELS = 16384, BACK_SEGMENT = 128 };

static int gpu_scans(const DhcSpec *s, bool nearly, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = 0;
  if (dhc_spec_counts(s)) {
    Guard g = {.arena = arena, .spec = s};
    put_count(&g, dhc_spec_axes(s, DHC_AXIS_SEQ));
    put_const(&g, MOST_COUNTED);
    put(&g, DHC_DIM_LE);
    out[n++] = (DhcSchedule){.template_name = "count", .v = {0, 512}, .guard = guard_of(&g)};
  }
  bool states = dhc_spec_axes(s, DHC_AXIS_RED) != 0;
  if (states && nearly) { /* few channels are cut into segments of steps, so that there is something for every multiprocessor */
    Guard g = {.arena = arena, .spec = s};
    put_bound(&g, dhc_spec_axes(s, DHC_AXIS_PAR), MANY_CHANNELS, false);
    out[n++] = (DhcSchedule){.template_name = "scan_states", .v = {0, 64, 64, 8, 1}, .guard = guard_of(&g)};
    out[n++] = (DhcSchedule){.template_name = "scan_states", .v = {0, 64, 64, 8, 1, 64}};
    return n;
  }
  out[n++] = states ? (DhcSchedule){.template_name = "scan_states", .v = {0, 64, 64, 4}} : (DhcSchedule){.template_name = "scan", .v = {0, 1}};
  return n;
}

/* Few channels are cut into segments of steps, so that there is something for every multiprocessor. */
static int gpu_scans_back(const DhcSpec *s, bool nearly, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  Guard g = {.arena = arena, .spec = s};
  int channels = 0; /* the last parallel axis */
  while (channels < s->n_axes && s->axis[channels].role == DHC_AXIS_PAR) channels++;
  put_bound(&g, dhc_spec_axes(s, DHC_AXIS_PAR), MANY_CHANNELS, false);
  out[0] = (DhcSchedule){.template_name = "scan_back", .v = {channels, 256, 0, 2, nearly}, .guard = guard_of(&g)};
  out[1] = (DhcSchedule){.template_name = "scan_back", .v = {channels, 256, BACK_SEGMENT, 2, nearly}};
  return 2;
}

/* A thread a row where its sums fit into one block of the sum rule. */
static int gpu_chains(const DhcSpec *s, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  uint32_t unknown = 0;
  for (int a = 0; a < s->n_axes; a++)
    if (s->axis[a].role == DHC_AXIS_RED && !s->axis[a].extent) unknown |= 1u << a;
  Guard g = {.arena = arena, .spec = s};
  put_count(&g, unknown);
  put_const(&g, DHC_SUM_BLOCK);
  put(&g, DHC_DIM_LE);
  out[0] = (DhcSchedule){.template_name = "chain_rows", .v = {0, 64, 32, 4}, .guard = guard_of(&g)};
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

/* One row, or one vector of 16 lanes, a task: tasks are many and cheap. */
static int gpu_classes(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  bool nearly = t->compute != DHC_COMPUTE_F32;
  switch ((int)s->kind) {
  case DHC_KIND_MAP: return gpu_maps(s, arena, out);
  case DHC_KIND_ROW: return gpu_rows(s, arena, out);
  case DHC_KIND_SCAN: return gpu_scans(s, nearly, arena, out);
  case DHC_KIND_SCAN_BACK: return gpu_scans_back(s, nearly, arena, out);
  case DHC_KIND_SCATTER: return gpu_scatters(s, out);
  case DHC_KIND_CHAIN: return gpu_chains(s, arena, out);
  default: return gpu_tiles(s, t, arena, out);
  }
}

/* ---- places of 32 bits ---- */

enum { NEAR = 1 << 30, SLACK = 256, SPLIT_PRODUCTS = 1 << 20 };

static void put_size(Guard *g, int arg) { /* of a stride or an offset */
  put_arg(g, arg);
  put_const(g, 0);
  put_arg(g, arg);
  put(g, DHC_DIM_SUB);
  put(g, DHC_DIM_MAX);
}

/* The farthest place along a term, in its operand's elements; what tiles compute of beyond the ends counts, too. */
static void put_term_reach(Guard *g, int operand, int term) {
  const DhcTerm *t = &g->spec->operand[operand].term[term];
  put_const(g, 0);
  for (int i = 0; i < t->n_axes; i++) {
    put_count(g, 1u << t->axis[i]);
    put_const(g, SLACK);
    put(g, DHC_DIM_ADD);
    put_const(g, t->coef[i] < 0 ? -t->coef[i] : t->coef[i]);
    put(g, DHC_DIM_MUL);
    put(g, DHC_DIM_ADD);
  }
  if (t->guarded) {
    int offset = dhc_spec_offset_arg(g->spec, operand, term);
    put_size(g, offset);
    put(g, DHC_DIM_ADD);
    put_arg(g, offset + 1);
    put(g, DHC_DIM_ADD);
  }
  if (t->unit) return;
  put_size(g, dhc_spec_stride_arg(g->spec, operand, term));
  put(g, DHC_DIM_MUL);
}

/* All places of all operands, and all counts, are far below 2^31; false: the spec does not say so. Joined by and with
 * the guard so far. exact: of a split contraction's pieces, too, which are as many as blocks of the product rule. */
static bool put_reach(Guard *g, bool exact) {
  const DhcSpec *s = g->spec;
  bool joined = g->code.n > 0;
  put_const(g, 0);
  for (int o = 0; o < s->n_operands; o++)
    for (int t = 0; t < s->operand[o].n_terms; t++) {
      if (s->operand[o].term[t].index >= 0 && !s->operand[o].term[t].guarded) return false;
      put_term_reach(g, o, t);
      put(g, DHC_DIM_ADD);
    }
  put_const(g, NEAR);
  put(g, DHC_DIM_LE);
  if (joined) put(g, DHC_DIM_AND);
  put_bound(g, dhc_spec_axes(s, DHC_AXIS_PAR), NEAR, true);
  put_bound(g, dhc_spec_axes(s, DHC_AXIS_SEQ), NEAR, true);
  put_bound(g, dhc_spec_axes(s, DHC_AXIS_RED), exact ? SPLIT_PRODUCTS : NEAR, true);
  return true;
}

/* Classes whose places are of 32 bits, and one more for what is larger. */
static int gpu_widths(const DhcSpec *s, bool exact, DhcArena *arena, int n, DhcSchedule out[DHC_MAX_CLASSES]) {
  DhcSchedule last = out[n - 1];
  last.wide = true;
  bool any = dhc_spec_extra_arg(s, 0) > 0 && n < DHC_MAX_CLASSES;
  for (int i = 0; i < n; i++) {
    Guard g = {.arena = arena, .spec = s};
    for (int k = 0; k < out[i].guard.n_code; k++) put(&g, out[i].guard.code[k]);
    any = any && put_reach(&g, exact);
    if (!any) out[i].wide = true;
    else out[i].guard = guard_of(&g);
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
  if (s->kind == DHC_KIND_CONV || s->kind == DHC_KIND_CONV_DW) return conv_classes(s, t, arena, out);
  out[0] = (DhcSchedule){.template_name = names[s->kind]};
  return 1;
}

int dhc_schedule_choose(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  int n = choose(s, t, arena, out);
  for (int i = 0; i < n; i++) dhc_schedule_complete(s, t, &out[i]);
  return n;
}
