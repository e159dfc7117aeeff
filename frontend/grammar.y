/* Grammar of .dhc files. Tokens come from an array (tokens.c) in which brackets are
 * balanced and a newline stands only where it ends something; values are made when a
 * token is handed over (build.c). No conflicts: warnings are errors.
 *
 * Recovery: `error` alone on a right-hand side is reduced at once; its action moves
 * the token cursor to the end of the broken statement, item, setting or declaration. */
%define api.pure full
%define api.prefix {dhc_yy}
%define api.token.prefix {T_}
%define api.location.type {DhcSpan}
%define parse.error custom
%define parse.lac full
%locations
%param {struct DhcParser *ps}
%expect 0

%code requires {
#include "frontend/ast.h"
struct DhcParser;
}

%code {
#include "frontend/build.h"
static void yyerror(DhcSpan *at, struct DhcParser *ps, const char *text);
#define YYINITDEPTH DHC_PARSER_STACK
#define YYMAXDEPTH DHC_PARSER_STACK
#define YYLLOC_DEFAULT(out, rhs, n)                                        \
  do {                                                                     \
    (out).file = YYRHSLOC(rhs, (n) ? 1 : 0).file;                          \
    (out).begin = (n) ? YYRHSLOC(rhs, 1).begin : YYRHSLOC(rhs, 0).end;     \
    (out).end = YYRHSLOC(rhs, (n) ? (n) : 0).end;                          \
  } while (0)
/* Continues after the broken construct that starts at `at`. */
#define RECOVER(what, at)                        \
  do {                                           \
    if (!dhc_parser_##what(ps, (at))) YYABORT;   \
    yyclearin;                                   \
    yyerrok;                                     \
  } while (0)
#define CHECK(ok)        \
  do {                   \
    if (!(ok)) YYABORT;  \
  } while (0)
/* Lists of the grammar: growable arrays behind a pointer. */
#define FRESH(T) DHC_NEW(ps->cfg->arena, T)
#define ADD(list, x) DHC_PUSH(ps->cfg->arena, (list), (x))
#define NAME_AT(t, at) ((DhcAstName){(t), (at)})
}

%union {
  const char *text;
  int64_t i;
  double f;
  struct DhcParserString *string;
  DhcAstExpr *expr;
  DhcAstStmt *stmt;
  DhcAstItem *item;
  DhcAstDecl *decl;
  DhcAstExprs *exprs;
  DhcAstStmts *stmts;
  DhcAstItems *items;
  DhcAstNames *names;
  DhcAstArg *arg;
  DhcAstArgs *args;
  DhcAstSubscript *sub;
  DhcAstSubscripts *subs;
  DhcAstPair *pair;
  DhcAstPairs *pairs;
  DhcAstType *type;
  DhcAstParam *param;
  DhcAstParams *params;
  DhcAstBinder *binder;
  DhcAstBinders *binders;
  DhcAstSignature *sig;
  DhcAstSetting *setting;
  DhcAstSettings *settings;
  DhcAstVariant *variant;
  DhcAstVariantList *variants;
  struct DhcParserFnTail *fn_tail;
  struct DhcParserTensor *tensor;
  DhcAstTensorRole role;
}

%token START_FILE START_EXPR
%token YYEOF 0 "end of file"
%token NEWLINE "end of line"
%token <text> NAME "name"
%token <i> INT "integer"
%token <f> FLOAT "number"
%token <string> STRING "string"
%token IMPORT "'import'" LAYER "'layer'" MODEL "'model'" FN "'fn'" PRESET "'preset'"
%token VARIANTS "'variants'" RECIPE "'recipe'" CONST "'const'" PARAM "'param'"
%token <text> BUFFER "'buffer'" TABLE "'table'" STATE "'state'" INIT "'init'" METRIC "'metric'"
%token <text> NO_DECAY "'no_decay'" KERNEL "'kernel'" VJP "'vjp'" OVER "'over'" ALONG "'along'" REVERSE "'reverse'"
%token AS "'as'" FOR "'for'" IN "'in'" IF "'if'" ELSE "'else'" RETURN "'return'" YIELD "'yield'"
%token TAP "'tap'" REQUIRE "'require'" UNIT "'unit'" SCAN "'scan'" CHECKPOINT "'checkpoint'"
%token AND "'and'" OR "'or'" NOT "'not'" TRUE "'true'" FALSE "'false'" SELF "'self'"
%token LPAREN "'('" RPAREN "')'" LBRACKET "'['" RBRACKET "']'" LBRACE "'{'" RBRACE "'}'"
%token COMMA "','" COLON "':'" DOT "'.'" DOTDOT "'..'" ELLIPSIS "'...'" ARROW "'->'" STORE "'<-'"
%token ASSIGN "'='" PLUS "'+'" MINUS "'-'" STAR "'*'" SLASH "'/'" FLOORDIV "'//'" PERCENT "'%'"
%token AT "'@'" CARET "'^'" LT "'<'" LE "'<='" GT "'>'" GE "'>='" EQ "'=='" NE "'!='"
/* Never reach the grammar: tokens.c replaces or drops them. */
%token COMMENT BLOCK_COMMENT BAD_COMMENT BAD_ELIF BAD_TRUE BAD_FALSE BAD_NUMBER BAD_STRING BAD_QUOTE
%token BAD_AND BAD_OR BAD_NOT BAD_POW BAD_SEMICOLON BAD_WALRUS BAD_UPDATE BAD_CHAR

%precedence ELSE
%precedence IF
%left OR
%left AND
%precedence NOT
%nonassoc LT LE GT GE EQ NE
%left PLUS MINUS
%left STAR SLASH FLOORDIV PERCENT AT
%precedence SIGN
%right CARET

%type <text> name import_path dotted
%type <expr> expr postfix atom range iter element shape
%type <exprs> exprs elements element_list indices
%type <args> args arg_list
%type <arg> arg
%type <subs> subscripts
%type <sub> subscript
%type <expr> bound sub_path
%type <pairs> map map_list bindings binding_list
%type <pair> pair
%type <names> names name_list init_path
%type <type> type tensor_type
%type <params> params param_list outputs
%type <param> param param_typed param_ranged
%type <binders> binders binder_list
%type <binder> binder
%type <sig> signature
%type <stmts> block stmts lines lines_simple lines_block
%type <stmt> simple_stmt block_stmt if_stmt
%type <items> item_block items item_lines item_lines_simple item_lines_block
%type <item> simple_item block_item item_if
%type <tensor> tensor_attrs
%type <role> role
%type <decl> simple_decl block_decl
%type <settings> setting_block setting_list
%type <setting> setting
%type <variants> variant_list
%type <variant> variant
%type <fn_tail> fn_tail

%%

start:
    START_FILE file
  | START_EXPR expr           { ps->expr = $2; }
  | START_EXPR expr NEWLINE   { ps->expr = $2; }
  ;

/* A name, or a word that is a keyword only in its own place. */
name: NAME | BUFFER | TABLE | STATE | INIT | METRIC | NO_DECAY | KERNEL | VJP | OVER | ALONG | REVERSE ;

/* ---- Files ---------------------------------------------------------------- */

file: %empty | decls | decls NEWLINE ;
decls: decls_simple | decls_block ;
decls_simple:
    simple_decl                { dhc_parser_add_decl(ps, $1); }
  | decls NEWLINE simple_decl  { dhc_parser_add_decl(ps, $3); }
  | decls_block simple_decl    { dhc_parser_add_decl(ps, $2); }
  ;
decls_block:
    block_decl                 { dhc_parser_add_decl(ps, $1); }
  | decls NEWLINE block_decl   { dhc_parser_add_decl(ps, $3); }
  | decls_block block_decl     { dhc_parser_add_decl(ps, $2); }
  ;

simple_decl:
    IMPORT import_path  { $$ = NULL; dhc_parser_add_import(ps, $2, true, @2); }
  | IMPORT STRING       { $$ = NULL; dhc_parser_add_import(ps, $2->at, false, @2); }
  | CONST name ASSIGN expr
    { $$ = dhc_build_decl(ps, DHC_DE_CONST, @$, $2, @2);
      $$->u.const_.name = $$->name;
      $$->u.const_.value = $4; }
  | CONST name COLON type ASSIGN expr
    { $$ = dhc_build_decl(ps, DHC_DE_CONST, @$, $2, @2);
      $$->u.const_.name = $$->name;
      $$->u.const_.type = *$4;
      $$->u.const_.value = $6; }
  ;
import_path:
    name                    { $$ = $1; }
  | import_path SLASH name  { $$ = dhc_build_joined(ps, $1, '/', $3); }
  ;

block_decl:
    LAYER name LPAREN params RPAREN item_block
    { $$ = dhc_build_decl(ps, DHC_DE_LAYER, @$, $2, @2);
      $$->u.layer.params = *$4;
      dhc_check_unique(ps, $4->n ? &$4->at[0].name : NULL, $4->n, sizeof *$4->at, "hyperparameter");
      $$->u.layer.items = *$6; }
  | MODEL name LPAREN params RPAREN item_block
    { $$ = dhc_build_decl(ps, DHC_DE_MODEL, @$, $2, @2);
      $$->u.layer.params = *$4;
      dhc_check_unique(ps, $4->n ? &$4->at[0].name : NULL, $4->n, sizeof *$4->at, "hyperparameter");
      $$->u.layer.items = *$6; }
  | FN signature fn_tail block
    { $$ = dhc_build_decl(ps, DHC_DE_FN, @$, $2->name.text, $2->name.span);
      dhc_check_signature(ps, $2, true);
      $$->u.fn.sig = *$2;
      $$->u.fn.kernel = $3->kernel;
      $$->u.fn.kernel_span = $3->kernel_span;
      $$->u.fn.vjp = $3->vjp;
      $$->u.fn.body = *$4; }
  | PRESET name FOR name setting_block
    { $$ = dhc_build_decl(ps, DHC_DE_PRESET, @$, $2, @2);
      $$->u.settings.target = NAME_AT($4, @4);
      $$->u.settings.settings = *$5;
      dhc_check_settings(ps, $5, false); }
  | RECIPE name FOR name setting_block
    { $$ = dhc_build_decl(ps, DHC_DE_RECIPE, @$, $2, @2);
      $$->u.settings.target = NAME_AT($4, @4);
      $$->u.settings.settings = *$5;
      dhc_check_settings(ps, $5, true); }
  | VARIANTS name FOR name LBRACE variant_list RBRACE
    { $$ = dhc_build_decl(ps, DHC_DE_VARIANTS, @$, $2, @2);
      $$->u.variants.target = NAME_AT($4, @4);
      $$->u.variants.list = *$6; }
  | error  { $$ = NULL; RECOVER(next_decl, @1); }
  ;
fn_tail:
    %empty                { $$ = FRESH(DhcParserFnTail); }
  | fn_tail KERNEL STRING { $$ = $1; dhc_check_fn_tail(ps, $1->kernel, @2); $$->kernel = $3->at; $$->kernel_span = @3; }
  | fn_tail VJP name      { $$ = $1; dhc_check_fn_tail(ps, $1->vjp.text, @2); $$->vjp = NAME_AT($3, @3); }
  ;

/* ---- Settings: entries may be separated by commas, newlines or nothing ----- */

setting_block:
    LBRACE RBRACE               { $$ = FRESH(DhcAstSettings); }
  | LBRACE setting_list RBRACE  { $$ = $2; }
  | LBRACE setting_list COMMA RBRACE { $$ = $2; }
  ;
setting_list:
    setting                       { $$ = FRESH(DhcAstSettings); if ($1) ADD($$, *$1); }
  | setting_list setting          { $$ = $1; if ($2) ADD($$, *$2); }
  | setting_list COMMA setting    { $$ = $1; if ($3) ADD($$, *$3); }
  | setting_list NEWLINE setting  { $$ = $1; if ($3) ADD($$, *$3); }
  ;
setting:
    dotted ASSIGN expr  { $$ = dhc_build_setting(ps, @$, NAME_AT($1, @1), NULL, $3); }
  | dotted LPAREN names RPAREN ASSIGN expr
                        { $$ = dhc_build_setting(ps, @$, NAME_AT($1, @1), $3, $6); }
  | error               { $$ = NULL; RECOVER(line_end, @1); }
  ;
dotted: name | dotted DOT name { $$ = dhc_build_joined(ps, $1, '.', $3); } ;
names: %empty { $$ = FRESH(DhcAstNames); } | name_list | name_list COMMA ;
name_list:
    name                  { $$ = FRESH(DhcAstNames); ADD($$, NAME_AT($1, @1)); }
  | name_list COMMA name  { $$ = $1; ADD($$, NAME_AT($3, @3)); }
  ;
variant_list:
    variant                       { $$ = FRESH(DhcAstVariantList); if ($1) ADD($$, *$1); }
  | variant_list variant          { $$ = $1; if ($2) ADD($$, *$2); }
  | variant_list COMMA variant    { $$ = $1; if ($3) ADD($$, *$3); }
  | variant_list NEWLINE variant  { $$ = $1; if ($3) ADD($$, *$3); }
  ;
variant:
    name setting_block  { $$ = dhc_build_variant(ps, @$, NAME_AT($1, @1), $2); }
  | error               { $$ = NULL; RECOVER(line_end, @1); }
  ;

/* ---- Parameters, types, signatures ----------------------------------------- */

params: %empty { $$ = FRESH(DhcAstParams); } | param_list | param_list COMMA ;
param_list:
    param                   { $$ = FRESH(DhcAstParams); ADD($$, *$1); }
  | param_list COMMA param  { $$ = $1; ADD($$, *$3); }
  ;
param:
    param_ranged
  | param_ranged ASSIGN expr  { $$ = $1; $$->default_value = $3; $$->span = @$; }
  ;
param_ranged:
    param_typed
  | param_typed IN range  { $$ = $1; $$->range = $3; $$->span = @$; }
  ;
param_typed:
    name             { $$ = FRESH(DhcAstParam); $$->name = NAME_AT($1, @1); $$->span = @$; $$->type.span = @1; }
  | name COLON type  { $$ = FRESH(DhcAstParam); $$->name = NAME_AT($1, @1); $$->span = @$; $$->type = *$3; }
  ;
range:
    expr              { CHECK($$ = dhc_check_choices(ps, $1)); }
  | expr DOTDOT       { CHECK($$ = dhc_build_range(ps, @$, $1, NULL)); }
  | expr DOTDOT expr  { CHECK($$ = dhc_build_range(ps, @$, $1, $3)); }
  ;
type:
    tensor_type
  | LAYER                      { $$ = dhc_build_type(ps, @$, DHC_TY_LAYER); }
  | name                       { $$ = dhc_build_named_type(ps, @$, $1); }
  | name LPAREN names RPAREN   { $$ = dhc_build_enum_type(ps, @$, $1, @1, $3); }
  ;
tensor_type:
    shape       { $$ = dhc_build_tensor_type(ps, @$, NAME_AT(NULL, @1), $1); }
  | name shape  { $$ = dhc_build_tensor_type(ps, @$, NAME_AT($1, @1), $2); }
  ;
shape: LBRACKET elements RBRACKET { CHECK($$ = dhc_build_list(ps, @$, $2)); } ;

signature: name binders LPAREN params RPAREN outputs
    { $$ = dhc_build_signature(ps, @$, NAME_AT($1, @1), $2, $4, $6); } ;
outputs:
    %empty                      { $$ = FRESH(DhcAstParams); }
  | ARROW LPAREN params RPAREN  { $$ = $3; }
  ;
binders: %empty { $$ = FRESH(DhcAstBinders); } | LT binder_list GT { $$ = $2; } ;
binder_list:
    binder                    { $$ = FRESH(DhcAstBinders); ADD($$, *$1); }
  | binder_list COMMA binder  { $$ = $1; ADD($$, *$3); }
  ;
binder:
    name           { $$ = FRESH(DhcAstBinder); $$->name = NAME_AT($1, @1); }
  | ELLIPSIS name  { $$ = FRESH(DhcAstBinder); $$->name = NAME_AT($2, @2); $$->is_run = true; }
  ;

/* ---- Bodies of layers and models -------------------------------------------- */

item_block: LBRACE items RBRACE { $$ = $2; } ;
items: %empty { $$ = FRESH(DhcAstItems); } | item_lines ;
item_lines: item_lines_simple | item_lines_block ;
item_lines_simple:
    simple_item                     { $$ = FRESH(DhcAstItems); if ($1) ADD($$, $1); }
  | item_lines NEWLINE simple_item  { $$ = $1; if ($3) ADD($$, $3); }
  | item_lines_block simple_item    { $$ = $1; if ($2) ADD($$, $2); }
  ;
item_lines_block:
    block_item                     { $$ = FRESH(DhcAstItems); ADD($$, $1); }
  | item_lines NEWLINE block_item  { $$ = $1; ADD($$, $3); }
  | item_lines_block block_item    { $$ = $1; ADD($$, $2); }
  ;
simple_item:
    CONST name ASSIGN expr
    { $$ = dhc_build_item(ps, DHC_IT_CONST, @$);
      $$->u.const_ = (DhcAstConst){.name = NAME_AT($2, @2), .value = $4}; }
  | CONST name COLON type ASSIGN expr
    { $$ = dhc_build_item(ps, DHC_IT_CONST, @$);
      $$->u.const_ = (DhcAstConst){.name = NAME_AT($2, @2), .type = *$4, .value = $6}; }
  | role name COLON tensor_type tensor_attrs
    { $$ = dhc_build_tensor(ps, @$, $1, NAME_AT($2, @2), $4, $5, NULL); }
  | role name COLON tensor_type tensor_attrs ASSIGN expr
    { $$ = dhc_build_tensor(ps, @$, $1, NAME_AT($2, @2), $4, $5, $7); }
  | name sub_path ASSIGN expr
    { $$ = dhc_build_item(ps, DHC_IT_SUBMODULE, @$);
      $$->u.submodule.name = NAME_AT($1, @1);
      $$->u.submodule.path = $2;
      $$->u.submodule.value = $4; }
  | name indices sub_path ASSIGN expr
    { $$ = dhc_build_item(ps, DHC_IT_SUBMODULE, @$);
      $$->u.submodule.name = NAME_AT($1, @1);
      $$->u.submodule.indices = *$2;
      $$->u.submodule.path = $3;
      $$->u.submodule.value = $5; }
  | INIT init_path ASSIGN expr
    { $$ = dhc_build_item(ps, DHC_IT_INIT, @$);
      $$->u.init.path = *$2;
      $$->u.init.path_span = @2;
      $$->u.init.value = $4; }
  | INIT STRING ASSIGN expr
    { $$ = dhc_build_item(ps, DHC_IT_INIT, @$);
      $$->u.init.path = *dhc_build_path(ps, $2->at, @2);
      $$->u.init.path_span = @2;
      $$->u.init.value = $4; }
  | REQUIRE expr
    { $$ = dhc_build_item(ps, DHC_IT_REQUIRE, @$);
      $$->u.require.cond = $2; }
  | REQUIRE expr COMMA expr
    { $$ = dhc_build_item(ps, DHC_IT_REQUIRE, @$);
      $$->u.require = dhc_build_require($2, $4); }
  | error { $$ = NULL; RECOVER(line_end, @1); }
  ;
role:
    PARAM   { $$ = DHC_TENSOR_PARAM; }
  | BUFFER  { $$ = DHC_TENSOR_BUFFER; }
  | TABLE   { $$ = DHC_TENSOR_TABLE; }
  | STATE   { $$ = DHC_TENSOR_STATE; }
  ;
sub_path: %empty { $$ = NULL; } | AS expr { $$ = $2; } ;
tensor_attrs:
    %empty                  { $$ = FRESH(DhcParserTensor); }
  | tensor_attrs NO_DECAY   { $$ = $1; $$->no_decay = true; $$->no_decay_span = @2; }
  | tensor_attrs AS expr    { $$ = $1; $$->path = $3; }
  ;
indices:
    LBRACKET expr RBRACKET          { $$ = FRESH(DhcAstExprs); ADD($$, $2); }
  | indices LBRACKET expr RBRACKET  { $$ = $1; ADD($$, $3); }
  ;
init_path:
    name                { $$ = FRESH(DhcAstNames); ADD($$, NAME_AT($1, @1)); }
  | STAR                { $$ = FRESH(DhcAstNames); ADD($$, NAME_AT(dhc_build_text(ps, "*"), @1)); }
  | init_path DOT name  { $$ = $1; ADD($$, NAME_AT($3, @3)); }
  | init_path DOT STAR  { $$ = $1; ADD($$, NAME_AT(dhc_build_text(ps, "*"), @3)); }
  | init_path DOT INT   { $$ = $1; ADD($$, NAME_AT(dhc_build_decimal(ps, $3), @3)); }
  ;
block_item:
    item_if
  | FOR name IN iter item_block
    { CHECK($$ = dhc_build_item_for(ps, @$, NAME_AT($2, @2), $4, $5)); }
  | signature block
    { $$ = dhc_build_item(ps, DHC_IT_ENTRY, @$);
      dhc_check_signature(ps, $1, false);
      $$->u.entry.sig = *$1;
      $$->u.entry.body = *$2; }
  | METRIC signature block
    { $$ = dhc_build_item(ps, DHC_IT_ENTRY, @$);
      dhc_check_signature(ps, $2, false);
      $$->u.entry.sig = *$2;
      $$->u.entry.is_metric = true;
      $$->u.entry.body = *$3; }
  ;
item_if:
    IF expr item_block
    { CHECK($$ = dhc_build_item_if(ps, @$, $2, $3, @3, NULL, NULL)); }
  | IF expr item_block ELSE item_block
    { CHECK($$ = dhc_build_item_if(ps, @$, $2, $3, @3, $5, NULL)); }
  | IF expr item_block ELSE item_if
    { CHECK($$ = dhc_build_item_if(ps, @$, $2, $3, @3, NULL, $5)); }
  ;

/* ---- Statements -------------------------------------------------------------- */

block: LBRACE stmts RBRACE { $$ = $2; } ;
stmts: %empty { $$ = FRESH(DhcAstStmts); } | lines ;
lines: lines_simple | lines_block ;
lines_simple:
    simple_stmt                { $$ = FRESH(DhcAstStmts); if ($1) ADD($$, $1); }
  | lines NEWLINE simple_stmt  { $$ = $1; if ($3) ADD($$, $3); }
  | lines_block simple_stmt    { $$ = $1; if ($2) ADD($$, $2); }
  ;
lines_block:
    block_stmt                { $$ = FRESH(DhcAstStmts); ADD($$, $1); }
  | lines NEWLINE block_stmt  { $$ = $1; ADD($$, $3); }
  | lines_block block_stmt    { $$ = $1; ADD($$, $2); }
  ;
simple_stmt:
    exprs ASSIGN exprs    { $$ = dhc_build_assign(ps, @$, $1, $3); }
  | expr STORE expr       { $$ = dhc_build_store(ps, @$, $1, $3); }
  | exprs                 { $$ = NULL; dhc_check_no_effect(ps, @1, $1); }
  | RETURN                { $$ = dhc_build_stmt(ps, DHC_ST_RETURN, @$); }
  | RETURN exprs          { $$ = dhc_build_stmt(ps, DHC_ST_RETURN, @$); $$->u.values = *$2; }
  | YIELD exprs           { $$ = dhc_build_stmt(ps, DHC_ST_YIELD, @$); $$->u.values = *$2; }
  | TAP name ASSIGN expr
    { $$ = dhc_build_stmt(ps, DHC_ST_TAP, @$);
      $$->u.tap.name = NAME_AT($2, @2);
      $$->u.tap.value = $4; }
  | REQUIRE expr
    { $$ = dhc_build_stmt(ps, DHC_ST_REQUIRE, @$);
      $$->u.require.cond = $2; }
  | REQUIRE expr COMMA expr
    { $$ = dhc_build_stmt(ps, DHC_ST_REQUIRE, @$);
      $$->u.require = dhc_build_require($2, $4); }
  | error                 { $$ = NULL; RECOVER(line_end, @1); }
  ;
block_stmt:
    if_stmt
  | FOR name IN iter block  { CHECK($$ = dhc_build_for(ps, @$, NAME_AT($2, @2), $4, $5)); }
  ;
if_stmt:
    IF expr block               { CHECK($$ = dhc_build_if(ps, @$, $2, $3, @3, NULL, NULL)); }
  | IF expr block ELSE block    { CHECK($$ = dhc_build_if(ps, @$, $2, $3, @3, $5, NULL)); }
  | IF expr block ELSE if_stmt  { CHECK($$ = dhc_build_if(ps, @$, $2, $3, @3, NULL, $5)); }
  ;
iter:
    expr
  | expr DOTDOT expr  { CHECK($$ = dhc_build_range(ps, @$, $1, $3)); }
  ;

/* ---- Expressions -------------------------------------------------------------- */

exprs:
    expr              { $$ = FRESH(DhcAstExprs); ADD($$, $1); }
  | exprs COMMA expr  { $$ = $1; ADD($$, $3); }
  ;
expr:
    postfix
  | expr IF expr ELSE expr  { CHECK($$ = dhc_build_cond(ps, @$, $1, $3, $5)); }
  | expr OR expr        { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_OR, @2, $1, $3)); }
  | expr AND expr       { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_AND, @2, $1, $3)); }
  | NOT expr            { CHECK($$ = dhc_build_unary(ps, @$, DHC_UN_NOT, $2)); }
  | expr LT expr        { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_LT, @2, $1, $3)); }
  | expr LE expr        { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_LE, @2, $1, $3)); }
  | expr GT expr        { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_GT, @2, $1, $3)); }
  | expr GE expr        { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_GE, @2, $1, $3)); }
  | expr EQ expr        { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_EQ, @2, $1, $3)); }
  | expr NE expr        { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_NE, @2, $1, $3)); }
  | expr PLUS expr      { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_ADD, @2, $1, $3)); }
  | expr MINUS expr     { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_SUB, @2, $1, $3)); }
  | expr STAR expr      { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_MUL, @2, $1, $3)); }
  | expr SLASH expr     { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_DIV, @2, $1, $3)); }
  | expr FLOORDIV expr  { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_FLOORDIV, @2, $1, $3)); }
  | expr PERCENT expr   { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_MOD, @2, $1, $3)); }
  | expr AT expr        { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_MATMUL, @2, $1, $3)); }
  | expr CARET expr     { CHECK($$ = dhc_build_binary(ps, @$, DHC_BI_POW, @2, $1, $3)); }
  | MINUS expr %prec SIGN  { CHECK($$ = dhc_build_unary(ps, @$, DHC_UN_NEG, $2)); }
  | PLUS expr %prec SIGN   { CHECK($$ = dhc_build_unary(ps, @$, DHC_UN_PLUS, $2)); }
  ;
