/* Command line: options from options.def, anywhere among the arguments, as --name value or
 * --name=value; "--" ends them. -h, -q, -o (--outputs) and -V are the short forms. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef enum OptKind { OPT_FLAG, OPT_TEXT, OPT_WORDS, OPT_SETS, OPT_OPTS, OPT_INPUTS, OPT_ENTRIES, OPT_LIST, OPT_INT, OPT_REAL } OptKind;

typedef struct OptRow {
  const char *name;
  OptKind kind;
  size_t offset;
  double lo, hi;
  const char *argument, *help;
  const char *usual;    /* what holds where it is not given, or NULL */
  const char *commands; /* that take it; "*": all */
} OptRow;

static const OptRow rows[] = {
#define OPT(name, kind, field, lo, hi, argument, help, usual, commands) \
  {name, OPT_##kind, offsetof(Cli, field), lo, hi, argument, help, usual, commands},
#include "cli/options.def"
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static const OptRow *find(const char *name, size_t n) {
  for (int i = 0; i < N_ROWS; i++)
    if (strlen(rows[i].name) == n && !memcmp(rows[i].name, name, n)) return &rows[i];
  return NULL;
}

static bool takes(const char *command, const OptRow *r) {
  size_t n = strlen(command);
  if (!strcmp(r->commands, "*")) return true;
  for (const char *at = r->commands; (at = strstr(at, command)); at += n)
    if ((at == r->commands || at[-1] == ' ') && (!at[n] || at[n] == ' ')) return true;
  return false;
}

bool cli_option(int i, CliOption *out) {
  if (i < 0 || i >= N_ROWS) return false;
  *out = (CliOption){rows[i].name, rows[i].argument, rows[i].help, rows[i].usual, rows[i].commands};
  return true;
}

bool cli_given(const Cli *c, const char *option) {
  size_t n = strlen(option);
  for (int i = 1; i < c->argc && strcmp(c->argv[i], "--"); i++)
    if (!strncmp(c->argv[i], "--", 2) && !strncmp(c->argv[i] + 2, option, n) && (!c->argv[i][2 + n] || c->argv[i][2 + n] == '=')) return true;
  return false;
}

bool cli_takes(const char *command, const char *option) {
  const OptRow *r = find(option, strlen(option));
  return r && takes(command, r);
}

/* What other programs call it. */
static const char *const peers[][2] = {
    {"learning-rate", "lr"},     {"bs", "batch"},          {"batch-size", "batch"},     {"num-epochs", "epochs"},     {"n-epochs", "epochs"},
    {"max-epochs", "epochs"},    {"max-steps", "steps"},   {"num-steps", "steps"},      {"max-iters", "steps"},       {"device", "backend"},
    {"gpu", "backend"},          {"accelerator", "backend"}, {"precision", "compute"},  {"workers", "threads"},       {"num-workers", "threads"},
    {"output", "out"},           {"output-dir", "out"},    {"save-dir", "out"},         {"log-dir", "out"},           {"checkpoint", "weights"},
    {"ckpt", "weights"},         {"pretrained", "init-from"}, {"val-split", "val-fraction"}, {"validation-split", "val-fraction"}, {"dataset", "data"},
    {"data-dir", "data"},        {"random-seed", "seed"},  {"grad-clip", "clip"},       {"gradient-clip", "clip"},    {"max-grad-norm", "clip"},
    {"config", "recipe"},        {"max-new-tokens", "tokens"}, {"limit-train-batches", "limit"}, {"shuffle", "no-shuffle"}, {"save-steps", "save-every"},
    {"logging-steps", "log-every"}, {"log-interval", "log-every"}, {"log-every-n-steps", "log-every"},
};

static bool same_word(const char *a, const char *b) { /* but for _ and - */
  for (; *a && *b; a++, b++)
    if (*a != *b && !(*a == '_' && *b == '-')) return false;
  return *a == *b;
}

/* Suggests an option of the command, where it is known already. */
static bool unknown(const Cli *c, const char *name, size_t n) {
  const char *names[N_ROWS];
  int n_names = 0;
  for (int i = 0; i < N_ROWS; i++)
    if (!cli_command(c->command) || takes(c->command, &rows[i])) names[n_names++] = rows[i].name;
  char word[64];
  size_t k = n < sizeof word ? n : sizeof word - 1;
  memcpy(word, name, k);
  word[k] = 0;
  const char *near = NULL;
  for (size_t i = 0; i < sizeof peers / sizeof *peers && !near; i++)
    for (int l = 0; l < n_names && !near; l++)
      if (same_word(word, peers[i][0]) && !strcmp(peers[i][1], names[l])) near = names[l];
  if (!near) near = dhc_closest(word, names, n_names);
  if (near)
    cli_error(c, "unknown option --%s (did you mean --%s?)", word, near);
  else if (cli_command(c->command))
    cli_error(c, "unknown option --%s; dhcc %s --help lists them", word, c->command);
  else
    cli_error(c, "unknown option --%s; dhcc --help lists them", word);
  return false;
}

static bool set_int(Cli *c, const OptRow *r, const char *text) {
  errno = 0;
  char *end;
  long long v = strtoll(text, &end, 10);
  bool digits = *text >= '0' && *text <= '9';
  if (!digits || *end || errno || (double)v < r->lo || (double)v > r->hi) {
    cli_error(c, "--%s: needs a whole number from %.0f to %.0f, got \"%s\"", r->name, r->lo, r->hi, text);
    return false;
  }
  *(int64_t *)((char *)c + r->offset) = v;
  return true;
}

static bool set_real(Cli *c, const OptRow *r, const char *text) {
  /* The command never leaves the "C" locale, so strtod's point is '.'. */
  char *end;
  double v = strtod(text, &end);
  if (end == text || *end || !isfinite(v) || v < r->lo || v > r->hi) {
    if (r->lo > 0 && isfinite(v) && v > r->hi)
      cli_error(c, "--%s: needs a number of at most %g, got \"%s\"", r->name, r->hi, text);
    else if (v > 0 && v < r->lo)
      cli_error(c, "--%s: needs a number of at least %g, got \"%s\"", r->name, r->lo, text);
    else if (r->lo > 0)
      cli_error(c, "--%s: needs a finite number above 0, got \"%s\"", r->name, text);
    else
      cli_error(c, "--%s: needs a finite number from %g to %g, got \"%s\"", r->name, r->lo, r->hi, text);
    return false;
  }
  *(double *)((char *)c + r->offset) = v;
  return true;
}

static bool set_listed(const Cli *c, const char **list, int *n, int max, const OptRow *r, const char *text) {
  if (*n == max) {
    cli_error(c, "--%s: given more than %d times", r->name, max);
    return false;
  }
  list[(*n)++] = text;
  return true;
}

static bool set_option(Cli *c, const OptRow *r, const char *text) {
  if (!*text && r->kind != OPT_FLAG && r->kind != OPT_WORDS) {
    cli_error(c, "--%s: needs a value (%s), got an empty one", r->name, r->argument);
    return false;
  }
  switch (r->kind) {
    case OPT_FLAG: *(bool *)((char *)c + r->offset) = true; return true;
    case OPT_WORDS:
    case OPT_TEXT: *(const char **)((char *)c + r->offset) = text; return true;
    case OPT_SETS:
    case OPT_OPTS:
      if (!strchr(text, '=')) {
        cli_error(c, "--%s: needs KEY=VALUE, got \"%s\"", r->name, text);
        return false;
      }
      if (r->kind == OPT_OPTS) return set_listed(c, c->opts, &c->n_opts, CLI_MAX_SETS, r, text);
      return set_listed(c, c->sets, &c->n_sets, CLI_MAX_SETS, r, text);
    case OPT_INPUTS: return set_listed(c, c->inputs, &c->n_inputs, CLI_MAX_INPUTS, r, text);
    case OPT_LIST: {
      CliList *l = (CliList *)(void *)((char *)c + r->offset);
      return set_listed(c, l->at, &l->n, CLI_MAX_SETS, r, text);
    }
    case OPT_ENTRIES: c->entry = text; return set_listed(c, c->entries, &c->n_entries, CLI_MAX_ENTRIES, r, text);
    case OPT_INT: return set_int(c, r, text);
    case OPT_REAL: return set_real(c, r, text);
  }
  return false;
}

static bool add_positional(Cli *c, const char *arg) {
  if (!c->command) {
    c->command = arg;
    return true;
  }
  if (c->n_args == (int)(sizeof c->args / sizeof c->args[0])) {
    cli_error(c, "too many arguments, from \"%s\" on", arg);
    return false;
  }
  if (!*arg) {
    cli_error(c, "argument %d of %s is empty", c->n_args + 1, c->command);
    return false;
  }
  c->args[c->n_args++] = arg;
  return true;
}

static const char *long_form(const char *arg) {
  static const char *const forms[][2] = {{"-h", "--help"}, {"-q", "--quiet"}, {"-V", "--version"}, {"-o", "--outputs"}};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
    if (!strcmp(arg, forms[i][0])) return forms[i][1];
  return arg;
}

static bool misplaced(const Cli *c, const OptRow *r) {
  cli_error(c, "%s takes no --%s; it is an option of %s", c->command, r->name, r->commands);
  return false;
}

bool cli_parse(Cli *c, int argc, char **argv) {
  *c = (Cli){.clip = -1, .pass_limit = -1, .episodes = -1, .tolerance = -1, .val_fraction = -1, .temperature = 1, .depth = 2, .report = c->report, .argc = argc, .argv = argv};
  bool only_positional = false, given[N_ROWS] = {false};
  for (int i = 1; i < argc; i++) {
    const char *arg = only_positional ? argv[i] : long_form(argv[i]);
    if (only_positional || arg[0] != '-' || !arg[1]) {
      if (!add_positional(c, argv[i])) return false;
      continue;
    }
    if (!strcmp(arg, "--")) {
      only_positional = true;
      continue;
    }
    if (arg[1] != '-') {
      cli_error(c, "unknown option %s", arg);
      return false;
    }
    const char *name = arg + 2, *value = strchr(name, '=');
    size_t n = value ? (size_t)(value - name) : strlen(name);
    const OptRow *r = find(name, n);
    if (!r) return unknown(c, name, n);
    if (r->kind == OPT_FLAG && value) {
      cli_error(c, "--%s takes no value", r->name);
      return false;
    }
    if (r->kind != OPT_FLAG) {
      if (value)
        value++;
      else if (i + 1 < argc)
        value = argv[++i];
      else {
        cli_error(c, "--%s: needs a value (%s)", r->name, r->argument);
        return false;
      }
    }
    if (!set_option(c, r, value ? value : "")) return false;
    given[r - rows] = true;
  }
  for (int i = 0; i < N_ROWS; i++)
    if (given[i] && cli_command(c->command) && !takes(c->command, &rows[i])) return misplaced(c, &rows[i]);
  if (c->csv && c->json) {
    cli_error(c, "--csv and --json exclude each other");
    return false;
  }
  if (c->color && strcmp(c->color, "auto") && strcmp(c->color, "always") && strcmp(c->color, "never")) {
    cli_error(c, "--color: needs auto, always or never, got \"%s\"", c->color);
    return false;
  }
  return true;
}

int cli_dims(const char *text, int64_t *dims, int max) {
  int n = 0;
  while (text && *text) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || errno || (*end && (*end != ',' || !end[1])) || n == max) return -1;
    dims[n++] = v;
    text = *end ? end + 1 : end;
  }
  return n;
}

