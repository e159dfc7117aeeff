/* train, eval: progress on a terminal is one line rewritten; elsewhere plain lines. */
#include <cjson/cJSON.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

typedef struct Progress {
  const Cli *c;
  int64_t step, steps; /* the last one seen; how many this process has done */
  CliProfile profile;
} Progress;

void cli_clock_text(double seconds, char *to, size_t n) {
  if (!(seconds >= 0) || seconds > 359999) {
    snprintf(to, n, "--:--");
    return;
  }
  int t = (int)(seconds + 0.5);
  if (t >= 3600)
    snprintf(to, n, "%d:%02d:%02d", t / 3600, t / 60 % 60, t % 60);
  else
    snprintf(to, n, "%d:%02d", t / 60, t % 60);
}

static const char *last_name(const char *path) {
  const char *dot = strrchr(path, '.');
  return dot ? dot + 1 : path;
}

/* Of each name among the taps: of numbers their mean, of lists how uneven the worst one is. */
static void tap_text(const dhc_train_progress *p, char *to, size_t n) {
  size_t at = 0;
  *to = '\0';
  for (int i = 0; i < p->n_taps; i++) {
    const char *name = last_name(p->taps[i].path);
    double sum = 0, worst = 0;
    int numbers = 0;
    bool seen = false, lists = false;
    for (int k = 0; k < i; k++) seen = seen || !strcmp(last_name(p->taps[k].path), name);
    for (int k = i; !seen && k < p->n_taps; k++) {
      const dhc_tap *t = &p->taps[k];
      double total = 0, top = -INFINITY;
      if (strcmp(last_name(t->path), name) || !t->n) continue;
      for (int64_t j = 0; j < t->n; j++) total += t->values[j], top = fmax(top, t->values[j]);
      sum += total, numbers++, lists = lists || t->n > 1;
      worst = fmax(worst, top / (total / (double)t->n));
    }
    if (!numbers) continue;
    int k = snprintf(to + at, n - at, lists ? "  %s max/mean %.2f" : "  %s %.4g", name, lists ? worst : sum / numbers);
    if (k < 0 || (size_t)k >= n - at) break; /* what does not fit is in the metrics files */
    at += (size_t)k;
  }
  to[at] = '\0';
}

static void metrics_text(const dhc_train_progress *p, char *to, size_t size) {
  char taps[160], eta[24], acc[32] = "", val_acc[32] = "", val[80] = "";
  cli_clock_text(p->eta_seconds, eta, sizeof eta);
  tap_text(p, taps, sizeof taps);
  if (!isnan(p->epoch_accuracy)) snprintf(acc, sizeof acc, "  acc %.2f%%", 100 * p->epoch_accuracy);
  if (!isnan(p->val_accuracy)) snprintf(val_acc, sizeof val_acc, " acc %.2f%%", 100 * p->val_accuracy);
  if (p->epoch_end && !isnan(p->val_loss))
    snprintf(val, sizeof val, "  val loss %.4f%s%s", p->val_loss, val_acc, p->best ? " (best)" : "");
  snprintf(to, size, "epoch %lld/%lld  step %lld/%lld  loss %.4f%s  lr %.2e  %.0f samples/s  eta %s%s%s",
           (long long)p->epoch + 1,
           (long long)p->epochs, (long long)p->step, (long long)p->steps, p->epoch_loss, acc, p->lr, p->samples_per_s, eta,
           taps, val);
}

static void take_row(void *ctx, const dhc_profile_row *row) {
  Progress *pr = ctx;
  cli_profile_add(&pr->profile, row);
}

static bool show_progress(void *ctx, const dhc_train_progress *p) {
  Progress *pr = ctx;
  if (p->step != pr->step) pr->steps++;
  pr->step = p->step;
  if (pr->c->quiet) return true;
  if (!p->epoch_end && p->step != 1 && !cli_watch_due(pr->c, 0.1)) return true;
  char text[480];
  metrics_text(p, text, sizeof text);
  cli_watch_progress(pr->c, text, p->epoch_end);
  return true;
}

