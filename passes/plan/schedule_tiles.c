/* Schedules of contractions and convolutions on a GPU: what the numbers mean is said in backends/loop/tpl_tile.c, tpl_image.c,
 * tpl_patches.c, tpl_filters.c and tpl_filter_groups.c, which obey. */
#include "ir/sum.h"
#include "passes/plan/schedule_internal.h"

#include <string.h>

/* A contraction by tiles (backends/loop/tpl_tile_roles.c): rows are what one operand alone varies over, columns, with the
 * result's last axis, the other; batch, both. */
typedef struct Roles {
  uint32_t rows, cols, batch, k;
  uint32_t inner; /* of k, the last */
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
    for (int a = 0; a < s->n_axes; a++)
      if (r.k >> a & 1) r.inner = 1u << a;
  }
  return r;
}

enum {
  MANY_TILES = 128, FEW_TILES = 100, FEW_LARGE = 8, SMALL_TILES = 80, DEEP = 512, GRAND_TILES = 120, MANY_GROUPED = 100,
  FEW_RANGED = 512, MANY_RANGED = 4096, SOME_RANGED = 1024, EACH_RANGED = 20, BRIEF = 64, MANY_PIXELS = 8192,
  FEW_PRODUCTS = 256 /* one chain of the product rule (ir/sum.h) */
};

static DhcSchedule class_of(const char *template_name, const DhcSizeGuard *g, const int v[8]) {
  DhcSchedule s = {.template_name = template_name, .guard = dhc_size_guard(g)};
  memcpy(s.v, v, sizeof s.v);
  return s;
}

static DhcSchedule tile_class(const DhcSizeGuard *g, const int v[8]) { return class_of("tile", g, v); }

/* step * places, windows counted whole. */
static void put_places(DhcSizeGuard *g, const DhcSpecLine *l) {
  dhc_size_count(g, 1u << l->place);
  dhc_size_const(g, l->step);
  dhc_size_put(g, DHC_DIM_MUL);
}

static void put_line(DhcSizeGuard *g, const DhcSpecWindow *w) { /* of a plane in block memory, its four zeros left out */
  dhc_size_arg(g, dhc_spec_offset_arg(g->spec, w->image, w->across.term) + 1);
  dhc_size_const(g, 4);
  dhc_size_put(g, DHC_DIM_CEILDIV);
  dhc_size_const(g, 4);
  dhc_size_put(g, DHC_DIM_MUL);
}

/* Template "image" at these sizes: a line, or whole windows of lines, fit a tile; what the tile sees fits a plane, and
 * beside a line it sees no more than four zeros. Joined by and with the guard so far. */
static void put_image(DhcSizeGuard *g, const DhcSpecWindow *w, int tile, int plane) {
  bool joined = g->code.n > 0;
  int back = w->across.sign < 0 ? (int)w->across.taps - 1 : 0;
  put_places(g, &w->across);
  dhc_size_const(g, w->down.step);
  dhc_size_put(g, DHC_DIM_MUL);
  dhc_size_const(g, tile);
  dhc_size_put(g, DHC_DIM_LE);
  if (joined) dhc_size_put(g, DHC_DIM_AND);
  dhc_size_const(g, back - 4);
  dhc_size_arg(g, dhc_spec_offset_arg(g->spec, w->image, w->across.term));
  dhc_size_put(g, DHC_DIM_LE);
  dhc_size_put(g, DHC_DIM_AND);
  put_places(g, &w->across);
  dhc_size_arg(g, dhc_spec_offset_arg(g->spec, w->image, w->across.term));
  dhc_size_put(g, DHC_DIM_ADD);
  dhc_size_const(g, w->across.taps - 1 - back - 4);
  dhc_size_put(g, DHC_DIM_ADD);
  put_line(g, w);
  dhc_size_put(g, DHC_DIM_LE);
  dhc_size_put(g, DHC_DIM_AND);
  /* images of a tile */
  dhc_size_const(g, tile);
  put_places(g, &w->down);
  put_places(g, &w->across);
  dhc_size_put(g, DHC_DIM_MUL);
  dhc_size_put(g, DHC_DIM_FLOORDIV);
  dhc_size_const(g, 1);
  dhc_size_put(g, DHC_DIM_MAX);
  /* times lines seen of each */
  dhc_size_const(g, tile);
  put_places(g, &w->across);
  dhc_size_put(g, DHC_DIM_FLOORDIV);
  put_places(g, &w->down);
  dhc_size_put(g, DHC_DIM_MIN);
  dhc_size_const(g, w->down.taps - 1);
  dhc_size_put(g, DHC_DIM_ADD);
  dhc_size_put(g, DHC_DIM_MUL);
  put_line(g, w);
  dhc_size_const(g, 4);
  dhc_size_put(g, DHC_DIM_ADD);
  dhc_size_put(g, DHC_DIM_MUL);
  dhc_size_const(g, plane - 4);
  dhc_size_put(g, DHC_DIM_LE);
  dhc_size_put(g, DHC_DIM_AND);
}

