/* Equal pure values of a program become one. Templates and dim programs say the same index
 * arithmetic again and again; without this, a third of the code that LLVM gets is copies. */
#include "backends/loop/loop.h"

static bool is_pure(DhcLpKind k) {
  return k <= DHC_LP_FOLD && k != DHC_LP_LOCAL;
}

static int n_picks(const DhcLpInst *x) {
  return x->pick ? x->type.lanes : 0;
}

static uint64_t mix(uint64_t h, uint64_t v) {
  h ^= v;
  h *= 0x9e3779b97f4a7c15u;
  return h ^ h >> 29;
}

static uint64_t hash(const DhcLpInst *x) {
  uint64_t f, h = mix(mix((uint64_t)x->kind, (uint64_t)x->op), (uint64_t)x->i);
  memcpy(&f, &x->f, sizeof f);
  h = mix(mix(h, f), (uint64_t)x->type.dtype << 16 | (uint64_t)x->type.lanes << 1 | x->type.ptr);
  for (int k = 0; k < 4; k++) h = mix(h, x->a[k] ? (uint64_t)x->a[k]->id + 1 : 0);
  return h;
}

static bool equal(const DhcLpInst *x, const DhcLpInst *y) {
  if (x->kind != y->kind || x->op != y->op || x->i != y->i || memcmp(&x->f, &y->f, sizeof x->f) ||
      x->type.dtype != y->type.dtype || x->type.lanes != y->type.lanes || x->type.ptr != y->type.ptr ||
      memcmp(x->a, y->a, sizeof x->a) || n_picks(x) != n_picks(y))
    return false;
  return !n_picks(x) || !memcmp(x->pick, y->pick, sizeof *x->pick * (size_t)n_picks(x));
}

/* Open-addressed table; entries of a closed block are dead: their block number tells. */
typedef struct Entry {
  DhcLpInst *value;
  int block;
} Entry;

typedef struct Cse {
  DhcLp *p;
  Entry *table;
  size_t size;      /* power of two */
  DhcLpInst **same; /* by id: the value that stands for it */
  bool *open;       /* by block number */
} Cse;

/* The visible value equal to x, or x itself, entered. */
static DhcLpInst *find(Cse *c, DhcLpInst *x, int block) {
  size_t at = (size_t)hash(x) & (c->size - 1);
  for (; c->table[at].value; at = (at + 1) & (c->size - 1)) {
    Entry *e = &c->table[at];
    if (!equal(e->value, x)) continue;
    if (!c->open[e->block]) *e = (Entry){x, block};
    return e->value;
  }
  c->table[at] = (Entry){x, block};
  return x;
}

void dhc_lp_cse(DhcLp *p) {
  Cse c = {.p = p, .size = 64};
  while (c.size < 2 * (size_t)p->code.n + 2) c.size *= 2;
  c.table = DHC_NEW_N(p->arena, Entry, (int)c.size);
  c.same = DHC_NEW_N(p->arena, DhcLpInst *, p->code.n + 1);
  c.open = DHC_NEW_N(p->arena, bool, p->code.n + 2);
  DHC_VEC(int) blocks = {0};
  int n_blocks = 1, n = 0;
  c.open[0] = true;
  DHC_PUSH(p->arena, &blocks, 0);
  for (int i = 0; i < p->code.n; i++) {
    DhcLpInst *x = p->code.at[i];
    for (int k = 0; k < 4; k++)
      if (x->a[k]) x->a[k] = c.same[x->a[k]->id];
    c.same[x->id] = x;
    if (x->kind == DHC_LP_END || x->kind == DHC_LP_ELSE) c.open[blocks.at[--blocks.n]] = false;
    if (x->kind == DHC_LP_TASKS || x->kind == DHC_LP_FOR || x->kind == DHC_LP_IF || x->kind == DHC_LP_ELSE) {
      c.open[n_blocks] = true;
      DHC_PUSH(p->arena, &blocks, n_blocks);
      n_blocks++;
    }
    if (is_pure(x->kind)) c.same[x->id] = find(&c, x, blocks.at[blocks.n - 1]);
    if (c.same[x->id] == x) p->code.at[n++] = x;
  }
  /* an END names its opener by id: renumber in place */
  int *moved = DHC_NEW_N(p->arena, int, p->code.n + 1);
  for (int i = 0; i < n; i++) moved[p->code.at[i]->id] = i;
  for (int i = 0; i < n; i++) {
    DhcLpInst *x = p->code.at[i];
    if (x->kind == DHC_LP_END) x->i = moved[x->i];
    x->id = i;
  }
  p->code.n = n;
}