static void show_begin(void *ctx, const dhc_train_begin *b) {
  const Progress *pr = ctx;
  char val[48] = "", classes[32] = "", from[48] = "";
  if (pr->c->quiet) return;
  if (b->n_classes) snprintf(classes, sizeof classes, " of %lld classes", (long long)b->n_classes);
  if (b->n_val) snprintf(val, sizeof val, ", %lld to validate with", (long long)b->n_val);
  if (b->step) snprintf(from, sizeof from, " from step %lld", (long long)b->step + 1);
  cli_note(pr->c, "%lld parameters; %lld examples%s to train with%s; %s, lr %.2e, batches of %lld, %lld step%s in %lld epoch%s%s",
           (long long)b->n_params, (long long)b->n_train, classes, val, b->optimizer, b->lr, (long long)b->batch, (long long)b->steps,
           b->steps == 1 ? "" : "s", (long long)b->epochs, b->epochs == 1 ? "" : "s", from);
  const double unit = b->optimizer_bytes[1] < 1 << 20 ? 0x1p10 : 0x1p20;
  if (b->optimizer_bytes[0] < b->optimizer_bytes[1])
    cli_note(pr->c, "of %.1f %s that the optimizer keeps this GPU has %.1f, the fullest %.1f", (double)b->optimizer_bytes[1] / unit,
             unit < 0x1p20 ? "KiB" : "MiB", (double)b->optimizer_bytes[0] / unit, (double)b->optimizer_bytes[2] / unit);
  if (b->kernels >= 0) cli_note(pr->c, "a step is %d kernels, %d to compile", b->kernels, b->to_compile);
}

/* A word as a shell takes it. */
static void put_quoted(FILE *to, const char *word) {
  bool plain = *word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%")];
  if (plain) {
    fputs(word, to);
    return;
  }
  fputc('\'', to);
  for (; *word; word++) {
    if (*word == '\'')
      fputs("'\\''", to);
    else
      fputc(*word, to);
  }
  fputc('\'', to);
}

/* The command line that begins this run, as one text, the caller's to free; NULL: no memory. It has no
 * --resume: where that finds nothing to go on with, the run is the one that begins without. */
char *cli_command_line(const Cli *c) {
  char *text = NULL;
  size_t n = 0;
  FILE *to = open_memstream(&text, &n);
  if (!to) return NULL;
  for (int i = 0; i < c->argc; i++) {
    if (!strcmp(c->argv[i], "--resume")) continue;
    if (i) fputc(' ', to);
    put_quoted(to, c->argv[i]);
  }
  bool bad = ferror(to) != 0;
  if (fclose(to) || bad) {
    free(text);
    return NULL;
  }
  return text;
}

dhc_train_options cli_train_options(const Cli *c) {
  return (dhc_train_options){.data = c->data, .out = c->out, .batch = c->batch, .accumulate = c->accumulate, .epochs = c->epochs, .steps = c->steps,
                             .lr = c->lr, .clip = c->clip, .val_fraction = c->val_fraction == 0 ? -1 : c->val_fraction < 0 ? 0 : c->val_fraction, .limit = c->limit,
                             .seed = (uint64_t)c->seed, .resume = c->resume, .augment_off = c->no_augment,
                             .save_every = c->save_every, .overwrite = c->overwrite, .shuffle_off = c->no_shuffle,
                             .allow_changed = c->allow_changed, .init_from = c->init_from, .tensorboard = c->tensorboard};
}

/* What a run would use: in the document, or as lines. */
static int print_recipe(const Cli *c, dhc_session *s, dhc_model *m) {
  dhc_train_options o = cli_train_options(c);
  char *text = NULL;
  int rc = cli_done(c, s, dhc_recipe_json(m, &o, &text));
  cJSON *recipe = text ? cJSON_Parse(text) : NULL, *row;
  cJSON_ArrayForEach(row, recipe) {
    if (cli_doc(c)) break;
    if (cJSON_IsString(row)) printf("%-18s %s\n", row->string, row->valuestring);
    if (cJSON_IsNumber(row)) printf("%-18s %.10g\n", row->string, row->valuedouble);
  }
  if (cli_doc(c) && recipe)
    cli_add(cli_doc(c), "recipe", recipe);
  else
    cJSON_Delete(recipe);
  free(text);
  return rc;
}

