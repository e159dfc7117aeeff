/* sweep: many variants of one model. */
#include <cjson/cJSON.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/costs.h"
#include "cli/jobs.h"
#include "cli/report.h"

typedef struct Sweep {
  const Cli *c;
  cJSON *variants, *merged; /* of the document; NULL: lines */
  int n, all;
} Sweep;

cJSON *cli_sweep_row(cJSON *variants, cJSON *merged, const char *name, const char *hash, const char *same_as) {
  cJSON *row = cJSON_CreateObject();
  cJSON_AddStringToObject(row, "name", name);
  cJSON_AddStringToObject(row, "hash", hash);
  if (same_as) cJSON_AddStringToObject(row, "same_as", same_as);
  cli_add(same_as ? merged : variants, NULL, row);
  return same_as ? NULL : row;
}

static void add_row(Sweep *w, const dhc_sweep_row *r) {
  cJSON *row = cli_sweep_row(w->variants, w->merged, r->name, r->hash, r->same_as);
  if (!row) return;
  cJSON_AddStringToObject(row, "mixers", r->mixers);
  cJSON_AddStringToObject(row, "pattern", r->pattern);
  cJSON_AddStringToObject(row, "order", r->order);
  if (r->sequence_length >= 0) cJSON_AddNumberToObject(row, "sequence_length", (double)r->sequence_length);
  else cJSON_AddNullToObject(row, "sequence_length");
  cJSON_AddNumberToObject(row, "parameters", (double)r->parameters);
  cJSON_AddNumberToObject(row, "kernels_compiled", r->kernels_compiled);
  cJSON_AddNumberToObject(row, "kernels_reused", r->kernels_reused);
  cJSON_AddNumberToObject(row, "plan_ms", r->plan_ms);
  cJSON_AddNumberToObject(row, "first_step_ms", r->first_step_ms);
  cJSON_AddNumberToObject(row, "step_ms", r->step_ms);
}

static void print_row(Sweep *w, const dhc_sweep_row *r) {
  char length[32] = "-";
  if (!w->n) printf("%-16s  %-10s %-14s %-14s %6s %11s %9s %7s %9s %14s %9s  %s\n", "hash", "mixers", "pattern", "order", "length", "parameters", "compiled",
                    "reused", "plan ms", "first step ms", "step ms", "variant");
  if (r->sequence_length >= 0) snprintf(length, sizeof length, "%lld", (long long)r->sequence_length);
  if (r->same_as)
    printf("%-16s  equal to %s, not run again: %s\n", r->hash, r->same_as, r->name);
  else
    printf("%-16s  %-10s %-14s %-14s %6s %11lld %9d %7d %9.1f %14.1f %9.1f  %s\n", r->hash, *r->mixers ? r->mixers : "-",
           *r->pattern ? r->pattern : "-", *r->order ? r->order : "-", length, (long long)r->parameters, r->kernels_compiled, r->kernels_reused, r->plan_ms, r->first_step_ms, r->step_ms, r->name);
  fflush(stdout);
}

static bool show_row(void *ctx, const dhc_sweep_row *r) {
  Sweep *w = ctx;
  if (w->variants) add_row(w, r);
  else print_row(w, r);
  w->n++;
  return true;
}

/* ---- training --------------------------------------------------------------------------- */

typedef struct Training {
  const Cli *c;
  cJSON *estimates;          /* of the document; NULL: lines */
  int n_estimates, runs;
  double all_seconds, disk;  /* of all runs */
  int64_t memory;            /* of the largest */
  Jobs jobs;                 /* of --jobs */
  bool led;                  /* they have begun */
  const dhc_session *session;
  bool terminal;
  double last; /* seconds of the last line */
} Training;

