/* run, verify: an entry on given tensors. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

enum { MAX_TENSORS = 256 };

typedef struct Inputs {
  dhc_tensor_file *file[CLI_MAX_INPUTS];
  int n_files;
  dhc_tensor t[MAX_TENSORS];
  int n;
  char *name[MAX_TENSORS]; /* of those given as NAME=FILE */
  int n_names;
} Inputs;

/* "FILE.safetensors" gives every tensor of the file (a leading "input." is dropped);
 * "NAME=FILE.npy" gives one. */
static int add_input(const Cli *c, Inputs *in, const char *spec) {
  const char *eq = strchr(spec, '=');
  const char *path = eq ? eq + 1 : spec;
  if (eq == spec || !*path) {
    cli_error(c, "--inputs: needs FILE.safetensors or NAME=FILE.npy, got \"%s\"", spec);
    return 2;
  }
  dhc_tensor_file *f;
  int rc = cli_fail(c, dhc_tensor_file_open(path, &f));
  if (rc) return rc;
  in->file[in->n_files++] = f;
  for (int i = 0; i < dhc_tensor_file_count(f); i++) {
    if (in->n == MAX_TENSORS) {
      cli_error(c, "--inputs: more than %d tensors", MAX_TENSORS);
      return 2;
    }
    dhc_tensor t = *dhc_tensor_file_get(f, i);
    if (t.dtype == DHC_N_DTYPES) {
      cli_note(c, "note: %s: '%s' is of a type, or has a rank, that dhcc lacks; it is left out", path, t.name);
      continue;
    }
    if (eq) {
      in->name[in->n_names] = strndup(spec, (size_t)(eq - spec));
      if (!in->name[in->n_names]) return cli_no_memory(c);
      t.name = in->name[in->n_names++];
    } else if (!strncmp(t.name, "input.", 6)) {
      t.name += 6;
    } else if (!strncmp(t.name, "param.", 6) || !strncmp(t.name, "output.", 7) || !strncmp(t.name, "grad.", 5)) {
      continue;
    }
    in->t[in->n++] = t;
  }
  return 0;
}

