/* completion: commands, options and what they take, for shells, from the tables of commands and options. man: pages of the same. */
#include <cjson/cJSON.h>
#include <ctype.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"

/* Options whose values are few words; others name files, or nothing that is known. */
static const struct {
  const char *option, *words;
} values[] = {
    {"backend", "cpu cuda interp"}, {"color", "auto always never"}, {"compute", "f32 tf32 bf16"}, {"emit", "object c"},
    {"err", "ci95 sd none"},        {"log", "x y xy"},              {"quantize", "int8 bf16"},    {"split", "train val test"},
    {"timing", "bounded"},          {"data", "images: csv: cifar10: cifar100: mnist: idx: npy: hdf5: text: tokens: scifar: synth:"},
};

static const char *words_of(const CliOption *o) {
  for (size_t i = 0; i < sizeof values / sizeof *values; i++)
    if (!strcmp(values[i].option, o->name)) return values[i].words;
  return NULL;
}

static bool names_file(const CliOption *o) {
  return o->argument && (strstr(o->argument, "FILE") || strstr(o->argument, "DIR"));
}

/* A line of text inside '...'; `marks` get a backslash. */
static void put(const char *text, const char *marks, const char *quote) {
  for (; *text; text++) {
    if (*text == '\'') fputs(quote, stdout);
    else if (strchr(marks, *text)) printf("\\%c", *text);
    else putchar(*text == '\n' ? ' ' : *text);
  }
}

/* What a command's first argument can be. */
static const char *first_words(const CliCommand *c) {
  if (!strncmp(c->args, "MODEL", 5)) return "$(dhcc list models 2>/dev/null | awk '{print $3}')";
  if (!strcmp(c->name, "doc")) return "$(dhcc list 2>/dev/null | awk '{print $2}')";
  if (!strcmp(c->name, "list")) return "models layers functions builtins";
  if (!strcmp(c->name, "cache")) return "show verify prune";
  if (!strcmp(c->name, "completion")) return "bash zsh fish";
  if (!strcmp(c->name, "explain")) return "$(dhcc explain 2>/dev/null | awk '{print $1}')";
  return "";
}

/* ---- bash ---------------------------------------------------------------------------------------- */

static void bash(const CliCommand *cmds, int n) {
  CliOption o;
  puts("# bash completion of dhcc: source it, or put it where bash-completion looks\n_dhcc() {\n"
       "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= options= first= i\n"
       "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in -*) ;; *) command=${COMP_WORDS[i]}; break ;; esac\n  done\n"
       "  case $prev in");
  for (int i = 0; cli_option(i, &o); i++) {
    if (!o.argument) continue;
    const char *words = words_of(&o);
    printf("    --%s) ", o.name);
    if (words) printf("COMPREPLY=($(compgen -W '%s' -- \"$cur\"))", words);
    else if (names_file(&o)) fputs("COMPREPLY=($(compgen -f -- \"$cur\"))", stdout);
    else if (!strcmp(o.name, "stage")) {
      fputs("COMPREPLY=($(compgen -W '", stdout);
      for (int k = 0; dhc_stage_name(k); k++) printf("%s%s", k ? " " : "", dhc_stage_name(k));
      fputs("' -- \"$cur\"))", stdout);
    } else fputs("COMPREPLY=()", stdout);
    puts("; return ;;");
  }
  puts("  esac\n  case $command in");
  for (int c = 0; c < n; c++) {
    printf("    %s) options='", cmds[c].name);
    for (int i = 0; cli_option(i, &o); i++)
      if (cli_takes(cmds[c].name, o.name)) printf("--%s ", o.name);
    printf("'; first=\"%s\" ;;\n", first_words(&cmds[c]));
  }
  fputs("    '') options='--help --version'; first='", stdout);
  for (int c = 0; c < n; c++) printf("%s%s", c ? " " : "", cmds[c].name);
  puts("' ;;\n  esac\n  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
       "  elif [[ -z $command ]]; then COMPREPLY=($(compgen -W \"$first\" -- \"$cur\"))\n"
       "  else COMPREPLY=($(compgen -W \"$first\" -- \"$cur\") $(compgen -f -- \"$cur\")); fi\n}\ncomplete -o filenames -F _dhcc dhcc");
}

