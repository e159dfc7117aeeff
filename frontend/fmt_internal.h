/* Shared by fmt.c (lines) and fmt_expr.c (what stands on a line). */
#ifndef DHC_FRONTEND_FMT_INTERNAL_H
#define DHC_FRONTEND_FMT_INTERNAL_H

#include "frontend/fmt.h"

#define DHC_FMT_WIDTH 100

typedef struct DhcFmt {
  DhcText out;
  DhcArena *arena;
  const char *source;    /* NULL: no comments */
  const DhcAstModule *m; /* NULL where a single expression is printed */
  int indent;
  int next_comment;  /* in m->comments */
  uint32_t last_end; /* source offset where what was printed last ends */
  bool at_block_start;
} DhcFmt;

void dhc_fmt_expr(DhcFmt *f, const DhcAstExpr *e);
void dhc_fmt_exprs(DhcFmt *f, const DhcAstExprs *list);
void dhc_fmt_type(DhcFmt *f, const DhcAstType *t);
void dhc_fmt_string(DhcFmt *f, const char *s);
/* Whether this can stand for a name without quotes: no keyword, letters and digits. */
bool dhc_fmt_is_plain_name(const char *s);
/* `{ statements }`, on one line where it is one short simple statement and `may_fold`. */
void dhc_fmt_block(DhcFmt *f, const DhcAstStmts *body, uint32_t end, bool may_fold);

#endif
