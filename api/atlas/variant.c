/* What identifies a variant. */
#include <string.h>

#include "api/atlas/atlas.h"

static void put_recipe(const DhcRecipe *r, DhcText *t) {
  dhc_text_printf(t, "recipe %s batch %lld epochs %lld steps %lld accumulate %lld clip %a ema %a smoothing %a lr", r->optimizer, (long long)r->batch,
                  (long long)r->epochs, (long long)r->steps, (long long)r->accumulate, r->clip, r->ema, r->label_smoothing);
  for (int i = 0; i <= 16; i++) dhc_text_printf(t, " %a", dhc_recipe_lr(r, i * 6250, 100001));
  for (int i = 0; i < 8; i++) dhc_text_printf(t, " %a", dhc_recipe_lr(r, i * 20, 1000));
  for (int i = 0; i < r->optimizer_args.n; i++)
    dhc_text_printf(t, " %s %a", r->optimizer_args.at[i].name, r->optimizer_args.at[i].value);
  if (r->groups) dhc_text_printf(t, " groups %s", r->groups);
}

/* Float constants are scalars that their bits name: whoever takes one says so, and other entries made others. */
static void drop_constants(DhcModule *own) {
  const DhcModule was = *own;
  memset(&own->scalars, 0, sizeof own->scalars);
  for (int i = 0; i < was.scalars.n; i++) {
    const DhcScalarDecl *s = &was.scalars.at[i];
    uint64_t bits;
    char name[24];
    memcpy(&bits, &s->value, sizeof bits);
    snprintf(name, sizeof name, "$%016llx", (unsigned long long)bits);
    if (strcmp(s->name, name)) DHC_PUSH(own->arena, &own->scalars, *s);
  }
}

/* Everything that a run of it would compute: the graph of the loss with all it calls, tensors, how they begin, float
 * constants, and the recipe. Not the names under which hyperparameters said so, and not what else was elaborated. */
void atlas_hash_of(dhc_model *m, DhcFunc *loss, DhcArena *a, char out[17]) {
  DhcFunc *copy;
  DhcModule *own = dhc_module_extract(m->module, &loss, 1, &copy);
  for (int i = 0; i < own->funcs.n; i++) own->funcs.at[i]->name = dhc_arena_printf(own->arena, "f%d", i);
  DhcText t = {.arena = a};
  drop_constants(own);
  dhc_module_print(own, &t);
  for (int i = 0; i < m->module->tensors.n; i++)
    if (m->module->tensors.at[i].init) dhc_func_print(m->module->tensors.at[i].init, &t);
  put_recipe(dhc_model_recipe(m->m), &t);
  uint8_t digest[32];
  char hex[65];
  dhc_sha256_bytes(t.at, (size_t)t.n, digest);
  dhc_sha256_hex(digest, hex);
  memcpy(out, hex, 16);
  out[16] = 0;
}

static dhc_status hash_at(dhc_model *m, const char *sizes, DhcArena *a, char out[17]) {
  Sizes s;
  DHC_TRY(sizes_bind(m, "loss", sizes, true, a, &s));
  const DhcEntryRequest rq = {.name = "loss", .training = true, .inputs = s.input, .n_inputs = s.n_inputs,
                              .report = dhc_model_recipe(m->m)->report};
  DhcFunc *f = dhc_model_entry(m->m, &rq);
  if (!f) return session_errors(m->s);
  atlas_hash_of(m, f, a, out);
  return dhc_status_ok();
}

void atlas_variant_hash(dhc_model *m, const char *sizes, DhcArena *a, char out[17]) {
  dhc_session *s = m->s;
  const DhcEntryInfos entries = dhc_model_entries(m->m);
  bool trains = false;
  for (int i = 0; i < entries.n; i++) trains = trains || !strcmp(entries.at[i].name, "loss");
  snprintf(out, 17, "%.16s", m->hash);
  if (!trains) return;
  const DhcDiags said = s->diags; /* whoever asks for the entry hears what is wrong with it */
  s->diags = (DhcDiags){.arena = a, .sources = said.sources};
  dhc_status st = hash_at(m, sizes, a, out);
  (void)st; /* the model's, then */
  s->diags = said;
}
