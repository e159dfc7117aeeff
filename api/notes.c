/* What a reader of a model should know before it is compared with others or trained. */
#include "api/api.h"

bool model_kind_missing(const dhc_model *m, int kind, char *text, size_t n) {
  DhcKindInfos k = dhc_model_kinds(m->m);
  int total = 0;
  for (int i = 0; i < k.n; i++) total += k.at[i].count;
  if (k.at[kind].count) return false;
  snprintf(text, n, "no %s among the %d mixers: pattern, ratio and depth leave kind %s out", k.at[kind].layer, total, k.at[kind].letter);
  return true;
}

void model_notes(const dhc_model *m, void (*note)(void *ctx, const char *text), void *ctx) {
  DhcKindInfos k = dhc_model_kinds(m->m);
  char text[256];
  for (int i = 0; i < k.n; i++)
    if (model_kind_missing(m, i, text, sizeof text)) note(ctx, text);
  for (int i = 0; i < m->module->groups.n; i++) note(ctx, m->module->groups.at[i].said);
  DhcHyperInfos h = dhc_model_hypers(m->m);
  for (int i = 0; i < h.n && k.n; i++)
    if (!strcmp(h.at[i].name, "tokens") && strstr(h.at[i].value, "pooled"))
      note(ctx, "tokens = pooled gives the mixers a single token: they have nothing to mix");
}
