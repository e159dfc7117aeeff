/* The dhcc command, on top of dhc.h alone: option table, command table, output
 * helpers. Results go to stdout, messages to stderr. Exit status: 0 done, 1 the input
 * is wrong, 2 usage, 3 the environment is, 4 a numerical stop, 129/130/143 signals.
 *
 * Under --json stdout holds one document and nothing else, also when something fails:
 * "command", "diagnostics" (errors, warnings, notes; those of files with their place), what the
 * command found, and at last "exit_status". stderr keeps the same messages as text. */
#ifndef DHC_CLI_CLI_H
#define DHC_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "dhc/dhc.h"

enum { CLI_MAX_ARGS = 4096, CLI_MAX_SETS = 64, CLI_MAX_INPUTS = 32, CLI_MAX_ENTRIES = 16, CLI_MAX_SEEDS = 1000 };

struct cJSON;

/* What has been said so far. */
typedef struct CliReport {
  struct cJSON *doc;      /* the document of --json; NULL without */
  struct cJSON *messages; /* its "diagnostics" but those of the session, which go in front */
  int n_shown;            /* diagnostics of the session that are on stderr already */
  struct CliWatch *watch; /* says what the command is at; NULL: nobody does */
} CliReport;

/* Values of an option that may be repeated, in order. */
typedef struct CliList {
  const char *at[CLI_MAX_SETS];
  int n;
} CliList;

/* Everything the command line can say; a field is its default where not given. */
typedef struct Cli {
  const char *command;
  const char *args[CLI_MAX_ARGS]; /* positional, after the command */
  int n_args;
  const char *sets[CLI_MAX_SETS];
  int n_sets;
  const char *opts[CLI_MAX_SETS];
  int n_opts;
  const char *inputs[CLI_MAX_INPUTS];
  int n_inputs;
  const char *entries[CLI_MAX_ENTRIES]; /* all that were given; `entry` is the last */
  int n_entries;
  CliList parts;                             /* --ablate */
  CliList object_variants, variant_weights;  /* build: NAME:SETTINGS, NAME:FILE */
  CliList optional;                          /* build: inputs */
  const char *root, *preset, *recipe, *backend, *cpu_features, *gpu_arch, *compute, *stage, *entry, *sizes, *pass;
  const char *weights, *state, *prompt, *outputs, *oracle, *data, *split, *out, *disable_pass, *color, *dims, *allow_changed, *variants, *placements, *tuning;
  const char *seeds, *baseline, *metric, *shard, *hold, *solve, *slack, *budget, *worker, *x, *y, *err, *log, *init_from; /* sweep; init_from: train too */
  int64_t threads, batch, accumulate, epochs, steps, limit, seed, save_every, predictions, pass_limit;
  int64_t episodes; /* rl: -1: not given */
  int64_t depth;    /* graph */
  const char *env, *assets, *render; /* rl */
  CliList env_sets;
  int64_t top, tokens, top_k, max_memory, max_bytes, repeat, random, jobs;
  int64_t gpus, rank_timeout, check_ranks; /* train */
  bool distributed, shard_optimizer;
  double lr, clip, tolerance, val_fraction, temperature;
  bool prefault, measured, build, json, help, version, quiet, resume, overwrite, strict, no_augment, no_shuffle, no_cache, multiversion, large, check_bounds, grad, print_recipe, profile;
  bool train, dry_run, tensorboard, csv, compile, experts, eval;
  bool kernels, diff, explain_compiles, routing, cost_only;
  /* build */
  const char *header, *name, *bind, *weights_file, *bounds, *timing, *quantize;
  const char *target, *cpu, *features, *emit;
  int64_t selftest, max_ram, max_stack, max_flash;
  /* bench */
  const char *object;
  double rate, seconds, log_every;
  char run_data[4096]; /* where `data` came from a run */
  char run_backend[64], run_init[4096]; /* the same of a run that goes on */
  int argc; /* as main got them */
  char **argv;
  CliReport *report;
} Cli;

/* Fills c, whose report is there already; false after a message (exit 2). */
bool cli_parse(Cli *c, int argc, char **argv);
/* Whether the command line has the option (its name without dashes). */
bool cli_given(const Cli *c, const char *option);
/* The i-th row of options.def; false behind the last. */
typedef struct CliOption {
  const char *name, *argument, *help, *usual, *commands; /* argument NULL: a flag; usual NULL: nothing holds without */
} CliOption;
bool cli_option(int i, CliOption *out);
/* Whether a command has the option (its name without dashes). */
bool cli_takes(const char *command, const char *option);
/* Where MODEL is the folder of a run or a package (dhc_package_find): weights and data that are not given are its own, and
 * --resume goes on in it. */
