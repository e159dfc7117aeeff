/* The parts of template "tile"; tpl_tile.c says what it makes. */
#ifndef DHC_BACKENDS_LOOP_TPL_TILE_H
#define DHC_BACKENDS_LOOP_TPL_TILE_H

#include "backends/loop/tpl.h"

enum {
  DHC_TILE_PAIR = 2,
  DHC_TILE_GUARDS = 4,
  DHC_TILE_WARP = 32,
  DHC_TILE_MEMORY = 226 << 10, /* bytes of block memory on a multiprocessor */
  DHC_TILE_SUMS = 8,
  DHC_TILE_FACTORS = 8,
  DHC_TILE_PIECE_STEPS = 4     /* of a piece of a split over k, at least */
};

/* Places of lines or ks that are numbers over several axes, or enter where it may lie outside, in block memory: an offset,
 * and an index for each guarded term. */
typedef struct DhcTileTable {
  bool on;
  int size; /* entries */
  int64_t bytes; /* where in block memory */
} DhcTileTable;

/* What some axes add to an element's place: to its offset, and to the index of each guarded term. */
typedef struct DhcTilePart {
  DhcLv offset, index[DHC_TILE_GUARDS];
} DhcTilePart;

/* What is multiplied: lines (rows or columns) by k. A step brings size lines of bk ks into block memory, in
 * copies of `width` elements; `fast` of them lie side by side in memory, along k or along the lines, and belong to
 * neighbouring threads. So of line and k one is the same in all `each` copies of a thread and the other steps on. */
typedef struct DhcTileSide {
  int node;
  uint32_t axes;
  bool rows;
  int size;
  int operand; /* what is copied; -1: elements are evaluated one by one */
  bool along_k;
  int width, fast, each;
  bool k_inner;  /* block memory holds lines of ks, else ks of lines */
  int pitch;     /* elements from one of them to the next (dhc_tile_spot) */
  int64_t bytes; /* where in a stage */
  int n_guards, guard[DHC_TILE_GUARDS]; /* terms of the operand that may lie outside */
  DhcTileTable lines, ks; /* of a tile's lines, where they step on; of the ks of two chunks of steps */
  DhcLv aligned; /* copies of `width` may be made */
  DhcTilePart line_part; /* of the thread's line, where ks step on */
} DhcTileSide;

typedef struct DhcTileScaled DhcTileScaled;

typedef struct DhcTile {
  DhcTplCx cx;
  DhcLp *b;
  int bm, bn, bk, tm, tn, threads, stages;
  bool warps;       /* by matrix tiles, in tf32 or bf16; else exact */
  bool bf16, three; /* three: operands in two parts, so that nearly all of f32 (of bf16: 16 bits) counts */
  int wr, wc, wk;   /* warps along rows, columns, and groups of them that share the ks of a step */
  bool group;       /* by groups of four warps out of block memory, tf32 alone: lines of 32 ks as GROUP_MMA wants them */
  bool quads;       /* bf16, both sides lines of ks: of sixteen ks a thread takes four beside each other */
  int target;       /* blocks that a split over k is to make; 0: none */
  int n_folds, fold[DHC_TILE_PAIR];
  DhcTileSide x, y[DHC_TILE_PAIR];
  uint32_t batch, window, k;
  bool window_rows; /* the window's axes count among the rows, else the columns */
  int n_window;     /* elements of a window, 1: none */
  int norm;         /* node of the spec as it is given: lines that are made of their own sums; -1: none. cx.s has a load there */
  int norm_rows;    /* node that loads what they are made of; -1: more than that, or otherwise */
  uint32_t norm_lines, norm_k; /* norm's axes */
  DhcTileScaled *scaled; /* results, not lines, take what is made of lines' sums; or NULL */
  int e, lo, hi;    /* RAGGED: the axis of the ranges and the nodes of their ends; e -1: none */
  DhcLv e_first, e_end; /* of the tile: ranges that may have rows here */
  int range_axis;   /* whose places the ranges hold: a row, or k */
  int64_t stage;    /* bytes of one stage */
  int chunk;        /* steps whose places are written together */
  int64_t stages_at, list_at; /* where in block memory: the stages; numbers, first and last rows of ranges */
  int groups, passes, per_pass; /* results: columns (or windows of them) of a tile; rows a thread has; rows a pass */
  DhcLv n_rows, n_cols, n_k, row0, col0, tid;
  DhcLv k_lo, k_end;   /* the ks of this task; steps begin at k_first, the last multiple of bk up to k_lo */
  DhcLv k_first;
  DhcLv sum[DHC_TILE_PAIR]; /* stack arrays of the thread's sums */
  DhcLv small[DHC_TILE_PAIR]; /* in two parts: of sums by themselves of what the rests give, one rest's behind the other's; NULL: with sum */
  DhcLv level[DHC_TILE_PAIR], total[DHC_TILE_PAIR]; /* of finished blocks of the product rule, by level; of ranges */
  DhcLv many;               /* exact: more than one block; NULL: never */
  DhcLv at_row, at_col;     /* while results are stored: first row and column of the window within the tile */
  DhcLv pieces;             /* a split's sums, in the shared memory */
  DhcLv n_splits, slot;     /* of a split: how many, and where the first of its tile's sums lie there, in tiles */
  DhcLv apart;              /* tiles from there to the next piece's; NULL: one */
  DhcLv per_split, piece;   /* ks of a piece; number of the task's */
  DhcLv added[DHC_TILE_PAIR][DHC_TILE_SUMS]; /* four columns' sums of all pieces, of several passes */
  int adds;                 /* of them, those of which pass are stored now, counted from 1; 0: none */
} DhcTile;

