/* dhcc: dispatch. */
#include <signal.h>
#include <string.h>

#include "cli/cli.h"

static const CliCommand commands[] = {
    {"check", "MODEL", 1, 1, "report errors and warnings of a model file", "dhcc check my_model.dhc", cmd_check},
    {"info", "MODEL", 1, 1, "parameters, FLOPs, memory and kernels", "dhcc info dhc_ssm --sizes B=16,H=32,W=32 --json", cmd_info},
    {"print", "MODEL", 1, 1, "any stage on the way to machine code", "dhcc print dhc_ssm --stage=fused", cmd_print},
    {"opt", "FILE", 1, 1, "run passes on IR text", "dhcc opt --pass=simplify,cse graph.gir", cmd_opt},
    {"kernel", "FILE", 1, 1, "run one kernel spec against the spec interpreter", "dhcc kernel add.spec --dims 1000", cmd_kernel},
    {"run", "MODEL", 1, 1, "run an entry on given inputs", "dhcc run mlp --weights w.safetensors --inputs image=x.npy -o y.safetensors", cmd_run},
    {"verify", "MODEL", 1, 1, "compare outputs, gradients or training steps with a reference file", "dhcc verify dhc_ssm --set hidden_dim=16 --oracle dhc_ssm.safetensors", cmd_verify},
    {"train", "MODEL", 1, 1, "train with the model's recipe", "dhcc train dhc_ssm --preset gray --data mnist:DIR --out runs/a", cmd_train},
    {"eval", "MODEL", 1, 1, "loss and accuracy on a split", "dhcc eval dhc_ssm --preset gray --data mnist:DIR --weights runs/a/best.safetensors", cmd_eval},
    {"cache", "WHAT", 0, 1, "show, verify or prune the kernel store", "dhcc cache verify", cmd_cache},
    {"doctor", "", 0, 0, "what this machine and this build have", "dhcc doctor", cmd_doctor},
    {"explain", "CODE", 1, 1, "what an error code means", "dhcc explain E0201", cmd_explain},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

const CliCommand *cli_commands(int *n) {
  *n = N_COMMANDS;
  return commands;
}

static bool is_command(const char *name) {
  for (int i = 0; i < N_COMMANDS; i++)
    if (!strcmp(commands[i].name, name)) return true;
  return false;
}

static int unknown_command(const char *name) {
  const char *names[N_COMMANDS];
  for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
  const char *near = dhc_closest(name, names, N_COMMANDS);
  if (near)
    cli_error("unknown command %s (did you mean %s?)", name, near);
  else
    cli_error("unknown command %s; dhcc --help lists them", name);
  return 2;
}

int main(int argc, char **argv) {
  Cli c;
  (void)signal(SIGXFSZ, SIG_IGN); /* a file that grows past its limit is a failed write */
  if (!cli_parse(&c, argc, argv)) return 2;
  if (c.version) {
    printf("dhcc %s\n", dhc_version());
    return 0;
  }
  if (c.command && !strcmp(c.command, "help")) {
    c.command = c.n_args ? c.args[0] : NULL;
    c.help = true;
  }
  if (c.command && !is_command(c.command)) return unknown_command(c.command);
  if (c.help || !c.command) {
    cli_print_help(c.command, c.help ? stdout : stderr);
    return c.help ? 0 : 2;
  }
  for (int i = 0; i < N_COMMANDS; i++) {
    const CliCommand *cmd = &commands[i];
    if (strcmp(cmd->name, c.command)) continue;
    if (c.n_args < cmd->min_args || c.n_args > cmd->max_args) {
      cli_error("%s: usage: dhcc %s %s [options]", cmd->name, cmd->name, cmd->args);
      return 2;
    }
    int rc = cmd->run(&c);
    if (fflush(stdout) || ferror(stdout)) {
      cli_error("standard output: write failed");
      return rc ? rc : 3;
    }
    return rc;
  }
  return 2; /* not reached: the command is one of the table */
}