static void report_run(const Cli *c, dhc_session *s, const dhc_train_result *r) {
  cJSON *doc = cli_doc(c);
  if (doc) {
    cJSON_AddNumberToObject(doc, "steps", (double)r->steps);
    cJSON_AddNumberToObject(doc, "epochs", (double)r->epochs);
    cJSON_AddNumberToObject(doc, "loss", r->loss);
    cJSON_AddNumberToObject(doc, "accuracy", r->accuracy);
    cJSON_AddNumberToObject(doc, "val_loss", r->val_loss);
    cJSON_AddNumberToObject(doc, "val_accuracy", r->val_accuracy);
    cJSON_AddNumberToObject(doc, "seconds", r->seconds);
    cJSON_AddNumberToObject(doc, "samples_per_s", r->samples_per_s);
    cJSON_AddNumberToObject(doc, "peak_bytes", (double)r->peak_bytes);
    if (c->shard_optimizer) {
      cJSON_AddNumberToObject(doc, "optimizer_bytes", (double)r->optimizer_bytes[0]);
      cJSON_AddNumberToObject(doc, "optimizer_bytes_in_all", (double)r->optimizer_bytes[1]);
      cJSON_AddNumberToObject(doc, "optimizer_bytes_fullest", (double)r->optimizer_bytes[2]);
    }
    cJSON_AddStringToObject(doc, "run_id", r->run_id);
    return;
  }
  char loss[40] = ", no step left to do";
  if (!isnan(r->loss)) snprintf(loss, sizeof loss, ", last loss %.4f", r->loss);
  cli_note(c, "%lld steps in %.1f s%s%s%s", (long long)r->steps, r->seconds, loss, c->out ? ", weights in " : "",
           c->out ? c->out : "");
  cli_print_stats(c, s);
}

/* What the run of a rank has ended with; what others have ended they say. */
static int rank_done(const Cli *c, dhc_session *s, const dhc_group *g, dhc_status st) {
  bool mine = !g || dhc_group_speaks(g) || !dhc_group_ended(g);
  if (mine) return cli_done(c, s, st);
  return (int)st.code;
}

static int train(const Cli *c, dhc_session *s, dhc_model *m, dhc_group *g, dhc_status *ended) {
  Progress pr = {.c = c};
  dhc_train_options o = cli_train_options(c);
  o.progress = show_progress;
  o.begin = show_begin;
  o.ctx = &pr;
  o.group = g;
  o.check_every = c->check_ranks;
  o.shard_optimizer = c->shard_optimizer;
  if (c->profile) o.profile = take_row;
  dhc_train_result r = {0};
  char *command = cli_command_line(c);
  if (!command) return cli_no_memory(c);
  o.command = command;
  dhc_catch_signals();
  (void)signal(SIGPIPE, SIG_IGN); /* whoever read the progress is gone: the run is not */
  cli_watch_session(c, s);
  dhc_status st = *ended = dhc_train(m, &o, &r);
  free(command);
  if (g && dhc_group_rank(g)) return rank_done(c, s, g, st);
  int rc = rank_done(c, s, g, st);
  if (rc == 0 || rc > 128) report_run(c, s, &r);
  if (c->out && (!rc || rc > 128)) {
    int drawn = cli_learning_curve(c);
    if (!rc) rc = drawn;
  }
  cli_watch_end(c);
  if (c->profile && (pr.steps || !rc)) {
    int shown = cli_profile_print(c, &pr.profile, pr.steps);
    if (!rc) rc = shown;
  }
  return rc;
}

static int train_as(const Cli *c, dhc_group *g, dhc_status *st) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  if (!c->print_recipe) cli_watch_begin(c);
  int rc = cli_open(c, &s, &m);
  if (!rc) rc = c->print_recipe ? print_recipe(c, s, m) : train(c, s, m, g, st);
  cli_watch_end(c);
  cli_close(c, s, m);
  return rc;
}

int cmd_train(const Cli *c) {
  if (!c->data && !c->print_recipe) {
    cli_error(c, "train: needs --data SPEC (images:DIR, csv:FILE, npy:DIR, hdf5:FILE, text:FILE, tokens:FILE, cifar10:DIR, idx:DIR, mnist:DIR, scifar:DIR or synth:TASK)");
    return 2;
  }
  const struct {
    const char *name;
    bool given;
  } of_folders[] = {{"resume", c->resume}, {"overwrite", c->overwrite}, {"save-every", c->save_every}, {"tensorboard", c->tensorboard}};
  for (size_t i = 0; !c->out && i < sizeof of_folders / sizeof of_folders[0]; i++)
    if (of_folders[i].given) {
      cli_error(c, "train: --%s needs --out DIR", of_folders[i].name);
      return 2;
    }
  return c->print_recipe ? train_as(c, NULL, &(dhc_status){0}) : cli_ranks(c, train_as);
}

/* ---- eval ---------------------------------------------------------------------------- */

typedef struct Predictions {
  cJSON *list; /* of the document; NULL: lines */
  int64_t n;
  cJSON *routing; /* the same of the ledger */
  int n_routed;
} Predictions;

