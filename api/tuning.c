/* Tuning files: which schedule a kernel has instead of the usual one, by the hash of its spec, on which target.
 *
 *   dhcc tuning 1
 *   target cpu x86_64-... ...                    what the lines below are for, until the next
 *   kernel HASH CLASS TEMPLATE v0 ... v7         the schedule of that size class
 *   time HASH ROUND NANOSECONDS                  what the search has measured: for it alone, to go on from
 *
 * A file can only choose among what the search chooses among (passes/plan/schedule_tune.c), so no file changes a bit of a result. */
#include "api/tuning.h"

#include <stdlib.h>

#include "runtime/io.h"
#include "runtime/sha256.h"

enum { MOST_BYTES = 64 << 20, MOST_LINE = 4096 };
static const char head[] = "dhcc tuning 1";

static dhc_status bad(const DhcTuning *t, int line, const char *what) {
  return dhc_status_file(t->path, "line %d: %s", line, what);
}

static bool read_hash(const char *word, char to[33]) {
  size_t n = strspn(word, "0123456789abcdef");
  if (n != 32 || word[n] != ' ') return false;
  memcpy(to, word, 32);
  to[32] = 0;
  return true;
}

/* A whole number from 0 to most; *at goes on behind it and a blank. */
static bool read_number(const char **at, int64_t most, int64_t *out) {
  char *end;
  if (**at < '0' || **at > '9') return false;
  long long v = strtoll(*at, &end, 10);
  if (v > most || (*end && *end != ' ')) return false;
  *at = end + (*end == ' ');
  *out = v;
  return true;
}

static dhc_status read_kernel(DhcTuning *t, const char *text, int line) {
  DhcTuned k = {.target = t->targets.n - 1, .line = line};
  int64_t v;
  const char *at = text + 7;
  if (!read_hash(at, k.spec)) return bad(t, line, "a kernel is named by 32 hexadecimal digits");
  at += 33;
  if (!read_number(&at, DHC_MAX_CLASSES - 1, &v)) return bad(t, line, "behind a kernel stands the number of a size class");
  k.n_class = (int)v;
  size_t n = strcspn(at, " ");
  k.template_name = dhc_arena_printf(t->arena, "%.*s", (int)n, at);
  at += n + (at[n] == ' ');
  for (int i = 0; i < 8; i++) {
    if (!read_number(&at, INT32_MAX, &v)) return bad(t, line, "a schedule is a template and eight whole numbers");
    k.v[i] = (int)v;
  }
  if (*at) return bad(t, line, "a schedule is a template and eight whole numbers");
  DHC_PUSH(t->arena, &t->kernels, k);
  return dhc_status_ok();
}

static dhc_status read_time(DhcTuning *t, const char *text, int line) {
  DhcTunedTime x = {.target = t->targets.n - 1};
  int64_t round;
  const char *at = text + 5;
  if (!read_hash(at, x.spec)) return bad(t, line, "a kernel is named by 32 hexadecimal digits");
  at += 33;
  if (!read_number(&at, DHC_MAX_CANDIDATES - 1, &round) || !read_number(&at, INT64_MAX / 2, &x.ns) || *at)
    return bad(t, line, "a time is the number of a round and nanoseconds");
  x.round = (int)round;
  DHC_PUSH(t->arena, &t->times, x);
  return dhc_status_ok();
}

static dhc_status read_line(DhcTuning *t, const char *text, int line) {
  if (line == 1) return strcmp(text, head) ? bad(t, line, "this is no tuning file: it begins with \"dhcc tuning 1\"") : dhc_status_ok();
  if (!*text || *text == '#') return dhc_status_ok();
  if (!strncmp(text, "target ", 7)) {
    DHC_PUSH(t->arena, &t->targets, dhc_arena_strdup(t->arena, text + 7));
    return dhc_status_ok();
  }
  if (!t->targets.n) return bad(t, line, "a target stands before kernels and times");
  if (!strncmp(text, "kernel ", 7)) return read_kernel(t, text, line);
  if (!strncmp(text, "time ", 5)) return read_time(t, text, line);
  return bad(t, line, "a line begins with target, kernel, time or #");
}

