/* Longest common subsequences of lines, and what the rest means. */
#include "ir/spec_diff.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "ir/ir_internal.h"

/* ---- lines ------------------------------------------------------------------------------------------------ */

static uint64_t hash_of(const char *s) {
  uint64_t h = 14695981039346656037u; /* FNV-1a */
  for (; *s; s++) h = (h ^ (uint8_t)*s) * 1099511628211u;
  return h;
}

DhcSpecLines dhc_spec_lines(const char *text, DhcArena *a) {
  DhcSpecLines l = {0};
  int room = 1;
  for (const char *c = text; *c; c++) room += *c == '\n';
  l.line = DHC_NEW_N(a, const char *, room);
  l.hash = DHC_NEW_N(a, uint64_t, room);
  while (*text) {
    size_t n = strcspn(text, "\n");
    DhcText t = {.arena = a};
    for (size_t i = 0; i < n; i++) { /* "%12 = add(%3, %4)" as "% = add(%, %)" */
      if (t.n == 0 && text[i] == ' ') continue;
      dhc_text_printf(&t, "%c", text[i]);
      if (text[i] == '%') i += strspn(text + i + 1, "0123456789");
    }
    text += n + (text[n] == '\n');
    if (t.n == 0) continue;
    l.line[l.n] = dhc_text_str(&t);
    l.hash[l.n] = hash_of(l.line[l.n]);
    l.n++;
  }
  return l;
}

void dhc_lines_align(const uint64_t *a, int n_a, const uint64_t *b, int n_b, int *keep, DhcArena *scratch) {
  size_t w = (size_t)n_b + 1;
  int *best = DHC_NEW_N(scratch, int, (size_t)(n_a + 1) * w + 1); /* of a from i on and b from j on */
  for (int i = n_a - 1; i >= 0; i--)
    for (int j = n_b - 1; j >= 0; j--) {
      int down = best[(size_t)(i + 1) * w + (size_t)j], right = best[(size_t)i * w + (size_t)j + 1];
      best[(size_t)i * w + (size_t)j] = a[i] == b[j] ? 1 + best[(size_t)(i + 1) * w + (size_t)j + 1] : down > right ? down : right;
    }
  for (int i = 0, j = 0; i < n_a;) {
    keep[i] = -1;
    if (j < n_b && a[i] == b[j]) keep[i++] = j++;
    else if (j < n_b && best[(size_t)i * w + (size_t)j + 1] >= best[(size_t)(i + 1) * w + (size_t)j]) j++;
    else i++;
  }
}

/* "scan" of "spec scan args 0 {". */
static size_t kind_of(const DhcSpecLines *l, const char **at) {
  *at = l->n ? l->line[0] + (strncmp(l->line[0], "spec ", 5) ? 0 : 5) : "";
  return strcspn(*at, " ");
}

int dhc_spec_distance(const DhcSpecLines *a, const DhcSpecLines *b) {
  const char *x, *y;
  size_t n = kind_of(a, &x);
  if (n != kind_of(b, &y) || strncmp(x, y, n) != 0) return INT_MAX;
  DhcArena scratch;
  dhc_arena_init(&scratch);
  int *keep = DHC_NEW_N(&scratch, int, a->n + 1), common = 0;
  dhc_lines_align(a->hash, a->n, b->hash, b->n, keep, &scratch);
  for (int i = 0; i < a->n; i++) common += keep[i] >= 0;
  dhc_arena_fini(&scratch);
  return a->n + b->n - 2 * common;
}

/* ---- words ------------------------------------------------------------------------------------------------- */

const char *dhc_spec_unrolled_by(const char *kind) {
  static const char *const rows[][2] = {
#define KIND(id, name, interp, said, ...) {name, said},
#include "ir/kinds.def"
  };
  size_t n = strcspn(kind, " ");
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    if (strlen(rows[i][0]) == n && !strncmp(rows[i][0], kind, n)) return rows[i][1];
  return "the kernel";
}

/* "axis red 16": the extent, 0 where it is an argument; -1: no axis. */
static int64_t extent_of(const char *line, size_t *role) {
  if (strncmp(line, "axis ", 5)) return -1;
  *role = strcspn(line + 5, " ");
  return line[5 + *role] ? strtoll(line + 5 + *role, NULL, 10) : 0;
}

/* "% = const 0x1p-2 : f32": where the value stands; NULL: no constant. */
static const char *constant_of(const char *line) {
  return strncmp(line, "% = const ", 10) ? NULL : line + 10;
}

/* Name of the op, "add" of "% = add(%, %) : f32"; "operand" of an operand's line. */
static size_t op_of(const char *line, const char **at) {
  *at = line;
  if (!strncmp(line, "% = ", 4)) *at = line + 4;
  else if (!strncmp(line, "in ", 3)) *at = "operand";
  else if (!strncmp(line, "out ", 4)) *at = "result";
  if (!strncmp(*at, "fold ", 5)) *at += 5;
  return strcspn(*at, " (");
}

typedef struct Lines {
  const char **at;
  int n;
} Lines;

