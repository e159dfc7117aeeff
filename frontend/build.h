/* Private to the parser: its state, and what the grammar's actions call. Functions
 * that return NULL or false have met a limit that ends the parse (already reported);
 * plain mistakes are reported and mended, so that parsing goes on. */
#ifndef DHC_FRONTEND_BUILD_H
#define DHC_FRONTEND_BUILD_H

#include "frontend/grammar.h"
#include "frontend/parse.h"
#include "frontend/tokens.h"

/* Symbols on Bison's stack, all of it on the C stack (about 200 KiB): no allocation
 * there. 256 nested brackets leave 31 symbols each, more than any level needs. */
#define DHC_PARSER_STACK 8000

typedef struct DhcParser {
  DhcParse *cfg;
  DhcTokens *tokens;
  int next;             /* index of the token to hand over next */
  int current;          /* index of the token handed over last */
  int start_kind;       /* T_START_FILE or T_START_EXPR, then 0 */
  int last_recovery;    /* index where the last recovery continued, -1: none */
  DhcAstModule *module; /* receives imports and declarations */
  DhcAstExpr *expr;     /* result of T_START_EXPR */
} DhcParser;

typedef struct DhcParserString {
  const char *at; /* interned if without NUL, which it always is */
  int n;
} DhcParserString;

typedef struct DhcParserFnTail {
  const char *kernel;
  DhcSpan kernel_span;
  DhcAstName vjp;
} DhcParserFnTail;

typedef struct DhcParserTensor {
  bool no_decay;
  DhcSpan no_decay_span;
  DhcAstExpr *path;
} DhcParserTensor;

int dhc_yylex(DHC_YYSTYPE *value, DhcSpan *at, DhcParser *ps);

/* parser.c */
bool dhc_parser_next_decl(DhcParser *ps, DhcSpan broken);
bool dhc_parser_line_end(DhcParser *ps, DhcSpan broken);
void dhc_parser_too_deep(DhcParser *ps, DhcSpan at);
void dhc_parser_add_decl(DhcParser *ps, DhcAstDecl *d); /* d may be NULL */
void dhc_parser_add_import(DhcParser *ps, const char *path, bool is_shipped, DhcSpan at);
/* Index of the first token that begins at or after this byte. */
int dhc_parser_token_at(const DhcParser *ps, uint32_t begin);

/* syntax_error.c */
#define DHC_TOKEN_FIRST T_START_FILE
#define DHC_TOKEN_LAST (T_BAD_CHAR + 1)
#define DHC_N_TOKENS (DHC_TOKEN_LAST - DHC_TOKEN_FIRST)
typedef struct DhcSyntaxError {
  DhcSpan at;
  int found; /* token kind; 0: end of file */
  bool may_end;
  bool may[DHC_N_TOKENS]; /* by kind - DHC_TOKEN_FIRST */
  const char *name[DHC_N_TOKENS];
} DhcSyntaxError;
void dhc_syntax_report(DhcParser *ps, DhcSyntaxError *e);

/* build_expr.c */
DhcAstExpr *dhc_build_expr(DhcParser *ps, DhcAstExprKind kind, DhcSpan at);
DhcAstExpr *dhc_build_parenthesised(DhcParser *ps, DhcSpan at, DhcAstExpr *e);
DhcAstExpr *dhc_build_unary(DhcParser *ps, DhcSpan at, DhcAstUnary op, DhcAstExpr *e);
DhcAstExpr *dhc_build_binary(DhcParser *ps, DhcSpan at, DhcAstBinary op, DhcSpan op_span,
                             DhcAstExpr *lhs, DhcAstExpr *rhs);
DhcAstExpr *dhc_build_cond(DhcParser *ps, DhcSpan at, DhcAstExpr *then_, DhcAstExpr *cond,
                           DhcAstExpr *else_);
DhcAstExpr *dhc_build_call(DhcParser *ps, DhcSpan at, DhcAstExpr *callee, DhcAstArgs *args);
DhcAstExpr *dhc_build_index(DhcParser *ps, DhcSpan at, DhcAstExpr *object, DhcAstSubscripts *subs);
DhcAstExpr *dhc_build_member(DhcParser *ps, DhcSpan at, DhcAstExpr *object, DhcAstName name);
DhcAstExpr *dhc_build_list(DhcParser *ps, DhcSpan at, DhcAstExprs *elements);
DhcAstExpr *dhc_build_map(DhcParser *ps, DhcSpan at, DhcAstPairs *pairs);
DhcAstExpr *dhc_build_range(DhcParser *ps, DhcSpan at, DhcAstExpr *lo, DhcAstExpr *hi);
DhcAstExpr *dhc_build_unit(DhcParser *ps, DhcSpan at, DhcAstName name, DhcAstStmts *body);
DhcAstExpr *dhc_build_checkpoint(DhcParser *ps, DhcSpan at, DhcAstStmts *body);
DhcAstExpr *dhc_build_scan(DhcParser *ps, DhcSpan at, DhcAstPairs *carries, DhcAstPairs *over,
                           DhcAstExpr *axis, bool reverse, DhcAstStmts *body);
