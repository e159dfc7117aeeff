/* An object as a program of its own, for emulators that count what a call takes (DhcObjDrive): it begins at _start, needs nothing of the
 * system but the end of a process, and calls one entry as often as it has arguments, its own name among them. Memory is the program's and
 * is all zeros, but for what the object's own functions begin it with. */
#include "backends/object/llvm_internal.h"
#include "runtime/image.h"
#include "runtime/tensor.h"

/* _start by the architecture's name: calls drive(number of arguments), whose result is the process's. */
static const char *start_of(const char *triple) {
  static const struct {
    const char *arch, *text;
  } of[] = {
      {"x86_64", "mov (%rsp), %rdi\nand $-16, %rsp\ncall drive\nmov %eax, %edi\nmov $60, %eax\nsyscall\n"},
      {"aarch64", "ldr x0, [sp]\nbl drive\nmov x8, #93\nsvc #0\n"},
      {"riscv64", "ld a0, 0(sp)\ncall drive\nli a7, 93\necall\n"},
      {"armv7", "ldr r0, [sp]\nmov r1, #0\nbl drive\nmov r7, #1\nsvc #0\n"},
      {"thumbv7em", ".thumb_func\n_start:\nldr r0, [sp]\nmovs r1, #0\nbl drive\nmovs r7, #1\nsvc #0\n"},
  };
  for (size_t i = 0; i < sizeof of / sizeof *of; i++)
    if (!strncmp(triple, of[i].arch, strlen(of[i].arch))) return of[i].text;
  return NULL;
}

static void write_start(Out *o) {
  const char *code = start_of(o->w->target->triple);
  if (!code) DHC_BUG("no program for %s", o->w->target->triple);
  const char *label = strstr(code, "_start:") ? "" : "_start:\n";
  const char *text = dhc_arena_printf(o->arena, ".text\n.globl _start\n%s%s", label, code);
  LLVMAppendModuleInlineAsm(o->w->module, text, strlen(text));
}

/* ---- what objects leave to the linker ------------------------------------------------------------------------------ */

typedef enum Move { MOVE_COPY, MOVE_SET } Move;

/* 8 bytes at a time, then one: void *name(to, from | value, n); of Arm's own names the last two may stand the other way, or value be 0. */
static void write_memory(Out *o, const char *name, Move move, int value_at, int n_at) {
  LLVMBuilderRef m = o->w->b;
  bool narrow = o->w->target->bits == 32, clears = move == MOVE_SET && value_at < 0;
  LLVMTypeRef word = narrow ? o->i32 : o->i64, types[3] = {o->ptr, clears ? word : move == MOVE_COPY ? o->ptr : o->i32, word};
  if (value_at > n_at) types[1] = word, types[2] = o->i32;
  V fn = obj_function(o, name, LLVMFunctionType(o->ptr, types, clears ? 2 : 3, false), true), to = LLVMGetParam(fn, 0);
  V n = LLVMBuildZExt(m, LLVMGetParam(fn, (unsigned)n_at), o->i64, ""), wide = LLVMBuildAnd(m, n, obj_number(o, -8), "");
  V byte = clears ? LLVMConstInt(o->i8, 0, false) : move == MOVE_SET ? LLVMBuildTrunc(m, LLVMGetParam(fn, (unsigned)value_at), o->i8, "") : NULL;
  V eight = byte ? LLVMBuildMul(m, LLVMBuildZExt(m, byte, o->i64, ""), obj_number(o, INT64_C(0x0101010101010101)), "") : NULL;
  ObjLoop l = obj_loop(o, fn, wide, 8);
  V v = eight ? eight : LLVMBuildLoad2(m, o->i64, obj_gep(o, LLVMGetParam(fn, 1), l.index), "");
  if (!eight) LLVMSetAlignment(v, 1);
  LLVMSetAlignment(LLVMBuildStore(m, v, obj_gep(o, to, l.index)), 1);
  obj_loop_end(o, &l);
  l = obj_loop(o, fn, LLVMBuildSub(m, n, wide, ""), 1);
  V at = LLVMBuildAdd(m, wide, l.index, "");
  LLVMBuildStore(m, byte ? byte : LLVMBuildLoad2(m, o->i8, obj_gep(o, LLVMGetParam(fn, 1), at), ""), obj_gep(o, to, at));
  obj_loop_end(o, &l);
  LLVMBuildRet(m, to);
}

static void write_memories(Out *o) {
  static const char *const aligned[] = {"", "4", "8"};
  write_memory(o, "memcpy", MOVE_COPY, -1, 2);
  write_memory(o, "memset", MOVE_SET, 1, 2);
  for (int i = 0; i < 3 && o->w->target->bits == 32; i++) {
    write_memory(o, dhc_arena_printf(o->arena, "__aeabi_memcpy%s", aligned[i]), MOVE_COPY, -1, 2);
    write_memory(o, dhc_arena_printf(o->arena, "__aeabi_memset%s", aligned[i]), MOVE_SET, 2, 1);
    write_memory(o, dhc_arena_printf(o->arena, "__aeabi_memclr%s", aligned[i]), MOVE_SET, -1, 1);
  }
}

/* ---- calls ---------------------------------------------------------------------------------------------------------- */

