/* What the parts of the LLVM writer of objects share: values and small helpers (llvm.c), sizes (llvm_sizes.c),
 * statements and entries (llvm_run.c), constants (llvm_weights.c), training (llvm_train.c), variants (llvm_choose.c),
 * programs for emulators (llvm_drive.c). */
#ifndef DHC_BACKENDS_OBJECT_LLVM_INTERNAL_H
#define DHC_BACKENDS_OBJECT_LLVM_INTERNAL_H

#include <string.h>

#include "backends/object/llvm.h"

typedef LLVMValueRef V;

typedef struct Out {
  DhcCpuW *w;
  const DhcObject *o;
  DhcArena *arena;
  LLVMTypeRef i8, i32, i64, ptr, none;
  V blob; /* embedded constants, or NULL */
  V launch, fill;
  V *function; /* kernels */
} Out;

/* One function of an entry while it is written. */
typedef struct Fn {
  Out *out;
  const DhcObjEntry *e;
  V fn;
  V *x; /* by expression */
  V *symbol;
  bool checks; /* what may leave its range is watched: */
  V bad;       /* i1: something has; NULL: nothing may */
  /* of the entry proper */
  V weights, state, scalars, *param, work, shared, scratch, per_worker, exec;
  V ptrs, dims; /* operands and sizes of the next call */
  V index[DHC_MAX_LOOP_DEPTH];
} Fn;

enum { OBJECT_NULL = 1, OBJECT_ALIGN, OBJECT_DIMS, OBJECT_WORKSPACE, OBJECT_WEIGHTS, OBJECT_INDEX, OBJECT_REQUIRE, OBJECT_SELFTEST, OBJECT_VARIANT }; /* header.c */

/* ---- llvm.c ---- */
V obj_number(Out *o, int64_t v);                /* i64 */
V obj_status(Out *o, unsigned code);            /* i32 */
V obj_function(Out *o, const char *name, LLVMTypeRef type, bool exported); /* the builder stands in its first block */
LLVMBasicBlockRef obj_block(Out *o, V fn, const char *name);
V obj_gep(Out *o, V base, V bytes);
V obj_element(Out *o, LLVMTypeRef type, V base, int i);
V obj_bytes(Out *o, const char *name, const void *bytes, size_t n, unsigned align); /* read-only memory */
void obj_return_if(Out *o, V fn, V refused, V status);
V obj_misaligned(Out *o, V p);
/* for index from 0 while < count, += step */
typedef struct ObjLoop {
  V fn, index, end, step;
  LLVMBasicBlockRef before, body, done;
} ObjLoop;
ObjLoop obj_loop(Out *o, V fn, V end, int64_t step);
void obj_loop_end(Out *o, ObjLoop *l);

/* Symbols are parameters of the function from number `first` on. */
Fn obj_begin(Out *o, const DhcObjEntry *e, V fn, int first);
V obj_value(Fn *f, const DhcObjX *x);
V obj_nonzero(Fn *f, V x);
bool obj_watched(const Out *o, const DhcObjX *x); /* sizes may be refused for it */
int obj_free_symbols(const DhcObjEntry *e);

/* ---- llvm_sizes.c ---- */
V obj_write_check(Out *o, const DhcObjEntry *e, LLVMTypeRef *type);
V obj_call_check(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type, V *symbol);
void obj_write_sizes(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef type);
V obj_workspace(Fn *f, V workers);

/* ---- llvm_run.c ---- */
void obj_write_launch(Out *o);
void obj_write_fill(Out *o);
void obj_write_selftest(Out *o); /* behind the entries */
void obj_write_entry(Out *o, const DhcObjEntry *e, V check, LLVMTypeRef check_type);

/* ---- llvm_weights.c ---- */
void obj_write_weights(Out *o);
void obj_write_prefault(Out *o);

/* ---- llvm_train.c ---- */
void obj_write_training(Out *o, const DhcObjEntry *e); /* what handles its state */

/* ---- llvm_drive.c ---- */
void obj_write_drive(Out *o); /* behind all else */

/* ---- llvm_choose.c ---- */
void obj_write_variants(Out *o); /* behind the entries */

#endif
