/* Canonical text of a syntax tree: two spaces an indent, one item or statement a line,
 * brackets only where precedence asks for them. parse(print(ast)) prints the same. */
#ifndef DHC_FRONTEND_FMT_H
#define DHC_FRONTEND_FMT_H

#include "frontend/ast.h"

/* The whole file. With `sources`, comments and single blank lines of the source are
 * kept; without (NULL), only what the tree holds is printed. Lies in the arena. */
const char *dhc_ast_print(DhcArena *arena, const DhcAstModule *m, const DhcSources *sources);
/* One expression, for messages. */
const char *dhc_ast_expr_text(DhcArena *arena, const DhcAstExpr *e);

#endif
