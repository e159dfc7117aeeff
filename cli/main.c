/* dhcc: dispatch. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "cli/cli.h"

#define MODEL_MORE \
  "MODEL is a .dhc file, the name of a shipped model (dhc_ssm, dhc_jamba, mlp, lstm, ...),\na run's folder or a .dhcm package: these two bring settings and weights along."

static const CliCommand commands[] = {
    {"check", "MODEL", 1, 1, "report errors and warnings of a model file", "dhcc check my_model.dhc", MODEL_MORE, cmd_check},
    {"info", "MODEL", 1, 1, "parameters, layers, FLOPs, memory and kernels", "dhcc info dhc_ssm --sizes B=16,H=32,W=32",
     "FLOPs, memory and kernels are an entry's, at given sizes; --entry or --sizes asks for it.\nThey come from its plan: nothing is run, no weights "
     "are there, and nothing is compiled\nunless --compile says so.\n" MODEL_MORE, cmd_info},
    {"print", "MODEL [A B]", 1, 3, "any stage on the way to machine code", "dhcc print dhc_ssm --stage=fused",
     "grad and train are the graph with gradients, or of the training step; train.plan and so on\nare its later stages.\n" MODEL_MORE, cmd_print},
    {"graph", "MODEL", 1, 1, "an entry as a graph of its layers and ops", "dhcc graph dhc_jamba --preset small --depth 2 -o jamba.html",
     "Without -o the text is Graphviz's dot; .html is a page by itself, whose layers open and close. Boxes say\nparameters and FLOPs, edges what goes along them at --sizes.\n" MODEL_MORE, cmd_graph},
    {"opt", "FILE", 1, 1, "run passes on IR text", "dhcc opt --pass=simplify,cse graph.gir",
     "FILE is what `dhcc print --stage=graph` prints, - for standard input. Passes are listed in\ndocs/folders.md; clean and kernels stand for several, pipeline for all of an entry's.", cmd_opt},
    {"kernel", "FILE", 1, 1, "run one kernel spec against its float64 meaning", "dhcc kernel add.spec --dims 1000",
     "FILE is one of the specs that `dhcc print --stage=spec` prints, - for standard input. It\nruns on random operands.", cmd_kernel},
    {"run", "MODEL", 1, 1, "run an entry on given inputs", "dhcc run mlp --weights w.safetensors --inputs image=x.npy -o y.safetensors",
     MODEL_MORE, cmd_run},
    {"verify", "MODEL", 1, 1, "compare outputs, gradients or training steps with a reference file",
     "dhcc verify dhc_ssm --set hidden_dim=16 --oracle dhc_ssm.safetensors", MODEL_MORE, cmd_verify},
    {"train", "MODEL", 1, 1, "train with the model's recipe", "dhcc train dhc_ssm --preset gray --data mnist:DIR --out runs/a",
     "Ctrl-C, SIGTERM and SIGHUP save a checkpoint and stop; --resume goes on from it,\nbit for bit, with the same options. "
     "A folder that holds a run needs\n--resume or --overwrite.\n" MODEL_MORE, cmd_train},
    {"eval", "MODEL", 1, 1, "loss and accuracy on a split",
     "dhcc eval runs/a",
     MODEL_MORE, cmd_eval},
    {"sweep", "MODEL | merge OUT DIR...", 1, 63, "many variants of a model: a grid, orders of a pattern, those it declares",
     "dhcc sweep dhc_jamba --preset small --set mamba_ratio=0,1,3 --set moe_frequency=0,2",
     "Each variant does one training step on generated data. Kernels are shared: a variant of block\nkinds already seen compiles none.\n" MODEL_MORE, cmd_sweep},
    {"ablate", "MODEL", 1, 1, "what each block, unit and kind of layer is worth", "dhcc ablate seq --weights runs/t/best.safetensors --data text:corpus.txt",
     "Evaluates the model whole, then without each of its parts in turn, on the kernels of the\nwhole: nothing is compiled anew. A part "
     "gives what it takes, x + f(x); left out, it\ngives x.\n" MODEL_MORE, cmd_ablate},
    {"plot", "DIR...", 1, 16, "sweeps and runs as a figure, a table or a page", "dhcc plot study -o study.html",
     "Of sweeps means over seeds with their 95 % intervals, of runs learning curves; of sweeps by step (--x step)\ncurves with a band over seeds. Without -o they are lines of text. .svg, .pdf, .png and .gp\n(gnuplot's commands) are the figure, .csv and .json its numbers, .tex is a LaTeX table, .html a page with all\nfigures, tables and the commands. .pdf and .png need gnuplot.", cmd_plot},
    {"predict", "MODEL PICTURE...", 2, CLI_MAX_ARGS, "the likeliest classes of PNG and JPEG pictures",
     "dhcc predict runs/a shirt.png digits/*.png", "Pixels go through the model's entry normalize into forward, which gives logits.\n" MODEL_MORE, cmd_predict},
    {"rl", "MODEL", 1, 1, "train a policy by reinforcement (PPO) in an environment", "dhcc rl rl_ssm_policy --env pendulum --steps 100000 --out runs/p",
     "MODEL has entries act, value and update (models/rl/ppo.dhc), or is a policy such as\nrl_ssm_policy or rl_policy, which PPO completes. --set takes hyperparameters of either and\nsettings of the recipe: docs/rl.md.\n" MODEL_MORE, cmd_rl},
    {"generate", "MODEL", 1, 1, "go on from a prompt, token by token",
     "dhcc generate seq --weights runs/t/best.safetensors --prompt 'In the '",
     "Tokens are bytes, written to standard output as they come. The prompt runs through the model's\nforward.stream, what follows through "
     "forward.step.\n" MODEL_MORE, cmd_generate},
    {"build", "MODEL", 1, 1, "an object file and a C header for programs without dhcc",
     "dhcc build mlp --weights w.safetensors -o mlp.o --header mlp.h",
     "What links the object needs nothing else; docs/abi.md says how it is called.\n" MODEL_MORE, cmd_build},
    {"pack", "MODEL", 1, 1, "a model, its settings and its weights in one file", "dhcc pack runs/a -o digits.dhcm",
     "The package holds the model's text with all it imports; commands take it wherever they take a model.\n" MODEL_MORE, cmd_pack},
    {"tune", "MODEL", 1, 1, "the fastest schedules of an entry's kernels on this machine, for --tuning", "dhcc tune dhc_ssm --sizes B=16,H=32,W=32 -o ssm.tuning",
     "Runs the entry on generated inputs, every kernel by each of its schedules in turn. They give the same\nbits, so a tuning file decides nothing but speed. One that is there is gone on with: other\nentries, sizes, machines, or a search that was stopped.\n" MODEL_MORE, cmd_tune},
    {"profile", "MODEL", 1, 1, "where the time of an entry goes: kernels, layers, how far from the machine's roof", "dhcc profile dhc_ssm --sizes B=16,H=32,W=32",
     "On generated inputs. The roof is what two kernels reach on this machine that only multiply, or only\nread; what lies in a cache may go beyond. -o FILE.json is a trace for ui.perfetto.dev, FILE.html a page.\n" MODEL_MORE, cmd_profile},
    {"bench", "[MODEL]", 0, 1, "how long a run of a model's entry, or a call of an object, takes", "dhcc bench --object mlp.so --entry forward --seconds 5",
     "FILE.so is what `dhcc build -o FILE.so` makes; it is called as any program would call it, in one thread.\nA model's entry runs on generated inputs: dhcc bench mlp --sizes B=64 --repeat 100", cmd_bench},
    {"list", "[KIND]", 0, 1, "the shipped models, layers and functions", "dhcc list layers",
     "KIND is models, layers, functions or builtins.", cmd_list},
    {"doc", "[NAME]", 0, 1, "what a shipped model, layer or function takes, gives and computes", "dhcc doc Mamba",
     "NAME is one of those that `dhcc list` has, or a file of them: layers/norm. Without it: all of them,\nas docs/reference.md.", cmd_doc},
    {"cache", "[show|verify|prune]", 0, 1, "show, verify or prune the kernel store", "dhcc cache verify",
     "The store may be deleted at any time: only speed depends on it.", cmd_cache},
    {"doctor", "", 0, 0, "what this machine and this build have", "dhcc doctor", NULL, cmd_doctor},
    {"lsp", "", 0, 0, "a language server for editors, on standard input and output", "dhcc lsp < /dev/null",
     "Language Server Protocol: diagnostics, hover with shapes, definitions, completion.\ndocs/editors/README.md says how editors start it.", cmd_lsp},
    {"completion", "SHELL", 1, 1, "completion for a shell, to be sourced", "dhcc completion bash",
     "SHELL is bash, zsh or fish. Installed with dhcc they lie where these look.", cmd_completion},
    {"man", "[COMMAND]", 0, 1, "the manual page, or that of a command", "dhcc man train",
     "As roff; installed with dhcc: man dhcc-train. `dhcc man train | man -l -` shows it.", cmd_man},
    {"explain", "[CODE | MODEL A B]", 0, 3, "an error code, with an example; why variants share kernels or not", "dhcc explain E0201",
     "Without a code: the list of codes. With --kernels two variants of a model are compared:\nkey=value,..., a preset, a declared "
     "variant, or . for the model as it is.", cmd_explain},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

const CliCommand *cli_commands(int *n) {
  *n = N_COMMANDS;
  return commands;
}

const CliCommand *cli_command(const char *name) {
  for (int i = 0; name && i < N_COMMANDS; i++)
    if (!strcmp(commands[i].name, name)) return &commands[i];
  return NULL;
}

static int unknown_command(const Cli *c, const char *name) {
  const char *names[N_COMMANDS];
  for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
  const char *near = dhc_closest(name, names, N_COMMANDS);
  if (near)
    cli_error(c, "unknown command %s (did you mean %s?)", name, near);
  else
    cli_error(c, "unknown command %s; dhcc --help lists them", name);
  return 2;
}

static int dispatch(Cli *c, int argc, char **argv) {
  if (!cli_parse(c, argc, argv)) return 2;
  if (c->version) {
    printf("dhcc %s\n", dhc_version());
    return 0;
  }
  if (c->command && !strcmp(c->command, "help")) {
    c->command = c->n_args ? c->args[0] : NULL;
    c->help = true;
  }
  const CliCommand *cmd = cli_command(c->command);
  if (c->command && !cmd) return unknown_command(c, c->command);
  if (c->help || !cmd) {
    cli_print_help(c->command, c->help ? stdout : stderr);
    return c->help ? 0 : 2;
  }
  if (c->n_args < cmd->min_args || c->n_args > cmd->max_args) {
    cli_error(c, "%s: usage: dhcc %s %s [options]", cmd->name, cmd->name, cmd->args);
    return 2;
  }
  cli_take_run(c);
  return cmd->run(c);
}

/* Descriptors 0 to 2 that are closed at the start would go to the next files opened: what is
 * printed would lie in them. /dev/null takes their places, the wrong way round, so that using one
 * fails as it does when it is closed. */
static bool hold_standard_descriptors(void) {
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd && open("/", O_RDONLY | O_DIRECTORY) != fd) return false;
  }
  return true;
}

/* --json counts wherever it stands, also beside what cannot be parsed. */
static bool wants_json(int argc, char **argv) {
  for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
    if (!strcmp(argv[i], "--json")) return true;
  return false;
}

int main(int argc, char **argv) {
  if (!hold_standard_descriptors()) return 3;
  CliReport report = {0};
  Cli c = {.report = &report};
  (void)signal(SIGXFSZ, SIG_IGN); /* a file that grows past its limit is a failed write */
  bool json = wants_json(argc, argv);
  cli_begin_doc(&report, json);
  int rc = dispatch(&c, argc, argv);
  if (c.version || c.help) /* plain text, and nothing else */
    cli_drop_doc(&report);
  else
    rc = cli_print_doc(&c, json, rc);
  if (fflush(stdout) || ferror(stdout)) {
    fputs("dhcc: error: standard output: write failed\n", stderr);
    return rc ? rc : 3;
  }
  return rc;
}