typedef struct ImageForm {
  int v[8], tiles, outs; /* at least so many tiles and outs */
} ImageForm;

/* Convolutions that walk images by single pixels: large tiles where they are many, smaller ones whose warps share the
 * channels of a step where not. */
static int image_tiles(const DhcSpec *s, const Roles *r, int parts, bool bf16, bool patches, DhcArena *arena, DhcSchedule *out) {
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
  if (!dhc_spec_window(s, &w) || !(r->rows >> w.out & 1)) return 0;
  int n = 0;
  for (int i = patches ? 1 : 0; i < 4; i++) { /* the largest are no faster where patches are */
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_bound(&g, 1u << w.channel, tf32[i].v[2], false);
    if (form[i].tiles) dhc_size_bound(&g, r->rows | r->cols | r->batch, (int64_t)form[i].tiles * form[i].v[0] * form[i].v[1], false);
    if (form[i].outs) dhc_size_bound(&g, r->rows, form[i].outs, false);
    put_image(&g, &w, form[i].v[1], form[i].v[7]);
    out[n] = class_of("image", &g, form[i].v);
    if (i >= 2) out[n].v[5] += parts;
    n++;
  }
  return n;
}

/* Template "patches" at these sizes: three quarters of what patches of 8 x 8 pixels hold are pixels, and there are some. Joined by and with
 * the guard so far. */
static void put_patches(DhcSizeGuard *g, const DhcSpecWindow *w) {
  const DhcSpecLine *line[2] = {&w->down, &w->across};
  dhc_size_const(g, 3 * 64);
  for (int i = 0; i < 2; i++) {
    put_places(g, line[i]);
    dhc_size_const(g, 8);
    dhc_size_put(g, DHC_DIM_CEILDIV);
    dhc_size_put(g, DHC_DIM_MUL);
  }
  dhc_size_const(g, 4);
  for (int i = 0; i < 2; i++) {
    put_places(g, line[i]);
    dhc_size_put(g, DHC_DIM_MUL);
  }
  dhc_size_put(g, DHC_DIM_LE);
  dhc_size_put(g, DHC_DIM_AND);
  for (int i = 0; i < 2; i++) {
    dhc_size_const(g, 4);
    dhc_size_arg(g, dhc_spec_offset_arg(g->spec, w->image, line[i]->term) + 1);
    dhc_size_put(g, DHC_DIM_LE);
    dhc_size_put(g, DHC_DIM_AND);
  }
}

/* By groups of warps: of few channels; of more, the largest tiles that fill the machine. parts: small tiles are taken in two parts, which
 * these have not. */
static int patch_tiles(const DhcSpec *s, const Roles *r, int parts, DhcArena *arena, DhcSchedule *out) {
  static const struct {
    int v[8], tiles, outs, least; /* at least so many tiles and outs; channels */
    bool small;
  } form[] = {{{64, 128, 8, 4, 1, 1, 3, 1}, 100, 48, 1, true}, {{256, 128, 16, 8, 1, 1, 3}, 100, 192, 9, false},
              {{128, 256, 16, 8, 1, 1, 4}, 100, 96, 9, false}, {{128, 128, 16, 8, 1, 1, 4}, 100, 96, 9, false},
              {{64, 128, 16, 8, 1, 1, 4}, 100, 48, 9, false},  {{64, 64, 16, 4, 1, 1, 5}, 100, 48, 9, true},
              {{32, 64, 32, 4, 1, 1, 4}, 60, 24, 17, true}};
  enum { FORMS = sizeof form / sizeof *form, MANY = 1000 };
  DhcSpecWindow w;
  int n = 0;
  if (!dhc_spec_window(s, &w) || !(r->rows >> w.out & 1)) return 0;
  const DhcSpecLine *down = &w.down, *across = &w.across;
  if (down->taps < 2 || down->taps > 3 || across->taps > 3 || 8 % down->step || 8 % across->step) return 0;
  for (int i = 0; i < FORMS; i++) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    const bool pairs = form[i].v[7];
    if (parts && form[i].small && !pairs) continue;
    dhc_size_bound(&g, 1u << w.channel, form[i].least, false);
    if (pairs) dhc_size_bound(&g, 1u << w.channel, 4, true);
    dhc_size_bound(&g, r->rows | r->cols | r->batch, (int64_t)(parts && pairs ? MANY : form[i].tiles) * form[i].v[0] * form[i].v[1], false);
    dhc_size_bound(&g, r->rows, form[i].outs, false);
    put_patches(&g, &w);
    out[n++] = class_of("patches", &g, form[i].v);
  }
  return n;
}

/* Template "filters" at these sizes: a line fits a step of so many pixels, and what a band sees a plane, twelve elements
 * less for what is read beyond; beside a line lie no more than four zeros. Joined by and with the guard so far. */
