/* Runs plans without a backend: kernels by the spec interpreter, in double and int64, so
 * that results equal the graph interpreter's bit for bit. Memory is as the plan lays it out:
 * buffers that overlap when they should not, reads of what nobody wrote and places out of
 * order all show as wrong values. */
#ifndef DHC_TESTS_PLAN_EXEC_H
#define DHC_TESTS_PLAN_EXEC_H

#include "ir/interp.h"
#include "passes/pipeline.h"
#include "runtime/plan.h"

/* *f brought from a stage of the pipeline to kernels, or to its plan (NULL: diagnostics). */
bool dhc_test_fuse(DhcFunc **f, DhcPipelineStage at);
DhcPlanned *dhc_test_plan(DhcFunc **f, DhcPipelineStage at, bool plain);
/* Sizes of f's symbols as args give them (1 where nothing does); false if they do not fit. */
bool dhc_test_symbols(const DhcFunc *f, const DhcArray *const *args, int64_t *symbols);
/* Binds p with kernels that must not be run. */
bool dhc_test_bind(const DhcPlanned *p, const int64_t *symbols, DhcArena *arena, DhcBound **out, FILE *report);
/* Runs p on args, one per parameter of f. results: what p says lies in the result buffers;
 * after: what is in every parameter's memory afterwards (NULL for parameters nobody reads). */
bool dhc_test_run_plan(const DhcPlanned *p, const DhcFunc *f, const DhcArray *const *args, DhcArena *arena,
                       DhcArray **results, DhcArray **after, FILE *report);
/* Equal bits; any NaN equals any other. */
bool dhc_test_same(const DhcArray *a, const DhcArray *b);
/* True if no two buffers that live at the same time overlap under these sizes. */
bool dhc_test_apart(const DhcPlanned *p, const int64_t *symbols, DhcArena *arena, FILE *report);

#endif
