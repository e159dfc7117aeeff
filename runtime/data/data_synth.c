/* Sequence tasks made from a seed, without files: example i of a split is a function of (seed, split, i) and the
 * sizes alone. Tokens are 0 (blank), 1 … vocab - 1; targets are -100 where nothing is asked.
 *
 *   mqar            pairs of a key (1 … vocab/2 - 1, each once) and a value (vocab/2 … vocab - 1), then every key
 *                   again, at a random place and in random order: asked there is its value (Arora et al., 2023)
 *   copy            items, a mark (vocab - 1), as many blanks: asked for the items in order
 *   selective_copy  the same with the items scattered among blanks in front of the mark (Gu and Dao, 2023)
 *   induction       random tokens; somewhere the mark and a token behind it; at the end the mark: asked for that token
 *   adding          digits d as tokens 1 + d, one in each half marked as 11 + d; at the end 21: asked for the sum of
 *                   both (0 … 18), as in the adding problem (Hochreiter and Schmidhuber, 1997) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/data_internal.h"
#include "runtime/rng.h"

enum { SITE = 0x53594e54, IGNORE = -100, MAX_LENGTH = 1 << 20 };

typedef struct Task Task;
typedef struct Synth {
  int64_t length, vocab, pairs, items, n, n_test, seed;
  const Task *task;
  int64_t *place; /* `length` numbers, room to shuffle in */
  unsigned given; /* bit k: the spec gave keys[k] */
} Synth;

/* One example's random numbers. */
typedef struct Draw {
  uint32_t seed, site;
  uint64_t example, at;
} Draw;

/* lo … hi - 1. */
static int64_t draw(Draw *d, int64_t lo, int64_t hi) {
  return lo + (int64_t)dhc_rng_below(d->seed, d->site, d->at++, d->example, (uint64_t)(hi - lo));
}

/* The first k of place[] become k different numbers of lo … hi - 1, in random order. */
static void choose(const Synth *s, Draw *d, int64_t lo, int64_t hi, int64_t k, int64_t *place) {
  (void)s;
  for (int64_t i = lo; i < hi; i++) {
    place[i - lo] = i;
  }
  for (int64_t i = 0; i < k; i++) {
    int64_t j = draw(d, i, hi - lo), x = place[i];
    place[i] = place[j];
    place[j] = x;
  }
}

static int by_value(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* ---- tasks: tokens and targets of one example, which are 0 and IGNORE ---------------------------------- */

static void mqar(const Synth *s, Draw *d, int32_t *token, int32_t *target) {
  int64_t n = s->pairs, half = s->vocab / 2;
  choose(s, d, 1, half, n, s->place);
  for (int64_t i = 0; i < n; i++) {
    token[2 * i] = (int32_t)s->place[i];
    token[2 * i + 1] = (int32_t)draw(d, half, s->vocab);
  }
  choose(s, d, 2 * n, s->length, n, s->place);
  for (int64_t i = 0; i < n; i++) {
    token[s->place[i]] = token[2 * i];
    target[s->place[i]] = token[2 * i + 1];
  }
}

/* The items, in order, are asked for at the end. */
static void ask_items(const Synth *s, Draw *d, const int64_t *place, int64_t n, int32_t *token, int32_t *target) {
  token[s->length - n - 1] = (int32_t)(s->vocab - 1);
  for (int64_t i = 0; i < n; i++) {
    token[place[i]] = (int32_t)draw(d, 1, s->vocab - 1);
    target[s->length - n + i] = token[place[i]];
  }
}

static void copy(const Synth *s, Draw *d, int32_t *token, int32_t *target) {
  int64_t n = (s->length - 1) / 2;
  for (int64_t i = 0; i < n; i++) {
    s->place[i] = s->length - 2 * n - 1 + i;
  }
  ask_items(s, d, s->place, n, token, target);
}

static void selective_copy(const Synth *s, Draw *d, int32_t *token, int32_t *target) {
  choose(s, d, 0, s->length - s->items - 1, s->items, s->place);
  qsort(s->place, (size_t)s->items, sizeof *s->place, by_value);
  ask_items(s, d, s->place, s->items, token, target);
}

static void induction(const Synth *s, Draw *d, int32_t *token, int32_t *target) {
  for (int64_t i = 0; i < s->length; i++) {
    token[i] = (int32_t)draw(d, 1, s->vocab - 1);
  }
  int64_t at = draw(d, 0, s->length - 2);
  token[at] = token[s->length - 1] = (int32_t)(s->vocab - 1);
  target[s->length - 1] = token[at + 1];
}

static void adding(const Synth *s, Draw *d, int32_t *token, int32_t *target) {
  int64_t n = s->length - 1, mark[2] = {draw(d, 0, n / 2), draw(d, n / 2, n)};
  for (int64_t i = 0; i < n; i++) {
    token[i] = (int32_t)draw(d, 1, 11);
  }
  target[n] = token[mark[0]] - 1 + token[mark[1]] - 1;
  token[mark[0]] += 10;
  token[mark[1]] += 10;
  token[n] = 21;
}

/* Settings, in the order in which messages name them. */
enum { LENGTH, VOCAB, PAIRS, ITEMS, N, N_TEST, SEED, N_KEYS, ALL = 1 << LENGTH | 1 << N | 1 << N_TEST | 1 << SEED };

struct Task {
  const char *name;
  void (*make)(const Synth *s, Draw *d, int32_t *token, int32_t *target);
  unsigned keys; /* bit k: setting k changes its examples */
};
static const Task tasks[] = {{"mqar", mqar, ALL | 1 << VOCAB | 1 << PAIRS},
                             {"copy", copy, ALL | 1 << VOCAB},
                             {"selective_copy", selective_copy, ALL | 1 << VOCAB | 1 << ITEMS},
                             {"induction", induction, ALL | 1 << VOCAB},
                             {"adding", adding, ALL}};
enum { N_TASKS = sizeof tasks / sizeof *tasks };

/* ---- the spec: TASK or TASK:KEY=NUMBER,... ---------------------------------------------------------------- */

static dhc_status read_key(const char *spec, const char *at, size_t n, Synth *s) {
  const struct {
    const char *name;
    int64_t *to, lo, hi;
  } keys[N_KEYS] = {[LENGTH] = {"length", &s->length, 4, MAX_LENGTH}, [VOCAB] = {"vocab", &s->vocab, 22, 1 << 20},
                    [PAIRS] = {"pairs", &s->pairs, 1, MAX_LENGTH / 3}, [ITEMS] = {"items", &s->items, 1, MAX_LENGTH / 2},
                    [N] = {"n", &s->n, 1, 1 << 30},            [N_TEST] = {"n_test", &s->n_test, 1, 1 << 30},
                    [SEED] = {"seed", &s->seed, 0, UINT32_MAX}};
  char names[80] = "";
  size_t name = 0, digits = 0;
  while (name < n && at[name] != '=') {
    name++;
  }
  for (int k = 0; k < N_KEYS; k++) {
    if (((s->task->keys >> k) & 1) == 0) {
      continue;
    }
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? ", " : "", keys[k].name);
    if (strlen(keys[k].name) != name || strncmp(keys[k].name, at, name) != 0) {
      continue;
    }
    digits = name < n ? strspn(at + name + 1, "0123456789") : 0;
    int64_t v = digits > 0 && digits <= 12 ? strtoll(at + name + 1, NULL, 10) : -1;
    if (name + 1 + digits != n || v < keys[k].lo || v > keys[k].hi) {
      return dhc_status_make(DHC_E_USAGE, "data '%s': %s needs a number from %lld to %lld", spec, keys[k].name, (long long)keys[k].lo,
                             (long long)keys[k].hi);
    }
    if ((s->given >> k) & 1) {
      return dhc_status_make(DHC_E_USAGE, "data '%s': %s is given twice", spec, keys[k].name);
    }
    s->given |= 1u << k;
    *keys[k].to = v;
    return dhc_status_ok();
  }
  return dhc_status_make(DHC_E_USAGE, "data '%s': %s has no setting '%.*s' (%s)", spec, s->task->name, (int)name, at, names);
}