static void close_inputs(Inputs *in) {
  for (int i = 0; i < in->n_files; i++) dhc_tensor_file_close(in->file[i]);
  for (int i = 0; i < in->n_names; i++) free(in->name[i]);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void print_tensor(const dhc_tensor *t) {
  printf("%s %s[", t->name, dhc_dtype_text(t->dtype));
  for (int i = 0; i < t->rank; i++) printf("%s%lld", i ? ", " : "", (long long)t->dim[i]);
  printf("]");
  int64_t n = dhc_tensor_elements(t);
  for (int64_t i = 0; i < n && i < 8; i++) {
    if (t->dtype == DHC_I64) printf(" %lld", (long long)((const int64_t *)t->data)[i]);
    else printf(" %.*g", t->dtype == DHC_F64 ? 15 : t->dtype == DHC_F32 ? 7 : 10, dhc_tensor_value(t, i));
  }
  printf(n > 8 ? " ...\n" : "\n");
}

enum { PROFILED_RUNS = 10 };

static int profile(const Cli *c, dhc_program *p, const Inputs *in) {
  CliProfile sum = {0};
  int64_t times = c->repeat > 0 ? c->repeat : PROFILED_RUNS;
  dhc_program_profile(p, true);
  for (int64_t i = 0; i < times; i++) {
    int rc = cli_fail(c, dhc_program_run(p, 0, in->t, in->n, NULL, NULL));
    if (rc) return rc;
  }
  for (int i = 0; i < dhc_program_profile_rows(p); i++) {
    const dhc_profile_row row = dhc_program_profile_row(p, i);
    cli_profile_add(&sum, &row);
  }
  dhc_program_profile(p, false);
  return cli_profile_print(c, &sum, times);
}

/* What the command line names is meant: an input of the entry, or the cotangent of a result. */
static int check_input(const Cli *c, const dhc_program *p, const char *spec, const char *entry) {
  enum { MAX_NAMES = 64 };
  const char *names[MAX_NAMES], *name, *eq = strchr(spec, '=');
  char word[128];
  int n = 0;
  if (!eq || (c->grad && !strncmp(spec, "cotangent.", 10))) return 0;
  snprintf(word, sizeof word, "%.*s", (int)(eq - spec), spec);
  for (int i = 0; n < MAX_NAMES && (name = dhc_program_input(p, 0, i)); i++) {
    if (!strcmp(name, word)) return 0;
    names[n++] = name;
  }
  const char *near = dhc_closest(word, names, n);
  cli_error(c, "--inputs %s: entry '%s' has no input '%s'%s%s%s", spec, entry, word, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
  return 1;
}

/* -o FILE takes all results, -o NAME=FILE one of them. */
static int save_results(const Cli *c, const dhc_tensor *res, int n) {
  const char *eq = strchr(c->outputs, '=');
  if (!eq || eq == c->outputs) return cli_fail(c, dhc_tensor_file_save(c->outputs, res, n));
  const char *names[MAX_TENSORS];
  char word[128];
  int n_names = 0;
  snprintf(word, sizeof word, "%.*s", (int)(eq - c->outputs), c->outputs);
  for (int i = 0; i < n; i++) {
    if (!strcmp(res[i].name, word)) return cli_fail(c, dhc_tensor_file_save(eq + 1, &res[i], 1));
    if (n_names < MAX_TENSORS) names[n_names++] = res[i].name;
  }
  const char *near = dhc_closest(word, names, n_names);
  cli_error(c, "-o %s: there is no result '%s'%s%s%s", c->outputs, word, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
  return 1;
}

/* Row-major; what is no number is null, as JSON has it. */
static void add_values(cJSON *r, const dhc_tensor *t) {
  cJSON *values = cJSON_AddArrayToObject(r, "values");
  for (int64_t i = 0, n = dhc_tensor_elements(t); values && i < n; i++) {
    cJSON *v = cJSON_CreateNumber(dhc_tensor_value(t, i));
    if (!v) return;
    cli_add(values, NULL, v);
  }
}

/* Gradients of results of which nobody says how much each counts are all zero. */
static void note_zeros(const Cli *c, const Inputs *in, const dhc_tensor *res, int n) {
  const dhc_tensor *first = NULL;
  int n_float = 0;
  for (int i = 0; i < in->n; i++)
    if (!strncmp(in->t[i].name, "cotangent.", 10)) return;
  for (int i = 0; i < n && strncmp(res[i].name, "grad.", 5); i++) {
    if (res[i].dtype != DHC_F32 && res[i].dtype != DHC_F64) continue;
    n_float++;
    if (!first) first = &res[i];
  }
  if (!first || (first->rank == 0 && (n_float == 1 || !strcmp(first->name, "loss")))) return;
  cli_note(c, "note: no cotangent of a result is given, so all gradients are 0; pass one by --inputs cotangent.%s=FILE", first->name);
}

static int run_program(const Cli *c, dhc_session *s, dhc_program *p, const Inputs *in) {
  const dhc_tensor *res;
  int n_res;
  int rc = cli_done(c, s, dhc_program_run(p, 0, in->t, in->n, &res, &n_res));
  if (rc) return rc;
  double median = 0, *ms = NULL;
  if (c->repeat > 0) {
    ms = malloc(sizeof *ms * (size_t)c->repeat);
    if (!ms) return cli_no_memory(c);
    for (int64_t i = 0; i < c->repeat; i++) {
      double t0 = now_ms();
      rc = cli_fail(c, dhc_program_run(p, 0, in->t, in->n, &res, &n_res));
      if (rc) {
        free(ms);
        return rc;
      }
      ms[i] = now_ms() - t0;
    }
    qsort(ms, (size_t)c->repeat, sizeof *ms, by_value);
    median = ms[c->repeat / 2];
  }
  dhc_status st = dhc_program_check(p, 0); /* values are what was asked for; it is only said */
  if (st.code != DHC_OK) {
    char line[sizeof st.message + 16];
    snprintf(line, sizeof line, "warning: %s", st.message);
    cli_warn_line((void *)c, line);
  }
  if (c->grad) note_zeros(c, in, res, n_res);
  if (c->outputs) rc = save_results(c, res, n_res);
  cJSON *doc = cli_doc(c);
  if (doc) {
    cJSON *list = cJSON_AddArrayToObject(doc, "results");
    for (int i = 0; i < n_res; i++) {
      cJSON *r = cJSON_CreateObject();
      cJSON_AddStringToObject(r, "name", res[i].name);
      cJSON_AddStringToObject(r, "dtype", dhc_dtype_text(res[i].dtype));
      cJSON *shape = cJSON_AddArrayToObject(r, "shape");
      for (int d = 0; d < res[i].rank; d++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)res[i].dim[d]));
      if (!c->outputs) add_values(r, &res[i]);
      cli_add(list, NULL, r);
    }
    if (ms) {
      cJSON_AddNumberToObject(doc, "median_ms", median);
      cJSON_AddNumberToObject(doc, "min_ms", ms[0]);
      cJSON_AddNumberToObject(doc, "max_ms", ms[c->repeat - 1]);
    }
    cJSON_AddNumberToObject(doc, "peak_bytes", (double)dhc_program_memory(p, 0).allocated);
  } else {
    if (!c->outputs)
      for (int i = 0; i < n_res; i++) print_tensor(&res[i]);
    if (ms) cli_note(c, "median %.3f ms of %lld runs (min %.3f, max %.3f)", median, (long long)c->repeat, ms[0], ms[c->repeat - 1]);
    cli_print_stats(c, s);
  }
  free(ms);
  return rc;
}

/* The state the last run left in the file, if there is one. */
static int load_state(const Cli *c, dhc_program *p) {
  if (!c->state) return 0;
  if (c->repeat > 0 || c->profile) {
    cli_error(c, "--state and --%s: every run would carry the state on", c->profile ? "profile" : "repeat");
    return 2;
  }
  if (access(c->state, F_OK)) {
    cli_note(c, "note: no %s yet, the states begin anew", c->state);
    return 0;
  }
  return cli_fail(c, dhc_program_load_state(p, c->state));
}

int cmd_run(const Cli *c) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  Inputs *in = calloc(1, sizeof *in);
  if (!in) return cli_no_memory(c);
  int rc = cli_open(c, &s, &m);
  const char *entry = c->entry ? c->entry : c->grad ? "loss" : "forward";
  if (!rc) rc = cli_done(c, s, dhc_program_open(m, entry, c->grad ? DHC_MODE_GRAD : DHC_MODE_RUN, &p));
  for (int i = 0; i < c->n_inputs && !rc; i++) {
    rc = check_input(c, p, c->inputs[i], entry);
    if (!rc) rc = add_input(c, in, c->inputs[i]);
  }
  if (!rc) rc = cli_done(c, s, c->weights ? dhc_program_load(p, c->weights, false) : dhc_program_init(p, (uint64_t)c->seed));
  if (!rc && !c->weights) cli_note(c, "note: no --weights, using initial weights of seed %lld", (long long)c->seed);
  if (!rc) rc = load_state(c, p);
  if (!rc && c->parts.n) rc = cli_done(c, s, dhc_program_ablate(p, c->parts.at, c->parts.n));
  if (!rc) rc = run_program(c, s, p, in);
  if (!rc && c->profile) rc = profile(c, p, in);
  if (!rc && c->state) rc = cli_fail(c, dhc_program_save_state(p, c->state));
  dhc_program_close(p);
  close_inputs(in);
  free(in);
  cli_close(c, s, m);
  return rc;
}

