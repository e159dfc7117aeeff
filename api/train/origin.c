/* A run that begins with the weights of another: which tensors those are. */
#include <stdlib.h>

#include "api/json.h"
#include "api/train/trainer.h"
#include "runtime/io.h"

static const char *const kinds[] = {[DHC_KEPT] = "kept", [DHC_RESHAPED] = "reshaped", [DHC_FRESH] = "fresh"};

static void add(void *ctx, dhc_transplant_kind kind, const char *name, const char *why) {
  Trainer *t = ctx;
  TrainerOrigin o = {kind, dhc_arena_strdup(&t->arena, name), dhc_arena_strdup(&t->arena, why)};
  DHC_PUSH(&t->arena, &t->origins, o);
}

/* "fresh: a, b, …", as much of it as a line holds. */
static void name_some(const Trainer *t, dhc_transplant_kind kind, char *to, size_t size) {
  size_t at = 0;
  int more = 0;
  for (int i = 0; i < t->origins.n; i++) {
    const TrainerOrigin *o = &t->origins.at[i];
    if (o->kind != kind) continue;
    int n = snprintf(to + at, size - at, "%s%s", at ? ", " : "", o->name);
    if (n < 0 || (size_t)n + 20 > size - at) {
      more++;
      to[at] = '\0';
    } else {
      at += (size_t)n;
    }
  }
  if (more) snprintf(to + at, size - at, ", %d more", more);
}

dhc_status trainer_transplant(Trainer *t) {
  int count[3] = {0};
  t->origins.n = 0;
  DHC_TRY(dhc_program_transplant(t->p, t->o->init_from, add, t));
  for (int i = 0; i < t->origins.n; i++) count[t->origins.at[i].kind]++;
  if (!count[DHC_KEPT] && !count[DHC_RESHAPED])
    return dhc_status_make(DHC_E_INPUT, "--init-from %s: nothing in it fits %s", t->o->init_from, t->m->name);
  const DhcWarn *w = &t->m->s->warn;
  dhc_warn(w, DHC_WARN_NOTE, "--init-from: %d tensors kept, %d reshaped, %d fresh", count[DHC_KEPT], count[DHC_RESHAPED], count[DHC_FRESH]);
  for (int k = DHC_RESHAPED; k <= DHC_FRESH; k++) {
    char names[300] = "";
    name_some(t, (dhc_transplant_kind)k, names, sizeof names);
    if (*names) dhc_warn(w, DHC_WARN_NOTE, "%s: %s", kinds[k], names);
  }
  return dhc_status_ok();
}

dhc_status trainer_write_origins(Trainer *t) {
  if (!t->origins.n) return dhc_status_ok();
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "from", t->o->init_from);
  cJSON *rows = json_array(&d, d.root, "tensors");
  for (int i = 0; i < t->origins.n; i++) {
    const TrainerOrigin *o = &t->origins.at[i];
    cJSON *row = json_object(&d, rows, NULL);
    json_text(&d, row, "name", o->name);
    json_text(&d, row, "origin", kinds[o->kind]);
    if (*o->why) json_text(&d, row, "why", o->why);
  }
  char *text;
  dhc_status st = json_end(&d, dhc_status_ok(), true, &text);
  if (st.code == DHC_OK) st = dhc_file_replace(dhc_arena_printf(&t->arena, "%s/init.json", t->o->out), text, strlen(text));
  free(text);
  return st;
}
