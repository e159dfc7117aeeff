#include "tests/ir/support.h"

void bench_open(Bench *b) {
  memset(b, 0, sizeof *b);
  dhc_arena_init(&b->arena);
  b->strings.arena = b->sources.arena = b->diags.arena = &b->arena;
  b->diags.sources = &b->sources;
  b->m = dhc_module_new(&b->arena, &b->strings, &b->diags);
}

void bench_close(Bench *b) { dhc_arena_fini(&b->arena); }

DhcModule *bench_parse(Bench *b, const char *text) {
  uint32_t file = dhc_sources_add(&b->sources, "t.gir", NULL, text, strlen(text));
  return b->m = dhc_module_parse(&b->arena, &b->strings, &b->diags, file);
}

const char *bench_messages(Bench *b) {
  DhcText t = {.arena = &b->arena};
  for (int i = 0; i < b->diags.all.n; i++) {
    const DhcDiag *d = b->diags.all.at[i];
    dhc_text_printf(&t, "%s%s", i ? "\n" : "", d->text);
    if (d->hint) dhc_text_printf(&t, "\nhint: %s", d->hint);
  }
  return dhc_text_str(&t);
}

void bench_clear(Bench *b) { b->diags.all.n = b->diags.n_errors = b->diags.n_warnings = 0; }

const char *bench_print(Bench *b, DhcModule *m) {
  DhcText t = {.arena = &b->arena};
  dhc_module_print(m, &t);
  return dhc_text_str(&t);
}

const DhcDim *bench_dim(Bench *b, const char *text) {
  const char *end;
  const DhcDim *d = dhc_dim_parse(b->m->dims, text, &end);
  if (!d || *end) fail_msg("'%s' is no dim", text);
  return d;
}

const char *bench_dim_text(Bench *b, const DhcDim *d) {
  DhcText t = {.arena = &b->arena};
  dhc_dim_print(d, &t);
  return dhc_text_str(&t);
}