static void put_filters(DhcSizeGuard *g, const DhcSpecWindow *w, int pixels, int pad) {
  int offset = dhc_spec_offset_arg(g->spec, w->image, w->across.term);
  dhc_size_const(g, -4);
  dhc_size_arg(g, offset);
  dhc_size_put(g, DHC_DIM_LE);
  dhc_size_put(g, DHC_DIM_AND);
  dhc_size_count(g, 1u << w->across.place);
  dhc_size_arg(g, offset);
  dhc_size_put(g, DHC_DIM_ADD);
  dhc_size_const(g, w->across.taps - 5);
  dhc_size_put(g, DHC_DIM_ADD);
  dhc_size_arg(g, offset + 1);
  dhc_size_put(g, DHC_DIM_LE);
  dhc_size_put(g, DHC_DIM_AND);
  for (int i = 0; i < 2; i++) { /* pixels of a line, with zeros; then lines of a band */
    if (i) dhc_size_const(g, pixels);
    dhc_size_count(g, 1u << w->across.place);
    dhc_size_const(g, pad);
    dhc_size_put(g, DHC_DIM_CEILDIV);
    dhc_size_const(g, pad);
    dhc_size_put(g, DHC_DIM_MUL);
    if (!i) {
      dhc_size_const(g, pixels);
      dhc_size_put(g, DHC_DIM_LE);
      dhc_size_put(g, DHC_DIM_AND);
    }
  }
  dhc_size_put(g, DHC_DIM_FLOORDIV);
  dhc_size_count(g, 1u << w->down.place);
  dhc_size_put(g, DHC_DIM_MIN);
  dhc_size_const(g, w->down.taps - 1);
  dhc_size_put(g, DHC_DIM_ADD);
  dhc_size_arg(g, offset + 1);
  dhc_size_const(g, 4);
  dhc_size_put(g, DHC_DIM_CEILDIV);
  dhc_size_const(g, 1);
  dhc_size_put(g, DHC_DIM_ADD);
  dhc_size_const(g, 4);
  dhc_size_put(g, DHC_DIM_MUL);
  dhc_size_put(g, DHC_DIM_MUL);
  dhc_size_const(g, pixels + DHC_FILTERS_PLANE - 12);
  dhc_size_put(g, DHC_DIM_LE);
  dhc_size_put(g, DHC_DIM_AND);
}

/* By groups of warps: the middle tap is the place itself, lines are not too long, and few channels are lines of one product. */
static int filter_groups(const DhcSpec *s, const DhcSpecWindow *w, DhcArena *arena, DhcSchedule *out) {
  static const struct {
    int v[8], width, least, most; /* of a line at most; channels */
  } form[] = {{{64, 8, 128, 4, 1, 1, 1, 264}, 32, 1, 4}, {{64, 64, 64, 4, 1, 1, 0, 132}, 16, 48, 0}};
  if (w->across.taps != 3 || w->down.taps > 3) return 0;
  for (int i = 0; i < 2; i++) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    int offset = dhc_spec_offset_arg(s, w->image, w->across.term);
    dhc_size_bound(&g, 1u << w->channel, form[i].least, false);
    if (form[i].most) dhc_size_bound(&g, 1u << w->channel, form[i].most, true);
    dhc_size_bound(&g, 1u << w->out, 48, false);
    dhc_size_bound(&g, dhc_spec_axes(s, DHC_AXIS_RED), MANY_PIXELS / 8, false);
    dhc_size_bound(&g, 1u << w->across.place, form[i].width, true);
    for (int k = 0; k < 4; k++) { /* offset and -1, pixels of a line and of the image's: each at most the other */
      for (int side = 0; side < 2; side++) {
        bool own = side == k % 2;
        if (k < 2 && own) dhc_size_arg(&g, offset);
        else if (k < 2) dhc_size_const(&g, -1);
        else if (own) dhc_size_arg(&g, offset + 1);
        else dhc_size_count(&g, 1u << w->across.place);
      }
      dhc_size_put(&g, DHC_DIM_LE);
      dhc_size_put(&g, DHC_DIM_AND);
    }
    put_filters(&g, w, form[i].v[2], 4);
    out[i] = class_of("filter_groups", &g, form[i].v);
  }
  return 2;
}

/* Filter gradients of that form, of not too few channels. */
static int filter_tiles(const DhcSpec *s, bool groups, DhcArena *arena, DhcSchedule *out) {
  static const int form[2][8] = {{128, 32, 128, 2, 4, 1, 2, 132}, {64, 32, 64, 1, 4, 1, 2, 264}}, outs[2] = {72, 24};
  DhcSpecWindow w;
  if (!dhc_spec_filters(s, &w) || w.down.taps * w.across.taps > 9) return 0;
  int n = groups ? filter_groups(s, &w, arena, out) : 0;
  for (int i = 0; i < 2; i++) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_bound(&g, 1u << w.channel, 12, false);
    dhc_size_bound(&g, 1u << w.out, outs[i], false);
    dhc_size_bound(&g, dhc_spec_axes(s, DHC_AXIS_RED), MANY_PIXELS, false); /* two phases pay */
    put_filters(&g, &w, form[i][2], 8);
    out[n++] = class_of("filters", &g, form[i]);
  }
  return n;
}

