/* What a run of reinforcement learning leaves: checkpoints from which it goes on bit for bit, metrics, weights. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/json.h"
#include "api/rl/rl.h"

enum { KEPT = 2 };
#define RL_PREFIX "rl."

static const char *const columns[RL_N_COLUMNS] = {"step",    "rollout", "episodes",           "return", "length",    "policy_loss", "value_loss", "entropy",
                                                  "kl",      "clipped", "explained_variance", "lr",     "grad_norm", "steps_s",     "time_s"};

static const char *file_of(Rl *r, const char *name) {
  return dhc_arena_printf(&r->arena, "%s/%s", r->o->out, name);
}

/* ---- settings ----------------------------------------------------------------------------- */

/* All that the course of a run depends on beside the model, a line each. */
static const char *settings(Rl *r) {
  const DhcRecipe *c = r->recipe;
  DhcText t = {.arena = &r->arena};
  dhc_text_printf(&t, "env=%s\nsteps=%" PRId64 "\nseed=%" PRIu64 "\n", r->o->env, r->total * r->n * r->horizon, r->o->seed);
  for (int i = 0; i < r->o->n_env_sets; i++) dhc_text_printf(&t, "env.%s\n", r->o->env_sets[i]);
  dhc_text_printf(&t, "optimizer=%s\nbatch=%" PRId64 "\nepochs=%" PRId64 "\nclip=%.17g\n", c->optimizer, c->batch, c->epochs, c->clip);
  for (int i = 0; i < c->optimizer_args.n; i++) dhc_text_printf(&t, "%s=%.17g\n", c->optimizer_args.at[i].name, c->optimizer_args.at[i].value);
  if (c->groups) dhc_text_printf(&t, "groups=%s\n", c->groups);
  for (int i = 0; i < 5; i++) dhc_text_printf(&t, "lr.%d=%.17g\n", i, dhc_recipe_lr(c, i * (r->total - 1) / 4, r->total));
#define ROLLOUT(name, whole, usual, low, high, text) dhc_text_printf(&t, #name "=%.17g\n", c->rollout.name);
#include "frontend/rollout.def"
#undef ROLLOUT
  return dhc_text_str(&t);
}

static dhc_status same_settings(Rl *r, const char *was, const char *path) {
  const char *now = settings(r);
  while (*was && *now) {
    size_t a = strcspn(was, "\n"), b = strcspn(now, "\n");
    if (a != b || strncmp(was, now, a))
      return dhc_status_make(DHC_E_INPUT, "%s: the run has %.*s, this asks for %.*s", path, (int)a, was, (int)b, now);
    was += a + (was[a] == '\n');
    now += b + (now[b] == '\n');
  }
  return dhc_status_ok();
}

/* ---- what a checkpoint holds beside the weights --------------------------------------------------- */

typedef struct Block {
  const char *name;
  int32_t dtype;
  int64_t n;
  void *data;
} Block;
enum { N_BLOCKS = 9 };

static int blocks(Rl *r, unsigned char *envs, double *numbers, Block **out) {
  const Block fixed[N_BLOCKS] = {
      {"numbers", DHC_F64, 8, numbers},
      {"observation.mean", DHC_F64, r->n_obs, r->seen_stats.mean},
      {"observation.squares", DHC_F64, r->n_obs, r->seen_stats.squares},
      {"return.mean", DHC_F64, 1, r->return_stats.mean},
      {"return.squares", DHC_F64, 1, r->return_stats.squares},
      {"discounted", DHC_F64, r->n, r->discounted},
      {"recent.return", DHC_F64, RL_RECENT, r->recent},
      {"recent.length", DHC_F64, RL_RECENT, r->recent_length},
      {"environments", DHC_U8, dhc_envs_state_bytes(r->envs), envs},
  };
  Block *all = *out = DHC_NEW_N(&r->arena, Block, N_BLOCKS + r->n_carried);
  memcpy(all, fixed, sizeof fixed);
  int n = N_BLOCKS;
  for (int i = 0; i < r->n_carried; i++)
    all[n++] = (Block){dhc_arena_printf(&r->arena, "state.%s", r->carried[i].path), DHC_U8, r->carried[i].row * r->n, r->carried[i].now};
  return n;
}

static void numbers_out(const Rl *r, double to[8]) {
  const double all[8] = {r->seen_stats.count, r->return_stats.count, (double)r->rollouts, (double)r->updates, (double)r->episodes,
                         r->pr.kl, r->pr.lr, 0};
  memcpy(to, all, sizeof all);
}

