/* Which run it is: its id, what it is made with, and what config.json says of both. A run that
 * goes on must be made with what it began with; what is not is refused by name. */
#include <math.h>
#include <stdlib.h>

#include "api/json.h"
#include "api/train/trainer.h"
#include "frontend/fmt.h"
#include "frontend/literal.h"
#include "runtime/number.h"

/* ---- texts -------------------------------------------------------------------------- */

/* Text for files that hold UTF-8: bytes that are none become '?'. */
static const char *clean(Trainer *t, const char *text) {
  char *copy = dhc_arena_strdup(&t->arena, text);
  size_t n = strlen(copy), bad, from = 0;
  while (from < n && (bad = dhc_utf8_invalid(copy + from, n - from)) < n - from) {
    copy[from + bad] = '?';
    from += bad + 1;
  }
  return copy;
}

static const char *number(Trainer *t, double v) {
  char text[DHC_NUMBER_CHARS];
  dhc_number_text(v, 9, 17, text);
  return dhc_arena_strdup(&t->arena, text);
}

static const char *digest_text(Trainer *t, DhcSha256 *h) {
  uint8_t digest[32];
  char hex[65];
  dhc_sha256_final(h, digest);
  dhc_sha256_hex(digest, hex);
  return dhc_arena_strndup(&t->arena, hex, 16);
}

/* ---- what a run is made with ----------------------------------------------------------- */

static RunSetting *add(Trainer *t, RunSettingKind kind, const char *name, const char *value) {
  DHC_PUSH(&t->arena, &t->settings, ((RunSetting){.kind = kind, .name = name, .value = value}));
  return &t->settings.at[t->settings.n - 1];
}

/* Rates at many places of runs of two lengths: schedules that agree there are taken for equal if
 * their texts are, or if one of them is a constant. */
static void add_rate(Trainer *t) {
  DhcSpan span = dhc_recipe_lr_span(t->set.recipe);
  const DhcSource *file = dhc_sources_get(&t->m->s->sources, span.file);
  bool constant = t->set.lr > 0 || !span.file || !file;
  const char *value = number(t, train_lr(&t->set, 0, 1));
  if (!constant)
    value = dhc_arena_printf(&t->arena, "schedule %.*s", (int)(span.end - span.begin), file->text + span.begin);
  DhcSha256 h;
  dhc_sha256_init(&h);
  for (int64_t i = 0; i < 232; i++) {
    int64_t step = i < 128 ? i : i < 192 ? (i - 128) * 1000 / 64 : INT64_C(1) << (i - 192);
    double v = train_lr(&t->set, step, i < 192 ? 1000 : INT64_C(1) << 40);
    dhc_sha256_update(&h, &v, sizeof v);
  }
  add(t, RUN_RATE, "lr", clean(t, value))->digest = digest_text(t, &h);
}

enum { DIGEST_BYTES = 64 << 20 };

/* The examples count, wherever they come from: all of them, or, of more than 64 MiB a field,
 * examples of so many bytes at even distances. */
static dhc_status add_data(Trainer *t) {
  DhcSha256 h;
  const dhc_exec *exec = dhc_pool_exec(t->m->s->pool);
  dhc_sha256_init(&h);
  DHC_TRY(dhc_dataset_digest(&t->train, DIGEST_BYTES, exec, &h));
  DHC_TRY(dhc_dataset_digest(&t->val, DIGEST_BYTES, exec, &h));
  add(t, RUN_DATA, "data", clean(t, t->o->data))->digest = digest_text(t, &h);
  return dhc_status_ok();
}

/* What the model is, beyond the parameters that its hash knows: its text and that of what it
 * imports, without comments, recipes and presets. */