/* Do all that is multiplied, loads but for ranges, lie along the last k in memory? Then a group's copies are sixteen bytes. */
static bool along_k(const DhcSpec *s, const Roles *r) {
  int last = -1;
  for (int a = 0; a < s->n_axes; a++)
    if (r->k >> a & 1) last = a;
  for (int n = 0; n < s->n_nodes; n++) {
    const DhcSpecNode *f = &s->node[n];
    if (f->kind != DHC_SN_FOLD || f->op != DHC_OP_DOT_GENERAL) continue;
    for (int i = 0; i < 2; i++) {
      const DhcSpecNode *x = &s->node[f->a[i]];
      if (dhc_spec_folds(s, f->a[i])) continue; /* lines of ks are made of it before */
      if (r->ranges && x->kind == DHC_SN_EW && x->op == DHC_OP_SELECT) x = &s->node[x->a[1]];
      if (x->kind != DHC_SN_LOAD || s->operand[x->operand].dtype != DHC_F32) return false;
      bool along = false;
      const DhcOperand *p = &s->operand[x->operand];
      for (int t = 0; t < p->n_terms; t++) {
        if (p->term[t].guarded || p->term[t].index >= 0 || p->term[t].div != 1) return false;
        along = along || (p->term[t].unit && p->term[t].axis[0] == last);
      }
      if (!along) return false;
    }
  }
  return true;
}

/* Does a result take elements of memory that are its own, as of a factor of a gradient? */
static bool takes(const DhcSpec *s, const Roles *r) {
  bool needed[DHC_SPEC_MAX_NODES] = {false};
  for (int o = dhc_spec_n_inputs(s); o < s->n_operands; o++) needed[s->operand[o].stored] = true;
  for (int n = s->n_nodes - 1; n >= 0; n--) { /* what is contracted is not the result's */
    const DhcSpecNode *d = &s->node[n];
    if (!needed[n] || d->kind == DHC_SN_FOLD) continue;
    uint32_t axes = dhc_spec_varies(s, n);
    if (d->kind == DHC_SN_LOAD && axes & r->rows && axes & r->cols) return true;
    for (int k = 0; k < 4; k++)
      if (d->a[k] >= 0) needed[d->a[k]] = true;
  }
  return false;
}

/* Of short sums reading and storing is what takes the time, where results take elements of memory: twice as many threads for that. */
static const int taking[8] = {128, 128, 32, 2, 4, 1, 3};

static bool taking_class(const DhcSpec *s, const Roles *r, DhcArena *arena, DhcSchedule *out) {
  DhcSizeGuard g = {.arena = arena, .spec = s};
  if (!takes(s, r)) return false;
  dhc_size_bound(&g, r->rows | r->cols | r->batch, (int64_t)MANY_TILES * 128 * 128, false);
  dhc_size_bound(&g, r->rows, 96, false);
  dhc_size_bound(&g, r->k, DEEP, true);
  *out = tile_class(&g, taking);
  return true;
}

/* Many tiles, and few of long sums: large ones, which read each element less often. */
static DhcSchedule large_class(const DhcSizeGuard *g, int split) { return tile_class(g, (int[8]){128, 128, 32, 2, 2, 1, 3, split}); }

/* Rows of twice as many ranges, most of which have none: a block is a range's. */
static int low_ranges(const DhcSpec *s, const Roles *r, DhcArena *arena, DhcSchedule *out) {
  static const int rounds[] = {2, 4, 8}, ks[] = {256, 512, 0};
  if (!dhc_spec_low(s)) return 0;
  for (int i = 0; i < 3; i++) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_const(&g, 2);
    dhc_size_count(&g, r->rows);
    dhc_size_put(&g, DHC_DIM_MUL);
    dhc_size_count(&g, r->k & ~r->inner);
    dhc_size_put(&g, DHC_DIM_LE);
    if (ks[i]) dhc_size_bound(&g, r->inner, ks[i], true);
    out[i] = class_of("low", &g, (int[8]){DHC_TILE_LOW, 8, 128, 1, 1, 8 + DHC_TILE_TWO_PARTS, rounds[i]});
  }
  return 3;
}