/* ---- help ------------------------------------------------------------------------ */

enum { HELP_COLUMNS = 90, HELP_INDENT = 26 };

/* Words of `text` from column `at` on, broken before column `width`. */
static void print_wrapped(FILE *to, const char *text, int at, int width) {
  while (*text) {
    int n = (int)strcspn(text, " ");
    if (at > HELP_INDENT && at + 1 + n > width) {
      fprintf(to, "\n%*s", HELP_INDENT, "");
      at = HELP_INDENT;
    } else if (at > HELP_INDENT) {
      fputc(' ', to);
      at++;
    }
    fwrite(text, 1, (size_t)n, to);
    at += n;
    text += n + (text[n] == ' ');
  }
  fputc('\n', to);
}

static void print_option(FILE *to, const OptRow *r, int width) {
  char left[48], text[600];
  int n = snprintf(left, sizeof left, "  --%s%s%s", r->name, r->argument ? " " : "", r->argument ? r->argument : "");
  snprintf(text, sizeof text, "%s%s%s%s", r->help, r->usual ? " [" : "", r->usual ? r->usual : "", r->usual ? "]" : "");
  fprintf(to, "%s%*s", left, n < HELP_INDENT ? HELP_INDENT - n : 1, "");
  print_wrapped(to, text, HELP_INDENT, width);
}

