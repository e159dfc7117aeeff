/* Fuzz target: dims as text, "fact; fact; query": what parses prints and parses to the same pointer,
 * and no order that is proven under the facts is wrong for any small values that meet them. */
#include <stdlib.h>
#include <string.h>

#include "ir/dim.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/words.h"

enum { MAX_DIMS = 12, MAX_NAMES = 4, MOST = 4 };

static const DhcDim *parse(DhcArena *arena, DhcDims *cx, const char *text) {
  const char *end = text;
  const DhcDim *d = dhc_dim_parse(cx, text, &end);
  if (!d || dhc_dims_overflowed(cx)) return NULL;
  DhcText printed = {.arena = arena};
  dhc_dim_print(d, &printed);
  fuzz_check(dhc_dim_parse(cx, dhc_text_str(&printed), &end) == d && !*end, "a printed dim parses to itself");
  fuzz_check(!dhc_dims_overflowed(cx), "a printed dim does not overflow");
  return d;
}

/* The proven truth of query >= 0 against all values 1 … MOST that meet the facts. */
static void compare(const DhcFacts *facts, const DhcDim *query, DhcTruth truth) {
  const char *names[MAX_NAMES + 1];
  int n = dhc_dim_symbols(query, names, MAX_NAMES + 1);
  for (int i = 0; i < facts->nonneg.n; i++) {
    const char *more[MAX_NAMES + 1];
    int k = dhc_dim_symbols(facts->nonneg.at[i], more, MAX_NAMES + 1);
    for (int j = 0; j < k; j++) {
      bool known = false;
      for (int l = 0; l < n; l++) known = known || names[l] == more[j];
      if (!known && n > MAX_NAMES) return;
      if (!known) names[n++] = more[j];
    }
  }
  if (n > MAX_NAMES) return;
  int64_t v[MAX_NAMES] = {1, 1, 1, 1};
  for (bool more = true; more;) {
    int64_t x;
    bool meets = true;
    for (int i = 0; i < facts->nonneg.n && meets; i++) meets = dhc_dim_eval(facts->nonneg.at[i], n, names, v, &x) && x >= 0;
    if (meets && dhc_dim_eval(query, n, names, v, &x)) fuzz_check(truth == (x >= 0 ? DHC_TRUE : DHC_FALSE), "a proven order holds");
    more = false;
    for (int i = 0; i < n && !more; i++) {
      more = v[i] < MOST;
      v[i] = more ? v[i] + 1 : 1;
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcStrings strings = {.arena = &arena};
  DhcDims *cx = dhc_dims_new(&arena, &strings);
  char *text = dhc_arena_strndup(&arena, (const char *)data, n), *save = NULL;
  DhcFacts facts = {0};
  const DhcDim *last = NULL, *zero = dhc_dim_const(cx, 0);
  for (char *part = strtok_r(text, ";", &save); part && facts.nonneg.n < MAX_DIMS; part = strtok_r(NULL, ";", &save)) {
    const DhcDim *d = parse(&arena, cx, part);
    if (!d) continue;
    DhcTruth t = dhc_dim_le(cx, &facts, zero, d); /* asked with every fact more: what was drawn is carried on */
    if (t != DHC_UNKNOWN) compare(&facts, d, t);
    if (last) (void)dhc_dim_divide(cx, d, last);
    (void)dhc_dims_overflowed(cx);
    DHC_PUSH(&arena, &facts.nonneg, d);
    last = d;
  }
  dhc_arena_fini(&arena);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  return fuzz_mutate_text(data, n, max, seed, dim_words);
}