static dhc_status check_sizes(const char *spec, const Synth *s) {
  if (s->task->make == mqar && (3 * s->pairs > s->length || s->vocab / 2 - 1 < s->pairs)) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': %lld pairs need a length of %lld and a vocab of %lld at least", spec, (long long)s->pairs,
                           (long long)(3 * s->pairs), (long long)(2 * s->pairs + 2));
  }
  if (s->task->make == selective_copy && 2 * s->items + 1 > s->length) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': %lld items need a length of %lld at least", spec, (long long)s->items,
                           (long long)(2 * s->items + 1));
  }
  return dhc_status_ok();
}

static dhc_status read_spec(const char *spec, const char *text, Synth *s) {
  size_t n = strcspn(text, ":");
  *s = (Synth){.length = 128, .vocab = 64, .pairs = 8, .items = 16, .n = 8192, .n_test = 1024};
  for (int i = 0; i < N_TASKS; i++) {
    if (strlen(tasks[i].name) == n && strncmp(tasks[i].name, text, n) == 0) {
      s->task = &tasks[i];
    }
  }
  if (s->task == NULL) {
    return dhc_status_make(DHC_E_USAGE, "data '%s': no task '%.*s' (mqar, copy, selective_copy, induction, adding)", spec, (int)n, text);
  }
  const char *at = text + n;
  while (*at != '\0') {
    size_t part = strcspn(++at, ",");
    DHC_TRY(read_key(spec, at, part, s));
    at += part;
  }
  return check_sizes(spec, s);
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

static void make_examples(const Synth *s, DhcSplit split, int64_t n, int32_t *tokens, int32_t *targets) {
  for (int64_t i = 0; i < n; i++) {
    Draw d = {.seed = (uint32_t)s->seed, .site = SITE + (uint32_t)split, .example = (uint64_t)i};
    int32_t *target = targets + i * s->length;
    memset(tokens + i * s->length, 0, (size_t)s->length * sizeof *tokens);
    for (int64_t k = 0; k < s->length; k++) {
      target[k] = IGNORE;
    }
    s->task->make(s, &d, tokens + i * s->length, target);
  }
}

dhc_status dhc_data_open_synth(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  Synth s;
  void *tokens = NULL, *targets = NULL;
  DHC_TRY(read_spec(spec, path, &s));
  int64_t n = split == DHC_SPLIT_TRAIN ? s.n : s.n_test, room = s.length > s.vocab ? s.length : s.vocab;
  s.place = malloc((size_t)room * sizeof *s.place);
  dhc_status status = s.place != NULL ? dhc_status_ok() : dhc_status_memory((long long)room * 8, spec);
  if (status.code == DHC_OK) {
    status = dhc_data_block(spec, options, n, s.length * (int64_t)sizeof(int32_t), &tokens);
  }
  if (status.code == DHC_OK) {
    status = dhc_data_block(spec, options, n, s.length * (int64_t)sizeof(int32_t), &targets);
  }
  if (status.code != DHC_OK) {
    free(tokens);
    free(s.place);
    return status;
  }
  make_examples(&s, split, n, tokens, targets);
  free(s.place);
  dhc_data_add(o, "target", DHC_I32, 1, &s.length, targets);
  dhc_data_add(o, "tokens", DHC_I32, 1, &s.length, tokens);
  o->n_examples = n;
  return status;
}