/* The stages' memory. */
static inline DhcLv dhc_tile_memory(const DhcTile *d) { return dhc_lp_block_memory(d->b, DHC_F32, d->stages_at); }
/* Is x, of any sign, a multiple of four? */
static inline DhcLv dhc_tile_is_four(DhcLp *b, DhcLv x) {
  return dhc_lp_eq(b, dhc_lp_and(b, x, dhc_lp_i64(b, 3)), dhc_lp_i64(b, 0));
}
/* ks of a matrix tile, and how many of its a thread has of a line. */
static inline int dhc_tile_deep(const DhcTile *d) { return d->bf16 ? 16 : 8; }
static inline int dhc_tile_own(const DhcTile *d) { return d->bf16 ? 4 : 2; }
/* Matrix tiles of a warp, down and across. */
static inline int dhc_tile_down(const DhcTile *d) { return d->bm / d->wr / 16; }
static inline int dhc_tile_across(const DhcTile *d) { return d->bn / d->wc / 8; }

/* tpl_tile_roles.c: what is a row, a column, a batch, k; NULL, or why the template has no place for the spec. */
const char *dhc_tile_roles(DhcTile *d);
/* Numbers of the axes of a mask, ascending, the last fastest: digit[a] for each. */
void dhc_tile_digits(DhcTile *d, uint32_t axes, DhcLv number, DhcLv *digit);
void dhc_tile_bind(DhcTile *d, uint32_t axes, DhcLv number);
/* Axes of a side's line `line`; the window's only if asked for. */
void dhc_tile_bind_line(DhcTile *d, const DhcTileSide *s, DhcLv line, bool window);

/* Of ranges of ks: the axis of the ranges. */
static inline int dhc_tile_range_of(const DhcTile *d) {
  int e = 0;
  while (!(d->batch >> e & 1)) e++;
  return e;
}
static inline bool dhc_tile_ranges_of_ks(const DhcTile *d) { return d->range_axis >= 0 && d->e < 0; }

/* tpl_tile_ranges.c */
/* Row tile number `tile` where rows belong to ranges. If these are all rows, one after the other, each has tiles of its
 * own, so that a block has to do with one matrix: row0 and the end of the rows. Else tiles of rows as they come. */
void dhc_tile_find_rows(DhcTile *d, DhcLv tile);
/* Of ranges of ks, numbered through, range by range, `wanted` pieces and one a range at most. Those of `range`: the
 * number of the first, and how many; or the one with a number: its range and ks. There is none of that number if n is 0. */
typedef struct DhcTilePieces {
  DhcLv range, first, n;
  DhcLv k_first, k_lo, k_end; /* of one: steps begin at k_first */
} DhcTilePieces;
DhcTilePieces dhc_tile_find_pieces(DhcTile *d, DhcLv wanted, DhcLv number, DhcLv range);