/* "2 add, 1 mul" of lines; those seen before are counted once. */
static void say_ops(const Lines *l, DhcText *to) {
  int said = 0;
  for (int i = 0; i < l->n; i++) {
    const char *op, *other;
    size_t n = op_of(l->at[i], &op);
    int count = 0;
    bool first = true;
    for (int k = 0; k < l->n; k++) {
      if (op_of(l->at[k], &other) != n || strncmp(op, other, n)) continue;
      count++;
      first = first && k >= i;
    }
    if (!first) continue;
    if (said++ == 6) {
      dhc_text_puts(to, ", …");
      return;
    }
    dhc_text_printf(to, "%s%d %.*s", said > 1 ? ", " : "", count, (int)n, op);
  }
}

/* All differing lines in pairs of axes whose extents alone differ. */
static bool say_extents(const Lines *a, const Lines *b, const char *kind, DhcNumberName name, void *ctx, DhcText *to) {
  size_t ra = 0, rb = 0;
  if (!a->n || a->n != b->n) return false;
  for (int i = 0; i < a->n; i++)
    if (extent_of(a->at[i], &ra) < 0 || extent_of(b->at[i], &rb) < 0) return false;
  for (int i = 0; i < a->n; i++) {
    int64_t x = extent_of(a->at[i], &ra), y = extent_of(b->at[i], &rb);
    bool again = false;
    for (int k = 0; k < i; k++) again = again || (extent_of(a->at[k], &ra) == x && extent_of(b->at[k], &rb) == y);
    if (again) continue;
    const char *called = name ? name(ctx, x, y) : NULL;
    dhc_text_printf(to, "%sextent%s%s differs: ", i ? "; " : "", called ? " of " : "", called ? called : "");
    if (x) dhc_text_printf(to, "%lld / ", (long long)x);
    else dhc_text_puts(to, "any / ");
    if (y) dhc_text_printf(to, "%lld", (long long)y);
    else dhc_text_puts(to, "any");
  }
  dhc_text_printf(to, ", unrolled by %s", dhc_spec_unrolled_by(kind));
  return true;
}

/* A float in decimal, with a point whatever the locale; anything else as it stands. */
static void say_constant(const char *text, DhcText *to) {
  char buffer[40];
  double v;
  if (strncmp(text, "0x", 2) && strncmp(text, "-0x", 3)) {
    dhc_text_printf(to, "%.*s", (int)strcspn(text, " "), text);
    return;
  }
  dhc_read_double(text, &v);
  snprintf(buffer, sizeof buffer, "%.9g", v);
  for (char *c = buffer; *c; c++)
    if (*c == ',') *c = '.';
  dhc_text_puts(to, buffer);
}

/* A whole number, or -1. */
static int64_t whole(const char *text) {
  double v;
  if (strncmp(text, "0x", 2)) return strtoll(text, NULL, 10);
  dhc_read_double(text, &v);
  return v >= 0 && v < 1e15 && v == (double)(int64_t)v ? (int64_t)v : -1;
}

static bool say_constants(const Lines *a, const Lines *b, DhcNumberName name, void *ctx, DhcText *to) {
  if (!a->n || a->n != b->n) return false;
  for (int i = 0; i < a->n; i++)
    if (!constant_of(a->at[i]) || !constant_of(b->at[i])) return false;
  for (int i = 0; i < a->n; i++) {
    const char *x = constant_of(a->at[i]), *y = constant_of(b->at[i]);
    int64_t u = whole(x), v = whole(y);
    const char *called = name && u > 0 && v > 0 ? name(ctx, u, v) : NULL;
    if (called) dhc_text_printf(to, "%sconstant %s differs: ", i ? "; " : "", called);
    else dhc_text_puts(to, i ? "; a constant differs: " : "a constant differs: ");
    say_constant(x, to);
    dhc_text_puts(to, " / ");
    say_constant(y, to);
  }
  return true;
}

void dhc_spec_say_difference(const DhcSpecLines *a, const DhcSpecLines *b, bool of_b, DhcNumberName name, void *ctx, DhcText *to) {
  DhcArena scratch;
  dhc_arena_init(&scratch);
  int *keep = DHC_NEW_N(&scratch, int, a->n + 1);
  bool *met = DHC_NEW_N(&scratch, bool, b->n + 1);
  Lines x = {DHC_NEW_N(&scratch, const char *, a->n + 1), 0}, y = {DHC_NEW_N(&scratch, const char *, b->n + 1), 0};
  const char *kind;
  kind_of(b, &kind);
  dhc_lines_align(a->hash, a->n, b->hash, b->n, keep, &scratch);
  for (int i = 0; i < a->n; i++)
    if (keep[i] >= 0) met[keep[i]] = true;
    else if (i) x.at[x.n++] = a->line[i]; /* line 0 is the kind, which is the same, and how many arguments there are */
  for (int j = 1; j < b->n; j++)
    if (!met[j]) y.at[y.n++] = b->line[j];
  const Lines *more = of_b ? &y : &x, *less = of_b ? &x : &y;
  if (!x.n && !y.n) {
    dhc_text_puts(to, "the same computation on other operands");
  } else if (x.n + y.n > (a->n + b->n) / 2) {
    dhc_text_printf(to, "the other computes nothing like it (the nearest has %d of its %d lines)", of_b ? b->n - y.n : a->n - x.n, of_b ? b->n : a->n);
  } else if (!say_extents(&x, &y, kind, name, ctx, to) && !say_constants(&x, &y, name, ctx, to)) {
    if (more->n) dhc_text_puts(to, "has also ");
    say_ops(more, to);
    if (less->n) dhc_text_puts(to, more->n ? "; lacks " : "lacks ");
    say_ops(less, to);
  }
  dhc_arena_fini(&scratch);
}