/* Rows of ranges, tiles of which go range by range, most of them not full: few of them, low tiles. */
static int ranged_rows(const DhcSpec *s, const Roles *r, bool grouped, bool bf16, DhcArena *arena, DhcSchedule *out) {
  DhcSizeGuard narrow = {.arena = arena, .spec = s}, few = narrow, many = narrow, some = narrow, each = narrow;
  int n = low_ranges(s, r, arena, out);
  if (grouped || !r->pair) { /* enough for a tile of each range */
    dhc_size_const(&each, EACH_RANGED);
    dhc_size_count(&each, r->k & ~r->inner);
    dhc_size_put(&each, DHC_DIM_MUL);
    dhc_size_count(&each, r->rows);
    dhc_size_put(&each, DHC_DIM_LE);
    dhc_size_bound(&each, r->rows | r->cols, (int64_t)MANY_TILES * 64 * (r->pair ? 128 : 32), true);
    dhc_size_bound(&each, r->cols, grouped ? 48 : 513, false);
    out[n++] = tile_class(&each, r->pair ? (int[8]){64, 64, 32, 4, 1, 1 + DHC_TILE_GROUP, 4} : grouped ? (int[8]){32, 64, 128, 1, 2, 4, 3} : (int[8]){32, 64, 64, 1, 4, 2, 3});
  }
  dhc_size_bound(&narrow, r->rows, FEW_RANGED, true);
  dhc_size_bound(&narrow, r->cols, 512, true);
  out[n++] = tile_class(&narrow, (int[8]){16, 16, 256, 1, 1, 8 + DHC_TILE_TWO_PARTS, 3});
  dhc_size_bound(&few, r->rows, FEW_RANGED, true);
  out[n++] = tile_class(&few, (int[8]){16, 64, 32, 1, 4, 1 + DHC_TILE_TWO_PARTS, 4});
  if (!grouped && r->pair) return n;
  dhc_size_bound(&many, r->rows | r->cols, (int64_t)MANY_RANGED * (grouped && !r->pair ? 512 : 256), false);
  dhc_size_bound(&many, r->cols, 96, false);
  if (grouped) out[n++] = tile_class(&many, (int[8]){128, r->pair ? 128 : 256, 32, 8, 1, 1 + DHC_TILE_GROUP, 4});
  else out[n++] = bf16 ? large_class(&many, 0) : tile_class(&many, taking);
  dhc_size_bound(&some, r->cols, 48, false);
  if (!grouped) out[n++] = tile_class(&some, (int[8]){64, 64, 64, 2, 2, 2, 3});
  else out[n++] = tile_class(&some, (int[8]){64, 64, 32, 4, 1, 1 + DHC_TILE_GROUP, r->pair ? 4 : 6});
  return n;
}

/* Ranges of ks: large tiles where these are many, in pieces where they are so many that a range of most of them would keep the machine
 * waiting. */
static int ranged_ks(const DhcSpec *s, const Roles *r, bool bf16, DhcArena *arena, DhcSchedule *out) {
  static const int least[] = {MANY_RANGED, SOME_RANGED}, split[] = {2 * MANY_TILES, 0};
  if (r->pair) return 0;
  for (int i = 0; i < 2; i++) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_bound(&g, r->k, least[i], false);
    dhc_size_bound(&g, r->rows | r->cols, 128 * 128, false);
    out[i] = bf16 ? large_class(&g, split[i]) : tile_class(&g, (int[8]){128, 128, 16, 2, 2, 1, 4, split[i]});
  }
  return 2;
}

static int range_tiles(const DhcSpec *s, const Roles *r, bool grouped, bool bf16, DhcArena *arena, DhcSchedule *out) {
  bool of_rows = r->k & (r->k - 1); /* ranges and ks are summed over */
  return of_rows ? ranged_rows(s, r, grouped, bf16, arena, out) : ranged_ks(s, r, bf16, arena, out);
}

/* By groups of warps: plain contractions in tiles by which the machine is filled. What is made of brief sums takes longer than they
 * do: many threads for it. */
static int group_tiles(const DhcSpec *s, const Roles *r, DhcArena *arena, DhcSchedule *out) {
  uint32_t results = r->rows | r->cols | r->batch;
  DhcSizeGuard grand = {.arena = arena, .spec = s}, some = grand, less = grand, many = grand;
  if (r->pair) {
    dhc_size_bound(&many, results, (int64_t)MANY_TILES * 128 * 128, false);
    dhc_size_bound(&many, r->rows, 96, false);
    out[0] = tile_class(&many, (int[8]){128, 128, 32, 8, 1, 1 + DHC_TILE_GROUP, 4});
    dhc_size_bound(&some, results, (int64_t)MANY_GROUPED * 64 * 64, false);
    dhc_size_bound(&some, r->rows, 48, false);
    out[1] = tile_class(&some, (int[8]){64, 64, 32, 4, 1, 1 + DHC_TILE_GROUP, 4});
    return 2;
  }
  dhc_size_bound(&grand, results, (int64_t)GRAND_TILES * 128 * 256, false);
  dhc_size_bound(&grand, r->rows, 96, false);
  dhc_size_bound(&grand, r->cols, 192, false);
  dhc_size_bound(&grand, r->k, BRIEF, false);
  out[0] = tile_class(&grand, (int[8]){128, 256, 32, 8, 1, 1 + DHC_TILE_GROUP, 4});
  dhc_size_bound(&some, results, (int64_t)MANY_GROUPED * 64 * 128, false);
  dhc_size_bound(&some, r->rows, 48, false);
  dhc_size_bound(&some, r->k, BRIEF, false);
  out[1] = tile_class(&some, (int[8]){64, 128, 32, 4, 1, 1 + DHC_TILE_GROUP, 4});
  dhc_size_bound(&less, results, (int64_t)MANY_GROUPED * 64 * 32, false);
  dhc_size_bound(&less, r->rows, 48, false);
  out[2] = tile_class(&less, (int[8]){64, 32, 32, 4, 1, 1 + DHC_TILE_GROUP, 8});
  return 3;
}