postfix:
    atom
  | postfix LPAREN args RPAREN           { CHECK($$ = dhc_build_call(ps, @$, $1, $3)); }
  | postfix LBRACKET subscripts RBRACKET { CHECK($$ = dhc_build_index(ps, @$, $1, $3)); }
  | postfix LBRACKET subscripts COMMA RBRACKET { CHECK($$ = dhc_build_index(ps, @$, $1, $3)); }
  | postfix DOT name                     { CHECK($$ = dhc_build_member(ps, @$, $1, NAME_AT($3, @3))); }
  | SELF DOT name
    { CHECK($$ = dhc_build_member(ps, @$, dhc_build_expr(ps, DHC_EX_SELF, @1), NAME_AT($3, @3))); }
  ;
atom:
    name    { $$ = dhc_build_expr(ps, DHC_EX_NAME, @$); $$->u.name = $1; }
  | INT     { $$ = dhc_build_expr(ps, DHC_EX_INT, @$); $$->u.int_value = $1; }
  | FLOAT   { $$ = dhc_build_expr(ps, DHC_EX_FLOAT, @$); $$->u.float_value = $1; }
  | TRUE    { $$ = dhc_build_expr(ps, DHC_EX_BOOL, @$); $$->u.bool_value = true; }
  | FALSE   { $$ = dhc_build_expr(ps, DHC_EX_BOOL, @$); }
  | STRING  { $$ = dhc_build_expr(ps, DHC_EX_STRING, @$); $$->u.string.at = $1->at; $$->u.string.n = $1->n; }
  | LPAREN expr RPAREN              { $$ = dhc_build_parenthesised(ps, @$, $2); }
  | LBRACKET elements RBRACKET      { CHECK($$ = dhc_build_list(ps, @$, $2)); }
  | map                             { CHECK($$ = dhc_build_map(ps, @$, $1)); }
  | UNIT name block                 { CHECK($$ = dhc_build_unit(ps, @$, NAME_AT($2, @2), $3)); }
  | UNIT block                      { CHECK($$ = dhc_build_unit(ps, @$, NAME_AT(NULL, @1), $2)); }
  | CHECKPOINT block                { CHECK($$ = dhc_build_checkpoint(ps, @$, $2)); }
  | SCAN bindings OVER bindings ALONG expr block
    { CHECK($$ = dhc_build_scan(ps, @$, $2, $4, $6, false, $7)); }
  | SCAN bindings OVER bindings ALONG expr REVERSE block
    { CHECK($$ = dhc_build_scan(ps, @$, $2, $4, $6, true, $8)); }
  ;
