/* What the shipped files declare, for readers: models, layers, functions, and the builtins of the language. */
#ifndef DHC_FRONTEND_LIBRARY_H
#define DHC_FRONTEND_LIBRARY_H

#include "frontend/parse.h"

typedef enum DhcLibraryKind { DHC_LIBRARY_MODEL, DHC_LIBRARY_LAYER, DHC_LIBRARY_FUNCTION, DHC_LIBRARY_BUILTIN } DhcLibraryKind;

typedef struct DhcLibraryItem {
  DhcLibraryKind kind;
  const char *name;
  const char *module;    /* what is imported: "layers/linear"; "" of builtins */
  const char *signature; /* of layers and models what they are made with: "Linear(in_features: int in 1..1048576, ...)" */
  const char *comment;   /* in front of it; of a layer or model without one that of its file; without its '#'; "" */
  const char *entries;   /* signatures of its entries, a line each; "" */
  const char *text;      /* the declaration as it is written; "" of builtins */
  const char *presets;   /* and recipes of a model: "preset small", a line each; "" */
} DhcLibraryItem;
typedef DHC_VEC(DhcLibraryItem) DhcLibraryItems;

/* By kind, then in order of files and of writing. False after errors in a shipped file. */
bool dhc_library_read(DhcParse *p, DhcLibraryItems *out);

#endif
