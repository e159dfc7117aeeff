/* The folder of a run: who may write there, what lies there already, beginning and going on. A
 * used folder stays as it is until there is something to put in its place. */
#include <stdlib.h>
#include <unistd.h>

#include "api/json.h"
#include "api/train/trainer.h"

dhc_status trainer_open_folder(Trainer *t) {
  const dhc_train_options *o = t->o;
  if (o->resume && o->overwrite) return dhc_status_make(DHC_E_USAGE, "--resume and --overwrite exclude each other");
  if (!o->out && (o->resume || o->overwrite))
    return dhc_status_make(DHC_E_USAGE, "--%s needs --out DIR", o->resume ? "resume" : "overwrite");
  trainer_set_command(t, o->command);
  t->replaces = "";
  DHC_TRY(dhc_run_id_draw(t->run_id));
  if (!o->out) return dhc_status_ok();
  DHC_TRY(dhc_run_folder_of_run(o->out));
  DHC_TRY(dhc_run_folder_open(o->out, !o->resume, &t->m->s->warn, &t->folder));
  char name[DHC_RUN_FILE_CHARS];
  DHC_TRY(dhc_run_folder_used(o->out, &t->used, name));
  if (t->used && !o->resume && !o->overwrite)
    return dhc_status_make(DHC_E_INPUT, "%s: holds a run already (%s): --resume goes on with it, --overwrite replaces it", o->out, name);
  return dhc_status_ok();
}

/* ---- going on ---------------------------------------------------------------------------- */

/* Runs that this one was told to replace, should it have been killed while it did. */
static void finish_replacing(Trainer *t) {
  for (const char *at = t->replaces; *at;) {
    size_t n = strcspn(at, " ");
    dhc_checkpoint_remove_run(t->o->out, dhc_arena_strndup(&t->arena, at, n));
    at += n + (at[n] == ' ');
  }
}

static void take_identity(Trainer *t, const char *id, const char *command) {
  snprintf(t->run_id, sizeof t->run_id, "%s", id);
  if (command) trainer_set_command(t, command);
}

static dhc_status go_on_from(Trainer *t, const DhcCheckpoint *c) {
  RunRecord record = {.checkpoint = c};
  t->step = c->meta.step;
  DHC_TRY(trainer_compare(t, &record, dhc_safetensors_path(c->file), c->meta.model_hash));
  take_identity(t, c->meta.run_id, dhc_checkpoint_text(c, "run.command"));
  return trainer_load(t, c);
}

/* A run that was killed before its first checkpoint. */
static dhc_status go_on_from_nothing(Trainer *t, const cJSON *config) {
  const char *out = t->o->out;
  if (!config && t->used)
    return dhc_status_make(DHC_E_INPUT, "%s: holds no run to go on with: neither checkpoints nor a config.json of one", out);
  int64_t other = -1;
  if (config) DHC_TRY(dhc_checkpoint_newest(out, &other));
  if (other >= 0)
    return dhc_status_make(DHC_E_INPUT, "%s: config.json names a run of which there is no checkpoint; those that lie there are another's", out);
  if (config) {
    RunRecord record = {.config = cJSON_GetObjectItemCaseSensitive(config, "run")};
    const char *hash = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(config, "model_hash"));
    DHC_TRY(trainer_compare(t, &record, trainer_config_path(t), hash));
    take_identity(t, cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(config, "run_id")),
                  cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(config, "command")));
  }
  dhc_warn(&t->m->s->warn, DHC_WARN_WARNING, "%s: has no checkpoint of %s yet; it begins at step 1", out, config ? "its run" : "a run");
  t->used = false;
  return dhc_status_ok();
}

static void drop_config(void *config) {
  cJSON_Delete(config);
}

static void drop_checkpoint(void *checkpoint) {
  dhc_checkpoint_close(checkpoint);
}

static dhc_status go_on(Trainer *t, const cJSON *config) {
  const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(config, "run_id"));
  const char *replaces = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(config, "replaces"));
  if (replaces) t->replaces = dhc_arena_strdup(&t->arena, replaces);
  finish_replacing(t);
  DhcCheckpoint c;
  dhc_status st = dhc_checkpoint_open_latest(t->o->out, id, &t->m->s->warn, &c);
  if (st.code == DHC_OK && c.file) {
    DhcHeld held;
    dhc_hold(&held, drop_checkpoint, &c);
    st = go_on_from(t, &c);
    dhc_release(&held);
    dhc_checkpoint_close(&c);
  } else if (st.code == DHC_OK) {
    st = go_on_from_nothing(t, config);
  }
  return st;
}

dhc_status trainer_go_on(Trainer *t) {
  cJSON *config = NULL;
  DhcHeld held;
  if (t->used) DHC_TRY(trainer_read_config(t, &config));
  dhc_hold(&held, drop_config, config);
  dhc_status st = go_on(t, config);
  dhc_release(&held);
  cJSON_Delete(config);
  return st;
}

/* ---- beginning --------------------------------------------------------------------------- */

typedef struct Ids {
  DhcText text;
} Ids;

static void add_id(void *ctx, const char *run_id) {
  DhcText *to = &((Ids *)ctx)->text;
  if (!strstr(dhc_text_str(to), run_id)) dhc_text_printf(to, "%s%s", *dhc_text_str(to) ? " " : "", run_id);
}

/* What another run has left. The config goes first and says so: a kill in between leaves a
 * folder that is this run's, and --resume goes on with the removing. */
static dhc_status replace_files(Trainer *t) {
  static const char *const files[] = {"metrics.csv", "metrics.jsonl", "best.safetensors", "last.safetensors", "init.json", TRAIN_EVENTS_FILE, "curve.svg"};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) (void)unlink(dhc_arena_printf(&t->arena, "%s/%s", t->o->out, files[i]));
  if (t->used)
    dhc_checkpoint_remove_run(t->o->out, NULL);
  else
    finish_replacing(t);
  return dhc_status_ok();
}

dhc_status trainer_begin_files(Trainer *t) {
  if (!t->o->out || t->begun) return dhc_status_ok();
  if (t->used && !t->saved.any) {
    Ids ids = {{.arena = &t->arena}};
    dhc_checkpoint_runs(t->o->out, add_id, &ids);
    t->replaces = dhc_text_str(&ids.text);
  }
  DHC_TRY(trainer_write_config(t));
  DHC_TRY(package_write(t->m, dhc_arena_printf(&t->arena, "%s/%s", t->o->out, DHC_PACKAGE_FILE), t->data->classes,
                        t->data->n_classes));
  t->begun = true;
  if (!t->saved.any) {
    DHC_TRY(replace_files(t));
    return trainer_write_origins(t);
  }
  dhc_checkpoint_prune(t->o->out, t->run_id, t->saved.step, t->saved.stop, TRAIN_KEPT);
  return dhc_status_ok();
}
