/* A program: images of one model over one set of tensors on a device. It owns the memory that outlives
 * a run (weights, moments, buffers, states, scalars) and what runs share (work, inputs and
 * outputs, scratch), and knows nothing of how the images came about. Everything it holds lies on
 * its device; the host gives and takes values by dhc_device_put and dhc_device_get. */
#ifndef DHC_RUNTIME_PROGRAM_H
#define DHC_RUNTIME_PROGRAM_H

#include "runtime/image.h"

enum { DHC_PROG_MAX_SCALARS = 256, DHC_PROG_SCALAR_BYTES = 8 * DHC_PROG_MAX_SCALARS };

typedef struct DhcProg DhcProg;
/* An image in a program. */
typedef struct DhcLoaded DhcLoaded;

/* The layout is borrowed. Memory for moments comes with the first layout that has some. */
dhc_status dhc_prog_open(DhcDevice *device, const dhc_layout *layout, DhcProg **out) DHC_MUST_USE;
void dhc_prog_close(DhcProg *p);
/* A program on the weights and buffers of `of`, which outlives it, with states, scalars and all that a run needs of its own,
 * on a device that sees `of`'s memory: another thread may run it. It has no moments, and nobody writes weights through
 * it, or otherwise while it runs. Loading and binding (dhc_prog_hold included) are not to happen in two such programs at a time. */
dhc_status dhc_prog_share(DhcProg *of, DhcDevice *device, DhcProg **out) DHC_MUST_USE;
bool dhc_prog_shares(const DhcProg *p);
/* A layout that agrees with the present one in all that this has, and may have more states, or ranges where there
 * were none: moments begin as dhc_prog_begin_ranges leaves it. */
dhc_status dhc_prog_extend(DhcProg *p, const dhc_layout *layout) DHC_MUST_USE;
const dhc_layout *dhc_prog_layout(const DhcProg *p);
DhcDevice *dhc_prog_device(const DhcProg *p);

/* ---- values (program_values.c) ---------------------------------------------------------- */

/* n elements of `dtype` at a device address, from or to the host's `host_dtype`, converted. */
dhc_status dhc_device_put(DhcDevice *d, DhcDevicePtr at, int32_t dtype, const void *from, int32_t host_dtype, int64_t n) DHC_MUST_USE;
dhc_status dhc_device_get(DhcDevice *d, DhcDevicePtr at, int32_t dtype, void *to, int32_t host_dtype, int64_t n) DHC_MUST_USE;
/* n elements, each `value`. */
dhc_status dhc_device_set(DhcDevice *d, DhcDevicePtr at, int32_t dtype, double value, int64_t n) DHC_MUST_USE;

enum { DHC_WEIGHTS = -1 }; /* where a range's number is expected: the weights themselves */
/* Where a range, a slot of it, or a slot of another role lies. Slots of WEIGHTs lie in the weights and
 * in every range that is like them. States only while they are live. */
DhcDevicePtr dhc_prog_range(DhcProg *p, int32_t range);
DhcDevicePtr dhc_prog_slot(DhcProg *p, int32_t slot, int32_t range);
/* To be said before every weight is written, whatever they hold. */
void dhc_prog_overwrite(DhcProg *p);
/* Number of a range by name, or -2. */
int32_t dhc_prog_find_range(const DhcProg *p, const char *name);
/* All moments, or one range of them, as before the first step. */
dhc_status dhc_prog_begin_range(DhcProg *p, int32_t range) DHC_MUST_USE;
dhc_status dhc_prog_begin_ranges(DhcProg *p) DHC_MUST_USE;
/* True while a range is as it began: zeros, or the weights as they are. */
bool dhc_prog_fresh(const DhcProg *p, int32_t range);
/* To be said when weights, or with `ranges` moments too, may have changed otherwise than by a run. */
void dhc_prog_changed(DhcProg *p, bool ranges);
int64_t dhc_prog_version(const DhcProg *p); /* goes up with every change, those of runs too */
/* Run on the weights of a range (averaged ones); DHC_WEIGHTS: the weights. */
void dhc_prog_use_weights(DhcProg *p, int32_t range);
/* Copies of all that a training step writes, to go back to: 0 in *copy: none yet. */
dhc_status dhc_prog_save(DhcProg *p, DhcDevicePtr *copy) DHC_MUST_USE;
int64_t dhc_prog_kept(const DhcProg *p); /* bytes of such a copy */
/* Where weights (0), buffers (1) or moments (2) lie. */
DhcDevicePtr dhc_prog_kept_at(DhcProg *p, int which, int64_t *bytes);
/* All of them as rank 0 has them, on every rank; but for ranges of which each has its share. */
dhc_status dhc_prog_spread(DhcProg *p) DHC_MUST_USE;
/* Shares of ranks: rank r has elements [cut[r], cut[r + 1]) of a range. Together the ranks bring all of it home to rank 0's host,
 * or from there to their places; `host` is looked at on rank 0 alone. */
typedef struct DhcShares {
  int rank, n;
  const int64_t *cut;
  DhcDevicePtr stage; /* of as many elements as travel at once, where they are not at home */
} DhcShares;
int64_t dhc_shares_at_once(const DhcShares *s);
dhc_status dhc_prog_send_shares(DhcProg *p, int32_t range, const DhcShares *s, void *host, bool home) DHC_MUST_USE;
dhc_status dhc_prog_restore(DhcProg *p, DhcDevicePtr copy) DHC_MUST_USE;