/* ---- zsh ------------------------------------------------------------------------------------------- */

static void zsh_option(const CliOption *o) {
  const char *words = words_of(o);
  printf("      '*--%s[", o->name);
  put(o->help, "[]:\\", "'\\''");
  putchar(']');
  if (o->argument) {
    putchar(':');
    put(o->argument, ":\\", "'\\''");
    if (words) {
      fputs(":(", stdout);
      put(words, ":", "'\\''");
      putchar(')');
    } else fputs(names_file(o) ? ":_files" : ": ", stdout);
  }
  puts("' \\");
}

static void zsh(const CliCommand *cmds, int n) {
  CliOption o;
  puts("#compdef dhcc\n_dhcc() {\n  local -a commands=(");
  for (int c = 0; c < n; c++) {
    printf("    '%s:", cmds[c].name);
    put(cmds[c].summary, "", "'\\''");
    puts("'");
  }
  puts("  )\n  if (( CURRENT == 2 )); then _describe command commands; return; fi\n  local -a first\n  case $words[2] in");
  for (int c = 0; c < n; c++) {
    printf("    %s)\n      first=(%s)\n      shift words; (( CURRENT-- ))\n      _arguments \\\n", cmds[c].name, first_words(&cmds[c]));
    for (int i = 0; cli_option(i, &o); i++)
      if (cli_takes(cmds[c].name, o.name)) zsh_option(&o);
    puts("      '*: : _alternative \"words:name:($first)\" \"files:file:_files\"' ;;");
  }
  puts("  esac\n}\n_dhcc \"$@\"");
}

/* ---- fish -------------------------------------------------------------------------------------------- */

static void fish(const CliCommand *cmds, int n) {
  CliOption o;
  puts("# fish completion of dhcc");
  for (int c = 0; c < n; c++) {
    printf("complete -c dhcc -n __fish_use_subcommand -f -a %s -d '", cmds[c].name);
    put(cmds[c].summary, "\\", "\\'");
    puts("'");
    if (*first_words(&cmds[c])) {
      const char *words = first_words(&cmds[c]);
      printf("complete -c dhcc -n '__fish_seen_subcommand_from %s' -a '", cmds[c].name);
      put(*words == '$' ? words + 1 : words, "\\", "\\'"); /* fish substitutes by brackets alone */
      puts("'");
    }
  }
  for (int i = 0; cli_option(i, &o); i++) {
    const char *words = words_of(&o);
    printf("complete -c dhcc -n '__fish_seen_subcommand_from");
    for (int c = 0; c < n; c++)
      if (cli_takes(cmds[c].name, o.name)) printf(" %s", cmds[c].name);
    printf("' -l %s%s", o.name, !o.argument ? "" : words ? " -x" : names_file(&o) ? " -r -F" : " -x");
    if (words) printf(" -a '%s'", words);
    fputs(" -d '", stdout);
    put(o.help, "\\", "\\'");
    puts("'");
  }
}

int cmd_completion(const Cli *c) {
  static const struct {
    const char *name;
    void (*write)(const CliCommand *cmds, int n);
  } shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
  int n;
  const CliCommand *cmds = cli_commands(&n);
  for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
    if (!strcmp(shells[i].name, c->args[0])) {
      if (!cli_doc(c)) shells[i].write(cmds, n);
      return 0;
    }
  cli_error(c, "completion: needs bash, zsh or fish, got \"%s\"", c->args[0]);
  return 2;
}

/* ---- manual pages ------------------------------------------------------------------------------------- */

/* Text of roff: a dash is a minus, a line that begins with a control character is none. */
static void roff(const char *text) {
  bool start = true;
  for (; *text; text++) {
    if (start && (*text == '.' || *text == '\'')) fputs("\\&", stdout);
    if (*text == '-') fputs("\\-", stdout);
    else if (*text == '\\') fputs("\\e", stdout);
    else if (*text == '`') putchar('\'');
    else putchar(*text);
    start = *text == '\n';
  }
}

