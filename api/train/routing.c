/* The routing ledger: where the tokens of a data set went, block by block, and what stands in front of each block. */
#include <math.h>

#include "api/train/train.h"

static const char *const patterns[] = {"*.tokens_per_expert", NULL};

const char *const *routing_patterns(void) {
  return patterns;
}

void routing_add(Routing *r, const dhc_tensor *results, int n_results) {
  for (int i = 0; i < n_results; i++) {
    const dhc_tensor *t = &results[i];
    if (!t->name || strncmp(t->name, "tap.", 4) || t->rank != 1) continue;
    RoutedBlock *b = NULL;
    for (int k = 0; k < r->blocks.n && !b; k++)
      if (!strcmp(r->blocks.at[k].path, t->name + 4)) b = &r->blocks.at[k];
    if (!b) {
      RoutedBlock made = {.path = dhc_arena_strdup(r->arena, t->name + 4), .n = (int)t->dim[0]};
      made.tokens = DHC_NEW_N(r->arena, double, made.n + 1);
      DHC_PUSH(r->arena, &r->blocks, made);
      b = &r->blocks.at[r->blocks.n - 1];
    }
    for (int e = 0; e < b->n && e < (int)t->dim[0]; e++) {
      double v;
      dhc_tensor_convert(&v, DHC_F64, (const char *)t->data + (size_t)e * (size_t)dhc_tensor_dtype_bytes((int32_t)t->dtype), (int32_t)t->dtype, 1);
      b->tokens[e] += v;
    }
  }
}

/* What made the mixer of the block that a path is in: the sibling, written before it, of a kind of the pattern; else
 * the sibling before it with most parameters. */
static const char *follows(const dhc_model *m, const char *path) {
  DhcLayerInfos l = dhc_model_layers(m->m);
  DhcKindInfos kinds = dhc_model_kinds(m->m);
  const char *dot = strrchr(path, '.'), *best = "";
  int64_t most = -1;
  if (!dot) return best;
  size_t n = (size_t)(dot - path); /* of the routed layer itself: the tap's name goes */
  const char *up = dot;
  while (up > path && up[-1] != '.') up--;
  size_t block = up > path ? (size_t)(up - path) - 1 : 0;
  for (int i = 0; i < l.n; i++) {
    const char *p = l.at[i].path;
    if (strlen(p) == n && !strncmp(p, path, n)) break; /* the routed layer: what follows is written behind it */
    if (strncmp(p, path, block) || p[block] != (block ? '.' : p[block]) || strchr(p + block + (block > 0), '.') || !p[block]) continue;
    for (int k = 0; k < kinds.n; k++)
      if (!strcmp(kinds.at[k].layer, l.at[i].layer)) return l.at[i].layer;
    if (l.at[i].n_params > most) most = l.at[i].n_params, best = l.at[i].layer;
  }
  return best;
}

/* Entropy of the shares, 1 where all are equal; mean over largest, the same. */
static void describe(const RoutedBlock *b, dhc_routing_row *row) {
  double sum = 0, most = 0, h = 0;
  for (int e = 0; e < b->n; e++) {
    sum += b->tokens[e];
    if (b->tokens[e] > most) most = b->tokens[e];
  }
  for (int e = 0; e < b->n && sum > 0; e++)
    if (b->tokens[e] > 0) h -= b->tokens[e] / sum * log(b->tokens[e] / sum);
  row->total = sum;
  row->entropy = b->n > 1 ? h / log((double)b->n) : 1;
  row->balance = most > 0 ? sum / b->n / most : (double)NAN;
}

static void sum_up(const dhc_model *m, const Routing *r, const char *kind, void (*row)(void *ctx, const dhc_routing_row *r), void *ctx) {
  dhc_routing_row all = {.path = "", .follows = kind};
  for (int i = 0; i < r->blocks.n; i++) {
    dhc_routing_row one = {0};
    if (strcmp(follows(m, r->blocks.at[i].path), kind)) continue;
    describe(&r->blocks.at[i], &one);
    all.n_blocks++;
    all.total += one.total;
    all.entropy += one.entropy;
    all.balance += one.balance;
  }
  all.entropy /= all.n_blocks;
  all.balance /= all.n_blocks;
  row(ctx, &all);
}

dhc_status routing_report(const dhc_model *m, const Routing *r, void (*row)(void *ctx, const dhc_routing_row *r), void *ctx) {
  if (!r->blocks.n) return dhc_status_make(DHC_E_INPUT, "model %s taps no tokens_per_expert: it routes nothing", m->name);
  for (int i = 0; i < r->blocks.n; i++) {
    const RoutedBlock *b = &r->blocks.at[i];
    dhc_routing_row one = {.path = b->path, .follows = follows(m, b->path), .n_blocks = 1, .n_experts = b->n, .tokens = b->tokens};
    describe(b, &one);
    row(ctx, &one);
  }
  for (int i = 0; i < r->blocks.n; i++) { /* each kind once, in order */
    const char *kind = follows(m, r->blocks.at[i].path);
    bool said = false;
    for (int k = 0; k < i; k++) said = said || !strcmp(follows(m, r->blocks.at[k].path), kind);
    if (!said) sum_up(m, r, kind, row, ctx);
  }
  return dhc_status_ok();
}
