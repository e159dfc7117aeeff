/* Sweeps from inside.
 *
 *   pattern.c   orders of letters: canonical names, placements
 *   list.c      which variants there are: axes and their combinations
 *   variant.c   one variant, opened in a session of its own; what identifies it
 *   generate.c  generated inputs of an entry
 *   solve.c     equal budgets
 *   costs.c     what each costs, without a run
 *   steps.c     one step of each
 *   study.h     training sweeps */
#ifndef DHC_API_SWEEP_H
#define DHC_API_SWEEP_H

#include "api/api.h"

/* ---- pattern.c ---- */

/* "MMMMMMMA" as "M7A": more than four alike are counted. */
const char *sweep_pattern_name(DhcArena *a, const char *pattern);
/* "M6A2" as letters and how many of each; false: it is no such text, or one letter stands twice. */
enum { SWEEP_MAX_LETTERS = 16 };
typedef struct SweepLetters {
  char letter[SWEEP_MAX_LETTERS];
  int count[SWEEP_MAX_LETTERS];
  int n, total;
} SweepLetters;
bool sweep_letters_parse(const char *text, SweepLetters *out);
double sweep_letters_orders(const SweepLetters *l); /* how many orders there are */
/* All orders, in the order of the letters as given: "MMMMMMAA" first. */
typedef DHC_VEC(const char *) SweepTexts;
void sweep_letters_list(DhcArena *a, const SweepLetters *l, SweepTexts *out);

/* ---- list.c ---- */

typedef struct SweepVariant {
  const char *name;
  const char *declared; /* "block.name", or NULL */
  const char **sets;    /* all that are set, in order */
  int n_sets;
} SweepVariant;

struct dhc_sweep {
  dhc_session *s;
  dhc_sweep_options o;
  DhcArena arena;
  DHC_VEC(SweepVariant) variants;
};

/* ---- variant.c ---- */

typedef struct SweepOpen {
  const char *name; /* of the variant */
  dhc_session *s; /* of its own, or the sweep's */
  dhc_model *m;
  dhc_program *p;  /* the user's to open; closed with the rest */
  DhcArena arena;  /* for what lasts as long */
  double asked_ms; /* session_now_ms when it was asked for */
} SweepOpen;
/* Opens v in a session of its own, lets `use` have it, adds its kernels to the sweep's statistics and closes it. located,
 * if not NULL: whether the failure left diagnostics with a place. */
typedef dhc_status (*SweepUse)(void *ctx, SweepOpen *x);
dhc_status sweep_with_variant(dhc_sweep *w, const SweepVariant *v, SweepUse use, void *ctx, bool *located) DHC_MUST_USE;
/* After a failure of v: opens it in the sweep's session, and uses it there (unless NULL), so that its diagnostics are
 * there, and names it. What is no failure, or a stop, comes back as it is. */
dhc_status sweep_report_again(dhc_sweep *w, const SweepVariant *v, SweepUse use, void *ctx, dhc_status st) DHC_MUST_USE;

/* The same for every variant, its number in *at, as long as *go_on; a failure is reported as above, a stop as such. */
dhc_status sweep_each(dhc_sweep *w, SweepUse use, void *ctx, int *at, const bool *go_on) DHC_MUST_USE;

/* What identifies it: of its entry `loss` for these inputs. Texts in the arena. */
typedef struct SweepIdentity {
  char hash[17];
  const char *pattern, *order, *mixers;
  const char *sizes; /* "B=16,L=256": what the inputs make of its symbols */
  int64_t length, parameters;
} SweepIdentity;
dhc_status sweep_identify(const SweepOpen *x, const dhc_tensor *in, int n_in, DhcArena *a, SweepIdentity *out) DHC_MUST_USE;

/* Hashes of the variants so far, with their numbers: open addressing, room for all. */
typedef struct SweepSeen {
  struct {
    char hash[17];
    int variant;
  } *at;
  int room;
} SweepSeen;
SweepSeen sweep_seen_make(DhcArena *a, int n);
/* The variant of that hash, if there was one before `variant`; else -1, and it is known from now on. */
int sweep_seen_before(SweepSeen *s, const char *hash, int variant);

/* Tokens that the mixers see at these sizes; -1: not known. */
dhc_status sweep_length(dhc_model *m, const char *sizes, int64_t *out) DHC_MUST_USE;

/* ---- solve.c ---- */

/* Gives every variant the value that meets the budget, if one is held. */
dhc_status sweep_solve(dhc_sweep *w) DHC_MUST_USE;

/* ---- generate.c ---- */

/* Inputs of entry `loss` at these sizes, optional ones left out, all zeros. in: room for ATLAS_MAX_INPUTS; memory is
 * the arena's. classes, unless NULL: below which the data's integers are. */
dhc_status sweep_inputs(dhc_model *m, const char *sizes, DhcArena *a, dhc_tensor *in, int *n_in, int64_t *classes) DHC_MUST_USE;

#endif
