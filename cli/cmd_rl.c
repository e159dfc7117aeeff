/* rl: a policy learns in an environment, once for each seed; or episodes of one that has learned. Of a run's folder what is not
 * said is as in the run. */
#include <cjson/cJSON.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum { EVAL_EPISODES = 100 };

typedef struct Show {
  const Cli *c;
  bool terminal;
  double last;
} Show;

static bool show(void *ctx, const dhc_rl_progress *p) {
  Show *s = ctx;
  bool end = p->steps >= p->of;
  if (s->c->quiet || (!end && p->seconds - s->last < (s->terminal ? 0.1 : 5.0) && p->rollouts != 1)) return true;
  s->last = p->seconds;
  char eta[24], score[64] = "";
  cli_clock_text(p->eta_seconds, eta, sizeof eta);
  if (!isnan(p->mean_return)) snprintf(score, sizeof score, "  return %.1f  length %.0f", p->mean_return, p->mean_length);
  fprintf(stderr, "%sstep %lld/%lld%s  kl %.4f  entropy %.2f  explained %.2f  %.0f steps/s  eta %s%s", s->terminal ? "\r\033[K" : "",
          (long long)p->steps, (long long)p->of, score, p->kl, p->entropy, p->explained_variance, p->steps_per_s, eta,
          !s->terminal || end ? "\n" : "");
  fflush(stderr);
  return true;
}

typedef struct Seeds {
  uint64_t seed[CLI_MAX_SEEDS];
  dhc_rl_result result[CLI_MAX_SEEDS];
  int n, done;
} Seeds;

/* What a run's evaluation says, or without one its last episodes. */
static double score(const dhc_rl_result *r) {
  return isnan(r->eval_return) ? r->mean_return : r->eval_return;
}

static void add_number(cJSON *to, const char *name, double v) {
  cli_add(to, name, isfinite(v) ? cJSON_CreateNumber(v) : cJSON_CreateNull());
}

static void report(const Cli *c, const Seeds *s) {
  double mean = 0, steps = 0, seconds = 0, rolls = 0;
  for (int i = 0; i < s->done; i++) {
    mean += score(&s->result[i]) / s->done;
    steps += (double)s->result[i].steps;
    seconds += s->result[i].seconds;
    rolls += (double)s->result[i].steps / s->result[i].rollout_steps_per_s;
  }
  cJSON *doc = cli_doc(c);
  if (!doc) return;
  cJSON *each = cJSON_AddArrayToObject(doc, "return_per_seed");
  for (int i = 0; i < s->done; i++) {
    double v = score(&s->result[i]);
    cli_add(each, NULL, isfinite(v) ? cJSON_CreateNumber(v) : cJSON_CreateNull());
  }
  add_number(doc, "mean_return", s->done ? mean : NAN);
  add_number(doc, "steps", s->done ? steps / s->done : 0);
  add_number(doc, "steps_per_s", seconds > 0 ? steps / seconds : NAN);
  add_number(doc, "rollout_steps_per_s", steps / rolls);
  add_number(doc, "seconds", seconds);
}

static void say(const Cli *c, int64_t seed, const dhc_rl_result *r) {
  if (cli_doc(c)) return;
  char last[80] = "";
  if (r->episodes)
    snprintf(last, sizeof last, ", return of the last %lld episodes %.1f", (long long)(r->episodes < 100 ? r->episodes : 100), r->mean_return);
  if (r->steps)
    printf("seed %lld: %lld steps, %lld episodes, %.0f steps/s%s\n", (long long)seed, (long long)r->steps, (long long)r->episodes, r->steps_per_s, last);
  if (r->eval_episodes)
    printf("seed %lld: likeliest actions, %lld episodes: return %.1f (sd %.1f), length %.0f\n", (long long)seed, (long long)r->eval_episodes,
           r->eval_return, r->eval_episodes > 1 ? r->eval_deviation : 0.0, r->eval_length);
}

/* What is asked for, with what config.json of a run's folder says. */
typedef struct Ask {
  cJSON *config; /* NULL: MODEL is no run */
  const char *env, *assets, *weights;
  CliList env_sets;
  int64_t steps;
  bool eval;
} Ask;

static const char *said(const Ask *a, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(a->config, name));
  return text && *text ? text : NULL;
}

static int64_t number(const Ask *a, const char *name) {
  const cJSON *n = cJSON_GetObjectItemCaseSensitive(a->config, name);
  return cJSON_IsNumber(n) ? (int64_t)n->valuedouble : 0;
}

static void read_ask(const Cli *c, Ask *a) {
  bool weights;
  *a = (Ask){.env = c->env, .assets = c->assets, .weights = c->resume ? NULL : c->weights, .env_sets = c->env_sets, .steps = c->steps};
  a->config = dhc_package_find(c->args[0], &weights) ? cli_json_file(c->args[0], "config.json") : NULL;
  if (!a->env) a->env = said(a, "env");
  if (!a->assets) a->assets = said(a, "assets");
  const cJSON *sets = cJSON_GetObjectItemCaseSensitive(a->config, "env_set"), *x;
  if (!c->env_sets.n) cJSON_ArrayForEach(x, sets) if (cJSON_IsString(x) && a->env_sets.n < CLI_MAX_SETS) a->env_sets.at[a->env_sets.n++] = x->valuestring;
  if (c->resume && !a->steps) a->steps = number(a, "steps");
  a->eval = c->eval || (a->weights && !c->steps);
}