DhcAstSubscript *dhc_build_subscript(DhcParser *ps, DhcSpan at, DhcAstSubscriptKind kind,
                                     DhcAstExpr *lo, DhcAstExpr *hi, DhcAstExpr *step);
DhcAstPair *dhc_build_pair(DhcParser *ps, DhcSpan at, DhcAstName name, DhcAstExpr *value);
/* Reports a second `name` among n names, `stride` bytes apart ("argument 'bias' is given twice"). */
void dhc_check_unique(DhcParser *ps, const DhcAstName *first, int n, size_t stride, const char *what);
/* Checks depth + 1 against the limit and stores it; false: reported. */
bool dhc_build_set_depth(DhcParser *ps, DhcSpan at, int below, uint16_t *depth);

/* build_stmt.c */
/* Deepest of the statements, whose own depths it fills in; 0 for none. */
int dhc_build_depth(const DhcAstStmts *body);
const char *dhc_build_text(DhcParser *ps, const char *text);
const char *dhc_build_joined(DhcParser *ps, const char *a, char between, const char *b);
const char *dhc_build_decimal(DhcParser *ps, int64_t v);
DhcAstStmt *dhc_build_stmt(DhcParser *ps, DhcAstStmtKind kind, DhcSpan at);
/* A message that is one string, or what gives one. */
DhcAstRequire dhc_build_require(DhcAstExpr *cond, DhcAstExpr *message);
DhcAstStmt *dhc_build_assign(DhcParser *ps, DhcSpan at, DhcAstExprs *targets, DhcAstExprs *values);
DhcAstStmt *dhc_build_store(DhcParser *ps, DhcSpan at, DhcAstExpr *target, DhcAstExpr *value);
DhcAstStmt *dhc_build_for(DhcParser *ps, DhcSpan at, DhcAstName var, DhcAstExpr *iter,
                          DhcAstStmts *body);
DhcAstStmt *dhc_build_if(DhcParser *ps, DhcSpan at, DhcAstExpr *cond, DhcAstStmts *then_,
                         DhcSpan then_span, DhcAstStmts *else_, DhcAstStmt *else_if);
void dhc_check_no_effect(DhcParser *ps, DhcSpan at, const DhcAstExprs *e);

/* build_decl.c */
DhcAstItem *dhc_build_item(DhcParser *ps, DhcAstItemKind kind, DhcSpan at);
DhcAstItem *dhc_build_tensor(DhcParser *ps, DhcSpan at, DhcAstTensorRole role, DhcAstName name,
                             DhcAstType *type, DhcParserTensor *attrs, DhcAstExpr *init);
DhcAstItem *dhc_build_item_for(DhcParser *ps, DhcSpan at, DhcAstName var, DhcAstExpr *iter,
                               DhcAstItems *body);
DhcAstItem *dhc_build_item_if(DhcParser *ps, DhcSpan at, DhcAstExpr *cond, DhcAstItems *then_,
                              DhcSpan then_span, DhcAstItems *else_, DhcAstItem *else_if);
DhcAstNames *dhc_build_path(DhcParser *ps, const char *dotted, DhcSpan at);
DhcAstDecl *dhc_build_decl(DhcParser *ps, DhcAstDeclKind kind, DhcSpan at, const char *name,
                           DhcSpan name_at);
DhcAstSetting *dhc_build_setting(DhcParser *ps, DhcSpan at, DhcAstName key, DhcAstNames *params,
                                 DhcAstExpr *value);
DhcAstVariant *dhc_build_variant(DhcParser *ps, DhcSpan at, DhcAstName name,
                                 DhcAstSettings *settings);
DhcAstType *dhc_build_type(DhcParser *ps, DhcSpan at, DhcAstTypeKind kind);
DhcAstType *dhc_build_named_type(DhcParser *ps, DhcSpan at, const char *name);
DhcAstType *dhc_build_enum_type(DhcParser *ps, DhcSpan at, const char *name, DhcSpan name_at,
                                DhcAstNames *values);
DhcAstType *dhc_build_tensor_type(DhcParser *ps, DhcSpan at, DhcAstName dtype, DhcAstExpr *shape);
DhcAstSignature *dhc_build_signature(DhcParser *ps, DhcSpan at, DhcAstName name,
                                     DhcAstBinders *binders, DhcAstParams *inputs,
                                     DhcAstParams *outputs);
DhcAstExpr *dhc_check_choices(DhcParser *ps, DhcAstExpr *range);
void dhc_check_signature(DhcParser *ps, const DhcAstSignature *sig, bool is_fn);
void dhc_check_settings(DhcParser *ps, const DhcAstSettings *settings, bool is_recipe);
void dhc_check_fn_tail(DhcParser *ps, const void *already, DhcSpan at);

#endif
