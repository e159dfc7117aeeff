/* Orders of letters. */
#include "api/sweep/sweep.h"

enum { COUNTED = 5 }; /* so many alike are counted */

const char *sweep_pattern_name(DhcArena *a, const char *pattern) {
  DhcText t = {.arena = a};
  for (const char *at = pattern; *at;) {
    int n = 1;
    while (at[n] == *at) n++;
    if (n >= COUNTED) dhc_text_printf(&t, "%c%d", *at, n);
    else dhc_text_printf(&t, "%.*s", n, at);
    at += n;
  }
  return dhc_text_str(&t);
}

bool sweep_letters_parse(const char *text, SweepLetters *out) {
  *out = (SweepLetters){.n = 0};
  for (const char *at = text; *at;) {
    bool letter = (*at >= 'A' && *at <= 'Z') || (*at >= 'a' && *at <= 'z');
    if (!letter || out->n == SWEEP_MAX_LETTERS || memchr(out->letter, *at, (size_t)out->n)) return false;
    out->letter[out->n] = *at++;
    int count = *at >= '0' && *at <= '9' ? 0 : 1;
    for (; *at >= '0' && *at <= '9'; at++) {
      count = 10 * count + (*at - '0');
      if (count > 1024) return false;
    }
    out->count[out->n++] = count;
    out->total += count;
  }
  return out->total > 0;
}

double sweep_letters_orders(const SweepLetters *l) {
  double orders = 1;
  int placed = 0;
  for (int i = 0; i < l->n; i++)
    for (int k = 1; k <= l->count[i]; k++) orders = orders * ++placed / k;
  return orders;
}

static void list_from(DhcArena *a, SweepLetters *left, char *text, int at, SweepTexts *out) {
  bool any = false;
  for (int i = 0; i < left->n; i++) {
    if (!left->count[i]) continue;
    any = true;
    left->count[i]--;
    text[at] = left->letter[i];
    list_from(a, left, text, at + 1, out);
    left->count[i]++;
  }
  if (any) return;
  text[at] = '\0';
  DHC_PUSH(a, out, dhc_arena_strdup(a, text));
}

void sweep_letters_list(DhcArena *a, const SweepLetters *l, SweepTexts *out) {
  SweepLetters left = *l;
  char *text = dhc_arena_alloc(a, (size_t)l->total + 1);
  list_from(a, &left, text, 0, out);
}
