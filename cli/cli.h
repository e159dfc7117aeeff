/* The dhcc command, on top of dhc.h alone: option table, command table, output
 * helpers. Results go to stdout, messages to stderr. Exit status: 0 done, 1 the input
 * is wrong, 2 usage, 3 the environment is, 4 a numerical stop, 130/143 signals. */
#ifndef DHC_CLI_CLI_H
#define DHC_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "dhc/dhc.h"

enum { CLI_MAX_SETS = 64, CLI_MAX_INPUTS = 32 };

/* Everything the command line can say; a field is its default where not given. */
typedef struct Cli {
  const char *command;
  const char *args[8]; /* positional, after the command */
  int n_args;
  const char *sets[CLI_MAX_SETS];
  int n_sets;
  const char *inputs[CLI_MAX_INPUTS];
  int n_inputs;
  const char *root, *preset, *recipe, *backend, *cpu_features, *stage, *entry, *sizes, *pass;
  const char *weights, *state, *outputs, *oracle, *data, *split, *out, *disable_pass, *color, *dims;
  int64_t threads, batch, epochs, steps, limit, seed, save_every, predictions, pass_limit;
  int64_t max_memory, max_bytes, repeat;
  double lr, clip, tolerance, val_fraction;
  bool json, help, version, quiet, resume, no_augment, no_cache, grad, ema, time;
} Cli;

/* Fills c; false after a message (exit 2). */
bool cli_parse(Cli *c, int argc, char **argv);
void cli_print_help(const char *command, FILE *to);

typedef struct CliCommand {
  const char *name;
  const char *args;    /* "MODEL" */
  int min_args, max_args;
  const char *summary; /* one line */
  const char *example;
  int (*run)(const Cli *c);
} CliCommand;
const CliCommand *cli_commands(int *n);

/* ---- output (output.c) ---- */

/* "dhcc: error: …" on stderr. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_note(const Cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Exit status for a status; prints its message unless it is empty. */
int cli_fail(dhc_status st);
bool cli_color(const Cli *c, FILE *to);

/* ---- common steps (session.c) ---- */

/* Session and model as the options say. Prints diagnostics; returns 0 or an exit status. */
int cli_open_session(const Cli *c, dhc_session **out);
int cli_open_model(const Cli *c, dhc_session *s, dhc_model **out);
/* The session's errors and warnings: JSON on stdout under --json if there are errors, else
 * text on stderr. */
void cli_print_diagnostics(const Cli *c, dhc_session *s);
/* "kernels_compiled": … fields every JSON document carries. */
struct cJSON;
void cli_json_stats(struct cJSON *doc, const dhc_session *s);
void cli_print_json(struct cJSON *doc); /* prints and deletes */
/* One line on stderr: "12 kernels: 0 compiled, 12 from the cache (31 ms)". */
void cli_print_stats(const Cli *c, const dhc_session *s);

/* ---- commands ---- */
int cmd_check(const Cli *c);
int cmd_info(const Cli *c);
int cmd_print(const Cli *c);
int cmd_opt(const Cli *c);
int cmd_kernel(const Cli *c);
int cmd_run(const Cli *c);
int cmd_verify(const Cli *c);
int cmd_train(const Cli *c);
int cmd_eval(const Cli *c);
int cmd_cache(const Cli *c);
int cmd_doctor(const Cli *c);
int cmd_explain(const Cli *c);

#endif