static bool show_training(void *ctx, const dhc_sweep_progress *p) {
  Training *t = ctx;
  char eta[24], text[400], result[64] = "";
  if (t->c->quiet) return true;
  bool ended = !p->train;
  if (!ended && p->seconds - t->last < (t->terminal ? 0.2 : 10)) return true;
  t->last = p->seconds;
  cli_clock_text(p->eta_seconds, eta, sizeof eta);
  int filled = p->runs ? 20 * p->done / p->runs : 20;
  if (!ended) snprintf(result, sizeof result, "  step %lld/%lld loss %.4f", (long long)p->train->step, (long long)p->train->steps, p->train->loss);
  else if (strcmp(p->status, "done")) snprintf(result, sizeof result, "  not finite");
  snprintf(text, sizeof text, "[%.*s%*s] %d/%d runs  eta %s  %s seed %llu%s", filled, "####################", 20 - filled, "", p->done, p->runs, eta,
           p->name, (unsigned long long)p->seed, result);
  int columns = t->terminal ? cli_columns(stderr) : 0;
  if (!ended && columns > 1 && (size_t)columns <= strlen(text)) text[columns - 1] = 0;
  fprintf(stderr, "%s%s%s", t->terminal ? "\r\033[K" : "", text, !t->terminal || ended ? "\n" : "");
  fflush(stderr);
  if (ended && *p->message) cli_warn_line((void *)(uintptr_t)t->c, p->message);
  return true;
}

static void show_estimate(void *ctx, const dhc_sweep_estimate *e) {
  Training *t = ctx;
  t->runs += e->runs;
  t->all_seconds += e->runs * e->seconds;
  t->disk += (double)e->runs * (double)e->disk_bytes;
  if (e->memory_bytes > t->memory) t->memory = e->memory_bytes;
  if (!t->c->dry_run) return;
  if (t->estimates) {
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", e->name);
    cJSON_AddStringToObject(row, "hash", e->hash);
    cJSON_AddNumberToObject(row, "runs", e->runs);
    cJSON_AddNumberToObject(row, "steps", (double)e->steps);
    cJSON_AddNumberToObject(row, "step_ms", e->step_ms);
    cJSON_AddNumberToObject(row, "seconds", e->seconds);
    cJSON_AddNumberToObject(row, "memory_bytes", (double)e->memory_bytes);
    cJSON_AddNumberToObject(row, "disk_bytes", (double)e->disk_bytes);
    cli_add(t->estimates, NULL, row);
    return;
  }
  if (!t->n_estimates++) printf("%-16s  %5s %9s %9s %10s %10s %10s  variant\n", "hash", "runs", "steps", "step ms", "run", "memory MB", "disk MB");
  char run[24];
  cli_clock_text(e->seconds, run, sizeof run);
  printf("%-16s  %5d %9lld %9.1f %10s %10.1f %10.1f  %s\n", e->hash, e->runs, (long long)e->steps, e->step_ms, run, (double)e->memory_bytes / 1e6,
         (double)e->disk_bytes / 1e6, e->name);
  fflush(stdout);
}

static void sum_estimates(const Training *t) {
  cJSON *doc = cli_doc(t->c);
  if (doc) {
    cJSON_AddNumberToObject(doc, "runs", t->runs);
    cJSON_AddNumberToObject(doc, "hours", t->all_seconds / 3600);
    cJSON_AddNumberToObject(doc, "memory_bytes", (double)t->memory);
    cJSON_AddNumberToObject(doc, "disk_bytes", t->disk);
    return;
  }
  printf("%d runs, %.2f hours one after the other, %.1f MB of memory, %.1f MB of disk\n", t->runs, t->all_seconds / 3600, (double)t->memory / 1e6,
         t->disk / 1e6);
}

/* "8h" in seconds; 0: it is no such text. */
static double read_duration(const char *text) {
  char *end;
  double v = strtod(text, &end);
  static const char units[] = "smhd";
  static const double seconds[] = {1, 60, 3600, 86400};
  const char *unit = *end ? strchr(units, *end) : NULL;
  return end == text || !unit || end[1] || !(v > 0) || v > 1e6 ? 0 : v * seconds[unit - units];
}