dhc_status tuning_read(const char *path, DhcArena *arena, DhcTuning **out) {
  DhcTuning *t = DHC_NEW(arena, DhcTuning);
  uint8_t *bytes, digest[32];
  size_t n;
  dhc_status s = dhc_status_ok();
  *t = (DhcTuning){.arena = arena, .path = dhc_arena_strdup(arena, path)};
  DHC_TRY(dhc_file_read(path, MOST_BYTES, &bytes, &n));
  char *text = dhc_arena_printf(arena, "%.*s", (int)n, (const char *)bytes);
  dhc_sha256_bytes(bytes, n, digest);
  dhc_sha256_hex(digest, t->digest);
  free(bytes);
  if (strlen(text) != n) return dhc_status_file(t->path, "byte %zu is 0, as a file's bytes are that were never written", strlen(text));
  int line = 0;
  for (char *at = text, *end; s.code == DHC_OK && (at == text || *at); at = end) {
    size_t length = strcspn(at, "\n");
    end = at + length + (at[length] == '\n');
    at[length] = 0;
    s = length > MOST_LINE ? bad(t, line + 1, "a line this long is no line of a tuning file") : read_line(t, at, ++line);
  }
  *out = t;
  return s;
}

dhc_status tuning_write(const DhcTuning *t, const char *path) {
  DhcText text = {.arena = t->arena};
  dhc_text_printf(&text, "%s\n", head);
  for (int i = 0; i < t->targets.n; i++) {
    dhc_text_printf(&text, "target %s\n", t->targets.at[i]);
    for (int k = 0; k < t->kernels.n; k++) {
      const DhcTuned *x = &t->kernels.at[k];
      if (x->target != i) continue;
      dhc_text_printf(&text, "kernel %s %d %s", x->spec, x->n_class, x->template_name);
      for (int v = 0; v < 8; v++) dhc_text_printf(&text, " %d", x->v[v]);
      dhc_text_puts(&text, "\n");
    }
    for (int k = 0; k < t->times.n; k++) {
      const DhcTunedTime *x = &t->times.at[k];
      if (x->target == i) dhc_text_printf(&text, "time %s %d %lld\n", x->spec, x->round, (long long)x->ns);
    }
  }
  return dhc_file_replace(path, text.at, (size_t)text.n);
}

void tuning_spec(const DhcSpec *s, char hash[33]) {
  DhcArena scratch;
  uint8_t digest[32];
  char hex[65];
  dhc_arena_init(&scratch);
  DhcText text = {.arena = &scratch};
  dhc_spec_print(s, &text);
  dhc_sha256_bytes(text.at, (size_t)text.n, digest);
  dhc_sha256_hex(digest, hex);
  memcpy(hash, hex, 32);
  hash[32] = 0;
  dhc_arena_fini(&scratch);
}

int tuning_target(const DhcTuning *t, const char *target) {
  for (int i = 0; i < t->targets.n; i++)
    if (!strcmp(t->targets.at[i], target)) return i;
  return -1;
}

/* The candidate of that template and those numbers in place of *usual. */
static dhc_status put(const DhcTuning *t, const DhcTuned *k, const DhcSpec *spec, const DhcTargetFacts *facts, DhcSchedule *usual) {
  DhcSchedule all[DHC_MAX_CANDIDATES];
  int n = dhc_schedule_candidates(spec, facts, usual, all);
  for (int i = 0; i < n; i++)
    if (!strcmp(all[i].template_name, k->template_name) && !memcmp(all[i].v, k->v, sizeof k->v)) {
      *usual = all[i];
      return dhc_status_ok();
    }
  return bad(t, k->line, "this kernel has no such schedule to choose; dhcc tune writes the file anew");
}

dhc_status tuning_apply(const DhcTuning *t, DhcCompiler *c, const DhcSpec *spec, DhcSchedule *classes, int n_classes) {
  const DhcTargetFacts *facts = dhc_compiler_target(c);
  if (t->searches) {
    for (int i = 0; i < n_classes; i++) {
      DhcSchedule all[DHC_MAX_CANDIDATES];
      int n = dhc_schedule_candidates(spec, facts, &classes[i], all);
      if (t->round < n) classes[i] = all[t->round];
    }
    return dhc_status_ok();
  }
  int target = tuning_target(t, dhc_compiler_target_text(c));
  if (target < 0)
    return dhc_status_file(t->path, "nothing in it is for this target; dhcc tune -o %s adds it: %s", t->path, dhc_compiler_target_text(c));
  char hash[33];
  tuning_spec(spec, hash);
  for (int k = 0; k < t->kernels.n; k++) {
    const DhcTuned *x = &t->kernels.at[k];
    if (x->target != target || strcmp(x->spec, hash)) continue;
    if (x->n_class >= n_classes) return bad(t, x->line, "this kernel has no such size class; dhcc tune writes the file anew");
    DHC_TRY(put(t, x, spec, facts, &classes[x->n_class]));
  }
  return dhc_status_ok();
}
