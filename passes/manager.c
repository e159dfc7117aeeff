/* The pass manager: rows of passes.def as a table, properties checked before and updated
 * after every pass, the verifier, change counts and times. */
#include <string.h>
#include <time.h>

#include "passes/passes.h"

static const DhcPassInfo pass_table[] = {
#define PASS(name, requires, establishes, breaks, optional, doc) \
  {#name, dhc_pass_##name, requires, establishes, breaks, optional, doc},
#include "passes/passes.def"
};

static const char *const prop_doc[DHC_N_PROPS] = {
#define PROP(name, doc) [DHC_PROP_BIT_##name] = doc,
#include "passes/passes.def"
};

int dhc_pass_count(void) {
  return (int)(sizeof pass_table / sizeof *pass_table);
}

const DhcPassInfo *dhc_pass_at(int i) {
  return &pass_table[i];
}

const DhcPassInfo *dhc_pass_info(const char *name) {
  for (int i = 0; i < dhc_pass_count(); i++)
    if (strcmp(pass_table[i].name, name) == 0) return &pass_table[i];
  return NULL;
}

void dhc_pass_ctx_init(DhcPassCtx *px, DhcModule *m, DhcArena *scratch) {
  memset(px, 0, sizeof *px);
  px->module = m;
  px->diags = m->diags;
  px->scratch = scratch;
  px->pass = "";
  px->props = DHC_PROP_UNFUSED;
  px->limit = -1;
}

void dhc_pass_count_change(DhcPassCtx *px) {
  px->changes++;
}

bool dhc_pass_can_change(const DhcPassCtx *px) {
  return px->limit < 0 || px->all_changes < px->limit;
}

bool dhc_pass_may_change(DhcPassCtx *px) {
  if (!dhc_pass_can_change(px)) return false;
  px->changes++;
  px->all_changes++;
  return true;
}

/* True if `word` is an element of the comma-separated `list`. */
static bool listed(const char *list, const char *word) {
  size_t n = strlen(word);
  while (list && *list) {
    size_t k = strcspn(list, ",");
    if (k == n && memcmp(list, word, n) == 0) return true;
    list += k + (list[k] == ',');
  }
  return false;
}

static int count_nodes(const DhcModule *m) {
  int n = 0;
  for (int i = 0; i < m->funcs.n; i++) n += m->funcs.at[i]->n_nodes;
  return n;
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void report_missing(DhcPassCtx *px, const DhcPassInfo *p) {
  unsigned missing = p->requires & ~px->props;
  for (int i = 0; i < DHC_N_PROPS; i++)
    if (missing & (1u << i))
      dhc_diag(px->diags, DHC_ERROR, "E0701", (DhcSpan){0, 0, 0},
               "pass '%s' cannot run here: it needs that %s", p->name, prop_doc[i]);
}

#ifdef NDEBUG
static const bool passes_trusted = true;
#else
static const bool passes_trusted = false;
#endif

/* `last`: of the list that the caller named. */
static bool run_one(DhcModule *m, DhcPassCtx *px, const DhcPassInfo *p, bool last) {
  if (p->requires & ~px->props) {
    report_missing(px, p);
    return false;
  }
  DhcPassStat s = {.pass = p->name, .nodes_before = count_nodes(m)};
  px->pass = p->name;
  px->changes = 0;
  double t0 = now_ms();
  bool ok = p->run(m, px);
  double t1 = now_ms();
  dhc_arena_reset(px->scratch);
  px->pass = "";
  if (!ok) return false;
  /* A pass that changed nothing breaks nothing. */
  if (px->changes) px->props &= ~p->breaks;
  px->props |= p->establishes;
  DhcStage stage = px->props & DHC_PROP_UNFUSED ? DHC_STAGE_GRAPH : DHC_STAGE_FUSED;
  /* What nothing changed was verified before, and what several passes change is where the list ends; builds with
   * assertions take no pass' word for it, nor does a run that looks for a wrong one. */
  px->unverified = px->unverified || px->changes || !passes_trusted;
  bool each = !passes_trusted || px->limit >= 0 || px->disabled;
  if (px->unverified && (each || last)) {
    ok = dhc_verify(m, stage, p->name);
    px->unverified = false;
  }
  s.ms = t1 - t0;
  s.verify_ms = now_ms() - t1;
  s.changes = px->changes;
  s.nodes_after = count_nodes(m);
  DHC_PUSH(m->arena, &px->stats, s);
  return ok;
}

const char *dhc_pass_named_list(const char *name) {
#define LIST(word, passes) \
  if (!strcmp(name, #word)) return passes;
#include "passes/passes.def"
  return NULL;
}

static bool run_list(DhcModule *m, DhcPassCtx *px, const char *list, bool ends) {
  char name[64];
  while (*list) {
    size_t k = strcspn(list, ",");
    if (k >= sizeof name) k = sizeof name - 1;
    memcpy(name, list, k);
    name[k] = 0;
    list += strcspn(list, ",");
    list += *list == ',';
    if (!k) continue;
    const DhcPassInfo *p = dhc_pass_info(name);
    const char *more = dhc_pass_named_list(name);
    if (!p && !more) {
      dhc_diag(px->diags, DHC_ERROR, "E0702", (DhcSpan){0, 0, 0}, "there is no pass '%s'", name);
      return false;
    }
    if (p && p->optional && listed(px->disabled, name)) continue;
    bool last = ends && !*list;
    if (p ? !run_one(m, px, p, last) : !run_list(m, px, more, last)) return false;
  }
  return true;
}

bool dhc_passes_run(DhcModule *m, DhcPassCtx *px, const char *list) {
  return run_list(m, px, list, true);
}

bool dhc_passes_clean(DhcModule *m, DhcPassCtx *px) {
  return dhc_passes_run(m, px, "clean");
}

void dhc_passes_report(const DhcPassCtx *px, FILE *to) {
  for (int i = 0; i < px->stats.n; i++) {
    const DhcPassStat *s = &px->stats.at[i];
    fprintf(to, "%-12s %6lld changes %6d -> %6d nodes %8.3f ms, verifier %.3f ms\n", s->pass,
            (long long)s->changes, s->nodes_before, s->nodes_after, s->ms, s->verify_ms);
  }
}
