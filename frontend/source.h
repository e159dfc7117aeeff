/* Opening and reading .dhc files, with the rules for imports: nothing outside the
 * folder of the model file, no links, nothing but regular files. */
#ifndef DHC_FRONTEND_SOURCE_H
#define DHC_FRONTEND_SOURCE_H

#include "frontend/parse.h"

/* Where a file lies: a folder that it and its quoted imports stay in, and the way from
 * there. All strings lie in the arena. */
typedef struct DhcPlace {
  const char *folder; /* as given; NULL: a text that lies nowhere */
  const char *canonical_folder;
  const char *rel;  /* components joined by '/', no "." or ".." among them */
  const char *name; /* for messages */
  const char *path; /* identity: canonical_folder/rel */
  bool is_shipped;
} DhcPlace;

/* The place of a model file named on the command line. */
DhcPlace dhc_place_of_model(DhcArena *arena, const char *path);
/* The place of `text`, imported by the file at `from`. False: leaves the folder. */
bool dhc_place_of_import(DhcArena *arena, const DhcPlace *from, const char *text, DhcPlace *out);
/* root/name.dhc */
DhcPlace dhc_place_of_shipped(DhcArena *arena, const char *root, const char *name);
bool dhc_place_exists(const DhcPlace *place, const DhcTexts *texts);

typedef enum DhcReadError {
  DHC_READ_OK,
  DHC_READ_LINK,   /* is, or passes through, a link */
  DHC_READ_KIND,   /* a folder, device, pipe */
  DHC_READ_SIZE,   /* over DHC_AST_MAX_SOURCE_BYTES */
  DHC_READ_SYSTEM  /* errno says why */
} DhcReadError;
/* Reads the file into the arena, NUL-terminated. Links are refused in imports that are
 * not shipped (refuse_links). Never blocks on pipes. What is named as one of `texts` (NULL: none) is that one. */
DhcReadError dhc_place_read(DhcArena *arena, const DhcPlace *place, const DhcTexts *texts, bool refuse_links,
                            const char **text, size_t *n_bytes);

#endif