static V memory(Out *o, int64_t bytes, V init) {
  LLVMTypeRef type = init ? LLVMTypeOf(init) : LLVMArrayType2(o->i8, (uint64_t)bytes + 1);
  V g = LLVMAddGlobal(o->w->module, type, "memory");
  LLVMSetInitializer(g, init ? init : LLVMConstNull(type));
  LLVMSetLinkage(g, LLVMInternalLinkage);
  LLVMSetAlignment(g, 64);
  return g;
}

/* The struct of a training step's numbers as it begins. */
static V scalars(Out *o, const DhcObjTrain *t) {
  int64_t bytes = 8;
  for (int i = 0; i < t->scalars.n; i++) bytes = t->scalars.at[i].at + 8 > bytes ? t->scalars.at[i].at + 8 : bytes;
  char *at = dhc_arena_alloc(o->arena, (size_t)bytes);
  memset(at, 0, (size_t)bytes);
  for (int i = 0; i < t->scalars.n; i++)
    dhc_tensor_convert(at + t->scalars.at[i].at, t->scalars.at[i].tensor->dtype, &t->scalars.at[i].value, DHC_F64, 1);
  return memory(o, bytes, LLVMConstStringInContext2(o->w->cx, at, (size_t)bytes, true));
}

/* Returns from drive if `of` does not return 0. */
static void call_or_end(Out *o, V fn, const char *of, V *args, int n) {
  V called = LLVMGetNamedFunction(o->w->module, of);
  V got = LLVMBuildCall2(o->w->b, LLVMGlobalGetValueType(called), called, args, (unsigned)n, "");
  obj_return_if(o, fn, LLVMBuildICmp(o->w->b, LLVMIntNE, got, obj_status(o, 0), ""), LLVMBuildAdd(o->w->b, got, obj_status(o, 64), ""));
}

typedef struct Memory {
  V weights, state, work;
} Memory;

static void call_entry(Out *o, V fn, const DhcObjEntry *e, const Memory *m, V *tensors, V numbers) {
  V *args = DHC_NEW_N(o->arena, V, e->n_params + 8);
  int n = 0;
  if (e->reads_weights && !o->blob) args[n++] = m->weights;
  if (e->state_bytes) args[n++] = m->state;
  for (int i = 0; i < e->n_params; i++) args[n++] = tensors[i];
  if (e->train) args[n++] = numbers;
  args[n++] = m->work;
  args[n++] = obj_number(o, dhc_object_test_workspace(e));
  args[n++] = LLVMConstNull(o->ptr);
  call_or_end(o, fn, e->c_name, args, n);
}

/* "forward.step" begins with "forward.reset", "step" with "reset". */
static const DhcObjEntry *reset_of(const Out *o, const DhcObjEntry *e) {
  const char *dot = strrchr(e->name, '.');
  const char *name = dhc_arena_printf(o->arena, "%.*sreset", dot ? (int)(dot + 1 - e->name) : 0, e->name);
  for (int i = 0; i < o->o->n_entries; i++)
    if (o->o->entry[i]->variant == e->variant && !strcmp(o->o->entry[i]->name, name)) return o->o->entry[i];
  return NULL;
}

static int64_t bytes_of(const DhcObjEntry *e, const dhc_image_tensor *x) {
  int64_t dim[8], n = dhc_tensor_dtype_bytes(x->dtype);
  if (!dhc_image_shape(e->image, (int32_t)(x - e->image->tensors), e->bound, dim)) DHC_BUG("'%s' has no size", x->name);
  for (int d = 0; d < x->rank; d++) n *= dim[d];
  return n;
}

void obj_write_drive(Out *o) {
  const DhcObjEntry *e = o->o->entry[o->o->drive->entry], *reset = e->state_bytes && !e->train ? reset_of(o, e) : NULL;
  int64_t work = dhc_object_test_workspace(e);
  if (reset && dhc_object_test_workspace(reset) > work) work = dhc_object_test_workspace(reset);
  write_start(o);
  write_memories(o);
  V fn = obj_function(o, "drive", LLVMFunctionType(o->i32, &o->i64, 1, false), true);
  Memory m = {.work = memory(o, work, NULL)};
  if (e->state_bytes) m.state = memory(o, e->state_bytes->value, NULL);
  V *tensors = DHC_NEW_N(o->arena, V, e->n_params + 1), numbers = e->train ? scalars(o, e->train) : NULL;
  for (int i = 0; i < e->n_params; i++) tensors[i] = memory(o, bytes_of(e, e->param[i].tensor), NULL);
  if (o->o->blob_bytes && !o->blob) {
    V args[] = {m.weights = memory(o, o->o->blob_bytes, NULL), obj_number(o, o->o->blob_bytes)};
    call_or_end(o, fn, dhc_arena_printf(o->arena, "%s_weights_begin", o->o->name), args, 2);
  }
  if (e->train) {
    V args[] = {m.state, obj_number(o, e->state_bytes->value)};
    call_or_end(o, fn, dhc_arena_printf(o->arena, "%s_init", e->train->c_name), args, 2);
  } else if (reset) {
    call_entry(o, fn, reset, &m, NULL, NULL);
  }
  ObjLoop l = obj_loop(o, fn, LLVMGetParam(fn, 0), 1);
  call_entry(o, fn, e, &m, tensors, numbers);
  obj_loop_end(o, &l);
  LLVMBuildRet(o->w->b, obj_status(o, 0));
}