/* tpl_tile_copy.c */
void dhc_tile_place(DhcTile *d, DhcTileSide *s, int size, int64_t *bytes); /* lays the side out in a stage */
void dhc_tile_tables(DhcTile *d, int64_t *bytes);
/* Where in block memory the side's element lies, counted from the stage's beginning. alike: a number that leaves the same
 * rest by four as the line does, known earlier. */
DhcLv dhc_tile_spot(DhcTile *d, const DhcTileSide *s, DhcLv line, DhcLv k, DhcLv alike);
/* Once a tile: what does not change from step to step. */
void dhc_tile_lines(DhcTile *d);
/* Places of the ks from k0 on, for the copies of a chunk of steps that begins with `step`. */
void dhc_tile_ks(DhcTile *d, DhcLv step, DhcLv k0);
/* Begins to bring the ks from k0 on, of rows or of columns, to the stage at `base` (elements). range: number in the list of ranges, or
 * NULL. */
void dhc_tile_copy_rows(DhcTile *d, DhcLv step, DhcLv k0, DhcLv base, DhcLv range);
void dhc_tile_copy_columns(DhcTile *d, DhcLv step, DhcLv k0, DhcLv base, DhcLv range);
/* Begins to bring four elements of an operand to place `to`, `valid` of which are there, the others zero; wide: at once,
 * else one by one. */
void dhc_tile_copy_four(DhcTile *d, int operand, DhcLv to, DhcLv from, DhcLv valid, bool wide);

/* tpl_tile_sum.c */
int dhc_tile_n_sums(const DhcTile *d);
void dhc_tile_begin(DhcTile *d);
/* Between these the products of operands' rests have sums of their own, so that no product waits for another's of the same ks. */
void dhc_tile_begin_small(DhcTile *d);
void dhc_tile_end_small(DhcTile *d);
/* Adds the products of the stage at `base`, n of them (exact). */
void dhc_tile_multiply(DhcTile *d, DhcLv base, DhcLv n);
/* Exact, of many blocks: the products before k_next are multiplied; a block that ends there goes to its level, and where
 * they are the last of this task, or of the range, the sums are theirs. */
void dhc_tile_end_step(DhcTile *d, DhcLv k_next);
/* Of ranges: the sums are now those of all. */
void dhc_tile_end_ranges(DhcTile *d);
/* Calls put for each pair or four of neighbouring sums of fold f: their row and first column in the tile. */
void dhc_tile_each_sum(DhcTile *d, int f, void (*put)(DhcTile *d, int f, DhcLv row, DhcLv col, DhcLv sums));
/* Number of the thread's group among those that share a step's ks. */
DhcLv dhc_tile_group(DhcTile *d);
/* Of a warp: the thread's place among the 8 x 4 of a matrix tile, the first row and column of the warp's, its group. */
typedef struct DhcTileLane {
  DhcLv g, t, row, col, group;
} DhcTileLane;
DhcTileLane dhc_tile_lane(DhcTile *d);
/* A stack array of what matrix tiles multiply, for n lines. */
DhcLv dhc_tile_operands(DhcTile *d, int n);
/* The dhc_tile_own values of line i of n as what a matrix tile multiplies: rounded, or in two parts, the rest behind the n
 * lines'. */
void dhc_tile_take(DhcTile *d, DhcLv to, int i, int n, const DhcLv *x);
/* Adds to fold f's sums the products of dhc_tile_deep ks: of the thread's rows, in order of rows and in that of ks, and
 * columns. */
void dhc_tile_products(DhcTile *d, int f, DhcLv xs, DhcLv ys);

