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

/* Blocks in the order being tried: heaviest first, then by row. */
typedef struct Turn {
  int64_t weight;
  int block; /* blocks begin in the order of their rows */
} Turn;

static int heavier(const void *x, const void *y) {
  const Turn *a = x, *b = y;
  if (a->weight != b->weight) return a->weight < b->weight ? 1 : -1;
  return (a->block > b->block) - (a->block < b->block);
}

/* What is placed, by place; columns side by side, as placing looks at nearly all of one before it looks at
 * another. */
typedef struct Placed {
  int n;
  int64_t *at, *end;
  int *first, *last, *block;
  unsigned char *meets; /* lives at some time of the block being placed; 8 more than n */
} Placed;

static Placed placed_new(int n, DhcArena *arena) {
  return (Placed){.at = DHC_NEW_N(arena, int64_t, n + 1), .end = DHC_NEW_N(arena, int64_t, n + 1), .first = DHC_NEW_N(arena, int, n + 1),
                  .last = DHC_NEW_N(arena, int, n + 1), .block = DHC_NEW_N(arena, int, n + 1),
                  .meets = DHC_NEW_N(arena, unsigned char, n + 9)};
}

static void insert(Placed *p, int i, const Block *b, int block) {
  size_t n = (size_t)(p->n - i);
#define INSERT(column, value)                                       \
  memmove(&p->column[i + 1], &p->column[i], n * sizeof *p->column); \
  p->column[i] = value
  INSERT(at, b->at);
  INSERT(end, b->at + b->size);
  INSERT(first, b->life.first);
  INSERT(last, b->life.last);
  INSERT(block, block);
#undef INSERT
  p->n++;
}

static void find_meeting(const int *restrict first, const int *restrict last, int n, int begin, int end, unsigned char *restrict meets) {
  for (int k = 0; k < n; k++) meets[k] = (unsigned char)((first[k] <= end) & (last[k] >= begin));
  memset(meets + n, 0, 8);
}

/* Puts b at the lowest place between those placed that live at the same time. */
static void place(Block *b, int block, Placed *p) {
  int64_t at = 0;
  int n = p->n, i = n;
  const unsigned char *meets = p->meets;
  find_meeting(p->first, p->last, n, b->life.first, b->life.last, p->meets);
  bool found = false;
  for (int k = 0; k < n && !found; k += 8) {
    uint64_t eight;
    memcpy(&eight, meets + k, sizeof eight); /* the first is the lowest byte */
    for (unsigned bits = (unsigned)(eight * 0x0102040810204080u >> 56); bits && !found; bits &= bits - 1) {
      int c = k + __builtin_ctz(bits);
      found = p->at[c] - at >= b->size;
      if (!found && p->end[c] > at) at = p->end[c];
    }
  }
  b->at = at;
  for (int low = 0; low < i;) { /* behind all that do not lie above it */
    int middle = (low + i) / 2;
    if (p->at[middle] > at) i = middle;
    else low = middle + 1;
  }
  insert(p, i, b, block);
}

/* The blocks by place, those at one place by row. */
static Block *by_place(const Block *blocks, const Placed *p, DhcArena *arena) {
  Block *out = DHC_NEW_N(arena, Block, p->n + 1);
  for (int k = 0; k < p->n; k++) {
    const Block *b = &blocks[p->block[k]];
    int i = k;
    for (; i > 0 && out[i - 1].at == b->at && out[i - 1].row > b->row; i--) out[i] = out[i - 1];
    out[i] = *b;
  }
  return out;
}

/* How far up the items are taken, in stretches of one height. */
typedef struct Heights {
  int n_items, n_words;
  uint64_t *begins; /* bit per item, and one behind the last: a stretch begins there */
  int64_t *height;  /* by the item where it begins */
} Heights;

static Heights heights_new(int n_items, DhcArena *arena) {
  Heights h = {.n_items = n_items, .n_words = n_items / 64 + 1};
  h.begins = DHC_NEW_N(arena, uint64_t, h.n_words);
  h.height = DHC_NEW_N(arena, int64_t, n_items + 1);
  return h;
}

static void heights_clear(Heights *h) {
  memset(h->begins, 0, sizeof *h->begins * (size_t)h->n_words);
  h->begins[0] = 1;
  h->height[0] = 0;
  h->begins[h->n_items / 64] |= UINT64_C(1) << h->n_items % 64;
}

static int begin_at_or_before(const Heights *h, int item) {
  int w = item / 64;
  uint64_t bits = h->begins[w] & (UINT64_MAX >> (63 - item % 64));
  while (!bits) bits = h->begins[--w];
  return w * 64 + 63 - __builtin_clzll(bits);
}

