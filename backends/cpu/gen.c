/* Modules, LLVM's verifier, code generation without IR passes. */
#include <llvm-c/Analysis.h>
#include <llvm-c/Object.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/writer.h"
#include "runtime/status.h"

struct DhcCpuGen {
  const DhcCpuTarget *target;
  LLVMContextRef cx;
  LLVMTargetMachineRef tm;
  LLVMTargetMachineRef quick; /* for kernels without tiles of accumulators; NULL: not yet */
  LLVMTargetDataRef layout;
};

static dhc_status error(dhc_code code, const char *what, const char *detail) {
  dhc_status s = {.code = code};
  snprintf(s.message, sizeof s.message, "%s%s%.300s", what, detail ? ": " : "",
           detail ? detail : "");
  return s;
}

/* Level Default: Less generates a quarter faster, but convolutions then run at 43 % of peak
 * instead of 59 % (bench_kernels); None keeps every value on the stack. */
static LLVMTargetMachineRef machine(LLVMTargetRef t, const DhcCpuTarget *target, LLVMCodeGenOptLevel level, LLVMCodeModel model) {
  return LLVMCreateTargetMachine(t, target->triple, target->cpu, target->features, level,
                                 strncmp(target->triple, "wasm32", 6) ? LLVMRelocPIC : LLVMRelocStatic, model);
}

const DhcCpuTarget *dhc_cpu_gen_target(const DhcCpuGen *g) { return g->target; }

dhc_status dhc_cpu_gen_open(const DhcCpuTarget *target, DhcCpuGen **out) {
  LLVMTargetRef t;
  char *message = NULL;
  if (LLVMGetTargetFromTriple(target->triple, &t, &message)) {
    dhc_status s = error(DHC_E_ENVIRONMENT, "no code generator", message);
    LLVMDisposeMessage(message);
    return s;
  }
  DhcCpuGen *g = calloc(1, sizeof *g);
  if (!g) return error(DHC_E_ENVIRONMENT, "out of memory", NULL);
  g->target = target;
  g->cx = LLVMContextCreate();
  g->tm = machine(t, target, LLVMCodeGenLevelDefault, LLVMCodeModelDefault);
  if (!g->tm) {
    dhc_cpu_gen_close(g);
    return error(DHC_E_ENVIRONMENT, "no target machine for this CPU", target->cpu);
  }
  g->layout = LLVMCreateTargetDataLayout(g->tm);
  *out = g;
  return (dhc_status){0};
}

void dhc_cpu_gen_close(DhcCpuGen *g) {
  if (!g) return;
  if (g->layout) LLVMDisposeTargetData(g->layout);
  if (g->tm) LLVMDisposeTargetMachine(g->tm);
  if (g->quick) LLVMDisposeTargetMachine(g->quick);
  LLVMContextDispose(g->cx);
  free(g);
}

static dhc_status take_text(const char *text, size_t n, DhcCpuBytes *out) {
  out->bytes = malloc(n ? n : 1);
  if (!out->bytes) return error(DHC_E_ENVIRONMENT, "out of memory", NULL);
  memcpy(out->bytes, text, n);
  out->n_bytes = n;
  return (dhc_status){0};
}

/* What the linker of a target brings by itself. Names in wasm files have no end that LLVM's C interface gives. */
static bool is_linkers(const DhcCpuTarget *t, const char *name) {
  static const char *const any[] = {"memcpy", "memmove", "memset"};
  static const char *const wasm[] = {"memcpy", "memmove", "memset", "__stack_pointer", "__linear_memory", "__indirect_function_table"};
  for (size_t i = 0; i < sizeof any / sizeof *any; i++)
    if (!strcmp(name, any[i])) return true;
  for (size_t i = 0; i < sizeof wasm / sizeof *wasm; i++)
    if (!strncmp(t->triple, "wasm32", 6) && !strncmp(name, wasm[i], strlen(wasm[i]))) return true;
  if (t->x86 && !strcmp(name, "_GLOBAL_OFFSET_TABLE_")) return true; /* what code of large programs counts from */
  return t->bits == 32 && !strncmp(name, "__aeabi_mem", 11); /* the same functions on bare Arm */
}

/* LLVM may turn an operation into a library call: the symbol table tells. */
static dhc_status check_symbols(DhcCpuGen *g, const char *module, LLVMMemoryBufferRef object) {
  dhc_status s = {0};
  char *message = NULL;
  LLVMBinaryRef binary = LLVMCreateBinary(object, g->cx, &message);
  if (!binary) {
    s = error(DHC_E_ENVIRONMENT, "code generation", message);
    LLVMDisposeMessage(message);
    return s;
  }
  LLVMSymbolIteratorRef sym = LLVMObjectFileCopySymbolIterator(binary);
  LLVMSectionIteratorRef section = LLVMObjectFileCopySectionIterator(binary);
  for (; !LLVMObjectFileIsSymbolIteratorAtEnd(binary, sym); LLVMMoveToNextSymbol(sym)) {
    const char *name = LLVMGetSymbolName(sym);
    LLVMMoveToContainingSection(section, sym);
    if (!*name || !LLVMObjectFileIsSectionIteratorAtEnd(binary, section)) continue;
    if (is_linkers(g->target, name)) continue;
    if (!strcmp(name, module)) continue; /* the file symbol lies in no section */
    bool wide = g->target->bits == 32 && (!strncmp(name, "__aeabi_d", 9) || (!strncmp(name, "__aeabi_", 8) && strstr(name, "2d")));
    if (wide)
      s = dhc_status_make(DHC_E_INPUT, "--cpu %s: it computes no f64, which code of this object does (%s); fix sizes that are open (--bind), or take cortex-m7", g->target->cpu, name);
    else s = error(DHC_E_ENVIRONMENT, "code needs a library function", name);
  }
  LLVMDisposeSectionIterator(section);
  LLVMDisposeSymbolIterator(sym);
  LLVMDisposeBinary(binary);
  return s;
}