static void add_model(Trainer *t) {
  const DhcAstProgram *p = dhc_elab_program(t->m->elab);
  DhcSha256 h;
  dhc_sha256_init(&h);
  for (int i = 0; i < p->modules.n; i++) {
    DhcAstModule m = *p->modules.at[i];
    m.decls = (DhcAstDecls){0};
    for (int k = 0; k < p->modules.at[i]->decls.n; k++) {
      DhcAstDecl *d = p->modules.at[i]->decls.at[k];
      if (d->kind != DHC_DE_RECIPE && d->kind != DHC_DE_PRESET) DHC_PUSH(&t->arena, &m.decls, d);
    }
    const char *text = dhc_ast_print(&t->arena, &m, NULL);
    dhc_sha256_update(&h, text, strlen(text) + 1);
  }
  add(t, RUN_PLAIN, "model", clean(t, t->m->name))->digest = digest_text(t, &h);
}

dhc_status trainer_settings(Trainer *t) {
  const DhcRecipe *r = t->set.recipe;
  const dhc_train_options *o = t->o;
  add_model(t);
  add(t, RUN_PLAIN, "optimizer", r->optimizer);
  for (int i = 0; i < r->optimizer_args.n; i++)
    add(t, RUN_OPTIMIZER, r->optimizer_args.at[i].name, number(t, r->optimizer_args.at[i].value));
  add(t, RUN_PLAIN, "seed", dhc_arena_printf(&t->arena, "%llu", (unsigned long long)t->seed));
  add_rate(t);
  add(t, RUN_PLAIN, "batch", dhc_arena_printf(&t->arena, "%lld", (long long)t->set.batch));
  add(t, RUN_PLAIN, "accumulate", dhc_arena_printf(&t->arena, "%lld", (long long)t->set.accumulate));
  add(t, RUN_LENGTH, "epochs", dhc_arena_printf(&t->arena, "%lld", (long long)t->set.epochs));
  add(t, RUN_LENGTH, "steps", dhc_arena_printf(&t->arena, "%lld", (long long)t->set.steps));
  add(t, RUN_TOTAL, "total-steps", dhc_arena_printf(&t->arena, "%lld", (long long)t->steps));
  add(t, RUN_PLAIN, "clip", number(t, t->set.clip));
  add(t, RUN_PLAIN, "ema", number(t, r->ema));
  add(t, RUN_PLAIN, "label_smoothing", number(t, r->label_smoothing));
  add(t, RUN_PLAIN, "groups", r->groups ? r->groups : "");
  add(t, RUN_PLAIN, "augment", t->feed.augment >= 0 ? "on" : "off");
  add(t, RUN_PLAIN, "shuffle", o->shuffle_off ? "off" : "on");
  if (o->init_from) add(t, RUN_PLAIN, "init-from", clean(t, o->init_from));
  /* the kind of device, not its number, and how it computes, where that is not exactly */
  add(t, RUN_PLAIN, "backend", session_backend_text(t->m->s, &t->arena));
  DhcText report = {.arena = &t->arena};
  for (int i = 0; r->report && r->report[i]; i++) dhc_text_printf(&report, "%s%s", i ? " " : "", r->report[i]);
  add(t, RUN_PLAIN, "report", clean(t, dhc_text_str(&report)));
  add(t, RUN_EXTENT, "limit", dhc_arena_printf(&t->arena, "%lld", (long long)o->limit));
  add(t, RUN_EXTENT, "val-fraction", t->val_file ? "a split of its own" : number(t, train_val_fraction(o)));
  DHC_TRY(add_data(t));
  DhcHyperInfos h = dhc_model_hypers(t->m->m);
  for (int i = 0; i < h.n; i++) add(t, RUN_MODEL, h.at[i].name, clean(t, h.at[i].value));
  return dhc_status_ok();
}

/* Under which name a setting is kept: hyperparameters may be called like anything else. */
static const char *key_of(DhcArena *a, const RunSetting *s, const char *suffix) {
  return dhc_arena_printf(a, "%s%s%s", s->kind == RUN_MODEL ? "set." : "", s->name, suffix);
}

/* ---- what was recorded ------------------------------------------------------------------- */

static const char *recorded(Trainer *t, const RunRecord *r, const char *key) {
  if (r->checkpoint) return dhc_checkpoint_text(r->checkpoint, dhc_arena_printf(&t->arena, "run.%s", key));
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(r->config, key));
}