static void numbers_in(Rl *r, const double from[8]) {
  r->seen_stats.count = from[0];
  r->return_stats.count = from[1];
  r->rollouts = (int64_t)from[2];
  r->updates = (int64_t)from[3];
  r->episodes = (int64_t)from[4];
  r->pr.kl = from[5];
  r->pr.lr = from[6];
}

static dhc_status begin_files(Rl *r) {
  if (r->begun) return dhc_status_ok();
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "dhcc", dhc_version());
  json_text(&d, d.root, "run_id", r->run_id);
  json_text(&d, d.root, "command", r->command ? r->command : "");
  json_text(&d, d.root, "model", r->m->name);
  json_text(&d, d.root, "model_hash", r->m->hash);
  json_text(&d, d.root, "env", r->o->env);
  json_text(&d, d.root, "assets", r->o->assets ? r->o->assets : "");
  struct cJSON *sets = json_array(&d, d.root, "env_set");
  for (int i = 0; i < r->o->n_env_sets; i++) json_text(&d, sets, NULL, r->o->env_sets[i]);
  json_number(&d, d.root, "steps", (double)(r->total * r->n * r->horizon));
  json_number(&d, d.root, "seed", (double)r->seed);
  json_text(&d, d.root, "rl", settings(r));
  char *text;
  dhc_status st = json_end(&d, dhc_status_ok(), true, &text);
  if (st.code == DHC_OK) st = dhc_file_replace(file_of(r, "config.json"), text, strlen(text));
  free(text);
  if (st.code == DHC_OK) st = package_write(r->m, file_of(r, DHC_PACKAGE_FILE), NULL, 0);
  if (st.code != DHC_OK) return st;
  r->begun = true;
  if (r->any_saved) return dhc_status_ok();
  static const char *const old[] = {"metrics.csv", "metrics.jsonl", "best.safetensors", "last.safetensors"};
  for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) (void)unlink(file_of(r, old[i]));
  if (r->used) dhc_checkpoint_remove_run(r->o->out, NULL);
  return dhc_status_ok();
}

dhc_status keep_save(Rl *r, bool stop) {
  if (!r->o->out || (r->any_saved && r->saved == r->rollouts)) return dhc_status_ok();
  DHC_TRY(begin_files(r));
  if (r->log) DHC_TRY(dhc_metrics_sync(r->log));
  DhcArena a;
  dhc_arena_init(&a);
  unsigned char *envs = DHC_NEW_N(&a, unsigned char, dhc_envs_state_bytes(r->envs));
  dhc_envs_save(r->envs, envs);
  double numbers[8];
  Block *block;
  numbers_out(r, numbers);
  int n_blocks = blocks(r, envs, numbers, &block), n;
  DhcTensorView *weights;
  dhc_status st = weights_all(r->p, NULL, &a, &weights, &n);
  DhcTensorView *all = DHC_NEW_N(&a, DhcTensorView, n + n_blocks);
  if (st.code == DHC_OK) memcpy(all, weights, sizeof *all * (size_t)n);
  for (int i = 0; i < n_blocks; i++) {
    DhcTensorView *v = &all[n + i];
    *v = (DhcTensorView){.name = dhc_arena_printf(&a, RL_PREFIX "%s", block[i].name), .dtype = block[i].dtype, .rank = 1, .data = block[i].data};
    v->shape[0] = block[i].n;
    v->bytes = block[i].n * (block[i].dtype == DHC_U8 ? 1 : 8);
  }
  const DhcMetaPair more[] = {{RL_PREFIX "settings", settings(r)}, {"run.command", r->command ? r->command : ""}};
  const DhcCheckpointMeta meta = {.step = r->rollouts * r->n * r->horizon, .rng_seed = r->seed, .model_hash = r->m->hash, .run_id = r->run_id,
                                  .stop = stop, .more = more, .n_more = 2};
  if (st.code == DHC_OK) st = dhc_checkpoint_save(r->o->out, &meta, all, n + n_blocks, KEPT, &r->m->s->warn);
  dhc_arena_fini(&a);
  if (st.code != DHC_OK) return st;
  r->any_saved = true;
  r->saved = r->rollouts;
  return st;
}

static const char no_checkpoint[] = "is no checkpoint of reinforcement learning";

/* ---- going on ------------------------------------------------------------------------------- */

static dhc_status read_block(Rl *r, const DhcSafetensors *f, const Block *b) {
  const DhcTensorView *v = dhc_safetensors_find(f, dhc_arena_printf(&r->arena, RL_PREFIX "%s", b->name));
  if (!v || v->dtype != b->dtype || v->rank != 1 || v->shape[0] != b->n) return dhc_status_file(dhc_safetensors_path(f), no_checkpoint);
  memcpy(b->data, v->data, (size_t)v->bytes);
  return dhc_status_ok();
}