elements: %empty { $$ = FRESH(DhcAstExprs); } | element_list | element_list COMMA ;
element_list:
    element                     { $$ = FRESH(DhcAstExprs); ADD($$, $1); }
  | element_list COMMA element  { $$ = $1; ADD($$, $3); }
  ;
element: expr | ELLIPSIS name { $$ = dhc_build_expr(ps, DHC_EX_RUN, @$); $$->u.name = $2; } ;

args: %empty { $$ = FRESH(DhcAstArgs); } | arg_list | arg_list COMMA ;
arg_list:
    arg                 { $$ = FRESH(DhcAstArgs); ADD($$, *$1); }
  | arg_list COMMA arg  { $$ = $1; ADD($$, *$3); }
  ;
arg:
    expr              { $$ = FRESH(DhcAstArg); $$->value = $1; $$->span = @$; $$->name.span = @1; }
  | name ASSIGN expr  { $$ = FRESH(DhcAstArg); $$->name = NAME_AT($1, @1); $$->value = $3; $$->span = @$; }
  ;

subscripts:
    subscript                   { $$ = FRESH(DhcAstSubscripts); ADD($$, *$1); }
  | subscripts COMMA subscript  { $$ = $1; ADD($$, *$3); }
  ;
subscript:
    expr      { $$ = dhc_build_subscript(ps, @$, DHC_SUB_INDEX, $1, NULL, NULL); }
  | ELLIPSIS  { $$ = dhc_build_subscript(ps, @$, DHC_SUB_ELLIPSIS, NULL, NULL, NULL); }
  | bound COLON bound              { $$ = dhc_build_subscript(ps, @$, DHC_SUB_SLICE, $1, $3, NULL); }
  | bound COLON bound COLON bound  { $$ = dhc_build_subscript(ps, @$, DHC_SUB_SLICE, $1, $3, $5); }
  ;
