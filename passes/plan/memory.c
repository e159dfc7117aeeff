/* Lifetimes of a plan's work buffers and places for them.
 *
 * The packer works at sample sizes: at each it places buffers one by one, each at the lowest
 * gap between those already placed that live at the same time, in several orders. What it
 * hands on is not the offsets but who lies below whom: two buffers that live at the same
 * time are always in that relation, so the offsets that binding computes from it
 * (dhc/abi.h) keep them apart at any sizes. Of all arrangements the one is kept that does
 * best at the sample where it does worst. Relations that others imply are left out: a below
 * b and b below c put a below c. */
#include <math.h>
#include <stdlib.h>

#include "passes/plan/plan_internal.h"

enum {
  ALIGN = 64,
  MANY = 1000 /* buffers beyond which one sample must do: packing is quadratic */
};

/* ---- sizes ---------------------------------------------------------------------------- */

static int64_t floor_divide(int64_t a, int64_t b) {
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static bool apply(int64_t op, int64_t a, int64_t b, int64_t *out) {
  switch (op) {
    case DHC_DIM_ADD: return !__builtin_add_overflow(a, b, out);
    case DHC_DIM_SUB: return !__builtin_sub_overflow(a, b, out);
    case DHC_DIM_MUL: return !__builtin_mul_overflow(a, b, out);
    case DHC_DIM_FLOORDIV: *out = b > 0 ? floor_divide(a, b) : 0; return b > 0;
    case DHC_DIM_MAX: *out = a > b ? a : b; return true;
    default: return false; /* sizes need no more */
  }
}

static bool eval(dhc_dimprog x, const int64_t *symbols, int64_t *out) {
  int64_t stack[64];
  int n = 0;
  *out = 0;
  for (int32_t i = 0; i < x.n_code; i++) {
    int64_t op = x.code[i];
    if (op == DHC_DIM_CONST || op == DHC_DIM_SYM) {
      if (n == 64) return false;
      int64_t word = x.code[++i];
      stack[n++] = op == DHC_DIM_SYM ? symbols[word] : word;
    } else {
      if (n < 2 || !apply(op, stack[n - 2], stack[n - 1], &stack[n - 2])) return false;
      n--;
    }
  }
  if (n) *out = stack[0];
  return n == (x.n_code > 0) && *out >= 0 && *out < INT64_MAX / 4;
}

static int64_t align(int64_t x) {
  return (x + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- lifetimes --------------------------------------------------------------------------- */

static int root_of(const dhc_plan *plan, int b) {
  while (plan->buffers[b].alias >= 0) b = plan->buffers[b].alias;
  return b;
}

static bool is_write(const dhc_item *it, const DhcSpec *const *specs, int ref) {
  if (it->kind == DHC_ITEM_CALL) return specs[it->kernel]->operand[ref].out;
  return ref == it->n_refs - 1; /* FILL has one, COPY writes the second */
}

typedef struct LifeUse {
  int item;
  bool write;
} LifeUse;
typedef DHC_VEC(LifeUse) LifeUses;

/* Uses come in order, reads of an item before its writes. */
static LifeUses *collect_uses(const dhc_plan *plan, const DhcSpec *const *specs, DhcArena *arena) {
  LifeUses *uses = DHC_NEW_N(arena, LifeUses, plan->n_buffers + 1);
  for (int i = 0; i < plan->n_items; i++) {
    const dhc_item *it = &plan->items[i];
    for (int pass = 0; pass < 2; pass++)
      for (int r = 0; r < it->n_refs; r++) {
        LifeUse u = {i, is_write(it, specs, r)};
        LifeUses *to = &uses[root_of(plan, it->refs[r].buffer)];
        if (u.write == (pass == 1)) DHC_PUSH(arena, to, u);
      }
  }
  return uses;
}

/* Within a loop a buffer lives all the time if its contents come from before the loop or from the
 * trip before, or go on behind the loop. */
static void stay_through(DhcSpanOfItems *life, const LifeUses *u, int begin, int end) {
  bool inside = false, outside = false, from_before = false;
  for (int i = 0; i < u->n; i++) {
    bool in = u->at[i].item > begin && u->at[i].item < end;
    if (in && !inside) from_before = !u->at[i].write;
    inside = inside || in;
    outside = outside || !in;
  }
  if (!inside || !(outside || from_before)) return;
  if (begin < life->first) life->first = begin;
  if (end - 1 > life->last) life->last = end - 1;
}

DhcSpanOfItems *dhc_memory_lives(const dhc_plan *plan, const DhcSpec *const *specs, DhcArena *arena) {
  DhcSpanOfItems *life = DHC_NEW_N(arena, DhcSpanOfItems, plan->n_buffers + 1);
  LifeUses *uses = collect_uses(plan, specs, arena);
  DHC_VEC(int) loops = {0};
  for (int i = 0; i < plan->n_items; i++)
    if (plan->items[i].kind == DHC_ITEM_LOOP) DHC_PUSH(arena, &loops, i);
  for (int b = 0; b < plan->n_buffers; b++) {
    const LifeUses *u = &uses[b];
    life[b] = (DhcSpanOfItems){0, -1};
    if (!u->n) continue;
    life[b] = (DhcSpanOfItems){u->at[0].item, u->at[u->n - 1].item};
    for (int k = 0; k < loops.n; k++) stay_through(&life[b], u, loops.at[k], loops.at[k] + 1 + plan->items[loops.at[k]].n_body);
  }
  return life;
}

int64_t dhc_plan_live_bytes(const DhcPlanned *p, const int64_t *symbols) {
  const dhc_plan *plan = &p->plan;
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcSpanOfItems *life = dhc_memory_lives(plan, p->specs, &arena);
  int64_t *change = DHC_NEW_N(&arena, int64_t, plan->n_items + 2), live = 0, most = 0, bytes;
  for (int b = 0; b < plan->n_buffers; b++) {
    if (plan->buffers[b].segment != DHC_SEGMENT_WORK || life[b].last < life[b].first) continue;
    if (!eval(plan->buffers[b].bytes, symbols, &bytes)) continue;
    change[life[b].first] += bytes;
    change[life[b].last + 1] -= bytes;
  }
  for (int i = 0; i <= plan->n_items; i++) {
    live += change[i];
    if (live > most) most = live;
  }
  dhc_arena_fini(&arena);
  return most;
}

/* ---- packing ------------------------------------------------------------------------------- */

typedef struct Block {
  int row; /* in the plan's table */
  int64_t size, at;
  int64_t weight; /* in the order being tried */
  DhcSpanOfItems life;
} Block;

static bool meet(const Block *a, const Block *b) {
  return a->life.first <= b->life.last && b->life.first <= a->life.last;
}

static int heavier(const void *x, const void *y) {
  const Block *a = x, *b = y;
  if (a->weight != b->weight) return a->weight < b->weight ? 1 : -1;
  return (a->row > b->row) - (a->row < b->row);
}

static int lower(const void *x, const void *y) {
  const Block *a = x, *b = y;
  if (a->at != b->at) return a->at > b->at ? 1 : -1;
  return (a->row > b->row) - (a->row < b->row);
}

/* What placing looks at, side by side. */
typedef struct Placed {
  int64_t at, end;
  int first, last;
} Placed;

/* Lowest place for b among the n in sorted[], which are by place; adds it there. */
static void place(Block *b, int n, Placed *sorted) {
  int64_t at = 0;
  int first = b->life.first, last = b->life.last, i = n;
  for (int k = 0; k < n; k++) {
    const Placed *c = &sorted[k];
    if (c->first > last || c->last < first) continue;
    if (c->at - at >= b->size) break;
    if (c->end > at) at = c->end;
  }
  b->at = at;
  for (; i > 0 && sorted[i - 1].at > at; i--) sorted[i] = sorted[i - 1];
  sorted[i] = (Placed){at, at + b->size, first, last};
}

/* How far up each item is taken: a tree over the items, leaves from `leaves` on. */
typedef struct Heights {
  int leaves;
  int64_t *all;  /* of node v: at least this, everywhere below it */
  int64_t *most; /* the largest anywhere below it */
} Heights;

static Heights heights_new(int n_items, DhcArena *arena) {
  Heights h = {.leaves = 1};
  while (h.leaves < n_items) h.leaves *= 2;
  h.all = DHC_NEW_N(arena, int64_t, 2 * h.leaves);
  h.most = DHC_NEW_N(arena, int64_t, 2 * h.leaves);
  return h;
}

static void heights_clear(Heights *h) {
  memset(h->all, 0, sizeof *h->all * (size_t)(2 * h->leaves));
  memset(h->most, 0, sizeof *h->most * (size_t)(2 * h->leaves));
}

static int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

/* The largest height of items first … last. */
static int64_t heights_over(const Heights *h, int first, int last) {
  int64_t top = 0;
  int l = first + h->leaves, r = last + h->leaves;
  for (int a = l, b = r;;) {
    if (a == b || a % 2) top = larger(top, h->most[a]);
    if (a != b && b % 2 == 0) top = larger(top, h->most[b]);
    a = (a + 1) / 2;
    b = (b - 1) / 2;
    if (a > b) break;
  }
  for (l /= 2; l; l /= 2) top = larger(top, h->all[l]);
  for (r /= 2; r; r /= 2) top = larger(top, h->all[r]);
  return top;
}

/* Items first … last are taken up to `end` at least. */
static void heights_raise(Heights *h, int first, int last, int64_t end) {
  int l = first + h->leaves, r = last + h->leaves;
  for (int a = l, b = r;;) {
    if (a == b || a % 2) h->all[a] = larger(h->all[a], end), h->most[a] = larger(h->most[a], end);
    if (a != b && b % 2 == 0) h->all[b] = larger(h->all[b], end), h->most[b] = larger(h->most[b], end);
    a = (a + 1) / 2;
    b = (b - 1) / 2;
    if (a > b) break;
  }
  for (l /= 2; l; l /= 2) h->most[l] = larger(h->most[l], end);
  for (r /= 2; r; r /= 2) h->most[r] = larger(h->most[r], end);
}

/* Peak at other sizes, size[] by row, of blocks sorted by place: where binding puts them. At `enough` and
 * beyond any number that is as large will do. */
static double peak_of(const Block *blocks, int n, const int64_t *size, Heights *h, double enough) {
  int64_t peak = 0;
  heights_clear(h);
  for (int k = 0; k < n && (double)peak < enough; k++) {
    DhcSpanOfItems life = blocks[k].life;
    bool lives = life.first <= life.last;
    int64_t end = (lives ? heights_over(h, life.first, life.last) : 0) + size[blocks[k].row];
    if (lives) heights_raise(h, life.first, life.last, end);
    if (end > peak) peak = end;
  }
  return (double)peak;
}

/* Most bytes that live at once, at the sizes that blocks have. */
static double bound_of(const Block *blocks, int n, int n_items, DhcArena *arena) {
  int64_t *change = DHC_NEW_N(arena, int64_t, n_items + 2), live = 0, most = 1;
  for (int i = 0; i < n; i++) {
    if (blocks[i].life.last < blocks[i].life.first) continue;
    change[blocks[i].life.first] += blocks[i].size;
    change[blocks[i].life.last + 1] -= blocks[i].size;
  }
  for (int i = 0; i <= n_items; i++)
    if ((live += change[i]) > most) most = live;
  return (double)most;
}

enum { N_ORDERS = 4 };

/* Weight: the bytes of all blocks that live at some time of a block's life, which are all but those that end
 * before it and those that begin behind it. */
static void weigh_by_company(Block *blocks, int n, int n_items, DhcArena *arena) {
  int64_t *begun = DHC_NEW_N(arena, int64_t, n_items + 2), *ended = DHC_NEW_N(arena, int64_t, n_items + 2);
  for (int i = 0; i < n; i++) {
    if (blocks[i].life.last < blocks[i].life.first) continue;
    begun[blocks[i].life.first + 1] += blocks[i].size / ALIGN;
    ended[blocks[i].life.last + 1] += blocks[i].size / ALIGN;
  }
  for (int k = 0; k <= n_items; k++) { /* before item k */
    begun[k + 1] += begun[k];
    ended[k + 1] += ended[k];
  }
  for (int i = 0; i < n; i++) {
    DhcSpanOfItems life = blocks[i].life;
    blocks[i].weight = life.last < life.first ? 0 : begun[life.last + 1] - ended[life.first];
  }
}

/* By size; by size times lifetime; by bytes that live at the same time; by first use. */
static void weigh(Block *blocks, int n, int order, int n_items, DhcArena *arena) {
  if (order == 2) weigh_by_company(blocks, n, n_items, arena);
  for (int i = 0; i < n; i++) {
    Block *b = &blocks[i];
    int64_t span = b->life.last - b->life.first + 1;
    if (order == 0) b->weight = b->size;
    if (order == 1) b->weight = b->size / ALIGN * span;
    if (order == 3) b->weight = -b->life.first;
  }
}

typedef struct Sample {
  Block *blocks;
  int64_t *size; /* by row */
  double bound;
} Sample;

/* Largest peak over bound of an arrangement at the samples; any number from `least` on where it is not
 * less than that. */
static double worst_of(const Block *blocks, int n, const Sample *sample, int n_samples, Heights *h, double least) {
  double worst = 0;
  for (int s = 0; s < n_samples && worst < least; s++) {
    double ratio = peak_of(blocks, n, sample[s].size, h, ceil(least * sample[s].bound) + 1) / sample[s].bound;
    if (ratio > worst) worst = ratio;
  }
  return worst;
}

static Block *best_packing(const Sample *sample, int n_samples, int n, int n_items, DhcArena *arena) {
  Block *best = NULL;
  double least = 0;
  Placed *sorted = DHC_NEW_N(arena, Placed, n + 1);
  Heights h = heights_new(n_items, arena);
  for (int s = 0; s < n_samples; s++)
    for (int order = 0; order < N_ORDERS; order++) {
      Block *blocks = dhc_arena_dup(arena, sample[s].blocks, sizeof *blocks * (size_t)(n + 1));
      weigh(blocks, n, order, n_items, arena);
      qsort(blocks, (size_t)n, sizeof *blocks, heavier);
      for (int k = 0; k < n; k++) place(&blocks[k], k, sorted);
      qsort(blocks, (size_t)n, sizeof *blocks, lower);
      double worst = worst_of(blocks, n, sample, n_samples, &h, best ? least : INFINITY);
      if (best && worst >= least) continue;
      best = blocks;
      least = worst;
    }
  return best;
}

/* below[] of block k in a table where block i is row first_row + i. under[i]: bit per block
 * that lies below block i. */
static void set_below(dhc_buffer *rows, const Block *blocks, int k, int first_row, uint64_t **under, int n,
                      DhcArena *arena) {
  int words = (n + 63) / 64;
  uint64_t *all = under[k] = DHC_NEW_N(arena, uint64_t, words + 1);
  uint64_t *implied = DHC_NEW_N(arena, uint64_t, words + 1);
  DHC_VEC(int32_t) below = {0};
  for (int i = k; i-- > 0;) {
    if (!meet(&blocks[k], &blocks[i])) continue;
    all[i / 64] |= UINT64_C(1) << i % 64;
    if (implied[i / 64] >> i % 64 & 1) continue;
    DHC_PUSH(arena, &below, (int32_t)(first_row + i));
    for (int w = 0; w < words; w++) implied[w] |= under[i][w];
  }
  rows[first_row + k].below = below.at;
  rows[first_row + k].n_below = below.n;
}

/* The work buffers at one choice of sizes; -1 if a size does not fit, else how many. */
static int make_sample(const dhc_plan *plan, const DhcSpanOfItems *life, const int64_t *symbols, Sample *s, DhcArena *arena) {
  int n = 0;
  s->blocks = DHC_NEW_N(arena, Block, plan->n_buffers + 1);
  s->size = DHC_NEW_N(arena, int64_t, plan->n_buffers + 1);
  for (int b = 0; b < plan->n_buffers; b++) {
    if (plan->buffers[b].segment != DHC_SEGMENT_WORK || plan->buffers[b].alias >= 0) continue;
    int64_t bytes;
    if (!eval(plan->buffers[b].bytes, symbols, &bytes)) return -1;
    /* an empty buffer counts, too: at other sizes it may not be empty */
    s->size[b] = align(bytes ? bytes : 1);
    s->blocks[n++] = (Block){.row = b, .size = s->size[b], .life = life[b]};
  }
  s->bound = bound_of(s->blocks, n, plan->n_items, arena);
  return n;
}

/* New table: rows that lie where they are, work buffers by place, aliases. */
static void reorder(dhc_plan *plan, const Block *blocks, int n_blocks, DhcArena *arena, int *from, int *first_row) {
  int n = 0, *to = DHC_NEW_N(arena, int, plan->n_buffers + 1);
  for (int b = 0; b < plan->n_buffers; b++)
    if (plan->buffers[b].segment != DHC_SEGMENT_WORK && plan->buffers[b].alias < 0) from[n++] = b;
  *first_row = n;
  for (int i = 0; i < n_blocks; i++) from[n++] = blocks[i].row;
  for (int b = 0; b < plan->n_buffers; b++)
    if (plan->buffers[b].alias >= 0) from[n++] = b;
  for (int i = 0; i < n; i++) to[from[i]] = i;
  dhc_buffer *rows = DHC_NEW_N(arena, dhc_buffer, n + 1);
  for (int i = 0; i < n; i++) {
    rows[i] = plan->buffers[from[i]];
    if (rows[i].alias >= 0) rows[i].alias = to[rows[i].alias];
    int32_t *below = DHC_NEW_N(arena, int32_t, rows[i].n_below + 1);
    for (int k = 0; k < rows[i].n_below; k++) below[k] = to[rows[i].below[k]];
    rows[i].below = below;
  }
  plan->buffers = rows;
  dhc_item *items = DHC_NEW_N(arena, dhc_item, plan->n_items + 1);
  for (int i = 0; i < plan->n_items; i++) {
    dhc_ref *refs = DHC_NEW_N(arena, dhc_ref, plan->items[i].n_refs + 1);
    items[i] = plan->items[i];
    for (int r = 0; r < items[i].n_refs; r++) {
      refs[r] = items[i].refs[r];
      refs[r].buffer = to[refs[r].buffer];
    }
    items[i].refs = refs;
  }
  plan->items = items;
}

bool dhc_memory_pack(dhc_plan *plan, const DhcSpec *const *specs, const int64_t *const *symbols, int n_samples,
                     DhcArena *arena, int *from) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcSpanOfItems *life = dhc_memory_lives(plan, specs, &scratch);
  Sample *sample = DHC_NEW_N(&scratch, Sample, n_samples);
  int n = make_sample(plan, life, symbols[0], &sample[0], &scratch), first_row, n_usable = 1;
  if (n <= MANY)
    while (n >= 0 && n_usable < n_samples && make_sample(plan, life, symbols[n_usable], &sample[n_usable], &scratch) >= 0)
      n_usable++;
  if (n >= 0) {
    Block *packed = best_packing(sample, n_usable, n, plan->n_items, &scratch);
    reorder(plan, packed, n, arena, from, &first_row);
    dhc_buffer *rows = dhc_arena_dup(arena, plan->buffers, sizeof *rows * (size_t)(plan->n_buffers + 1));
    uint64_t **under = DHC_NEW_N(&scratch, uint64_t *, n + 1);
    for (int k = 0; k < n; k++) set_below(rows, packed, k, first_row, under, n, arena);
    plan->buffers = rows;
  }
  dhc_arena_fini(&scratch);
  return n >= 0;
}