static dhc_status read_all(Rl *r, const DhcCheckpoint *c) {
  const char *path = dhc_safetensors_path(c->file), *was = dhc_checkpoint_text(c, RL_PREFIX "settings");
  if (!was) return dhc_status_file(path, no_checkpoint);
  DHC_TRY(same_settings(r, was, path));
  if (strcmp(c->meta.model_hash, r->m->hash)) return dhc_status_make(DHC_E_INPUT, "%s: was made for another model", path);
  DHC_TRY(weights_read(r->p, c->file, "", DHC_WEIGHTS, false, true));
  for (int i = 0; i < dhc_prog_layout(r->p->run)->n_ranges; i++) DHC_TRY(weights_read_range(r->p, c->file, i));
  unsigned char *envs = DHC_NEW_N(&r->arena, unsigned char, dhc_envs_state_bytes(r->envs));
  double numbers[8];
  Block *block;
  int n = blocks(r, envs, numbers, &block);
  for (int i = 0; i < n; i++) DHC_TRY(read_block(r, c->file, &block[i]));
  numbers_in(r, numbers);
  dhc_envs_load(r->envs, envs, &r->now);
  snprintf(r->run_id, sizeof r->run_id, "%s", c->meta.run_id);
  const char *command = dhc_checkpoint_text(c, "run.command");
  if (command) r->command = dhc_arena_strdup(&r->arena, command);
  r->any_saved = true;
  r->saved = r->rollouts;
  return carried_put(r);
}

static void drop_checkpoint(void *c) {
  dhc_checkpoint_close(c);
}

static dhc_status go_on(Rl *r) {
  DhcCheckpoint c;
  DHC_TRY(dhc_checkpoint_open_latest(r->o->out, NULL, &r->m->s->warn, &c));
  if (!c.file) {
    dhc_warn(&r->m->s->warn, DHC_WARN_WARNING, "%s: has no checkpoint of a run yet; it begins at step 1", r->o->out);
    return dhc_status_ok();
  }
  DhcHeld held;
  dhc_hold(&held, drop_checkpoint, &c);
  dhc_status st = read_all(r, &c);
  dhc_release(&held);
  dhc_checkpoint_close(&c);
  return st;
}

dhc_status keep_open(Rl *r) {
  const dhc_rl_options *o = r->o;
  if (o->resume && o->overwrite) return dhc_status_make(DHC_E_USAGE, "--resume and --overwrite exclude each other");
  if (!o->out && (o->resume || o->overwrite)) return dhc_status_make(DHC_E_USAGE, "--%s needs --out DIR", o->resume ? "resume" : "overwrite");
  r->command = o->command;
  DHC_TRY(dhc_run_id_draw(r->run_id));
  if (!o->out) return dhc_status_ok();
  DHC_TRY(dhc_run_folder_of_run(o->out));
  DHC_TRY(dhc_run_folder_open(o->out, !o->resume, &r->m->s->warn, &r->folder));
  char name[DHC_RUN_FILE_CHARS];
  DHC_TRY(dhc_run_folder_used(o->out, &r->used, name));
  if (r->used && !o->resume && !o->overwrite)
    return dhc_status_make(DHC_E_INPUT, "%s: holds a run already (%s): --resume goes on with it, --overwrite replaces it", o->out, name);
  return o->resume ? go_on(r) : dhc_status_ok();
}

/* ---- metrics and weights ----------------------------------------------------------------------- */

dhc_status keep_row(Rl *r) {
  if (!r->o->out) return dhc_status_ok();
  DHC_TRY(begin_files(r));
  if (!r->log) {
    int64_t kept;
    DHC_TRY(dhc_metrics_open(file_of(r, "metrics.csv"), file_of(r, "metrics.jsonl"), columns, RL_N_COLUMNS, 0, r->any_saved, &r->log));
    if (r->any_saved) DHC_TRY(dhc_metrics_keep(r->log, r->rollouts - 1, &kept));
  }
  const dhc_rl_progress *p = &r->pr;
  const double row[RL_N_COLUMNS] = {(double)p->steps, (double)p->rollouts, (double)p->episodes,   p->mean_return, p->mean_length,
                                    p->policy_loss,   p->value_loss,       p->entropy,            p->kl,          p->clipped,
                                    p->explained_variance, p->lr,          p->grad_norm,          p->steps_per_s, p->seconds};
  return dhc_metrics_row(r->log, row, NULL);
}

dhc_status keep_end(Rl *r) {
  if (!r->o->out) return dhc_status_ok();
  DHC_TRY(begin_files(r));
  return dhc_program_save(r->p, file_of(r, "last.safetensors"), false);
}
