/* A module given as text, behind a pass, as text. */
#ifndef DHC_TESTS_PASSES_PASS_TEXT_H
#define DHC_TESTS_PASSES_PASS_TEXT_H

#include "passes/passes.h"

typedef struct PassText {
  DhcArena arena, scratch;
  DhcStrings strings;
  DhcSources sources;
  DhcDiags diags;
  DhcModule *module;
  DhcPassCtx px; /* of the module: a test sets what the target asks for */
} PassText;

void pass_text_begin(PassText *p);
/* false: it is no module, and why is printed. */
bool pass_text_parse(PassText *p, const char *text);
/* The module behind the pass, in the arena; NULL: the pass failed. */
const char *pass_text_run(PassText *p, const char *pass);
void pass_text_end(PassText *p);

/* How often the word occurs. */
int pass_text_count(const char *text, const char *word);

#endif