static void print_summary_row(const cJSON *row) {
  const cJSON *low = cJSON_GetObjectItem(row, "ci95_low"), *difference = cJSON_GetObjectItem(row, "difference");
  double mean = cJSON_GetNumberValue(cJSON_GetObjectItem(row, "mean"));
  char value[32] = "-", interval[32] = "", diff[32] = "", p[16] = "", found[24] = "";
  if (cJSON_IsNumber(cJSON_GetObjectItem(row, "mean"))) snprintf(value, sizeof value, "%.6g", mean);
  if (cJSON_IsNumber(low)) snprintf(interval, sizeof interval, "+- %.5g", mean - low->valuedouble);
  if (cJSON_IsNumber(difference)) snprintf(diff, sizeof diff, "%+.5g", difference->valuedouble);
  const cJSON *ph = cJSON_GetObjectItem(row, "p_holm"), *det = cJSON_GetObjectItem(row, "detectable");
  if (cJSON_IsNumber(ph)) snprintf(p, sizeof p, "%.3g", ph->valuedouble);
  if (cJSON_IsNumber(det)) snprintf(found, sizeof found, "%.4g", det->valuedouble);
  printf("%-16s  %3.0f  %10s %-12s %10s %8s %10s  %s\n", cJSON_GetStringValue(cJSON_GetObjectItem(row, "hash")),
         cJSON_GetNumberValue(cJSON_GetObjectItem(row, "n")), value, interval, diff, p, found, cJSON_GetStringValue(cJSON_GetObjectItem(row, "name")));
}

static void print_summary(const cJSON *doc) {
  const cJSON *row;
  const char *baseline = cJSON_GetStringValue(cJSON_GetObjectItem(doc, "baseline"));
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(doc, "merged"))
    printf("%-16s  equal to %s, not run again: %s\n", cJSON_GetStringValue(cJSON_GetObjectItem(row, "hash")),
           cJSON_GetStringValue(cJSON_GetObjectItem(row, "same_as")), cJSON_GetStringValue(cJSON_GetObjectItem(row, "name")));
  printf("%-16s  %3s  %10s %-12s%10s %8s %10s  variant\n", "hash", "n", cJSON_GetStringValue(cJSON_GetObjectItem(doc, "metric")), " 95 %", "difference",
         "p (Holm)", "detectable");
  cJSON_ArrayForEach(row, cJSON_GetObjectItem(doc, "summary")) print_summary_row(row);
  if (baseline) printf("differences from %s: paired t-test over seeds; detectable: the difference found in 80 of 100 such sweeps\n", baseline);
}

/* What the folder holds now: in the document, or as a table. */
static void report_folder(const Cli *c, const char *folder, const dhc_sweep_train_result *r) {
  cJSON *doc = cli_json_file(folder, "sweep.json");
  if (cli_doc(c)) {
    static const char *const keys[] = {"metric", "baseline", "seeds", "variants", "merged", "runs", "summary"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
      cJSON *item = cJSON_DetachItemFromObject(doc, keys[i]);
      if (item) cli_add(cli_doc(c), keys[i], item);
    }
    cJSON_AddNumberToObject(cli_doc(c), "runs_done", r->done);
    cJSON_AddNumberToObject(cli_doc(c), "runs_left", r->left);
  } else if (doc) {
    print_summary(doc);
    cli_note(c, "%d of %d runs done%s, in %s", r->done, r->runs, r->numeric ? " (some not finite: see sweep.json)" : "", folder);
  }
  cJSON_Delete(doc);
}

/* The workers begin when the folder is the sweep's. */
static bool lead_jobs(void *ctx) {
  Training *t = ctx;
  if (!t->jobs.pid && !t->led) {
    t->led = true;
    if (!jobs_begin(&t->jobs, t->c, (int)t->c->jobs, dhc_session_threads(t->session))) return false;
  }
  return jobs_running(&t->jobs);
}