int trainer_setting_pairs(Trainer *t, DhcArena *a, DhcMetaPair *out) {
  int n = 0;
  for (int i = 0; i < t->settings.n; i++) {
    const RunSetting *s = &t->settings.at[i];
    out[n++] = (DhcMetaPair){dhc_arena_printf(a, "run.%s", key_of(a, s, "")), s->value};
    if (s->digest) out[n++] = (DhcMetaPair){dhc_arena_printf(a, "run.%s", key_of(a, s, ".digest")), s->digest};
  }
  return n;
}

/* ---- comparing ------------------------------------------------------------------------------ */

typedef struct Compare {
  Trainer *t;
  const RunRecord *record;
  DhcText said, names; /* what differs and is not allowed to */
  bool extent, optimizer; /* limit or val-fraction differ: so do the data; the optimizer: so do its arguments */
  bool steppers;          /* which groups have optimisers of their own, or which */
} Compare;

static bool listed(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *at = list; at && (at = strstr(at, name)); at += n)
    if ((at == list || at[-1] == ',') && (!at[n] || at[n] == ',')) return true;
  return false;
}

bool trainer_allows(const Trainer *t, const char *name) {
  return listed(t->o->allow_changed, name);
}

/* Where two long texts begin to differ: at a word. */
static size_t first_difference(const char *a, const char *b) {
  size_t word = 0;
  for (size_t i = 0; a[i] && a[i] == b[i]; i++)
    if (a[i] == ' ') word = i;
  return word < 40 ? 0 : word;
}

static void differs(Compare *c, const char *name, const char *was, const char *is) {
  if (trainer_allows(c->t, name) || listed(dhc_text_str(&c->names), name)) return;
  const size_t from = first_difference(was, is);
  const char *gap = from ? "…" : "";
  dhc_text_printf(&c->said, "%s%s: %s%.60s in the run, %s%.60s now", *dhc_text_str(&c->said) ? "; " : "", name, gap, was + from, gap, is + from);
  dhc_text_printf(&c->names, "%s%s", *dhc_text_str(&c->names) ? "," : "", name);
}

static bool is_schedule(const char *value) {
  return !strncmp(value, "schedule ", 9);
}

/* A run of another length is the same run as long as the rates of its steps so far are. */
static void compare_length(Compare *c) {
  Trainer *t = c->t;
  const char *total = recorded(t, c->record, "total-steps");
  int64_t was = total ? strtoll(total, NULL, 10) : 0, done = t->step, every = done / 100000 + 1;
  bool same = was == t->steps || t->set.lr > 0 || trainer_allows(t, "lr") || trainer_allows(t, "epochs") || trainer_allows(t, "steps");
  if (was < 1) return;
  for (int64_t s = 0; s < done && !same; s += every)
    if (train_lr(&t->set, s, was) != train_lr(&t->set, s, t->steps)) {
      for (int i = 0; i < t->settings.n; i++) {
        const RunSetting *x = &t->settings.at[i];
        const char *old = x->kind == RUN_LENGTH ? recorded(t, c->record, x->name) : NULL;
        if (old && strcmp(old, x->value)) differs(c, x->name, old, x->value);
      }
      if (!*dhc_text_str(&c->names)) differs(c, "steps", total, dhc_arena_printf(&t->arena, "%lld", (long long)t->steps));
      return;
    }
}

/* Of the text of groups what says whose state an optimiser's is. */
static const char *steppers(Trainer *t, const char *groups) {
  DhcText all = {.arena = &t->arena};
  for (const char *at = groups; *at;) {
    const size_t n = strcspn(at, " ");
    const bool setting = memchr(at, '=', n) != NULL, own = !strncmp(at, "optimizer=", strlen("optimizer="));
    if (!setting || own) dhc_text_printf(&all, "%.*s ", (int)n, at);
    at += n + (at[n] == ' ');
  }
  return dhc_text_str(&all);
}