static int check_ask(const Cli *c, const Ask *a) {
  if (!a->env)
    cli_error(c, "rl needs --env NAME: %s, %s, %s, %s, or a file ./NAME.so of your own", dhc_rl_environment(0), dhc_rl_environment(1),
              dhc_rl_environment(2), dhc_rl_environment(3));
  else if (c->eval && (c->resume || c->steps))
    cli_error(c, "--eval and --%s exclude each other", c->resume ? "resume" : "steps");
  else if (a->eval && !a->weights)
    cli_error(c, "--eval needs weights: the folder of a run for MODEL, or --weights FILE");
  else if (a->weights && c->steps)
    cli_error(c, "weights are evaluated (--eval), not trained on: --steps goes with a model, or with --resume of a run");
  else if (!a->steps && !a->eval && !c->print_recipe)
    cli_error(c, "rl needs --steps N, of the environments in all (or --weights FILE, which is evaluated)");
  else if (c->render && c->episodes == 0)
    cli_error(c, "--render: is of an evaluation, and --episodes 0 makes none");
  else
    return 0;
  return 2;
}

static int one_seed(const Cli *c, dhc_session *s, dhc_model *m, const Ask *a, Seeds *seeds, const char *command) {
  const char *term = getenv("TERM");
  Show shown = {c, isatty(2) && !(term && !strcmp(term, "dumb")), 0};
  uint64_t seed = seeds->seed[seeds->done];
  char out[4096];
  if (c->out && seeds->n > 1) {
    if ((size_t)snprintf(out, sizeof out, "%s/seed-%llu", c->out, (unsigned long long)seed) >= sizeof out) {
      cli_error(c, "--out: the name is too long");
      return 2;
    }
  }
  const dhc_rl_options o = {.env = a->env, .assets = a->assets, .env_sets = a->env_sets.at, .n_env_sets = a->env_sets.n, .render = c->render,
                            .out = c->out && seeds->n > 1 ? out : c->out, .steps = a->steps, .seed = seed, .resume = c->resume, .overwrite = c->overwrite, .save_every = c->save_every,
                            .eval_episodes = c->episodes < 0 ? EVAL_EPISODES : c->episodes, .command = command, .progress = show, .ctx = &shown};
  dhc_rl_result *r = &seeds->result[seeds->done];
  dhc_status st = a->eval ? dhc_rl_evaluate(m, a->weights, &o, r) : dhc_rl(m, &o, r);
  int rc = cli_done(c, s, st);
  if (rc) return rc;
  seeds->done++;
  say(c, (int64_t)seed, r);
  return 0;
}

static int run(const Cli *c, dhc_session *s, dhc_model *m, const Ask *a) {
  Seeds seeds = {0};
  if ((seeds.n = cli_seeds(c, seeds.seed)) < 1) return 2;
  if (c->resume && !c->seeds && !c->seed) seeds.seed[0] = (uint64_t)number(a, "seed");
  char *command = cli_command_line(c);
  if (!command) return cli_no_memory(c);
  dhc_catch_signals();
  (void)signal(SIGPIPE, SIG_IGN);
  int rc = 0;
  for (int i = 0; i < seeds.n && !rc; i++) rc = one_seed(c, s, m, a, &seeds, command);
  report(c, &seeds);
  free(command);
  return rc;
}

/* The settings of a run, a line each, and where they come from. */
static int print_recipe(const Cli *c, dhc_session *s, dhc_model *m, const Ask *a) {
  char *text = NULL;
  int rc = cli_done(c, s, dhc_rl_recipe_json(m, a->steps, &text));
  cJSON *recipe = text ? cJSON_Parse(text) : NULL, *row;
  free(text);
  if (cli_doc(c) && recipe) {
    cli_add(cli_doc(c), "recipe", recipe);
    return rc;
  }
  const cJSON *from = cJSON_GetObjectItemCaseSensitive(recipe, "from");
  cJSON_ArrayForEach(row, recipe) {
    const char *why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(from, row->string));
    char value[64];
    if (cJSON_IsNumber(row)) snprintf(value, sizeof value, "%.10g", row->valuedouble);
    if (cJSON_IsNumber(row) || cJSON_IsString(row))
      printf("%-20s %s%s%s\n", row->string, cJSON_IsNumber(row) ? value : row->valuestring, why ? "  # " : "", why ? why : "");
  }
  cJSON_Delete(recipe);
  return rc;
}

static int with_ask(const Cli *c, const Ask *a) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int rc = cli_open_session(c, &s);
  const dhc_model_options o = {.name = c->args[0], .root = c->root, .preset = c->preset, .recipe = c->recipe, .sets = c->sets, .n_sets = c->n_sets};
  if (!rc) rc = cli_done(c, s, dhc_rl_model(s, &o, a->env, a->assets, &m));
  if (!rc) rc = c->print_recipe ? print_recipe(c, s, m, a) : run(c, s, m, a);
  if (!rc) cli_print_stats(c, s);
  cli_close(c, s, m);
  return rc;
}

int cmd_rl(const Cli *c) {
  Ask a;
  read_ask(c, &a);
  int rc = check_ask(c, &a);
  if (!rc) rc = with_ask(c, &a);
  cJSON_Delete(a.config);
  return rc;
}
