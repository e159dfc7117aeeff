/* How deep the stack of a module's functions gets. LLVM reports the frame of a function that has the attribute
 * "warn-stack-size", when it has laid it out (PrologEpilogInserter, LLVM 19); calls are the module's own, which no pass
 * inlines. There is no recursion. */
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/writer.h"

const DhcCpuDepth *dhc_cpu_stack_of(const DhcCpuStack *s, const char *function) {
  for (int i = 0; i < s->all.n; i++)
    if (!strcmp(s->all.at[i].name, function)) return &s->all.at[i];
  return NULL;
}

/* "stack frame size (208) exceeds limit (0) in function 'm_forward'" */
static void read_frame(DhcCpuStack *s, const char *text) {
  const char *size = strstr(text, "stack frame size ("), *name = strstr(text, "in function '");
  if (!size || !name) return;
  name += strlen("in function '");
  for (int i = 0; i < s->all.n; i++) {
    DhcCpuDepth *d = &s->all.at[i];
    if (!strncmp(d->name, name, strlen(d->name)) && name[strlen(d->name)] == '\'') d->frame = strtoll(size + strlen("stack frame size ("), NULL, 10);
  }
}

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *stack) {
  char *text = LLVMGetDiagInfoDescription(info);
  if (LLVMGetDiagInfoSeverity(info) == LLVMDSError) DHC_BUG("code generation: %s", text);
  read_frame(stack, text);
  LLVMDisposeMessage(text);
}

static const char *name_of(LLVMValueRef fn) {
  size_t n;
  return LLVMGetValueName2(fn, &n);
}

void dhc_cpu_stack_watch(DhcCpuStack *s, LLVMContextRef cx, LLVMModuleRef module) {
  for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn)) {
    if (LLVMIsDeclaration(fn)) continue;
    LLVMAttributeRef all = LLVMCreateStringAttribute(cx, "warn-stack-size", 15, "0", 1);
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, all);
    DHC_PUSH(s->arena, &s->all, ((DhcCpuDepth){dhc_arena_strdup(s->arena, name_of(fn)), 0, -1, "", 0}));
  }
  LLVMContextSetDiagnosticHandler(cx, on_diagnostic, s);
}

/* What a call takes beside frames, at most: the return address and parameters that do not fit in registers; and what
 * aligning a frame to its vectors leaves unused. */
static int64_t of_call(const DhcCpuTarget *t) { return !strncmp(t->triple, "x86", 3) ? 8 + 32 + 48 : 16; }

typedef struct Adding {
  DhcCpuStack *s;
  const DhcCpuTarget *target;
  LLVMModuleRef module;
} Adding;

typedef struct Way {
  int64_t bytes, largest;
  const char *most;
} Way;

static Way below(Adding *a, LLVMValueRef fn, LLVMValueRef passed);

static void deeper(Way *w, Way other) {
  if (other.bytes > w->bytes) *w = other;
}

/* A pointer that is called is the function that was passed to this one, or any of its type. */
static Way through_pointer(Adding *a, LLVMValueRef call, LLVMValueRef passed) {
  LLVMTypeRef type = LLVMGetCalledFunctionType(call);
  Way w = {0, 0, ""};
  if (passed && LLVMGlobalGetValueType(passed) == type) return below(a, passed, NULL);
  for (LLVMValueRef fn = LLVMGetFirstFunction(a->module); fn; fn = LLVMGetNextFunction(fn))
    if (!LLVMIsDeclaration(fn) && LLVMGlobalGetValueType(fn) == type) deeper(&w, below(a, fn, NULL));
  return w;
}

static Way of_instruction(Adding *a, LLVMValueRef call, LLVMValueRef passed) {
  LLVMValueRef to = LLVMGetCalledValue(call), hands = NULL;
  if (!LLVMIsAFunction(to)) return through_pointer(a, call, passed);
  for (unsigned i = 0; i < LLVMGetNumArgOperands(call); i++)
    if (LLVMIsAFunction(LLVMGetOperand(call, i))) hands = LLVMGetOperand(call, i);
  return LLVMIsDeclaration(to) ? (Way){0, 0, ""} : below(a, to, hands);
}

static Way below(Adding *a, LLVMValueRef fn, LLVMValueRef passed) {
  DhcCpuDepth *d = (DhcCpuDepth *)(uintptr_t)dhc_cpu_stack_of(a->s, name_of(fn));
  Way w = {0, 0, ""};
  if (d->deepest >= 0 && !passed) return (Way){d->deepest, d->largest_frame, d->largest};
  for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(fn); b; b = LLVMGetNextBasicBlock(b))
    for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i))
      if (LLVMIsACallInst(i)) deeper(&w, of_instruction(a, i, passed));
  w.bytes += d->frame + of_call(a->target);
  if (d->frame >= w.largest) w.largest = d->frame, w.most = d->name;
  if (!passed) d->deepest = w.bytes, d->largest = w.most, d->largest_frame = w.largest;
  return w;
}

void dhc_cpu_stack_add_up(DhcCpuStack *s, const DhcCpuTarget *t, LLVMContextRef cx, LLVMModuleRef module) {
  Adding a = {s, t, module};
  LLVMContextSetDiagnosticHandler(cx, NULL, NULL);
  for (LLVMValueRef fn = LLVMGetFirstFunction(module); fn; fn = LLVMGetNextFunction(fn))
    if (!LLVMIsDeclaration(fn)) below(&a, fn, NULL);
}