bound: %empty { $$ = NULL; } | expr ;

/* Entries of a map are separated by commas or newlines. */
map:
    LBRACE RBRACE                 { $$ = FRESH(DhcAstPairs); }
  | LBRACE map_list RBRACE        { $$ = $2; }
  | LBRACE map_list COMMA RBRACE  { $$ = $2; }
  ;
map_list:
    pair                   { $$ = FRESH(DhcAstPairs); ADD($$, *$1); }
  | map_list COMMA pair    { $$ = $1; ADD($$, *$3); }
  | map_list NEWLINE pair  { $$ = $1; ADD($$, *$3); }
  ;
bindings: LPAREN binding_list RPAREN { $$ = $2; } | LPAREN binding_list COMMA RPAREN { $$ = $2; } ;
binding_list:
    pair                     { $$ = FRESH(DhcAstPairs); ADD($$, *$1); }
  | binding_list COMMA pair  { $$ = $1; ADD($$, *$3); }
  ;
pair:
    name ASSIGN expr    { $$ = dhc_build_pair(ps, @$, NAME_AT($1, @1), $3); }
  | STRING ASSIGN expr  { $$ = dhc_build_pair(ps, @$, NAME_AT($1->at, @1), $3); }
  ;

%%

static int yyreport_syntax_error(const yypcontext_t *cx, struct DhcParser *ps) {
  yysymbol_kind_t list[YYNTOKENS];
  int n = yypcontext_expected_tokens(cx, list, YYNTOKENS);
  bool may_symbol[YYNTOKENS] = {false};
  for (int i = 0; i < n; i++) may_symbol[list[i]] = true;
  DhcSyntaxError e = {.at = *yypcontext_location(cx)};
  yysymbol_kind_t found = yypcontext_token(cx);
  for (int kind = DHC_TOKEN_FIRST; kind < DHC_TOKEN_LAST; kind++) {
    yysymbol_kind_t symbol = YYTRANSLATE(kind);
    e.may[kind - DHC_TOKEN_FIRST] = may_symbol[symbol];
    e.name[kind - DHC_TOKEN_FIRST] = yysymbol_name(symbol);
    if (symbol == found) e.found = kind;
  }
  e.may_end = may_symbol[YYSYMBOL_YYEOF];
  dhc_syntax_report(ps, &e);
  return 0;
}

/* Called by Bison itself only when its stack is full. */
static void yyerror(DhcSpan *at, struct DhcParser *ps, const char *text) {
  (void)text;
  dhc_parser_too_deep(ps, *at);
}