static void compare_one(Compare *c, const RunSetting *s) {
  Trainer *t = c->t;
  const char *was = recorded(t, c->record, key_of(&t->arena, s, ""));
  const char *digest = s->digest ? recorded(t, c->record, key_of(&t->arena, s, ".digest")) : NULL;
  if (!was && !strcmp(s->name, "accumulate")) was = "1"; /* of a version before it */
  bool same = was && !strcmp(was, s->value);
  if (s->digest && digest) same = !strcmp(digest, s->digest);
  if (s->kind == RUN_RATE && was && is_schedule(was) && is_schedule(s->value)) same = same && !strcmp(was, s->value);
  if (same || s->kind == RUN_LENGTH || s->kind == RUN_TOTAL) return;
  if (s->kind == RUN_EXTENT) c->extent = true;
  if (!strcmp(s->name, "optimizer")) c->optimizer = true;
  if (!strcmp(s->name, "groups") && was) c->steppers = strcmp(steppers(t, was), steppers(t, s->value)) != 0;
  if ((s->kind == RUN_DATA && c->extent) || (s->kind == RUN_OPTIMIZER && c->optimizer)) return;
  const char *is = s->value;
  if (s->digest && was && !strcmp(was, is)) {
    was = dhc_arena_printf(&t->arena, "%.40s (%s)", was, digest ? digest : "?");
    is = dhc_arena_printf(&t->arena, "%.40s (%s)", is, s->digest);
  }
  differs(c, s->name, was ? was : "none", is);
}

/* The model: its hash says whether the weights fit, hyperparameters say why not. */
static dhc_status compare_model(Compare *c, const char *path, const char *hash) {
  Trainer *t = c->t;
  if (!hash || !strcmp(hash, t->m->hash) || trainer_allows(t, "model")) return dhc_status_ok();
  DhcText why = {.arena = &t->arena};
  for (int i = 0; i < t->settings.n; i++) {
    const RunSetting *s = &t->settings.at[i];
    const char *was = s->kind == RUN_MODEL ? recorded(t, c->record, key_of(&t->arena, s, "")) : NULL;
    if (was && strcmp(was, s->value)) dhc_text_printf(&why, "; %s: %.40s in the run, %.40s now", s->name, was, s->value);
  }
  return dhc_status_make(DHC_E_INPUT, "%s was made for model %.8s, this model is %.8s%s", path, hash, t->m->hash, dhc_text_str(&why));
}

dhc_status trainer_compare(Trainer *t, const RunRecord *record, const char *path, const char *model_hash) {
  Compare c = {.t = t, .record = record, .said = {.arena = &t->arena}, .names = {.arena = &t->arena}};
  DHC_TRY(compare_model(&c, path, model_hash));
  for (int i = 0; i < t->settings.n; i++) compare_one(&c, &t->settings.at[i]);
  compare_length(&c);
  if (*dhc_text_str(&c.names))
    return dhc_status_make(DHC_E_INPUT, "%s: --resume: %s (give what the run has, or --allow-changed %s)", t->o->out,
                           dhc_text_str(&c.said), dhc_text_str(&c.names));
  if (t->step > t->steps)
    return dhc_status_make(DHC_E_INPUT, "%s: --resume: the run has done %lld steps, asked for are %lld in all", t->o->out,
                           (long long)t->step, (long long)t->steps);
  t->new_optimizer = c.optimizer || c.steppers;
  return dhc_status_ok();
}

dhc_status trainer_check_allowed(Trainer *t) {
  const char *list = t->o->allow_changed;
  if (!list) return dhc_status_ok();
  if (!t->o->resume) return dhc_status_make(DHC_E_USAGE, "--allow-changed: only a run that goes on (--resume) can have changes");
  const char **names = DHC_NEW_N(&t->arena, const char *, t->settings.n + 1);
  int n = 0;
  for (int i = 0; i < t->settings.n; i++)
    if (t->settings.at[i].kind != RUN_TOTAL) names[n++] = t->settings.at[i].name;
  for (const char *at = list; *at;) {
    size_t length = strcspn(at, ",");
    const char *word = dhc_arena_strndup(&t->arena, at, length);
    bool known = false;
    for (int i = 0; i < n; i++) known = known || !strcmp(names[i], word);
    const char *near = known ? NULL : dhc_suggest(word, names, n);
    if (!known)
      return dhc_status_make(DHC_E_USAGE, "--allow-changed: a run has no '%.60s'%s%s%s", word, near ? " (did you mean '" : "",
                             near ? near : "", near ? "'?)" : "");
    at += length + (at[length] == ',');
  }
  return dhc_status_ok();
}