static int begin_after(const Heights *h, int item) {
  int w = (item + 1) / 64;
  uint64_t bits = h->begins[w] & (UINT64_MAX << (item + 1) % 64);
  while (!bits) bits = h->begins[++w];
  return w * 64 + __builtin_ctzll(bits);
}

/* Something of this size on top of items first … last: they are all of one height then, which it returns. */
static int64_t heights_pile(Heights *h, int first, int last, int64_t size) {
  int stretch = begin_at_or_before(h, first);
  int64_t top = h->height[stretch];
  for (int next; (next = begin_after(h, stretch)) <= last; stretch = next) {
    if (stretch > first) h->begins[stretch / 64] &= ~(UINT64_C(1) << stretch % 64);
    if (h->height[next] > top) top = h->height[next];
  }
  int64_t behind = h->height[stretch];
  if (stretch > first) h->begins[stretch / 64] &= ~(UINT64_C(1) << stretch % 64);
  if (!(h->begins[(last + 1) / 64] >> (last + 1) % 64 & 1)) {
    h->begins[(last + 1) / 64] |= UINT64_C(1) << (last + 1) % 64;
    h->height[last + 1] = behind;
  }
  h->begins[first / 64] |= UINT64_C(1) << first % 64;
  return h->height[first] = top + size;
}

/* Peak at other sizes, size[] by row, of blocks sorted by place: where binding puts them. At `enough` and
 * beyond any number that is as large will do. */
static double peak_of(const Block *blocks, int n, const int64_t *size, Heights *h, double enough) {
  int64_t peak = 0;
  heights_clear(h);
  for (int k = 0; k < n && (double)peak < enough; k++) {
    DhcSpanOfItems life = blocks[k].life;
    int64_t bytes = size[blocks[k].row], end = life.first > life.last ? bytes : heights_pile(h, life.first, life.last, bytes);
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

/* Puts the blocks where they go, in turn. False as soon as the arrangement shows to be no better than `least`: more blocks
 * only lie on top of those that are there, so those placed first bound what becomes of all. */
static bool place_all(Block *blocks, const Turn *turn, int n, const Sample *sample, int n_samples, Heights *h, double least, Placed *placed,
                      DhcArena *arena) {
  enum { FEW = 64 }; /* what is looked at is cheaper to place than to look at */
  placed->n = 0;
  for (int k = 0; k < n; k++) {
    place(&blocks[turn[k].block], turn[k].block, placed);
    int m = placed->n;
    bool look = m >= FEW && (m == n / 8 || m == n / 4 || m == n * 3 / 8 || m == n / 2 || m == n * 3 / 4);
    if (look && worst_of(by_place(blocks, placed, arena), placed->n, sample, n_samples, h, least) >= least) return false;
  }
  return true;
}

/* Packing number i is that of sample i / N_ORDERS in order i % N_ORDERS; of equally good ones the first is taken. The
 * largest blocks of a large batch first is nearly always best: tried before the others it makes them give up early. */
static Block *best_packing(const Sample *sample, int n_samples, int n, int n_items, DhcArena *arena) {
  enum { USUAL = N_ORDERS };
  Block *best = NULL;
  double least = INFINITY;
  int n_packings = n_samples * N_ORDERS, best_number = n_packings, usual = USUAL < n_packings ? USUAL : 0;
  Placed placed = placed_new(n, arena);
  Turn *turn = DHC_NEW_N(arena, Turn, n + 1);
  Heights h = heights_new(n_items, arena);
  for (int i = 0; i < n_packings; i++) {
    int number = i == 0 ? usual : i <= usual ? i - 1 : i;
    double limit = number < best_number ? nextafter(least, INFINITY) : least; /* what is no better than this is given up */
    Block *blocks = dhc_arena_dup(arena, sample[number / N_ORDERS].blocks, sizeof *blocks * (size_t)(n + 1));
    weigh(blocks, n, number % N_ORDERS, n_items, arena);
    for (int k = 0; k < n; k++) turn[k] = (Turn){blocks[k].weight, k};
    qsort(turn, (size_t)n, sizeof *turn, heavier);
    if (!place_all(blocks, turn, n, sample, n_samples, &h, limit, &placed, arena)) continue;
    blocks = by_place(blocks, &placed, arena);
    double worst = worst_of(blocks, n, sample, n_samples, &h, limit);
    if (worst >= limit) continue;
    best = blocks;
    best_number = number;
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

bool dhc_memory_pack(dhc_plan *plan, const DhcSpec *const *specs, const int64_t *const *symbols, int n_samples, int linger,
                     DhcArena *arena, int *from) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  DhcSpanOfItems *life = dhc_memory_lives(plan, specs, &scratch);
  for (int b = 0; b < plan->n_buffers; b++)
    if (life[b].last >= life[b].first) life[b].last = life[b].last + linger < plan->n_items ? life[b].last + linger : plan->n_items - 1;
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
