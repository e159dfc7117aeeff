/* The C99 writer of objects: one freestanding source file. */
#ifndef DHC_BACKENDS_OBJECT_C99_H
#define DHC_BACKENDS_OBJECT_C99_H

#include "backends/object/object.h"

/* c99_ew.c: C types in registers and memory; an op on operands a[] of dtype t (NULL, or why it has no form; index: i64
 * values that never overflow); a cast. */
const char *dhc_c99_type(dhc_dtype t);
const char *dhc_c99_memory_type(dhc_dtype t);
const char *dhc_c99_ew(DhcText *to, DhcOp op, const char *const *a, dhc_dtype t, bool index);
void dhc_c99_cast(DhcText *to, const char *x, dhc_dtype from, dhc_dtype want);
/* What all kernels may call: integers, rounding, fused multiply-add and root without a library; then those of the maths
 * functions that `body` calls. */
void dhc_c99_prelude(const char *body, DhcText *to);
/* c99_kernel.c: one kernel as a static function; NULL, or why it has no form. */
const char *dhc_c99_kernel(const DhcLp *p, const char *name, DhcText *to);
/* c99.c: the whole; `header` is the name it includes. NULL, or why not. */
const char *dhc_object_write_c99(const DhcObject *o, const char *header, DhcText *to);

/* What the host part of objects for GPUs has in common with it (c99.c): one function of an entry while it is written; an
 * expression, declared where it was not yet; the address of an operand within so many loops; all
 * statements, loops among them; functions that sizes are computed with; a literal; an array of 64-bit words; weights_check, _begin and _set; what an
 * entry says about sizes. */
typedef struct DhcC99Fn {
  const DhcObject *o;
  const DhcObjEntry *e;
  DhcText *to;
  DhcArena *arena;
  bool *made; /* by expression */
} DhcC99Fn;
/* How a call, and a copy or fill, is written within so many loops. */
typedef struct DhcC99Forms {
  void (*call)(DhcC99Fn *f, const DhcObjStmt *s, int depth);
  void (*move)(DhcC99Fn *f, const DhcObjStmt *s, int depth);
} DhcC99Forms;
/* c99_train.c: what handles a training's state. How its bytes are moved: made 0, within it, into it from memory of the host, and out to it;
 * `bytes` < 0: as many as the variable `bytes` says. A statement; `end` is one more, behind all of them. */
typedef enum DhcC99Move { DHC_C99_CLEAR, DHC_C99_WITHIN, DHC_C99_IN, DHC_C99_OUT } DhcC99Move;
typedef struct DhcC99Moves {
  const char *(*move)(DhcC99Move kind, const char *to, const char *from, int64_t bytes, DhcArena *arena);
  const char *end;
} DhcC99Moves;
extern const DhcC99Moves dhc_c99_moves; /* in memory of the host */
void dhc_c99_training(const DhcObjTrain *t, const DhcC99Moves *moves, DhcText *to);
DhcC99Fn dhc_c99_begin(const DhcObject *o, const DhcObjEntry *e, DhcText *to);
const char *dhc_c99_value(DhcC99Fn *f, const DhcObjX *x);
const char *dhc_c99_address(DhcC99Fn *f, const DhcObjRef *r, int depth);
void dhc_c99_statements(DhcC99Fn *f, const DhcC99Forms *forms);
const char *dhc_c99_sizes_text(void);
void dhc_c99_describe(const DhcObject *o, DhcText *to);
void dhc_c99_words(const char *name, const void *bytes, int64_t n, DhcText *to);
void dhc_c99_weights(const DhcObject *o, DhcText *to);
void dhc_c99_variants(const DhcObject *o, DhcText *to);
void dhc_c99_sizes(const DhcObject *o, const DhcObjEntry *e, DhcText *to);

#endif