static dhc_status emit(DhcCpuGen *g, const DhcCpuFill *f, LLVMModuleRef module, DhcCpuStage stage, DhcCpuBytes *out) {
  if (stage == DHC_CPU_LLVM) {
    char *text = LLVMPrintModuleToString(module);
    if (!text) return error(DHC_E_ENVIRONMENT, "out of memory", NULL);
    dhc_status s = take_text(text, strlen(text), out);
    LLVMDisposeMessage(text);
    return s;
  }
  LLVMMemoryBufferRef buffer = NULL;
  char *message = NULL;
  LLVMCodeGenFileType type = stage == DHC_CPU_ASM ? LLVMAssemblyFile : LLVMObjectFile;
  bool lean = f->lean && g->target->x86;
  dhc_cpu_passes_begin(!lean ? DHC_CPU_ALL : g->target->facts.vector_bytes < 64 || f->addresses_weigh ? DHC_CPU_LEAN : DHC_CPU_LEANEST);
  bool failed = LLVMTargetMachineEmitToMemoryBuffer(g->tm, module, type, &message, &buffer);
  dhc_cpu_passes_end();
  if (failed) {
    dhc_status s = error(DHC_E_ENVIRONMENT, "code generation", message);
    LLVMDisposeMessage(message);
    return s;
  }
  dhc_status s = {0};
  if (stage == DHC_CPU_OBJECT) s = check_symbols(g, f->name, buffer);
  if (!s.code) s = take_text(LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer), out);
  LLVMDisposeMemoryBuffer(buffer);
  return s;
}

static void drop_module(void *what) {
  DhcCpuW *w = what;
  LLVMDisposeBuilder(w->b);
  LLVMDisposeModule(w->module);
}

dhc_status dhc_cpu_gen_module(DhcCpuGen *g, const DhcCpuFill *f, DhcCpuStage stage, DhcCpuBytes *out) {
  DhcCpuW w = {.cx = g->cx, .target = g->target};
  w.module = LLVMModuleCreateWithNameInContext(f->name, g->cx);
  w.b = LLVMCreateBuilderInContext(g->cx);
  LLVMSetTarget(w.module, g->target->triple);
  LLVMSetModuleDataLayout(w.module, g->layout);
  DhcHeld held;
  dhc_hold(&held, drop_module, &w);
  f->fill(&w, f->ctx);
  dhc_release(&held);
  dhc_status s = {0};
  char *message = NULL;
  if (w.refused) s = error(DHC_E_INPUT, w.refused, NULL);
  else if (LLVMVerifyModule(w.module, LLVMReturnStatusAction, &message))
    DHC_BUG("module %s: %s", f->name, message);
  else {
    LLVMTargetMachineRef usual = g->tm;
    if (f->large && g->target->x86) g->tm = machine(LLVMGetTargetMachineTarget(usual), g->target, LLVMCodeGenLevelDefault, LLVMCodeModelMedium);
    if (f->stack) dhc_cpu_stack_watch(f->stack, g->cx, w.module);
    s = g->tm ? emit(g, f, w.module, stage, out) : error(DHC_E_ENVIRONMENT, "no target machine for large programs", g->target->cpu);
    if (g->tm && g->tm != usual) LLVMDisposeTargetMachine(g->tm);
    g->tm = usual;
    if (f->stack) dhc_cpu_stack_add_up(f->stack, g->target, g->cx, w.module);
  }
  LLVMDisposeMessage(message);
  drop_module(&w);
  return s;
}

typedef struct Kernels {
  const DhcLp *const *program;
  const char *const *names;
  int n;
} Kernels;

static void write_kernels(DhcCpuW *w, void *ctx) {
  const Kernels *k = ctx;
  for (int i = 0; i < k->n && !w->refused; i++) dhc_cpu_write(w, k->program[i], k->names[i]);
}

/* Does it keep sums of products in vectors? */
static bool has_tiles(const DhcLp *p) {
  for (int i = 0; i < p->code.n; i++)
    if (p->code.at[i]->kind == DHC_LP_EW && p->code.at[i]->op == DHC_OP_FMA && p->code.at[i]->type.lanes > 1) return true;
  return false;
}

dhc_status dhc_cpu_gen_run(DhcCpuGen *g, const DhcLp *const *program, const char *const *names,
                           int n, DhcCpuStage stage, DhcCpuBytes *out) {
  Kernels k = {program, names, n};
  DhcCpuFill fill = {.name = "kernel", .fill = write_kernels, .ctx = &k, .lean = true};
  LLVMTargetMachineRef usual = g->tm;
  bool tiles = false;
  for (int i = 0; i < n; i++) {
    tiles = tiles || has_tiles(program[i]);
    fill.addresses_weigh = fill.addresses_weigh || program[i]->addresses_weigh;
  }
  if (!tiles) {
    if (!g->quick) g->quick = machine(LLVMGetTargetMachineTarget(usual), g->target, LLVMCodeGenLevelLess, LLVMCodeModelDefault);
    if (g->quick) g->tm = g->quick;
  }
  dhc_status s = dhc_cpu_gen_module(g, &fill, stage, out);
  g->tm = usual;
  return s;
}