/* Few rows whose ks lie side by side: all that a thread reads of them is on its way at once, where that is not too much; twice the warps for
 * long sums. Many columns: two matrix tiles of them, or every block would read all rows for few. */
static int low_tiles(const DhcSpec *s, const Roles *r, DhcArena *arena, DhcSchedule *out) {
  static const int rounds[] = {2, 4, 2, 4, 8}, ks[] = {256, 512, 512, 1024}, columns[] = {0, 1024, 0, 0, 0}, warps[] = {1, 1, 2, 2, 2};
  if (!dhc_spec_low(s)) return 0;
  bool norm = false;
  for (int i = 0; i < s->n_nodes; i++) norm = norm || (s->node[i].kind == DHC_SN_FOLD && s->node[i].op != DHC_OP_DOT_GENERAL);
  const int n = r->pair ? 4 : 5; /* twice the columns are as many registers */
  for (int i = 0; i < n; i++) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    dhc_size_bound(&g, r->rows, DHC_TILE_LOW, true);
    if (i < n - 1 || norm) dhc_size_bound(&g, r->k, i < n - 1 ? ks[i] : DHC_SUM_BLOCK, true); /* a norm's sums are of one block */
    if (columns[i]) dhc_size_bound(&g, r->cols, columns[i], false);
    out[i] = class_of("low", &g, (int[8]){DHC_TILE_LOW, columns[i] ? 16 : 8, 128 * warps[i], warps[i], 1, 8 + DHC_TILE_TWO_PARTS, rounds[i], i < n - 1});
  }
  return n;
}

/* Few tiles of sums that are not too long: as small as fill the machine, whose warps share the ks of a step, so that no second phase is needed. Of two
 * contractions, rounded operands: three products of each took twice as long. */
static int short_tiles(const DhcSpec *s, const Roles *r, DhcArena *arena, DhcSchedule *out) {
  uint32_t results = r->rows | r->cols | r->batch;
  DhcSizeGuard first = {.arena = arena, .spec = s}, second = first;
  if (r->pair) {
    dhc_size_bound(&first, results, (int64_t)FEW_TILES * 64 * 32, false);
    dhc_size_bound(&second, results, (int64_t)FEW_TILES * 32 * 32, false);
  } else {
    dhc_size_bound(&first, results, (int64_t)MANY_TILES * DHC_TILE_LOW * DHC_TILE_LOW, true);
    dhc_size_bound(&second, results, (int64_t)MANY_TILES * 32 * 16, true);
    dhc_size_bound(&first, r->k, DEEP / 2, false);
    dhc_size_bound(&second, r->k, DEEP, false);
  }
  dhc_size_bound(&first, r->k, r->pair ? DEEP : 2 * DEEP, true);
  dhc_size_bound(&second, r->k, r->pair ? DEEP : 2 * DEEP, true);
  dhc_size_bound(&second, r->rows, 24, false);
  if (r->pair) dhc_size_bound(&first, r->rows, 48, false);
  out[0] = tile_class(&first, r->pair ? (int[8]){64, 32, 64, 2, 2, 2, 3} : (int[8]){DHC_TILE_LOW, 16, 256, 1, 1, 8 + DHC_TILE_TWO_PARTS, 3});
  out[1] = tile_class(&second, r->pair ? (int[8]){32, 32, 128, 2, 1, 4, 2} : (int[8]){32, 16, 128, 2, 1, 4, 3});
  return 2;
}

