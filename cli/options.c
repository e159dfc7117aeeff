/* Command line: options from options.def, anywhere among the arguments, as --name value or
 * --name=value; "--" ends them. -h, -q, -o (--outputs) and -V are the short forms. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef enum OptKind { OPT_FLAG, OPT_TEXT, OPT_SETS, OPT_INPUTS, OPT_INT, OPT_REAL } OptKind;

typedef struct OptRow {
  const char *name;
  OptKind kind;
  size_t offset;
  double lo, hi;
  const char *argument, *help;
} OptRow;

static const OptRow rows[] = {
#define OPT(name, kind, field, lo, hi, argument, help) \
  {name, OPT_##kind, offsetof(Cli, field), lo, hi, argument, help},
#include "cli/options.def"
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static const OptRow *find(const char *name, size_t n) {
  for (int i = 0; i < N_ROWS; i++)
    if (strlen(rows[i].name) == n && !memcmp(rows[i].name, name, n)) return &rows[i];
  return NULL;
}

static bool unknown(const char *name, size_t n) {
  const char *names[N_ROWS];
  for (int i = 0; i < N_ROWS; i++) names[i] = rows[i].name;
  char word[64];
  size_t k = n < sizeof word ? n : sizeof word - 1;
  memcpy(word, name, k);
  word[k] = 0;
  const char *near = dhc_closest(word, names, N_ROWS);
  if (near)
    cli_error("unknown option --%s (did you mean --%s?)", word, near);
  else
    cli_error("unknown option --%s", word);
  return false;
}

static bool set_int(Cli *c, const OptRow *r, const char *text) {
  errno = 0;
  char *end;
  long long v = strtoll(text, &end, 10);
  bool digits = *text >= '0' && *text <= '9';
  if (!digits || *end || errno || (double)v < r->lo || (double)v > r->hi) {
    cli_error("--%s: needs a whole number from %.0f to %.0f, got \"%s\"", r->name, r->lo, r->hi, text);
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
    if (r->lo > 0)
      cli_error("--%s: needs a finite number above 0, got \"%s\"", r->name, text);
    else
      cli_error("--%s: needs a finite number from %g to %g, got \"%s\"", r->name, r->lo, r->hi, text);
    return false;
  }
  *(double *)((char *)c + r->offset) = v;
  return true;
}

static bool set_listed(const char **list, int *n, int max, const OptRow *r, const char *text) {
  if (*n == max) {
    cli_error("--%s: given more than %d times", r->name, max);
    return false;
  }
  list[(*n)++] = text;
  return true;
}

static bool set_option(Cli *c, const OptRow *r, const char *text) {
  switch (r->kind) {
    case OPT_FLAG: *(bool *)((char *)c + r->offset) = true; return true;
    case OPT_TEXT: *(const char **)((char *)c + r->offset) = text; return true;
    case OPT_SETS:
      if (!strchr(text, '=')) {
        cli_error("--set: needs KEY=VALUE, got \"%s\"", text);
        return false;
      }
      return set_listed(c->sets, &c->n_sets, CLI_MAX_SETS, r, text);
    case OPT_INPUTS: return set_listed(c->inputs, &c->n_inputs, CLI_MAX_INPUTS, r, text);
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
    cli_error("too many arguments, from \"%s\" on", arg);
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

bool cli_parse(Cli *c, int argc, char **argv) {
  *c = (Cli){.clip = -1, .predictions = 0};
  bool only_positional = false;
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
      cli_error("unknown option %s", arg);
      return false;
    }
    const char *name = arg + 2, *value = strchr(name, '=');
    size_t n = value ? (size_t)(value - name) : strlen(name);
    const OptRow *r = find(name, n);
    if (!r) return unknown(name, n);
    if (r->kind == OPT_FLAG && value) {
      cli_error("--%s takes no value", r->name);
      return false;
    }
    if (r->kind != OPT_FLAG) {
      if (value)
        value++;
      else if (i + 1 < argc)
        value = argv[++i];
      else {
        cli_error("--%s: needs a value (%s)", r->name, r->argument);
        return false;
      }
    }
    if (!set_option(c, r, value)) return false;
  }
  if (c->color && strcmp(c->color, "auto") && strcmp(c->color, "always") && strcmp(c->color, "never")) {
    cli_error("--color: needs auto, always or never, got \"%s\"", c->color);
    return false;
  }
  return true;
}

void cli_print_help(const char *command, FILE *to) {
  int n;
  const CliCommand *cmds = cli_commands(&n);
  for (int i = 0; command && i < n; i++) {
    if (strcmp(cmds[i].name, command)) continue;
    fprintf(to, "%s\n\n  example: %s\n\nusage: dhcc %s %s [options]\n", cmds[i].summary, cmds[i].example,
            cmds[i].name, cmds[i].args);
  }
  if (!command) {
    fprintf(to, "dhcc compiles, trains and runs tensor programs.\n\nusage: dhcc COMMAND [arguments] [options]\n\ncommands:\n");
    for (int i = 0; i < n; i++) fprintf(to, "  %-9s %-8s %s\n", cmds[i].name, cmds[i].args, cmds[i].summary);
  }
  fprintf(to, "\noptions:\n");
  for (int i = 0; i < N_ROWS; i++) {
    char left[48];
    snprintf(left, sizeof left, "--%s %s", rows[i].name, rows[i].argument ? rows[i].argument : "");
    fprintf(to, "  %-24s %s\n", left, rows[i].help);
  }
  fprintf(to, "\n-h, -V, -q and -o stand for --help, --version, --quiet and --outputs.\nMODEL is a .dhc file or the name of a shipped model (dhc_ssm, mlp, lstm, …).\n");
}