static void heading(const char *name) { printf(".SH %s\n", name); }

static void man_option(const CliOption *o) {
  fputs(".TP\n.B \\-\\-", stdout);
  roff(o->name);
  if (o->argument) {
    fputs(" \\fI", stdout);
    roff(o->argument);
    fputs("\\fR", stdout);
  }
  putchar('\n');
  roff(o->help);
  if (o->usual) {
    fputs(" [", stdout);
    roff(o->usual);
    putchar(']');
  }
  putchar('\n');
}

static void man_title(const char *command) {
  fputs(".TH DHCC", stdout);
  if (command) putchar('-');
  for (const char *at = command ? command : ""; *at; at++) putchar(toupper((unsigned char)*at));
  printf(" 1 \"\" \"dhcc %s\" \"dhcc\"\n", dhc_version());
}

static void man_ending(const char *command) {
  heading("EXIT STATUS");
  puts("0 done, 1 the input is wrong, 2 usage, 3 the environment is, 4 a numerical stop, 129, 130 and 143 signals.");
  heading("SEE ALSO");
  int n;
  const CliCommand *cmds = cli_commands(&n);
  if (command) puts(".BR dhcc (1)");
  for (int i = 0; !command && i < n; i++) printf(".BR dhcc\\-%s (1)%s\n", cmds[i].name, i + 1 < n ? "," : "");
}

static void man_all(const CliCommand *cmds, int n) {
  CliOption o;
  man_title(NULL);
  heading("NAME");
  puts("dhcc \\- compiles, trains and runs tensor programs");
  heading("SYNOPSIS");
  puts(".B dhcc\n.I COMMAND\n[arguments] [options]");
  heading("COMMANDS");
  for (int i = 0; i < n; i++) {
    printf(".TP\n.B %s\n", cmds[i].name);
    roff(cmds[i].summary);
    putchar('\n');
  }
  heading("OPTIONS OF EVERY COMMAND");
  for (int i = 0; cli_option(i, &o); i++)
    if (!strcmp(o.commands, "*")) man_option(&o);
  heading("FILES");
  puts("$XDG_CACHE_HOME/dhcc, else ~/.cache/dhcc: compiled kernels; it may be deleted at any time.");
  heading("ENVIRONMENT");
  puts("DHC_MODEL_PATH: folders with models, parted by colons, that are looked in before the shipped ones.");
  man_ending(NULL);
}

static void man_command(const CliCommand *cmd) {
  CliOption o;
  man_title(cmd->name);
  heading("NAME");
  printf("dhcc\\-%s \\- ", cmd->name);
  roff(cmd->summary);
  putchar('\n');
  heading("SYNOPSIS");
  printf(".B dhcc %s\n", cmd->name);
  if (*cmd->args) {
    fputs(".I ", stdout);
    roff(cmd->args);
    putchar('\n');
  }
  puts("[options]");
  if (cmd->more) {
    heading("DESCRIPTION");
    roff(cmd->more);
    putchar('\n');
  }
  heading("OPTIONS");
  puts("What holds without an option stands in brackets.");
  for (int i = 0; cli_option(i, &o); i++)
    if (cli_takes(cmd->name, o.name)) man_option(&o);
  heading("EXAMPLE");
  puts(".nf");
  roff(cmd->example);
  puts("\n.fi");
  man_ending(cmd->name);
}

int cmd_man(const Cli *c) {
  int n;
  const CliCommand *cmds = cli_commands(&n);
  const CliCommand *cmd = c->n_args ? cli_command(c->args[0]) : NULL;
  if (c->n_args && !cmd) {
    cli_error(c, "man: there is no command %s", c->args[0]);
    return 2;
  }
  if (cli_doc(c)) return 0;
  if (cmd) man_command(cmd);
  else man_all(cmds, n);
  return 0;
}
