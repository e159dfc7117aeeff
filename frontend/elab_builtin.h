/* Shared by the files that define builtins (builtins.def). */
#ifndef DHC_FRONTEND_ELAB_BUILTIN_H
#define DHC_FRONTEND_ELAB_BUILTIN_H

#include "frontend/elab_internal.h"

#define BUILTIN(name, args) DhcVal dhc_bi_##name(DhcCx *cx, DhcBuiltinCall *c);
#include "frontend/builtins.def"

/* Was argument i given? */
bool dhc_bi_given(const DhcBuiltinCall *c, int i);
/* "argument 'axis' of sum" */
const char *dhc_bi_what(DhcCx *cx, const DhcBuiltinCall *c, int i);
/* Argument i as a tensor of cx->fn; dtype -1: as it is. */
DhcValue *dhc_bi_tensor(DhcCx *cx, DhcBuiltinCall *c, int i, int dtype);
/* An axis of `rank` dims, counted from the end if negative. */
bool dhc_bi_axis(DhcCx *cx, DhcBuiltinCall *c, int i, int rank, int64_t or_else, int64_t *out);
bool dhc_bi_bool(DhcCx *cx, DhcBuiltinCall *c, int i, bool or_else, bool *out);

#endif
