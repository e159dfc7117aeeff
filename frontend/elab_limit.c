/* Limits on what evaluation takes: every expression is a step, every call has a depth. Where one is
 * met the message says which, and the calls that led there; the rest of the request is over. */
#include "frontend/elab_internal.h"

enum { WALKED_PER_STEP = 64, INNER_SHOWN = 4, OUTER_SHOWN = 2 };

void dhc_limit_begin(DhcElab *e) {
  e->steps = 0;
  e->stopped = false;
}

int64_t dhc_limit_walk(int64_t n) {
  return n / WALKED_PER_STEP;
}

typedef struct Calls { /* the same place, again and again */
  const DhcFrame *first;
  int n;
} Calls;
typedef DHC_VEC(Calls) Chain;

/* The innermost calls and the outermost, how many are between. */
static void note_frames(DhcCx *cx, DhcDiag *d) {
  Chain c = {0};
  for (const DhcFrame *f = cx->frame; f; f = f->outer) {
    Calls *last = c.n ? &c.at[c.n - 1] : NULL;
    if (last && !memcmp(&last->first->at, &f->at, sizeof f->at))
      last->n++;
    else
      DHC_PUSH(dhc_cx_arena(cx), &c, ((Calls){f, 1}));
  }
  for (int i = 0; i < c.n; i++) {
    const Calls *g = &c.at[i];
    const char *times = g->n > 1 ? dhc_arena_printf(dhc_cx_arena(cx), " (%d times)", g->n) : "";
    if (i < INNER_SHOWN || i >= c.n - OUTER_SHOWN)
      dhc_diag_note(cx->e->diags, d, g->first->at, g->first->made ? "in '%s', made here%s" : "in this call of %s%s", g->first->what, times);
    else if (i == INNER_SHOWN)
      dhc_diag_note(cx->e->diags, d, (DhcSpan){0}, "… %d places …", c.n - INNER_SHOWN - OUTER_SHOWN);
  }
}

DhcDiag *dhc_limit_stop(DhcCx *cx, const char *code, DhcSpan at, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *text = dhc_arena_vprintf(dhc_cx_arena(cx), fmt, ap);
  va_end(ap);
  DhcDiag *d = dhc_err(cx, code, at, "%s", text);
  if (!cx->e->stopped) note_frames(cx, d);
  cx->e->stopped = true;
  return d;
}

bool dhc_limit_steps(DhcCx *cx, int64_t n, DhcSpan at) {
  DhcElab *e = cx->e;
  if (e->stopped) return false;
  e->steps += n;
  if (e->steps <= DHC_LIMIT_STEPS) return true;
  DhcDiag *d = dhc_limit_stop(cx, "E0323", at, "more than %d steps of evaluation", DHC_LIMIT_STEPS);
  dhc_diag_hint(e->diags, d, "%s", "every expression is a step, each time it is evaluated: calls, loops and layers multiply");
  return false;
}
