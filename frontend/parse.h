/* From files to syntax trees: reading, scanning, parsing, following imports.
 * What is wrong is said through `diags`; every function returns true only if it
 * added no error there. After an error the tree holds what could be understood
 * (DHC_EX_ERROR where it could not), so that elaboration may report more. */
#ifndef DHC_FRONTEND_PARSE_H
#define DHC_FRONTEND_PARSE_H

#include "frontend/ast.h"

/* Texts that lie in no file of their own: NAME is PREFIX/..., found nowhere else. */
typedef struct DhcTexts {
  const char *prefix; /* the file that holds them */
  int n;
  const struct DhcPackedText {
    const char *name; /* "mlp.dhc", "shipped/std/nn.dhc" */
    const char *text;
    size_t n_bytes;
  } *at;
} DhcTexts;

typedef struct DhcParse {
  DhcArena *arena;     /* session: trees, texts */
  DhcParsed *parsed;   /* session: what was parsed before; NULL: nothing is shared */
  DhcStrings *strings; /* session: names */
  DhcDiags *diags;     /* its `sources` receives the files read */
  /* Folders searched in order for `import std/nn` (FOLDER/std/nn.dhc). */
  const char *const *shipped_roots;
  int n_shipped_roots;
  const DhcTexts *texts; /* or NULL */
} DhcParse;

/* Reads `path` and all it imports. Quoted imports stay inside the folder of `path`;
 * links, hard-linked files, FIFOs and devices are refused. */
bool dhc_parse_file(DhcParse *p, const char *path, DhcAstProgram *out);

/* Parses `text` as a file called `name`. Shipped imports are followed, quoted ones
 * are an error (there is no folder they could be in). */
bool dhc_parse_text(DhcParse *p, const char *name, const char *text, size_t n_bytes,
                    DhcAstProgram *out);

/* Parses one expression, as in `--set key=EXPR`; NULL after an error. */
DhcAstExpr *dhc_parse_expr(DhcParse *p, const char *name, const char *text, size_t n_bytes);

/* Path of the shipped module `name` ("dhc_ssm", "std/nn"), in the arena; false if no
 * shipped root has it (no diagnostic then). */
bool dhc_parse_find_shipped(const DhcParse *p, const char *name, const char **path);

/* Names of the shipped modules of a folder ("", "layers/"), without ".dhc", sorted. */
typedef DHC_VEC(const char *) DhcShippedNames;
DhcShippedNames dhc_parse_shipped_names(const DhcParse *p, const char *folder);

/* The shipped module that declares the layer `name` ("layers/linear" for Linear), in the
 * arena; NULL if none does. Reads them all: for the hint of an error. */
const char *dhc_parse_find_layer(const DhcParse *p, const char *name);

/* Canonical text of all modules, each under a comment with its name (fmt.h prints one
 * module, with the comments of its source). */
void dhc_ast_print_program(const DhcAstProgram *program, DhcText *to);

#endif