/* A scalar's value on the host, made (0) if new; NULL: too many. Names are borrowed. */
double *dhc_prog_scalar(DhcProg *p, const char *name);
int32_t dhc_prog_n_scalars(const DhcProg *p);
const char *dhc_prog_scalar_name(const DhcProg *p, int32_t i);

/* ---- states (program_state.c) -------------------------------------------------------------- */

/* States lie one after the other in the order of their slots; those of other sizes than before
 * move. */
bool dhc_prog_state_live(const DhcProg *p, int32_t slot);
const int64_t *dhc_prog_state_dim(const DhcProg *p, int32_t slot); /* of a live one, of slots' rank */
/* Makes slots live that want[slot].in; what they hold is anything until it is put there. */
typedef struct DhcWantState {
  bool in;
  int64_t dim[8];
} DhcWantState;
dhc_status dhc_prog_arrange_states(DhcProg *p, const DhcWantState *want) DHC_MUST_USE;
/* Bytes of all states then. */
dhc_status dhc_prog_states_bytes(const DhcProg *p, const DhcWantState *want, int64_t *bytes) DHC_MUST_USE;
void dhc_prog_reset_states(DhcProg *p); /* none is live */
int64_t dhc_prog_begun(const DhcProg *p); /* another number whenever states have begun or been reset */
/* What a run of the image at these sizes needs: want[slot].in for states that are not live. DHC_E_INPUT
 * where a live one has another size. *n counts the new ones. */
dhc_status dhc_prog_wanted_states(const DhcLoaded *l, const int64_t *symbols, DhcWantState *want, int32_t *n) DHC_MUST_USE;

/* ---- running (program.c) --------------------------------------------------------------------- */

/* The image and its kernels (fn loaded onto the program's device) are borrowed; the image's layout agrees with
 * the program's. */
dhc_status dhc_prog_load(DhcProg *p, const dhc_image *im, DhcLoaded **out) DHC_MUST_USE;
void dhc_prog_unload(DhcLoaded *l);

/* Evaluates everything at these sizes, takes no memory of the device: what a run will need (dhc_prog_planned) is
 * known then. A run does it by itself. */
dhc_status dhc_prog_bind(DhcLoaded *l, const int64_t *symbols) DHC_MUST_USE;
bool dhc_prog_packed(const DhcLoaded *l); /* there is memory for packed weights */
/* After dhc_prog_bind: takes what memory it has in common with programs that share its weights. A run does it by itself. */
dhc_status dhc_prog_hold(DhcLoaded *l) DHC_MUST_USE;
/* Its inputs and results get memory of their own, so that the results of other images' last runs stay where they are.
 * Before its first run. */
void dhc_prog_set_apart(DhcLoaded *l);

/* in[i]: as in dhc_image_solve, checked by it; symbols: what it found. All states that the image
 * uses are live. Afterwards results lie in the program until the next run. */
dhc_status dhc_prog_run(DhcLoaded *l, const DhcTensorView *const *in, const int64_t *symbols, const DhcItemHook *hook) DHC_MUST_USE;
/* The same, but it may return before the device is done: what reads results waits. */
dhc_status dhc_prog_start(DhcLoaded *l, const DhcTensorView *const *in, const int64_t *symbols, const DhcItemHook *hook) DHC_MUST_USE;
/* Called once, while the device computes the next dhc_prog_run; fn NULL: nobody. */
void dhc_prog_meanwhile(DhcProg *p, void (*fn)(void *ctx), void *ctx);
/* Result i of the last run: name, dtype, shape, bytes; data NULL. *at: where it lies. */
dhc_status dhc_prog_result(const DhcLoaded *l, int32_t i, DhcTensorView *out, DhcDevicePtr *at) DHC_MUST_USE;

/* ---- runs made ready (program_ready.c) ------------------------------------------------------------ */

/* A run of one choice of sizes, whose inputs and results may be the caller's memory: on a device that shows its memory
 * and takes commands one by one (NULL in *out: this one does not). As long as the loaded image. */
typedef struct DhcReady DhcReady;
dhc_status dhc_prog_ready(DhcLoaded *l, const int64_t *symbols, DhcReady **out) DHC_MUST_USE;
void dhc_ready_free(DhcReady *r);
/* in: as for dhc_prog_run, of the sizes it was made for; what is of the image's own dtype is read where it is. results[i]
 * (or results): where result i is to be written, NULL: in the program until its next run; at[i] says where it lies then. */
/* Of the last run: where result i lies, the required ones behind the others too. */
void *dhc_ready_result(const DhcReady *r, int32_t i);
dhc_status dhc_ready_run(DhcReady *r, const DhcTensorView *const *in, void *const *results, void **at) DHC_MUST_USE;

/* Bytes of a segment (of scratch: DHC_N_SEGMENTS) as the last run needs and as is held. */
int64_t dhc_prog_planned(const DhcLoaded *l, int segment);
int64_t dhc_prog_held(const DhcProg *p, int segment);

#endif