typedef struct VerifyPrint {
  const Cli *c;
  cJSON *rows;
} VerifyPrint;

static void verify_row(void *ctx, const dhc_verify_row *r) {
  VerifyPrint *v = ctx;
  if (v->rows) {
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", r->name);
    cJSON_AddNumberToObject(row, "error", r->error);
    cJSON_AddNumberToObject(row, "tolerance", r->tolerance);
    cJSON_AddBoolToObject(row, "passed", r->passed);
    if (r->why) cJSON_AddStringToObject(row, "why", r->why);
    cli_add(v->rows, NULL, row);
  } else {
    printf("%-48s %10.3e  tol %.0e  %s%s%s\n", r->name, r->error, r->tolerance, r->passed ? "ok" : "FAILED", r->why ? ": " : "",
           r->why ? r->why : "");
  }
}

int cmd_verify(const Cli *c) {
  if (!c->oracle) {
    cli_error(c, "verify: needs --oracle FILE.safetensors");
    return 2;
  }
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int n_rows = 0, n_failed = 0;
  cJSON *doc = cli_doc(c);
  VerifyPrint print = {c, doc ? cJSON_AddArrayToObject(doc, "rows") : NULL};
  int rc = cli_open(c, &s, &m);
  if (!rc) {
    dhc_verify_options o = {c->oracle, c->tolerance, verify_row, &print};
    rc = cli_done(c, s, dhc_verify_oracle(m, &o, &n_rows, &n_failed));
  }
  if (doc) {
    cJSON_AddNumberToObject(doc, "n_rows", n_rows);
    cJSON_AddNumberToObject(doc, "n_failed", n_failed);
  } else if (n_rows) {
    printf("%d of %d rows within tolerance\n", n_rows - n_failed, n_rows);
  }
  cli_close(c, s, m);
  return rc;
}