/* ---- config.json ----------------------------------------------------------------------------- */

static const char *setting_value(const Trainer *t, const char *name) {
  for (int i = 0; i < t->settings.n; i++)
    if (!strcmp(t->settings.at[i].name, name) && t->settings.at[i].kind != RUN_MODEL) return t->settings.at[i].value;
  return "";
}

void trainer_set_command(Trainer *t, const char *command) {
  t->command = clean(t, command ? command : "");
}

const char *trainer_config_path(Trainer *t) {
  return dhc_arena_printf(&t->arena, "%s/config.json", t->o->out);
}

/* The same bytes for a run that was stopped and one that was not, but for the id. */
dhc_status trainer_write_config(Trainer *t) {
  const char *path = trainer_config_path(t), *model = clean(t, t->m->name);
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "dhcc", dhc_version());
  json_text(&d, d.root, "run_id", t->run_id);
  json_text(&d, d.root, "command", t->command);
  if (*t->replaces) json_text(&d, d.root, "replaces", t->replaces);
  json_text(&d, d.root, "model", model);
  json_text(&d, d.root, "model_hash", t->m->hash);
  json_text(&d, d.root, "data", setting_value(t, "data"));
  json_number(&d, d.root, "batch", (double)t->set.batch);
  json_number(&d, d.root, "epochs", (double)t->epochs);
  json_number(&d, d.root, "steps", (double)t->steps);
  json_number(&d, d.root, "seed", (double)t->seed);
  json_text(&d, d.root, "optimizer", setting_value(t, "optimizer"));
  cJSON *hypers = json_object(&d, d.root, "hyperparameters");
  for (int i = 0; i < t->settings.n; i++)
    if (t->settings.at[i].kind == RUN_MODEL) json_text(&d, hypers, t->settings.at[i].name, t->settings.at[i].value);
  cJSON *run = json_object(&d, d.root, "run");
  for (int i = 0; i < t->settings.n; i++) {
    const RunSetting *s = &t->settings.at[i];
    json_text(&d, run, key_of(&t->arena, s, ""), s->value);
    if (s->digest) json_text(&d, run, key_of(&t->arena, s, ".digest"), s->digest);
  }
  char *text;
  dhc_status st = json_end(&d, dhc_status_ok(), true, &text);
  if (st.code == DHC_OK) st = dhc_file_replace(path, text, strlen(text));
  free(text);
  return st;
}

/* The folder's config.json; *out NULL where there is none, or one that names no run. */
dhc_status trainer_read_config(Trainer *t, cJSON **out) {
  *out = NULL;
  const char *path = trainer_config_path(t);
  DhcMapping map;
  dhc_status st = dhc_map_open(path, &map);
  if (st.code == DHC_OK) {
    *out = cJSON_ParseWithLength((const char *)map.bytes, map.n_bytes);
    dhc_map_close(&map);
  }
  const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(*out, "run_id"));
  bool named = id && strlen(id) == DHC_RUN_ID_CHARS - 1 && strspn(id, "0123456789abcdef") == DHC_RUN_ID_CHARS - 1;
  if (!named) {
    if (st.code == DHC_OK) st = dhc_status_make(DHC_E_INPUT, "%s: names no run", path);
    if (st.code == DHC_E_INPUT) dhc_warn(&t->m->s->warn, DHC_WARN_WARNING, "%s; checkpoints say whose the folder is", st.message);
    cJSON_Delete(*out);
    *out = NULL;
  }
  return st.code == DHC_E_ENVIRONMENT ? st : dhc_status_ok();
}
