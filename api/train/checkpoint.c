/* Checkpoints of a training run: what makes it go on as if it had never stopped. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "api/train/trainer.h"

/* ---- what is no tensor -------------------------------------------------------------------- */

/* Everything that a row of the metrics or a decision of the loop depends on, beside the tensors. */
typedef struct Field {
  const char *key;
  double *real; /* kept as the 16 hex digits of its bits: exact, NaN too, whatever the locale */
  int64_t *whole;
} Field;
enum { N_FIELDS = TRAIN_N_FIELDS };

static void fields(Trainer *t, Field out[N_FIELDS]) {
  const Field all[N_FIELDS] = {
      {"state.best", &t->best, NULL},
      {"state.best_loss", &t->best_loss, NULL},
      {"state.epoch", NULL, &t->pr.epoch},
      {"state.epoch_loss", &t->epoch_loss, NULL},
      {"state.epoch_metric", &t->epoch_metric, NULL},
      {"state.epoch_n", NULL, &t->epoch_n},
      {"state.first_step", NULL, &t->first_step},
      {"state.rows", NULL, &t->rows},
      {"state.last.loss", &t->pr.loss, NULL},
      {"state.last.accuracy", &t->pr.accuracy, NULL},
      {"state.last.lr", &t->pr.lr, NULL},
      {"state.last.grad_norm", &t->pr.grad_norm, NULL},
      {"state.val.loss", &t->val_loss, NULL},
      {"state.val.accuracy", &t->val_accuracy, NULL},
  };
  memcpy(out, all, sizeof all);
}

void trainer_fields(Trainer *t, double words[TRAIN_N_FIELDS], bool read) {
  Field all[N_FIELDS];
  fields(t, all);
  for (int i = 0; i < N_FIELDS; i++) {
    void *at = all[i].real ? (void *)all[i].real : (void *)all[i].whole;
    _Static_assert(sizeof *all[i].real == sizeof *all[i].whole, "either is a word");
    memcpy(read ? at : &words[i], read ? (void *)&words[i] : at, sizeof words[i]);
  }
}

static const char *bits_text(DhcArena *a, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  return dhc_arena_printf(a, "%016" PRIx64, bits);
}

static bool read_bits(const char **at, double *out) {
  char *end;
  uint64_t bits = strtoull(*at, &end, 16);
  if (end - *at != 16) return false;
  memcpy(out, &bits, sizeof bits);
  *at = end;
  return true;
}

/* The reported taps of the last step: the row of an epoch's end shows them again. */
static int tap_pairs(Trainer *t, DhcArena *a, DhcMetaPair *out) {
  if (!t->taps.open) return 0;
  DhcText names = {.arena = a};
  for (int i = 0; i < t->taps.n; i++) {
    DhcText values = {.arena = a};
    for (int64_t k = 0; k < t->taps.tap[i].n; k++) dhc_text_printf(&values, "%s%s", k ? " " : "", bits_text(a, t->taps.tap[i].values[k]));
    dhc_text_printf(&names, "%s%s", i ? "\n" : "", t->taps.tap[i].path);
    out[1 + i] = (DhcMetaPair){dhc_arena_printf(a, "state.tap.%s", t->taps.tap[i].path), dhc_text_str(&values)};
  }
  out[0] = (DhcMetaPair){"state.taps", dhc_text_str(&names)};
  return 1 + t->taps.n;
}

static bool load_tap(Trainer *t, const DhcCheckpoint *c, const char *path) {
  const char *text = dhc_checkpoint_text(c, dhc_arena_printf(&t->arena, "state.tap.%s", path));
  if (!text) return false;
  int64_t n = ((int64_t)strlen(text) + 1) / 17;
  double *values = DHC_NEW_N(&t->arena, double, n + 1);
  for (int64_t k = 0; k < n; k++) {
    if (!read_bits(&text, &values[k])) return false;
    text += *text == ' ';
  }
  taps_restore(&t->taps, path, values, n);
  return *text == 0;
}

static bool load_taps(Trainer *t, const DhcCheckpoint *c) {
  const char *names = dhc_checkpoint_text(c, "state.taps");
  if (!names || trainer_allows(t, "report")) return true; /* the first step will say which there are */
  int n = *names != 0;
  for (const char *at = names; *at; at++) n += *at == '\n';
  taps_begin(&t->taps, n, &t->arena);
  bool ok = true;
  for (const char *at = names; *at && ok;) {
    size_t length = strcspn(at, "\n");
    ok = load_tap(t, c, dhc_arena_strndup(&t->arena, at, length));
    at += length + (at[length] == '\n');
  }
  return ok;
}

static bool load_fields(Trainer *t, const DhcCheckpoint *c) {
  Field all[N_FIELDS];
  fields(t, all);
  for (int i = 0; i < N_FIELDS; i++) {
    const char *text = dhc_checkpoint_text(c, all[i].key);
    if (!text && all[i].real == &t->best_loss) continue; /* of a version before it: NaN, below which no loss is */
    if (!text) return false;
    if (all[i].real && !read_bits(&text, all[i].real)) return false;
    if (all[i].whole) *all[i].whole = strtoll(text, NULL, 10);
  }
  return load_taps(t, c);
}