/* tpl_tile_scaled.c: the norm's lines as a product. Factors, some of them divided by. False: they are none. */
typedef struct DhcTileFactors {
  int n, node[DHC_TILE_FACTORS];
  bool over[DHC_TILE_FACTORS];
} DhcTileFactors;
bool dhc_tile_factors(const DhcTile *d, DhcTileFactors *f);
/* The product of those that vary along k, or of those that do not; NULL: there are none. cx is of the spec as it is given. */
DhcLv dhc_tile_factor(const DhcTile *d, const DhcTileFactors *f, DhcTplCx *cx, bool along, int lanes);
/* Template "tile", when roles are known: can it be? Then d->scaled, and the rest, each of which does nothing without. */
bool dhc_tile_scale(DhcTile *d);
void dhc_tile_scaled_place(DhcTile *d, int64_t *stage);
int64_t dhc_tile_scaled_bytes(const DhcTile *d); /* of block memory, behind results */
void dhc_tile_scaled_open(DhcTile *d);
void dhc_tile_scaled_begin(DhcTile *d);
void dhc_tile_scaled_copy(DhcTile *d, DhcLv k0, DhcLv base);
/* What columns take at the thread's two ks from k on, in the stage at `base`; NULL: nothing. */
DhcLv dhc_tile_scaled_by(DhcTile *d, DhcLv base, DhcLv k);
/* Two elements of the thread's line number `line`; `left`: ks of the stage that count. */
void dhc_tile_scaled_add(DhcTile *d, DhcLv base, int line, DhcLv k, DhcLv left, const DhcLv *v);
void dhc_tile_scaled_put(DhcTile *d);  /* the sums' parts to block memory, and then, */
void dhc_tile_scaled_rows(DhcTile *d); /* behind a barrier, what the results of each line take */

/* tpl_tile_results.c */
/* The axis along which four results may be stored at once: the columns' last, along which all that is loaded for a
 * result and all that is stored lies side by side, or stays where it is; -1: none. */
int dhc_tile_fours_axis(const DhcTile *d);
/* The contraction's value at the bound axes. */
DhcLv dhc_tile_provide(DhcTplCx *cx, int n, void *arg);
/* Of a split: puts sums where the task's piece has its own in the shared memory. */
void dhc_tile_put_piece(DhcTile *d, int f, DhcLv row, DhcLv col, DhcLv sums);
/* Parts of a tile's rows that are tasks of the second phase, and one of these: adds the pieces and stores. */
int dhc_tile_parts(const DhcTile *d);
void dhc_tile_store_part(DhcTile *d, DhcLv part);

/* tpl_tile.c and tpl_tile_results.c: for templates that bring their operands by themselves. */
/* Within the loop over n pieces, each a block of the product rule: closes it and gives the sum. Sixteen of a level are one
 * of the next, all of the last are added; levels are +0 before. */
DhcLv dhc_tile_blocks_sum(DhcLp *b, const DhcLpVar *level, DhcLv piece, DhcLv n, DhcLv x);
/* Before anything is built: what roles are found in. dhc_tile_open makes it whole. Where lines are made of their own sums the spec that is
 * looked at has a load in their place: raw, of what they are made of (dhc_spec_norm), which the template does the rest to; else of lines that
 * lie made, one after the other, in an operand behind the spec's own. */
void dhc_tile_look(DhcTile *d, const DhcTplInput *in, DhcLp *b, bool raw);
DhcLv dhc_tile_next_stage(DhcTile *d, DhcLv base); /* the one behind that at `base` */
/* tpl_tile_norm.c: elements of the shared memory that lines take which are made first. */
dhc_dimprog dhc_tile_made_elements(const DhcTile *d);
/* The number of a task among those of n phases behind the one that makes lines, if there is one; until close. */
DhcLv dhc_tile_open_phases(DhcTile *d, const dhc_dimprog *count, int n);
void dhc_tile_close_phases(DhcTile *d);
/* A template's own steps; places count from the stages' beginning. */
typedef struct DhcTileSteps {
  void (*copy)(void *arg, DhcLv step, DhcLv end, DhcLv base); /* begins to bring it to the stage at `base`, if it is below `end` */
  void (*ready)(void *arg);                                   /* what is made while the first are under way; or NULL */
  void (*multiply)(void *arg, DhcLv base);
  void *arg;
} DhcTileSteps;
/* From first to end - 1, each multiplied while the next ones are under way. */
void dhc_tile_steps(DhcTile *d, const DhcTileSteps *s, DhcLv first, DhcLv end);
void dhc_tile_block(DhcTile *d, int64_t bytes);           /* declares the block */
void dhc_tile_open(DhcTile *d, const DhcTplInput *in);    /* the counts of rows, columns and ks */
int64_t dhc_tile_result_bytes(const DhcTile *d);          /* of block memory */
void dhc_tile_put_sums(DhcTile *d);                       /* to block memory, where results are made of them */
void dhc_tile_results(DhcTile *d);                        /* everything is multiplied: stores */

#endif
