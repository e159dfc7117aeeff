/* A program from inside. */
#ifndef DHC_RUNTIME_PROGRAM_INTERNAL_H
#define DHC_RUNTIME_PROGRAM_INTERNAL_H

#include "runtime/program.h"

#include <pthread.h>

enum { DHC_SCRATCH = DHC_N_SEGMENTS, SCALAR_BYTES = 8 };

typedef struct State {
  bool live;
  int64_t dim[8];
  int64_t at; /* byte offset in the STATES segment */
} State;

/* Packed copies of weights in their order, one for all images that read the same ones: those of a program and of all
 * that share its weights. */
typedef struct PanelKey {
  int64_t slot, width, tag, matrices, rows, cols, at; /* at: byte offset of the copy */
} PanelKey;
typedef struct Panels {
  PanelKey *key;
  int32_t n, users;
  int32_t range; /* of weights, or DHC_WEIGHTS */
  DhcDevicePtr at, from; /* from: weights that they hold, of version `packed` */
  int64_t packed;
  struct Panels *next;
} Panels;

struct DhcProg {
  struct DhcProg *owner; /* whose weights and buffers these are; NULL: its own */
  Panels *panels;        /* of the owner */
  pthread_mutex_t lock;  /* of the owner's panels */
  DhcDevice *device;
  int workers, lanes;
  const dhc_layout *layout;
  DhcDevicePtr segment[DHC_N_SEGMENTS + 1]; /* and scratch; PANELS belong to loaded images */
  int64_t held[DHC_N_SEGMENTS + 1];
  bool stale[DHC_N_SEGMENTS + 1]; /* it holds anything yet, where zeros are due: see dhc_prog_settle */
  State *states; /* by slot */
  int64_t places; /* goes up when a state has moved */
  int64_t begun;  /* goes up when states have begun or been reset */
  const char *scalar_names[DHC_PROG_MAX_SCALARS];
  double scalars[DHC_PROG_MAX_SCALARS];
  char sent[SCALAR_BYTES * DHC_PROG_MAX_SCALARS]; /* the first n_sent bytes of their segment; -1: not known */
  int64_t n_sent;
  int32_t n_scalars;
  int64_t version;
  int64_t fresh; /* version at which all ranges began; -1: none are as they began */
  bool ranges_zero; /* nothing was written to moments since their memory came */
  int32_t weights; /* range whose weights runs use */
  void (*meanwhile)(void *ctx); /* once, while the next run is under way; NULL: nothing */
  void *meanwhile_ctx;
};

/* Weights and moments are zero until they are something else; where they are written before they are looked at
 * that is never done. Everyone who looks at a segment comes here first, through dhc_prog_range mostly. */
void dhc_prog_settle(DhcProg *p, int segment);

/* Extents that the symbols at hand do not give. */
dhc_status dhc_prog_unsized(const char *kind, const char *name);

/* Sizes of one choice of symbols. */
typedef struct Binding {
  int64_t *symbols;
  DhcBound *bound;
  void *prepared; /* for `base`; NULL: none */
  bool declined;  /* the device wants no list for `base` */
  DhcDevicePtr base[DHC_N_SEGMENTS + 1];
  struct Lent *lent;    /* NULL: all inputs have come by copies */
  struct Binding *next; /* newest first */
} Binding;

struct DhcLoaded {
  DhcProg *p;
  const dhc_image *image;
  const dhc_kernel **kernels;
  int64_t *place;  /* by buffer of the plan: byte offset that the program chose, or -1 */
  int64_t places;  /* DhcProg.places when the states' were entered */
  Binding *bindings;
  bool apart; /* its inputs and results lie in `io`, of `io_bytes` */
  DhcDevicePtr io;
  int64_t io_bytes;
  Panels *panels; /* NULL: not yet */
  int32_t *lends; /* by buffer of the plan: number of its base where it is an input that may lie elsewhere, or -1; NULL: not yet */
};

/* program.c: memory for all that a run shares with others, where each segment lies then; the numbers it reads; whether
 * it writes weights; the runtime's own view of a buffer. */
dhc_status dhc_prog_find_bases(DhcLoaded *l, Binding *b) DHC_MUST_USE;
dhc_status dhc_prog_put_scalars(const DhcLoaded *l) DHC_MUST_USE;
dhc_status dhc_prog_enter_places(DhcLoaded *l) DHC_MUST_USE;
/* program_lent.c: inputs that are read where they lie. To be said once the bases are known; *moved: what was prepared reads elsewhere.
 * Then the bases to run with, and whether this run's input i needs no copy. */
dhc_status dhc_prog_lend(DhcLoaded *l, Binding *b, const DhcTensorView *const *in, bool *moved) DHC_MUST_USE;
const DhcDevicePtr *dhc_prog_bases(const Binding *b);
bool dhc_prog_is_lent(const DhcLoaded *l, const Binding *b, int32_t i, const DhcTensorView *in);
void dhc_prog_drop_lent(Binding *b);
/* program_panels.c: memory for packed weights, of this binding; packs what may have changed; gives it back. */
dhc_status dhc_prog_find_panels(DhcLoaded *l, const DhcBound *b) DHC_MUST_USE;
dhc_status dhc_prog_pack(DhcLoaded *l, Binding *b) DHC_MUST_USE;
void dhc_prog_drop_panels(DhcLoaded *l);

#endif