/* ---- saving -------------------------------------------------------------------------------- */

static int all_pairs(Trainer *t, DhcArena *a, DhcMetaPair **out) {
  Field all[N_FIELDS];
  fields(t, all);
  DhcMetaPair *p = *out = DHC_NEW_N(a, DhcMetaPair, 2 * t->settings.n + N_FIELDS + t->taps.n + 2);
  int n = trainer_setting_pairs(t, a, p);
  p[n++] = (DhcMetaPair){"run.command", t->command};
  for (int i = 0; i < N_FIELDS; i++)
    p[n++] = (DhcMetaPair){all[i].key, all[i].real ? bits_text(a, *all[i].real) : dhc_arena_printf(a, "%" PRId64, *all[i].whole)};
  return n + tap_pairs(t, a, p + n);
}

static dhc_status write_checkpoint(Trainer *t, bool stop, void *const *whole) {
  DHC_TRY(trainer_begin_files(t));
  if (t->log) DHC_TRY(dhc_metrics_sync(t->log)); /* a checkpoint counts on the rows before it */
  DhcArena a;
  dhc_arena_init(&a);
  DhcTensorView *v;
  DhcMetaPair *pairs;
  int n, n_pairs = all_pairs(t, &a, &pairs);
  dhc_status st = weights_all(t->p, whole, &a, &v, &n);
  DhcCheckpointMeta meta = {.step = t->step, .data = dhc_batcher_position(t->batcher), .rng_seed = (uint32_t)t->seed,
                            .model_hash = t->m->hash, .run_id = t->run_id, .stop = stop, .more = pairs, .n_more = n_pairs};
  if (st.code == DHC_OK) st = dhc_checkpoint_save(t->o->out, &meta, v, n, TRAIN_KEPT, &t->m->s->warn);
  dhc_arena_fini(&a);
  if (st.code != DHC_OK) return st;
  t->saved.any = true;
  t->saved.stop = stop;
  t->saved.step = t->step;
  t->saved.rows = t->rows;
  return st;
}

dhc_status trainer_save(Trainer *t, bool stop) {
  bool held = t->saved.any && t->saved.step == t->step && t->saved.rows == t->rows;
  bool saves = t->o->out && !(held && (stop || !t->saved.stop));
  DHC_TRY(trainer_follow(t, &saves));
  dhc_status st = dhc_status_ok();
  for (int i = 0; saves && i < dhc_prog_layout(t->p->run)->n_ranges && !st.code; i++)
    if (trainer_shares(t, i)) st = trainer_collect(t, i, &t->whole[i]);
  if (saves && trainer_leads(t) && !st.code) st = write_checkpoint(t, stop, t->whole);
  trainer_drop_whole(t);
  return st;
}

dhc_status trainer_save_weights(Trainer *t, const char *name) {
  if (!t->o->out) return dhc_status_ok();
  DHC_TRY(trainer_begin_files(t));
  return dhc_program_save(t->p, dhc_arena_printf(&t->arena, "%s/%s", t->o->out, name), t->set.recipe->ema > 0);
}

/* ---- loading ------------------------------------------------------------------------------- */

static bool has_average(const DhcCheckpoint *c) {
  static const char average[] = DHC_CHECKPOINT_MOMENTS DHC_RANGE_EMA ".";
  for (int32_t i = 0; i < dhc_safetensors_count(c->file); i++)
    if (!strncmp(dhc_safetensors_at(c->file, i)->name, average, sizeof average - 1)) return true;
  return false;
}

/* The moments; of another optimizer than the checkpoint's only the averaged weights. */
static dhc_status load_optimizer(Trainer *t, const DhcCheckpoint *c) {
  dhc_program *p = t->p;
  const dhc_layout *l = dhc_prog_layout(p->run);
  for (int i = 0; i < l->n_ranges; i++) {
    bool ema = l->ranges[i].from_weights;
    if (t->new_optimizer && !ema) continue;
    if (ema && trainer_allows(t, "ema") && !has_average(c)) { /* averaging begins here */
      DHC_TRY(dhc_prog_begin_range(p->run, i));
      continue;
    }
    DHC_TRY(trainer_shares(t, i) ? weights_read_whole(p, c->file, i, &t->whole[i]) : weights_read_range(p, c->file, i));
  }
  return dhc_status_ok();
}

dhc_status trainer_load(Trainer *t, const DhcCheckpoint *c) {
  DHC_TRY(weights_read(t->p, c->file, "", DHC_WEIGHTS, false, true));
  DHC_TRY(load_optimizer(t, c));
  DhcDataPosition at = c->meta.data;
  at.seed = (uint32_t)t->seed; /* the same, or another that the caller allows */
  DHC_TRY(dhc_batcher_seek(t->batcher, at));
  t->step = c->meta.step;
  if (!load_fields(t, c)) return dhc_status_file(dhc_safetensors_path(c->file), "checkpoint lacks part of its metadata");
  if (t->new_optimizer) t->first_step = t->step;
  t->saved.any = true;
  t->saved.stop = c->meta.stop;
  t->saved.step = t->step;
  t->saved.rows = t->rows;
  return dhc_status_ok();
}