static int train_sweep(const Cli *c, dhc_session *s, dhc_sweep *sweep) {
  uint64_t seeds[CLI_MAX_SEEDS];
  const char *term = getenv("TERM");
  Training t = {.c = c, .terminal = isatty(2) && !(term && !strcmp(term, "dumb")), .last = -1e9};
  if (c->dry_run && cli_doc(c)) t.estimates = cJSON_AddArrayToObject(cli_doc(c), "estimates");
  dhc_sweep_train_options o = {.train = cli_train_options(c), .out = c->out, .seeds = seeds, .baseline = c->baseline,
                               .metric = c->metric, .resume = c->resume, .progress = show_training, .estimate = show_estimate, .dry_run = c->dry_run, .ctx = &t};
  if ((o.n_seeds = cli_seeds(c, seeds)) < 1) return 2;
  if (c->shard && (sscanf(c->shard, "%d/%d", &o.shard, &o.n_shards) != 2 || o.shard < 1 || o.shard > o.n_shards)) {
    cli_error(c, "--shard: needs I/N with I from 1 to N, got \"%s\"", c->shard);
    return 2;
  }
  if (c->budget && (o.budget_seconds = read_duration(c->budget)) == 0) {
    cli_error(c, "--budget: needs a time such as 90s, 30m, 8h or 2d, got \"%s\"", c->budget);
    return 2;
  }
  if (c->worker && sscanf(c->worker, "%d/%d", &o.worker, &o.n_workers) != 2) {
    cli_error(c, "--worker: needs I/N, got \"%s\"", c->worker);
    return 2;
  }
  if (c->worker) (void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* without its leader it stops, as if it had been asked to */
  char *command = cli_command_line(c);
  if (!command) return cli_no_memory(c);
  o.train.command = command;
  dhc_sweep_train_result r = {0};
  (void)signal(SIGPIPE, SIG_IGN);
  bool leads = c->jobs > 1 && !c->worker && !c->dry_run;
  if (leads) o.others = lead_jobs;
  t.session = s;
  dhc_status st = dhc_sweep_train(sweep, &o, &r);
  free(command);
  if (leads) jobs_end(&t.jobs);
  if (c->worker && st.code == DHC_E_INTERRUPTED) st.message[0] = 0; /* the leader says it, once for all */
  if (c->worker) return cli_done(c, s, st);
  if (st.code == DHC_E_INTERRUPTED && t.terminal) fputc('\n', stderr);
  if (c->dry_run && st.code == DHC_OK) sum_estimates(&t);
  else if (!c->dry_run && r.done && st.code != DHC_E_USAGE) report_folder(c, c->out, &r);
  int rc = cli_done(c, s, st);
  return rc ? rc : t.jobs.rc;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int step_sweep(const Cli *c, dhc_session *s, dhc_sweep *sweep) {
  Sweep w = {.c = c, .all = dhc_sweep_count(sweep)};
  if (cli_doc(c)) {
    w.variants = cJSON_AddArrayToObject(cli_doc(c), "variants");
    w.merged = cJSON_AddArrayToObject(cli_doc(c), "merged");
  }
  return cli_done(c, s, dhc_sweep_steps(sweep, show_row, &w));
}

/* "1%" as a share. */
static bool read_slack(const Cli *c, double *out) {
  if (!c->slack) return true;
  char *end;
  double v = strtod(c->slack, &end);
  if (end != c->slack && !strcmp(end, "%") && v > 0 && v <= 100) {
    *out = v / 100;
    return true;
  }
  cli_error(c, "--slack: needs a percentage above 0, 1%%, got \"%s\"", c->slack);
  return false;
}

static int run_sweep(const Cli *c, dhc_session *s) {
  dhc_sweep_options o = {.model = {.name = c->args[0], .root = c->root, .preset = c->preset, .recipe = c->recipe},
                         .axes = c->sets, .n_axes = c->n_sets, .opts = c->opts, .n_opts = c->n_opts, .variants = c->variants,
                         .placements = c->placements, .random = c->random, .seed = (uint64_t)c->seed, .sizes = c->sizes, .hold = c->hold,
                         .solve = c->solve, .slack = 0, .runs = c->build ? c->out : NULL};
  dhc_sweep *sweep = NULL;
  int rc = read_slack(c, &o.slack) ? 0 : 2;
  dhc_catch_signals(); /* --solve takes its time, too */
  if (!rc) rc = cli_done(c, s, dhc_sweep_open(s, &o, &sweep));
  if (rc) return rc;
  rc = c->train ? train_sweep(c, s, sweep) : c->cost_only ? cli_sweep_costs(c, s, sweep) : c->build ? report_sweep(c, s, sweep) : step_sweep(c, s, sweep);
  dhc_sweep_close(sweep);
  if (!rc && !cli_doc(c)) cli_print_stats(c, s);
  return rc;
}

static int merge_sweep(const Cli *c) {
  dhc_sweep_train_result r = {0};
  if (c->n_args < 3) {
    cli_error(c, "sweep merge: needs a folder to make and the folders of shards");
    return 2;
  }
  int rc = cli_fail(c, dhc_sweep_merge(c->args[1], c->args + 2, c->n_args - 2, &r));
  if (!rc) report_folder(c, c->args[1], &r);
  return rc;
}

/* Options that mean something only where runs are trained, or only where they are not. */
static int check_training(const Cli *c) {
  enum { OF_BUILDING = 4 }; /* the first, which --build takes as well */
  const struct {
    const char *name;
    bool given;
  } of_training[] = {{"data", c->data}, {"out", c->out}, {"batch", c->batch}, {"limit", c->limit},
                     {"seeds", c->seeds}, {"baseline", c->baseline}, {"shard", c->shard}, {"resume", c->resume}, {"dry-run", c->dry_run},
                     {"budget", c->budget}, {"jobs", c->jobs}, {"metric", c->metric}, {"epochs", c->epochs}, {"steps", c->steps},
                     {"accumulate", c->accumulate}, {"lr", c->lr > 0}, {"clip", c->clip >= 0}, {"val-fraction", c->val_fraction >= 0}, {"save-every", c->save_every},
                     {"init-from", c->init_from}, {"tensorboard", c->tensorboard}, {"no-augment", c->no_augment},
                     {"no-shuffle", c->no_shuffle}, {"worker", c->worker}};
  if (c->build && !c->train && (!c->data != !c->out || (!c->data && (c->limit || c->batch)))) {
    cli_error(c, "sweep: --build takes --data and --out together: a sweep that --train has trained, and what its weights are measured on");
    return 2;
  }
  for (size_t i = c->build ? OF_BUILDING : 0; !c->train && i < sizeof of_training / sizeof of_training[0]; i++)
    if (of_training[i].given) {
      cli_error(c, "sweep: --%s needs --train", of_training[i].name);
      return 2;
    }
  if (c->build && (c->train || c->cost_only)) {
    cli_error(c, "sweep: --build goes without --train and --cost-only");
    return 2;
  }
  if (c->train && (!c->data || (!c->out && !c->dry_run))) {
    cli_error(c, "sweep: --train needs --data SPEC and --out DIR");
    return 2;
  }
  if (!c->cost_only && (c->outputs || c->x || c->y)) {
    cli_error(c, "sweep: -o, --x and --y need --cost-only; dhcc plot draws sweeps that were trained");
    return 2;
  }
  if (c->cost_only ? c->train : c->csv) {
    cli_error(c, c->cost_only ? "sweep: --cost-only trains nothing: leave it or --train out" : "sweep: --csv needs --cost-only");
    return 2;
  }
  return 0;
}

int cmd_sweep(const Cli *c) {
  if (!strcmp(c->args[0], "merge")) return merge_sweep(c);
  if (c->n_args > 1) {
    cli_error(c, "sweep: one model at a time; got %s as well", c->args[1]);
    return 2;
  }
  dhc_session *s = NULL;
  int rc = check_training(c);
  if (!rc && c->cost_only) rc = costs_check(c);
  if (!rc) rc = cli_open_session(c, &s);
  if (!rc) rc = run_sweep(c, s);
  cli_close(c, s, NULL);
  return rc;
}