/* Neither ranges nor groups: few rows, many tiles, few tiles of long sums, small ones. parts: of convolutions. */
static int size_tiles(const DhcSpec *s, const Roles *r, int parts, bool groups, bool grouped, bool bf16, DhcArena *arena, DhcSchedule *out) {
  bool conv = dhc_kind_is_conv(s->kind) || s->kind == DHC_KIND_CONV_DW;
  uint32_t results = r->rows | r->cols | r->batch;
  DhcSizeGuard few = {.arena = arena, .spec = s}, many = few, wide = few, large = few, some = few, deep = few, small = few, low = few, brief = few;
  const int lows = low_tiles(s, r, arena, out);
  int n = lows;
  if (!lows && !conv && !r->pair) { /* few rows of long sums */
    dhc_size_bound(&low, r->rows, DHC_TILE_LOW, true);
    dhc_size_bound(&low, r->k, 4 * DEEP, false);
    out[n++] = tile_class(&low, (int[8]){DHC_TILE_LOW, 64, 32, 1, 4, 1 + DHC_TILE_TWO_PARTS, 3, MANY_TILES});
  }
  dhc_size_bound(&few, r->rows, DHC_TILE_LOW, true);
  if (!lows) out[n++] = tile_class(&few, (int[8]){16, 8, 256, 1, 1, 8 + DHC_TILE_TWO_PARTS, 3});
  int patches = conv && groups && !bf16 ? patch_tiles(s, r, parts, arena, out + n) : 0;
  n += patches;
  int images = image_tiles(s, r, parts, bf16, patches, arena, out + n), filters = bf16 ? 0 : filter_tiles(s, groups, arena, out + n);
  n += images + filters;
  if (grouped) {
    n += group_tiles(s, r, arena, out + n);
  } else if (!r->pair && !images && !filters) {
    if (!conv) n += taking_class(s, r, arena, out + n);
    dhc_size_bound(&many, results, (int64_t)MANY_TILES * 128 * 128, false);
    dhc_size_bound(&many, r->rows, 96, false);
    out[n++] = large_class(&many, 0);
  }
  if (conv) {
    dhc_size_bound(&wide, results, (int64_t)MANY_TILES * 128 * 128, false);
    dhc_size_bound(&wide, r->cols, 256, false);
    out[n++] = tile_class(&wide, (int[8]){64, 256, 32, 2, 4, 1, 2});
  } else if (!r->pair) {
    dhc_size_bound(&large, results, (int64_t)FEW_LARGE * 128 * 128, false);
    dhc_size_bound(&large, r->k, 8 * DEEP, false);
    dhc_size_bound(&large, r->rows, 96, false);
    out[n++] = large_class(&large, 2 * MANY_TILES);
  }
  dhc_size_bound(&deep, results, (int64_t)FEW_TILES * 64 * 64, true);
  dhc_size_bound(&deep, r->k, DEEP, false);
  if (s->kind == DHC_KIND_CONV_DW && !filters) {
    DhcSizeGuard tall = {.arena = arena, .spec = s};
    dhc_size_bound(&tall, results, (int64_t)FEW_TILES * 64 * 64, true);
    dhc_size_bound(&tall, r->k, DEEP, false);
    dhc_size_bound(&tall, r->rows, 96, false);
    out[n++] = tile_class(&tall, (int[8]){128, 64, 32, 2, 4, 1, 3, 2 * MANY_TILES});
  }
  int wider = dhc_kind_is_conv(s->kind) ? 128 : 64;
  if (grouped) n += short_tiles(s, r, arena, out + n);
  if (!conv && !grouped && !r->pair) { /* not so few of not so long sums */
    dhc_size_bound(&brief, results, (int64_t)MANY_TILES * 32 * 16, true);
    dhc_size_bound(&brief, r->k, DEEP, false);
    dhc_size_bound(&brief, r->k, DEEP * 3 / 2, true);
    dhc_size_bound(&brief, r->rows, 24, false);
    out[n++] = tile_class(&brief, (int[8]){32, 16, 128, 2, 1, 4, 3});
    dhc_size_bound(&some, results, (int64_t)FEW_TILES * 64 * 64, true);
    dhc_size_bound(&some, results, (int64_t)FEW_TILES * 64 * 32, false);
    dhc_size_bound(&some, r->k, DEEP, false);
    dhc_size_bound(&some, r->k, 4 * DEEP - 1, true);
    dhc_size_bound(&some, r->rows, 24, false);
    out[n++] = tile_class(&some, (int[8]){32, 64, 64, 1, 2, 2, 3});
  }
  if (!images) out[n++] = tile_class(&deep, (int[8]){64, wider, 32, 2, conv ? 4 : 2, 1 + parts, 3, 2 * MANY_TILES});
  dhc_size_bound(&small, results, (int64_t)SMALL_TILES * 64 * 64, true);
  if (!conv) out[n++] = tile_class(&small, (int[8]){32, 32, r->pair ? 64 : 128, 2, 2, 2 + DHC_TILE_TWO_PARTS, 3});
  return n;
}

/* In bf16: a tile of few products for what it reads, in which three of them cost little. */
static bool is_small(const DhcSchedule *x) { return x->v[0] * x->v[1] <= 64 * 128; }

/* In tf32 or bf16, with matrix instructions: few rows take low tiles, whose warps share the ks of a step; many tiles large
 * ones; few tiles of long sums are cut along k, of short ones they are small. Operands are rounded where multiplying is what
 * takes the time, in tiles that fill the machine, long sums and convolutions that nothing chooses by; elsewhere, where
 * experts are chosen too, two parts cost little. */
