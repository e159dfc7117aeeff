/* Which processor code is made for. */
#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "ir/diag.h"
#include "runtime/status.h"

static dhc_status error(dhc_code code, const char *what, const char *detail) {
  dhc_status s = {.code = code};
  snprintf(s.message, sizeof s.message, "%s%s%.300s", what, detail ? ": " : "",
           detail ? detail : "");
  return s;
}

static pthread_once_t targets_once = PTHREAD_ONCE_INIT;
static void init_targets(void) {
#if DHC_ALL_TARGETS
  LLVMInitializeAllTargetInfos();
  LLVMInitializeAllTargets();
  LLVMInitializeAllTargetMCs();
  LLVMInitializeAllAsmPrinters();
  LLVMInitializeAllAsmParsers(); /* of cpuid */
#endif
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
  LLVMInitializeNativeAsmParser();
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Tuning says what is fast, not what exists; it may differ between equal machines. */
static bool is_tuning(const char *word) {
  static const char *const prefix[] = {"fast-", "slow-", "tuning-", "prefer-", "false-deps",
                                       "macrofusion", "branchfusion", "idivl-", "idivq-",
                                       "no-bypass", "vzeroupper", "allow-light", "sbb-dep",
                                       "pad-short", "lea-", "ermsb", "harden-", "lvi-",
                                       "retpoline", "use-"};
  for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
    if (!strncmp(word, prefix[i], strlen(prefix[i]))) return true;
  return false;
}

typedef struct Words {
  DHC_VEC(char *) on;
} Words;

static void turn(Words *w, DhcArena *arena, const char *word, bool on) {
  int at = -1;
  for (int i = 0; i < w->on.n; i++)
    if (!strcmp(w->on.at[i], word)) at = i;
  if (on && at < 0) DHC_PUSH(arena, &w->on, dhc_arena_strdup(arena, word));
  if (!on && at >= 0) w->on.at[at] = w->on.at[--w->on.n];
}

/* Switching avx2 off takes everything built on it along, as LLVM does. */
static void turn_off(Words *w, DhcArena *arena, const char *word) {
  static const struct {
    const char *base, *above;
  } implied[] = {{"avx512f", "avx512"}, {"avx2", "avx512"},    {"avx", "avx512"},
                 {"avx", "avx2"},       {"avx", "fma"},        {"avx", "f16c"},
                 {"avx", "vaes"},       {"avx", "vpclmulqdq"}, {"avx2", "avxvnni"},
                 {"sse4.1", "avx"},     {"sse4.1", "fma"},     {"sse4.1", "sse4.2"},
                 {"sse4.2", "avx"},     {"sse4.2", "fma"},    {"fma", "avx512"},
                 {"sse3", "ssse3"},     {"ssse3", "sse4"}};
  turn(w, arena, word, false);
  for (size_t i = 0; i < sizeof implied / sizeof *implied; i++) {
    if (strcmp(implied[i].base, word)) continue;
    for (int k = 0; k < w->on.n;) {
      if (strncmp(w->on.at[k], implied[i].above, strlen(implied[i].above))) {
        k++;
        continue;
      }
      turn_off(w, arena, w->on.at[k]);
      k = 0;
    }
  }
}

static void apply(Words *w, DhcArena *arena, const char *list) {
  char *copy = dhc_arena_strdup(arena, list), *save = NULL;
  for (char *f = strtok_r(copy, ", ", &save); f; f = strtok_r(NULL, ", ", &save)) {
    bool on = *f != '-';
    if (*f == '+' || *f == '-') f++;
    if (!*f || is_tuning(f)) continue;
    if (on) turn(w, arena, f, true);
    else turn_off(w, arena, f);
  }
}

/* Code for x86-64 passes floats in these registers and is made of these instructions: LLVM ends the
 * process where one is off. */
static bool is_required(const char *word) {
  static const char *const required[] = {"64bit", "sse", "sse2", "cmov", "cx8", "fxsr", "mmx"};
  for (size_t i = 0; i < sizeof required / sizeof *required; i++)
    if (!strcmp(word, required[i])) return true;
  return false;
}

/* What a caller asks for must exist ("+avx2" or "-avx2" among the host's), be there, and be optional: of this machine (--cpu-features), or
 * of a CPU that is named (--features).
 * A host that lists nothing is asked nothing. */
static dhc_status check_features(DhcArena *arena, const char *host, const char *list, bool named_cpu) {
  DHC_VEC(const char *) names = {0};
  DHC_VEC(bool) there = {0};
  char *copy = dhc_arena_strdup(arena, host), *save = NULL;
  for (char *f = strtok_r(copy, ",", &save); f; f = strtok_r(NULL, ",", &save)) {
    DHC_PUSH(arena, &names, f + 1);
    DHC_PUSH(arena, &there, *f == '+');
  }
  const char *option = named_cpu ? "features" : "cpu-features";
  copy = dhc_arena_strdup(arena, list);
  for (char *f = strtok_r(copy, ", ", &save); f && names.n; f = strtok_r(NULL, ", ", &save)) {
    bool off = *f == '-';
    const char *word = f + (off || *f == '+');
    int i = 0;
    while (i < names.n && strcmp(names.at[i], word)) i++;
    if (i == names.n) {
      const char *close = dhc_suggest(word, names.at, names.n);
      return dhc_status_make(DHC_E_USAGE, "--%s: there is no '%.40s'%s%s%s", option, word, close ? " (did you mean '" : "",
                             close ? close : "", close ? "'?)" : "");
    }
    if (off && is_required(word))
      return dhc_status_make(DHC_E_USAGE, "--%s: '%s' cannot be switched off: all code for this machine needs it", option, word);
    if (!off && !named_cpu && !there.at[i]) return dhc_status_make(DHC_E_USAGE, "--cpu-features: this CPU has no '%s'", word);
  }
  return (dhc_status){0};
}

static bool has(const Words *w, const char *word) {
  for (int i = 0; i < w->on.n; i++)
    if (!strcmp(w->on.at[i], word)) return true;
  return false;
}

static void facts_x86(DhcCpuTarget *t, const Words *w) {
  bool avx512 = has(w, "avx512f") && has(w, "avx512vl") && has(w, "avx512bw") && has(w, "avx512dq");
  t->facts.vector_bytes = avx512 ? 64 : has(w, "avx2") ? 32 : 16;
  t->facts.has_fma = has(w, "fma") || avx512;
  t->has_round = has(w, "sse4.1");
  t->has_scale = avx512;
  t->x86 = true;
}

static dhc_status check_cpu(const DhcCpuTarget *t, LLVMTargetRef *target) {
  char *message = NULL;
  if (LLVMGetTargetFromTriple(t->triple, target, &message)) {
    dhc_status s = error(DHC_E_ENVIRONMENT, "this build's LLVM makes no code for it", message);
    LLVMDisposeMessage(message);
    return s;
  }
  return (dhc_status){0};
}

static void dispose_message(void *text) { LLVMDisposeMessage(text); }

/* A text of LLVM's, which is NULL where it had no memory, as one of the region. */
static const char *keep_message(DhcArena *arena, char *text) {
  if (!text) dhc_out_of_memory(0);
  DhcHeld held;
  dhc_hold(&held, dispose_message, text);
  const char *copy = dhc_arena_strdup(arena, text);
  dhc_release(&held);
  LLVMDisposeMessage(text);
  return copy;
}

dhc_status dhc_cpu_target(DhcArena *arena, const char *cpu, const char *features,
                          DhcCpuTarget *out) {
  pthread_once(&targets_once, init_targets);
  *out = (DhcCpuTarget){.emulator = ""};
  out->triple = keep_message(arena, LLVMGetDefaultTargetTriple());
  out->triple = keep_message(arena, LLVMNormalizeTargetTriple(out->triple));
  const char *host_features = keep_message(arena, LLVMGetHostCPUFeatures());
  out->cpu = cpu ? dhc_arena_strdup(arena, cpu) : keep_message(arena, LLVMGetHostCPUName());
  if (features) DHC_TRY(check_features(arena, host_features, features, cpu != NULL));
  Words w = {0};
  DhcText all = {.arena = arena};
  if (!cpu) {
    apply(&w, arena, host_features);
    dhc_text_puts(&all, host_features);
  }
  if (cpu) {
    /* the C API cannot list a named CPU's features: these levels are fixed by the ABI */
    if (!strcmp(cpu, "x86-64-v2")) apply(&w, arena, "sse4.1,sse4.2");
    else if (!strcmp(cpu, "x86-64-v3")) apply(&w, arena, "sse4.1,sse4.2,avx,avx2,fma");
    else if (!strcmp(cpu, "x86-64-v4"))
      apply(&w, arena, "sse4.1,sse4.2,avx,avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,avx512cd");
    else if (strcmp(cpu, "x86-64") && strcmp(cpu, "generic"))
      return error(DHC_E_USAGE, "unknown CPU (x86-64, x86-64-v2, x86-64-v3, x86-64-v4)", cpu);
  }
  if (features && *features) {
    apply(&w, arena, features);
    dhc_text_printf(&all, "%s%s", all.n ? "," : "", features);
  }
  if (!strncmp(out->triple, "x86_64", 6) && has(&w, "sse4a")) {
    /* Code of LLVM 19 that moves lanes by it where SSE4.1 is off mixes them up (a select of 16 doubles, znver3 and znver4). */
    turn(&w, arena, "sse4a", false);
    dhc_text_puts(&all, ",-sse4a");
  }
  out->features = dhc_text_str(&all);
  if (w.on.n) qsort(w.on.at, (size_t)w.on.n, sizeof *w.on.at, by_text);
  DhcText isa = {.arena = arena};
  for (int i = 0; i < w.on.n; i++) dhc_text_printf(&isa, "%s%s", i ? "," : "", w.on.at[i]);
  out->isa = dhc_text_str(&isa);
  out->facts = (DhcTargetFacts){.kind = DHC_TARGET_CPU, .vector_bytes = 16, .task_elements = 16384, .has_fma = true};
  out->has_round = out->divides = true;
  out->bits = 64;
  if (!strncmp(out->triple, "x86_64", 6)) facts_x86(out, &w);
  LLVMTargetRef target;
  return check_cpu(out, &target);
}

/* ---- targets by name ---------------------------------------------------------------- */

typedef struct Row {
  const char *name, *arch, *triple, *cpu, *cpus, *features;
  int bits, vector_bytes;
  bool fma, round, divides;
  const char *emulator;
} Row;
static const Row rows[] = {
#define TARGET(...) {__VA_ARGS__},
#include "backends/cpu/targets.def"
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

/* By name; else the first row whose architecture the triple begins with. */
static const Row *row_of(const char *name) {
  for (int i = 0; i < N_ROWS; i++)
    if (!strcmp(rows[i].name, name)) return &rows[i];
  for (int i = 0; i < N_ROWS; i++)
    if (!strncmp(rows[i].arch, name, strlen(rows[i].arch)) && strchr(name, '-')) return &rows[i];
  if (!strncmp(name, "arm64-", 6)) return row_of("aarch64");
  return NULL;
}

/* Systems whose object files are of another form. */
static bool is_elf(const char *triple) {
  static const char *const others[] = {"apple", "darwin", "macos", "windows", "mingw", "win32", "msvc", "cygwin", "uefi", "aix"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strstr(triple, others[i])) return false;
  return true;
}

static dhc_status no_target(DhcArena *arena, const char *name) {
  const char *names[N_ROWS];
  DhcText all = {.arena = arena};
  for (int i = 0; i < N_ROWS; i++) {
    names[i] = rows[i].name;
    dhc_text_printf(&all, "%s%s", i ? ", " : "", names[i]);
  }
  const char *close = dhc_suggest(name, names, N_ROWS);
  return dhc_status_make(DHC_E_USAGE, "--target %.60s: there is none%s%s%s; there are %s, and triples of them", name, close ? " (did you mean " : "",
                         close ? close : "", close ? "?)" : "", dhc_text_str(&all));
}

static bool in_list(const char *list, const char *word) {
  size_t n = strlen(word);
  for (const char *at = list; n && (at = strstr(at, word)); at += n)
    if ((at == list || at[-1] == ' ') && (!at[n] || at[n] == ' ')) return true;
  return false;
}

/* Triples that begin like a row's and are of another memory: aarch64_be, armv7eb, gnux32. */
static dhc_status check_memory(const char *name, const DhcCpuTarget *t) {
  LLVMTargetRef target;
  DHC_TRY(check_cpu(t, &target));
  LLVMTargetMachineRef machine = LLVMCreateTargetMachine(target, t->triple, t->cpu, t->features, LLVMCodeGenLevelNone, LLVMRelocPIC, LLVMCodeModelDefault);
  if (!machine) dhc_out_of_memory(0);
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
  bool same = LLVMByteOrder(layout) == LLVMLittleEndian && 8 * (int)LLVMPointerSize(layout) == t->bits;
  LLVMDisposeTargetData(layout);
  LLVMDisposeTargetMachine(machine);
  if (!same) return dhc_status_make(DHC_E_USAGE, "--target %.60s: needs a triple of little-endian memory and addresses of %d bits", name, t->bits);
  return (dhc_status){0};
}

dhc_status dhc_cpu_target_named(DhcArena *arena, const char *name, const char *cpu, const char *features,
                                DhcCpuTarget *out) {
  const Row *r = row_of(name);
  if (!r) return no_target(arena, name);
  if (!is_elf(name)) return dhc_status_make(DHC_E_USAGE, "--target %.60s: objects are ELF files, or WebAssembly's; needs a triple of Linux, a BSD or no system", name);
  bool by_name = !strcmp(r->name, name);
  if (!strcmp(r->arch, "x86_64") && cpu)
    for (int i = 0; i < N_ROWS; i++)
      if (!strcmp(rows[i].arch, r->arch) && in_list(rows[i].cpus, cpu)) r = &rows[i];
  if (cpu && !in_list(r->cpus, cpu)) return dhc_status_make(DHC_E_USAGE, "--cpu %.60s: not one of %s (%s)", cpu, r->name, r->cpus);
  if (features && strcmp(r->arch, "x86_64"))
    return dhc_status_make(DHC_E_USAGE, "--features: of x86-64 only in this version; %s has %s", r->name, *r->features ? r->features : "its own");
  if (!strcmp(r->arch, "x86_64")) {
    DHC_TRY(dhc_cpu_target(arena, r->cpu, features, out));
    out->triple = keep_message(arena, LLVMNormalizeTargetTriple(by_name ? r->triple : name));
    out->emulator = r->emulator;
    return check_memory(name, out);
  }
  pthread_once(&targets_once, init_targets);
  *out = (DhcCpuTarget){.cpu = cpu ? dhc_arena_strdup(arena, cpu) : r->cpu, .features = r->features, .isa = r->features,
                        .has_round = r->round, .bits = r->bits, .divides = r->divides, .emulator = r->emulator};
  out->triple = keep_message(arena, LLVMNormalizeTargetTriple(by_name ? r->triple : name));
  out->facts = (DhcTargetFacts){.kind = DHC_TARGET_CPU, .vector_bytes = r->vector_bytes, .task_elements = 16384, .has_fma = r->fma};
  return check_memory(name, out);
}

const char *dhc_cpu_llvm_version(DhcArena *arena) {
  unsigned major, minor, patch;
  LLVMGetVersion(&major, &minor, &patch);
  return dhc_arena_printf(arena, "llvm-%u.%u.%u", major, minor, patch);
}