void cli_take_run(Cli *c);
/* Says what options a model lacks, and where it names a run that is not there, that; the exit status. */
int cli_lacks(const Cli *c, const char *what);
/* Numbers of "--dims 1,2,3" (NULL: none); how many, or -1 where it is no such list. */
int cli_dims(const char *text, int64_t *dims, int max);
/* Of --seeds, else --seed: CLI_MAX_SEEDS at most; how many, below 1 after a message. */
int cli_seeds(const Cli *c, uint64_t *to);
/* Of a command, or of all for NULL. */
void cli_print_help(const char *command, FILE *to);

typedef struct CliCommand {
  const char *name;
  const char *args;    /* "MODEL" */
  int min_args, max_args;
  const char *summary; /* one line */
  const char *example;
  const char *more;    /* further lines of its help, or NULL */
  int (*run)(const Cli *c);
} CliCommand;
const CliCommand *cli_commands(int *n);
const CliCommand *cli_command(const char *name); /* NULL: none; an error is not reported */

/* ---- output (output.c) ---- */

/* "dhcc: error: …" on stderr and in the document. */
void cli_error(const Cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "dhcc: error: WHAT: what errno err means", in lower case as messages are. */
void cli_system_error(const Cli *c, const char *what, int err);
/* A plain line on stderr, unless --quiet. */
void cli_note(const Cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "dhcc: warning: …", "dhcc: note: …" as the session hands them out; --quiet keeps notes back. */
void cli_warn_line(void *cli, const char *line);
/* "out of memory", and the exit status for it. */
int cli_no_memory(const Cli *c);
/* Exit status for a status; says its message unless it is empty. */
int cli_fail(const Cli *c, dhc_status st);
bool cli_color(const Cli *c, FILE *to);
/* Columns of the terminal behind `to`; 0: it is none, or its width is not known. */
int cli_columns(FILE *to);
/* The document, or NULL without --json. */
struct cJSON *cli_doc(const Cli *c);
/* The document is empty and there if `json`. From here on it is noted when cJSON, for this
 * document or one that is read, finds no memory. */
void cli_begin_doc(CliReport *r, bool json);
/* To an object under a name, or to an array (name NULL); deletes what cannot be added. */
void cli_add(struct cJSON *to, const char *name, struct cJSON *item);
/* Prints and deletes the document, with the exit status in it, and returns that: 3 where it was
 * 0 and something of the command's output is missing for want of memory. */
int cli_print_doc(const Cli *c, bool json, int status);
void cli_drop_doc(CliReport *r);
void cli_doc_missing(void); /* something that cJSON did not see */
bool cli_doc_is_missing(void); /* found no memory so far */

/* ---- what a command is at (watch.c) ---- */

/* From begin to end (which may come twice) a line is said where the command would be silent for a second, in a log for
 * --log-every, unless --quiet. Whoever writes to standard
 * error meanwhile does it by these. */
typedef struct CliWatch CliWatch;
void cli_watch_begin(const Cli *c);
void cli_watch_session(const Cli *c, const dhc_session *s); /* that says what it is at, until the end */
void cli_watch_end(const Cli *c);
/* Whether the last line is so many seconds old on a terminal, as many as --log-every in a log. */
bool cli_watch_due(const Cli *c, double terminal_s);
/* A line of progress; not whole: the next one takes its place on a terminal. */
void cli_watch_progress(const Cli *c, const char *text, bool whole);
void cli_watch_hold(const Cli *c); /* around other lines */
void cli_watch_release(const Cli *c);

/* ---- common steps (session.c) ---- */

/* Session and model as the options say; 0 or an exit status, after messages. Whatever they
 * return, cli_close ends them: it says what is left to say, puts diagnostics and what was
 * compiled into the document. Both may be NULL. */
int cli_open_session(const Cli *c, dhc_session **s);
int cli_open(const Cli *c, dhc_session **s, dhc_model **m);
void cli_close(const Cli *c, dhc_session *s, dhc_model *m);
/* Exit status of a step that may have left diagnostics, which are shown. */
int cli_done(const Cli *c, dhc_session *s, dhc_status st);
/* One line on stderr: "kernels: 12 compiled, …". */
void cli_print_stats(const Cli *c, const dhc_session *s);

/* ---- profiles (profile.c) ---- */

/* Kernels, or layers, in order of the time they take: what has the same name is one line. */
typedef struct CliProfileLine {
  const char *name, *label;      /* borrowed */
  double runs, ms, flops, bytes; /* of all runs of the entry together */
} CliProfileLine;
typedef struct CliProfile {
  CliProfileLine *lines;
  int n;
  bool no_memory;
} CliProfile;
void cli_profile_add(CliProfile *p, const dhc_profile_row *row); /* a row as dhc.h gives it, by its kernel */
void cli_profile_add_to(CliProfile *p, const char *name, const char *label, const dhc_profile_row *row);
/* Dearest first, each line divided by `times`, runs of the entry; milliseconds of all lines then. */
double cli_profile_order(CliProfile *p, double times);
double cli_profile_rate(double amount, double ms); /* per second, in 10^9; 0 where no time was measured */
/* Lines on stdout. roof: a line's share of what the machine can do, NaN where that is not known; NULL: without that column. */
void cli_profile_lines(const CliProfile *p, double all, const char *what, double (*roof)(const void *with, const CliProfileLine *l), const void *with);
/* The table on stdout, or "profile" in the document; frees the lines. times: runs of the entry. Exit status. */
int cli_profile_print(const Cli *c, CliProfile *p, int64_t times);

/* ---- ranks (ranks.c) ---- */

/* The command `run` as --gpus and --distributed say: in processes of their own, or as one of those that are there; g NULL:
 * it is the only one. Exit status. */
int cli_ranks(const Cli *c, int (*run)(const Cli *c, dhc_group *g, dhc_status *st));

/* ---- training (cmd_train.c), for sweeps too ---- */

dhc_train_options cli_train_options(const Cli *c);
/* The command line that begins a run, as a shell takes it, without --resume; the caller's to free. NULL: no memory. */
char *cli_command_line(const Cli *c);
void cli_clock_text(double seconds, char *to, size_t n); /* "1:02:03", "--:--" where it is not known */

/* 12345678 bytes as "12.3 MB", 1.2e9 as "1.2 G": what a reader compares; --json and --csv have every digit. */
const char *cli_short_number(double v, const char *unit, char text[48]);
/* Cells of CSV: a text, quoted where it has commas, quotes or line ends; a number with every digit, nothing for NaN. */
void cli_csv_text(const char *text, FILE *to);
void cli_csv_number(double v, FILE *to);
/* A row for a variant in the document of a sweep, to which the caller adds the rest; NULL: it is equal to another, which says it all. */
struct cJSON *cli_sweep_row(struct cJSON *variants, struct cJSON *merged, const char *name, const char *hash, const char *same_as);
/* sweep --cost-only (sweep_costs.c). */
int cli_sweep_costs(const Cli *c, dhc_session *s, dhc_sweep *sweep);

/* train: settings that the command line leaves open are those of the run that it goes on with (run_settings.c). */
void cli_take_settings(Cli *c);
void cli_take_share(Cli *c, const struct cJSON *config); /* of the data, for validation */
struct cJSON *cli_json_file(const char *folder, const char *name); /* the caller's to delete; NULL: none */
/* The learning curve of the run in --out, as curve.svg there (cmd_plot.c); exit status. */
int cli_learning_curve(const Cli *c);

/* ---- commands ---- */
int cmd_build(const Cli *c);
int cmd_bench(const Cli *c);
int cmd_tune(const Cli *c);
int cmd_profile(const Cli *c);
int cli_bench_model(const Cli *c); /* bench of a model (cmd_profile.c) */
int cmd_check(const Cli *c);
int cmd_pack(const Cli *c);
int cmd_list(const Cli *c);
int cmd_doc(const Cli *c);
int cmd_predict(const Cli *c);
int cmd_info(const Cli *c);
int cmd_print(const Cli *c);
int cmd_opt(const Cli *c);
int cmd_kernel(const Cli *c);
int cmd_run(const Cli *c);
int cmd_verify(const Cli *c);
int cmd_train(const Cli *c);
int cmd_eval(const Cli *c);
int cmd_ablate(const Cli *c);
int cmd_sweep(const Cli *c);
int cmd_plot(const Cli *c);
int cmd_graph(const Cli *c);
int cmd_generate(const Cli *c);
int cmd_rl(const Cli *c);
int cmd_cache(const Cli *c);
int cmd_doctor(const Cli *c);
int cmd_explain(const Cli *c);
int cmd_completion(const Cli *c);
int cmd_man(const Cli *c);
int cmd_lsp(const Cli *c);

#endif
