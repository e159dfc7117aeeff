/* `dhcc opt`: passes on IR text. Every piece between lines "// -----" is a module of its
 * own with its own memory, so a failing piece does not touch the others. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "passes/pipeline.h"

enum { OPT_PANEL_WIDTH = 64, OPT_PANEL_WIDTH_PAIR = 32 }; /* as of a target with vectors of 64 bytes */

static const char cut[] = "// -----";

/* Length of the piece at `text`; *next is where the following one starts, or NULL. */
static size_t piece(const char *text, const char *end, const char **next) {
  const char *at = text;
  while (at < end) {
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    size_t n = (size_t)((line_end ? line_end : end) - at);
    if (n >= sizeof cut - 1 && memcmp(at, cut, sizeof cut - 1) == 0) {
      *next = line_end ? line_end + 1 : end;
      return (size_t)(at - text);
    }
    at = line_end ? line_end + 1 : end;
  }
  *next = NULL;
  return (size_t)(end - text);
}

static bool print_plans(DhcModule *m, DhcText *to) {
  for (int i = 0; i < m->funcs.n; i++) {
    if (m->funcs.at[i]->kind != DHC_FUNC_ENTRY) continue;
    DhcPipeline p = dhc_pipeline_from(m->funcs.at[i], DHC_PIPELINE_FUSED);
    if (!dhc_pipeline_run(&p, DHC_PIPELINE_PLAN)) return false;
    dhc_plan_print(p.planned, to);
  }
  return true;
}

/* The whole pipeline, as entries that run go through it, on all of a module. */
static const char pipeline_word[] = "pipeline";

static bool run_pipeline(const DhcOptRequest *rq, DhcModule *m) {
  DhcPipeline p = dhc_pipeline_begin(&(DhcPipelineRequest){.module = m, .disabled = rq->disabled, .limit = rq->limit, .tiles = rq->tiles});
  p.panel_width = OPT_PANEL_WIDTH;
  p.panel_width_pair = OPT_PANEL_WIDTH_PAIR;
  return dhc_pipeline_run(&p, DHC_PIPELINE_FUSED);
}

/* One piece, with its line numbers as in the whole file: `lines_before` newlines stand in
 * front of it. */
static bool run_piece(const DhcOptRequest *rq, const char *text, size_t n, int lines_before,
                      FILE *out, FILE *err, bool *written) {
  DhcArena arena, scratch;
  dhc_arena_init(&arena);
  dhc_arena_init(&scratch);
  char *padded = dhc_arena_alloc(&arena, n + (size_t)lines_before + 1);
  memset(padded, '\n', (size_t)lines_before);
  memcpy(padded + lines_before, text, n);
  DhcSources sources = {.arena = &arena};
  DhcStrings strings = {.arena = &arena};
  DhcDiags own = {.arena = &arena, .sources = &sources}, *diags = rq->diags ? rq->diags : &own;
  uint32_t file = dhc_sources_add(diags->sources, rq->file_name, rq->file_name, padded,
                                  n + (size_t)lines_before);
  DhcModule *m = dhc_module_parse(&arena, &strings, diags, file);
  bool ok = m && dhc_verify(m, DHC_STAGE_GRAPH, "parse");
  DhcPassCtx px;
  if (ok && !strcmp(rq->passes, pipeline_word)) {
    ok = run_pipeline(rq, m);
  } else if (ok) {
    dhc_pass_ctx_init(&px, m, &scratch);
    px.limit = rq->limit;
    px.disabled = rq->disabled;
    px.panel_width = OPT_PANEL_WIDTH;
    px.panel_width_pair = OPT_PANEL_WIDTH_PAIR;
    px.tiles = rq->tiles;
    ok = dhc_passes_run(m, &px, rq->passes);
    if (rq->stats) dhc_passes_report(&px, err);
  }
  if (ok) {
    DhcText to = {.arena = &arena};
    if (rq->plan)
      ok = print_plans(m, &to);
    else
      dhc_module_print(m, &to);
    *written = fputs(dhc_text_str(&to), out) >= 0;
  }
  if (!rq->diags) dhc_diags_print(&own, err, false);
  dhc_arena_fini(&scratch);
  dhc_arena_fini(&arena);
  return ok;
}

/* Appends at *at, as much as there is room for. */
__attribute__((format(printf, 4, 5))) static void put(char *text, size_t size, size_t *at, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(text + *at, size - *at, fmt, ap);
  va_end(ap);
  if (n > 0) *at = *at + (size_t)n < size ? *at + (size_t)n : size - 1;
}

bool dhc_pass_list_check(const char *list, bool optional, char *why, size_t size) {
  enum { MOST = 64 };
  const char *names[MOST];
  int n = 0;
  for (int i = 0; i < dhc_pass_count() && n < MOST; i++)
    if (!optional || dhc_pass_at(i)->optional) names[n++] = dhc_pass_at(i)->name;
  while (list && *list) {
    char name[64];
    size_t k = strcspn(list, ",");
    snprintf(name, sizeof name, "%.*s", (int)(k < sizeof name ? k : sizeof name - 1), list);
    const DhcPassInfo *p = dhc_pass_info(name);
    bool known = optional ? p && p->optional : p || dhc_pass_named_list(name);
    if (k && !known) {
      const char *near = dhc_suggest(name, names, n);
      size_t at = 0;
      put(why, size, &at, p ? "pass '%s' cannot be left out" : "there is no pass '%s'", name);
      if (near) put(why, size, &at, " (did you mean '%s'?)", near);
      for (int i = 0; !near && i < n; i++) put(why, size, &at, "%s%s", i ? ", " : "; there are ", names[i]);
      return false;
    }
    list += k + (list[k] == ',');
  }
  return true;
}

int dhc_opt_run(const DhcOptRequest *rq, FILE *out, FILE *err) {
  char why[400];
  bool whole = !strcmp(rq->passes, pipeline_word);
  if ((!whole && !dhc_pass_list_check(rq->passes, false, why, sizeof why)) || !dhc_pass_list_check(rq->disabled, true, why, sizeof why))
    return fprintf(err, "%s\n", why) < 0 ? 3 : 2;
  const char *at = rq->text, *end = rq->text + rq->n_bytes, *next;
  int line = 0;
  bool ok = true, written = true;
  for (; at && written; at = next) {
    size_t n = piece(at, end, &next);
    ok &= run_piece(rq, at, n, line, out, err, &written);
    const char *until = next ? next : end;
    for (const char *c = at; c < until; c++) line += *c == '\n';
    if (next && written) written = fprintf(out, "%s\n", cut) >= 0;
  }
  return !written ? 3 : ok ? 0 : 1;
}
