/* train, eval: progress on a terminal is one line rewritten; elsewhere plain lines. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

typedef struct Progress {
  const Cli *c;
  bool terminal;
  double last; /* seconds of the last line */
} Progress;

static void clock_text(double seconds, char *to, size_t n) {
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

static bool show_progress(void *ctx, const dhc_train_progress *p) {
  Progress *pr = ctx;
  if (pr->c->quiet) return true;
  double every = pr->terminal ? 0.1 : 5.0;
  if (!p->epoch_end && p->seconds - pr->last < every && p->step != 1) return true;
  pr->last = p->seconds;
  char taps[160], eta[24], acc[32] = "", val_acc[32] = "", val[80] = "";
  clock_text(p->eta_seconds, eta, sizeof eta);
  tap_text(p, taps, sizeof taps);
  if (!isnan(p->epoch_accuracy)) snprintf(acc, sizeof acc, "  acc %.2f%%", 100 * p->epoch_accuracy);
  if (!isnan(p->val_accuracy)) snprintf(val_acc, sizeof val_acc, " acc %.2f%%", 100 * p->val_accuracy);
  if (p->epoch_end && !isnan(p->val_loss))
    snprintf(val, sizeof val, "  val loss %.4f%s%s", p->val_loss, val_acc, p->best ? " (best)" : "");
  if (pr->terminal) fputs("\r\033[K", stderr);
  fprintf(stderr, "epoch %lld/%lld  step %lld/%lld  loss %.4f%s  lr %.2e  %.0f samples/s  eta %s%s%s", (long long)p->epoch + 1,
          (long long)p->epochs, (long long)p->step, (long long)p->steps, p->epoch_loss, acc, p->lr, p->samples_per_s, eta, taps, val);
  if (!pr->terminal || p->epoch_end) fputc('\n', stderr);
  fflush(stderr);
  return true;
}

int cmd_train(const Cli *c) {
  if (!c->data) {
    cli_error("train: needs --data SPEC (cifar10:DIR, idx:DIR, mnist:DIR, npy:DIR or text:FILE)");
    return 2;
  }
  if (c->resume && !c->out) {
    cli_error("train: --resume needs --out DIR");
    return 2;
  }
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_open_model(c, s, &m);
  dhc_train_result r = {0};
  if (!rc) {
    dhc_catch_signals();
    const char *term = getenv("TERM");
    Progress pr = {c, isatty(2) && !(term && !strcmp(term, "dumb")), 0};
    dhc_train_options o = {.data = c->data, .out = c->out, .batch = c->batch, .epochs = c->epochs, .steps = c->steps,
                           .lr = c->lr, .clip = c->clip, .val_fraction = c->val_fraction, .limit = c->limit,
                           .seed = (uint64_t)c->seed, .resume = c->resume, .augment_off = c->no_augment,
                           .save_every = c->save_every, .progress = show_progress, .ctx = &pr};
    dhc_status st = dhc_train(m, &o, &r);
    if (st.code == DHC_E_INTERRUPTED && pr.terminal) fputc('\n', stderr);
    if (dhc_session_errors(s)) dhc_session_print_diagnostics(s, stderr, cli_color(c, stderr));
    rc = cli_fail(st);
  }
  if (m && (rc == 0 || rc > 128)) {
    if (c->json) {
      cJSON *doc = cJSON_CreateObject();
      cJSON_AddNumberToObject(doc, "steps", (double)r.steps);
      cJSON_AddNumberToObject(doc, "epochs", (double)r.epochs);
      cJSON_AddNumberToObject(doc, "loss", r.loss);
      cJSON_AddNumberToObject(doc, "accuracy", r.accuracy);
      cJSON_AddNumberToObject(doc, "val_loss", r.val_loss);
      cJSON_AddNumberToObject(doc, "val_accuracy", r.val_accuracy);
      cJSON_AddNumberToObject(doc, "seconds", r.seconds);
      cJSON_AddNumberToObject(doc, "peak_bytes", (double)r.peak_bytes);
      cli_json_stats(doc, s);
      cli_print_json(doc);
    } else {
      char loss[40] = ", no step left to do";
      if (!isnan(r.loss)) snprintf(loss, sizeof loss, ", last loss %.4f", r.loss);
      cli_note(c, "%lld steps in %.1f s%s%s%s", (long long)r.steps, r.seconds, loss,
               c->out ? ", weights in " : "", c->out ? c->out : "");
      cli_print_stats(c, s);
    }
  }
  dhc_model_close(m);
  dhc_session_close(s);
  return rc;
}

static void show_prediction(void *ctx, int64_t example, int64_t target, int64_t predicted, double p) {
  cJSON *list = ctx;
  if (list) {
    cJSON *row = cJSON_CreateObject();
    cJSON_AddNumberToObject(row, "example", (double)example);
    cJSON_AddNumberToObject(row, "target", (double)target);
    cJSON_AddNumberToObject(row, "predicted", (double)predicted);
    cJSON_AddNumberToObject(row, "probability", p);
    cJSON_AddItemToArray(list, row);
  } else {
    printf("example %-6lld label %-3lld predicted %-3lld p %.3f %s\n", (long long)example, (long long)target,
           (long long)predicted, p, target == predicted ? "" : "(wrong)");
  }
}

int cmd_eval(const Cli *c) {
  if (!c->data || !c->weights) {
    cli_error("eval: needs --data SPEC and --weights FILE");
    return 2;
  }
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int rc = cli_open_session(c, &s);
  if (!rc) rc = cli_open_model(c, s, &m);
  if (!rc) {
    dhc_catch_signals();
    cJSON *doc = c->json ? cJSON_CreateObject() : NULL;
    cJSON *list = doc ? cJSON_AddArrayToObject(doc, "predictions") : NULL;
    dhc_eval_options o = {.data = c->data, .split = c->split, .weights = c->weights, .batch = c->batch, .limit = c->limit,
                          .n_predictions = (int)c->predictions, .prediction = show_prediction, .ctx = list};
    dhc_eval_result r = {0};
    rc = cli_fail(dhc_evaluate(m, &o, &r));
    if (dhc_session_errors(s)) dhc_session_print_diagnostics(s, stderr, cli_color(c, stderr));
    if (!rc && doc) {
      cJSON_AddNumberToObject(doc, "n_examples", (double)r.n_examples);
      cJSON_AddNumberToObject(doc, "loss", r.loss);
      cJSON_AddNumberToObject(doc, "accuracy", r.accuracy);
      cJSON_AddNumberToObject(doc, "seconds", r.seconds);
      cli_json_stats(doc, s);
    } else if (!rc) {
      char acc[40] = "";
      if (!isnan(r.accuracy)) snprintf(acc, sizeof acc, ", accuracy %.2f%%", 100 * r.accuracy);
      printf("%s: %lld examples, loss %.4f%s, %.0f samples/s\n", c->split ? c->split : "test", (long long)r.n_examples,
             r.loss, acc, (double)r.n_examples / r.seconds);
    }
    if (!rc && doc)
      cli_print_json(doc);
    else
      cJSON_Delete(doc);
  }
  dhc_model_close(m);
  dhc_session_close(s);
  return rc;
}