static void print_commands(FILE *to) {
  int n;
  const CliCommand *cmds = cli_commands(&n);
  fputs("dhcc compiles, trains and runs tensor programs.\n\nusage: dhcc COMMAND [arguments] [options]\n\ncommands:\n", to);
  for (int i = 0; i < n; i++) fprintf(to, "  %-9s %s\n", cmds[i].name, cmds[i].summary);
  fputs("\ndhcc COMMAND --help lists the command's options. Those of every command:\n", to);
}

static void print_stages(FILE *to) {
  fputs("Stages, in order:", to);
  for (int i = 0; dhc_stage_name(i); i++) fprintf(to, " %s", dhc_stage_name(i));
  fputc('\n', to);
}

void cli_print_help(const char *command, FILE *to) {
  const CliCommand *cmd = cli_command(command);
  int columns = cli_columns(to), width = columns >= 40 && columns < HELP_COLUMNS ? columns : HELP_COLUMNS;
  if (cmd)
    fprintf(to, "%s\n\nusage: dhcc %s %s%s[options]\n\n  example: %s\n\noptions [and what holds without them]:\n", cmd->summary,
            cmd->name, cmd->args, *cmd->args ? " " : "", cmd->example);
  else
    print_commands(to);
  for (int i = 0; i < N_ROWS; i++)
    if (cmd ? takes(cmd->name, &rows[i]) : !strcmp(rows[i].commands, "*")) print_option(to, &rows[i], width);
  fprintf(to, "\n-h, -V and -q stand for --help, --version and --quiet%s.\n", cmd && takes(cmd->name, find("outputs", 7)) ? ", -o for --outputs" : "");
  if (cmd && takes(cmd->name, find("stage", 5))) print_stages(to);
  if (cmd && cmd->more) fprintf(to, "%s\n", cmd->more);
}

/* "0,1,2" or "0..4"; how many, or -1. */
static int read_seeds(const char *text, uint64_t *out, int max) {
  int n = 0;
  for (const char *at = text; *at;) {
    char *end;
    unsigned long long lo = strtoull(at, &end, 10), hi = lo;
    if (end == at || *at == '-' || *at == '+') return -1;
    if (end[0] == '.' && end[1] == '.') {
      at = end + 2;
      hi = strtoull(at, &end, 10);
      if (end == at || hi < lo) return -1;
    }
    if (*end && (*end != ',' || !end[1])) return -1;
    for (unsigned long long v = lo; v <= hi; v++) {
      if (n == max) return -1;
      out[n++] = v;
    }
    at = *end ? end + 1 : end;
  }
  return n;
}

int cli_seeds(const Cli *c, uint64_t *to) {
  int n = c->seeds ? read_seeds(c->seeds, to, CLI_MAX_SEEDS) : 1;
  if (!c->seeds) *to = (uint64_t)c->seed;
  if (n < 1) cli_error(c, "--seeds: needs up to %d whole numbers, 0,1,2 or 0..4, got \"%s\"", CLI_MAX_SEEDS, c->seeds);
  return n;
}
