/* Code generation with fewer of LLVM's passes, for kernels that somebody waits for.
 *
 * The writer's loops are rotated, their invariants stand outside and their vectors are explicit; with 32 vector registers, what is left
 * out took up to half of the time and made no kernel faster by what could be measured (bench/RESULTS.md, "Compile time"). With 16, addresses and masks
 * need their passes, and so do depthwise convolutions anywhere, which make a product or two of an address (loop.h, addresses_weigh). Elsewhere one instruction in ten hangs on them, and an object is made once: both get all.
 *
 * LLVM has these switches once a process, so modules of one kind are generated side by side, and those of another wait. No switch is
 * touched that means something else when it is set to what it is by itself (-enable-misched of LLVM 19 is such a one). */
#include <llvm-c/Support.h>
#include <llvm-c/TargetMachine.h>
#include <pthread.h>

#include "backends/cpu/writer.h"
#include "ir/diag.h"

typedef struct Switch {
  const char *name;
  const char *at[DHC_CPU_N_PASSES]; /* ALL: what it is by itself */
} Switch;
static const Switch switches[] = {{"disable-post-ra", {"0", "1", "1"}}, /* scheduling */
                                  {"disable-x86-domain-reassignment", {"0", "1", "1"}},
                                  {"disable-copyprop", {"0", "1", "1"}},
                                  {"disable-postra-machine-licm", {"0", "1", "1"}},
                                  {"disable-lsr", {"0", "0", "1"}},
                                  {"disable-cgp", {"0", "0", "1"}},
                                  {"disable-machine-sink", {"0", "0", "1"}},
                                  {"disable-postra-machine-sink", {"0", "0", "1"}},
                                  {"disable-machine-cse", {"0", "0", "1"}},
                                  {"grow-region-complexity-budget", {"10000", "10000", "50"}}}; /* register allocation: splitting live ranges */
enum { N_SWITCHES = sizeof switches / sizeof *switches };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static int running;
static DhcCpuPasses now;

static void switch_to(DhcCpuPasses p) {
  char text[N_SWITCHES][64];
  const char *argv[N_SWITCHES + 1] = {"dhcc"};
  for (int i = 0; i < N_SWITCHES; i++) {
    snprintf(text[i], sizeof text[i], "-%s=%s", switches[i].name, switches[i].at[p]);
    argv[i + 1] = text[i];
  }
  LLVMParseCommandLineOptions(N_SWITCHES + 1, argv, "");
  now = p;
}

void dhc_cpu_passes_begin(DhcCpuPasses p) {
  if (pthread_mutex_lock(&lock)) DHC_BUG("no lock");
  while (running && now != p) pthread_cond_wait(&idle, &lock);
  if (now != p) switch_to(p);
  running++;
  pthread_mutex_unlock(&lock);
}

void dhc_cpu_passes_end(void) {
  if (pthread_mutex_lock(&lock)) DHC_BUG("no lock");
  if (!--running) pthread_cond_broadcast(&idle);
  pthread_mutex_unlock(&lock);
}