static int warp_tiles(const DhcSpec *s, const Roles *r, bool bf16, bool groups, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  bool conv = dhc_kind_is_conv(s->kind) || s->kind == DHC_KIND_CONV_DW, grouped = groups && !bf16 && !conv && along_k(s, r);
  /* a gradient follows what a pooling window chose among results: what decides is nearly exact */
  int parts = dhc_schedule_has_argmax(s) ? DHC_TILE_TWO_PARTS : 0;
  int n = r->ranges ? range_tiles(s, r, grouped, bf16, arena, out) : size_tiles(s, r, parts, groups, grouped, bf16, arena, out);
  bool plain = !conv && !r->ranges && !r->pair; /* four warps: fragments of 32 x 32 are read for more products */
  if (plain) out[n++] = tile_class(&(DhcSizeGuard){0}, (int[8]){64, 64, 32, 2, 2, 1, 4});
  else out[n++] = tile_class(&(DhcSizeGuard){0}, (int[8]){64, 64, 32, 2, 4, 1 + (conv ? parts : DHC_TILE_TWO_PARTS), 3});
  for (int i = 0; i < n && bf16; i++) {
    bool nearly = is_small(&out[i]) && !(out[i].v[5] & DHC_TILE_TWO_PARTS);
    out[i].v[5] += DHC_TILE_BF16 + (nearly ? DHC_TILE_TWO_PARTS : 0);
  }
  return n;
}

/* By the rule of tiles: many of them a block where that fills the machine. */
static int winograd_tiles(const DhcSpec *s, const Roles *r, DhcArena *arena, DhcSchedule *out) {
  DhcSizeGuard many = {.arena = arena, .spec = s};
  dhc_size_bound(&many, r->rows | r->cols | r->batch, (int64_t)MANY_TILES * 32 * 32 * 4, false);
  out[0] = class_of("winograd_blocks", &many, (int[8]){32, 32, 8, 8, 4, 2});
  out[1] = class_of("winograd_blocks", &(DhcSizeGuard){0}, (int[8]){16, 16, 8, 4, 2, 2});
  return 2;
}

/* Exact: few rows waste a tile of 64; those of ragged contractions meet many matrices, a few rows each. Few tiles of long
 * sums are cut into the blocks of the product rule. */
static int tiles(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule *out) {
  Roles r = roles_of(s);
  if (t->compute != DHC_COMPUTE_F32) return warp_tiles(s, &r, t->compute == DHC_COMPUTE_BF16, t->groups, arena, out);
  int n = 0;
  if (s->kind == DHC_KIND_WINOGRAD) return winograd_tiles(s, &r, arena, out);
  DhcSizeGuard few = {.arena = arena, .spec = s}, deep = few;
  dhc_size_bound(&few, r.rows, r.ranges ? 1024 : DHC_TILE_LOW, true);
  out[n++] = tile_class(&few, (int[8]){16, 16, 64, 1, 2, 0, 3});
  dhc_size_bound(&deep, r.rows | r.cols | r.batch, (int64_t)FEW_TILES * 64 * 64, true);
  dhc_size_bound(&deep, r.k, DEEP, false);
  if (!r.ranges) out[n++] = tile_class(&deep, (int[8]){64, 64, 16, 4, 4, 0, 3, 1});
  out[n++] = tile_class(&(DhcSizeGuard){0}, (int[8]){64, 64, 16, 4, 4, 0, 3});
  return n;
}

/* Few products beside much that is read and written: a thread four elements, as of a map, of four rows. */
static int updates(const DhcSpec *s, DhcArena *arena, DhcSchedule *out) {
  DhcSizeGuard g = {.arena = arena, .spec = s};
  const int fold = dhc_spec_updates(s);
  if (fold < 0) return 0;
  dhc_size_bound(&g, s->node[fold].axes, FEW_PRODUCTS, true);
  out[0] = class_of("elements", &g, (int[8]){0, 256, 4, 0, 4});
  return 1;
}

/* Long sums of a channel's taps are no tiles: these would hold a column or a few. */
int dhc_schedule_tiles(const DhcSpec *s, const DhcTargetFacts *t, DhcArena *arena, DhcSchedule out[DHC_MAX_CLASSES]) {
  DhcSpecDepthwise w;
  int n = 0;
  if (dhc_spec_depthwise(s, &w)) {
    DhcSizeGuard g = {.arena = arena, .spec = s};
    bool exact = t->compute == DHC_COMPUTE_F32;
    dhc_size_bound(&g, s->node[w.fold].axes, exact ? MANY_PIXELS / 2 : MANY_PIXELS / 16, false);
    out[n++] = class_of("depthwise", &g, (int[8]){32, 8, exact ? 0 : 64});
  }
  n += updates(s, arena, out + n);
  return n + tiles(s, t, arena, out + n);
}