static void show_prediction(void *ctx, int64_t example, int64_t target, int64_t predicted, double p) {
  Predictions *pr = ctx;
  pr->n++;
  if (pr->list) {
    cJSON *row = cJSON_CreateObject();
    cJSON_AddNumberToObject(row, "example", (double)example);
    cJSON_AddNumberToObject(row, "target", (double)target);
    cJSON_AddNumberToObject(row, "predicted", (double)predicted);
    cJSON_AddNumberToObject(row, "probability", p);
    cli_add(pr->list, NULL, row);
  } else {
    printf("example %-6lld label %-3lld predicted %-3lld p %.3f %s\n", (long long)example, (long long)target,
           (long long)predicted, p, target == predicted ? "" : "(wrong)");
  }
}

static void report_eval(const Cli *c, const dhc_eval_result *r) {
  cJSON *doc = cli_doc(c);
  double rate = r->seconds > 0 ? (double)r->n_examples / r->seconds : 0;
  if (doc) {
    cJSON_AddNumberToObject(doc, "n_examples", (double)r->n_examples);
    cJSON_AddNumberToObject(doc, "loss", r->loss);
    cJSON_AddNumberToObject(doc, "accuracy", r->accuracy);
    cJSON_AddNumberToObject(doc, "seconds", r->seconds);
    return;
  }
  char acc[40] = "";
  if (!isnan(r->accuracy)) snprintf(acc, sizeof acc, ", accuracy %.2f%%", 100 * r->accuracy);
  printf("%s: %lld examples, loss %.4f%s, %.0f samples/s\n", c->split ? c->split : "test", (long long)r->n_examples, r->loss,
         acc, rate);
}

static void add_routing(cJSON *list, const dhc_routing_row *r) {
  cJSON *row = cJSON_CreateObject();
  cJSON_AddStringToObject(row, "path", r->path);
  cJSON_AddStringToObject(row, "follows", r->follows);
  cJSON_AddNumberToObject(row, "blocks", r->n_blocks);
  cJSON_AddNumberToObject(row, "total", r->total);
  cJSON_AddNumberToObject(row, "entropy", r->entropy);
  cJSON_AddNumberToObject(row, "balance", r->balance);
  cJSON *tokens = r->tokens ? cJSON_AddArrayToObject(row, "tokens") : NULL;
  for (int i = 0; tokens && i < r->n_experts; i++) cJSON_AddItemToArray(tokens, cJSON_CreateNumber(r->tokens[i]));
  cli_add(list, NULL, row);
}

static void show_routing(void *ctx, const dhc_routing_row *r) {
  Predictions *pr = ctx;
  if (pr->routing) {
    add_routing(pr->routing, r);
    return;
  }
  if (!pr->n_routed++) printf("%-44s %-20s %8s %8s  %s\n", "routed", "behind", "entropy", "balance", "tokens per expert");
  if (*r->path) printf("%-44s", r->path);
  else printf("%2d block%-35s", r->n_blocks, r->n_blocks == 1 ? "" : "s");
  printf(" %-20s %8.4f %8.4f ", *r->follows ? r->follows : "-", r->entropy, r->balance);
  for (int i = 0; r->tokens && i < r->n_experts; i++) printf(" %.0f", r->tokens[i]);
  printf(r->tokens ? "\n" : " %.0f in all\n", r->total);
}

int cmd_eval(const Cli *c) {
  if (!c->data || !c->weights)
    return cli_lacks(c, c->weights ? "eval: needs --data SPEC" : "eval: needs --data SPEC and --weights FILE");
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int rc = cli_open(c, &s, &m);
  if (!rc) {
    dhc_catch_signals();
    Predictions pr = {.list = cli_doc(c) ? cJSON_AddArrayToObject(cli_doc(c), "predictions") : NULL,
                      .routing = c->routing && cli_doc(c) ? cJSON_AddArrayToObject(cli_doc(c), "routing") : NULL};
    dhc_eval_options o = {.data = c->data, .split = c->split, .weights = c->weights, .batch = c->batch, .limit = c->limit,
                          .routing = c->routing ? show_routing : NULL, .ablate = c->parts.at, .n_ablate = c->parts.n, .n_predictions = (int)c->predictions, .prediction = show_prediction, .ctx = &pr,
                          .val_fraction = c->val_fraction > 0 ? c->val_fraction : 0};
    dhc_eval_result r = {0};
    rc = cli_done(c, s, dhc_evaluate(m, &o, &r));
    if (!rc) report_eval(c, &r);
    if (!rc && c->predictions && !pr.n)
      cli_warn_line((void *)(uintptr_t)c, "note: no predictions: the loss has no result 'logits' of [B, classes]");
    if (!rc) cli_print_stats(c, s);
  }
  cli_close(c, s, m);
  return rc;
}
