/* Data sets, in host memory or read as they are asked for, and the order in which training sees them. */
#ifndef DHC_RUNTIME_DATA_H
#define DHC_RUNTIME_DATA_H

#include "dhc/abi.h"
#include "runtime/sha256.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef enum DhcSplit { DHC_SPLIT_TRAIN, DHC_SPLIT_VAL, DHC_SPLIT_TEST } DhcSplit;
/* "train", "val", "test". */
const char *dhc_split_name(DhcSplit split);
/* Sources that may have validation examples of their own: a split of these is asked for, of others it is cut off train. */
bool dhc_data_may_have_val(const char *spec);

/* One column: example i is example_bytes bytes at data + i * example_bytes, or, where data is NULL, what dhc_dataset_read
 * gives. */
typedef struct DhcField {
  const char *name;
  int32_t dtype;
  int32_t rank;                       /* of one example */
  int64_t shape[DHC_TENSOR_MAX_RANK]; /* of one example */
  int64_t example_bytes;
  const uint8_t *data;
} DhcField;

typedef struct DhcDataset {
  int64_t n_examples;
  int32_t n_fields;
  const DhcField *fields; /* in order of the source's names */
  int64_t n_classes;      /* labels are in 0..n_classes-1; 0 where unknown */
  const char *const *classes; /* what they are called, n_classes of them; NULL: nobody says */
  int64_t first;   /* example i of a part is number first + i of the whole; fields' data are the part's already */
  bool from_files; /* some of it is not in memory: batches are worth reading ahead */
  int64_t bytes;   /* of memory that the whole takes, or comes to take */
  struct DhcDataOwner *owner;
} DhcDataset;

typedef struct DhcDataOptions {
  /* For sources without files of their own for validation (CIFAR-10, IDX, npy and
   * images without a val folder): so many examples at the end of the training files
   * are the val split and no part of the train split. 0: the val split is an
   * error there. */
  int64_t n_val;
  /* Refuse data sets of more bytes than this in memory; 0: no limit. Of sources that read pictures as they are asked for
   * half of it is for decoded ones, so that they are decoded once: data of any size can be trained on. */
  int64_t max_bytes;
  const dhc_exec *exec; /* looks through folders; NULL: the calling thread */
} DhcDataOptions;

/* spec: NAME=FIELD, before it, any number of times, calls a field of the source by another name
 *   cifar10:DIR   data_batch_1..5.bin or test_batch.bin (CIFAR-10 binary
 *                 version); cifar10:FILE.bin for one file, whatever the split
 *   cifar100:DIR  train.bin or test.bin (CIFAR-100 binary version): "target" the fine, "coarse" the coarse label
 *   csv:FILE      any split; csv:DIR: DIR/{train,val,test}.csv. Columns by the names of the first line, f32; "x": all of
 *                 them but "target", which is i64 where it is whole numbers or text (classes in order of their names)
 *   hdf5:FILE     groups train, val, test of data sets NAME, one field each, first dimension = examples; or data sets
 *                 alone, all for training
 *   idx:DIR, mnist:DIR   {train,t10k}-{images-idx3,labels-idx1}-ubyte, each
 *                 plain or with .gz
 *   images:DIR    DIR/{train,val,test}/CLASS/NAME.png or .jpg, or DIR/CLASS/NAME: all for training, of which the
 *                 val split is drawn by a fixed order. Classes in order of their names; gray where no picture has colours.
 *                 Decoded when they are asked for
 *   npy:DIR       DIR/{train,val,test}/NAME.npy, one field each, first dimension
 *                 = examples
 *   text:FILE, text:FILE@LENGTH   bytes of a file, plain or gzip, for next-token
 *                 prediction: example i is bytes i*LENGTH ... in field "tokens" and
 *                 the bytes one further in "target", both i64 [LENGTH] (256)
 *   tokens:FILE, tokens:FILE@LENGTH   the same of tokens: .npy of whole numbers (a matrix: an
 *                 example a row, one token longer), or bare u16
 *   scifar:DIR    CIFAR-10 as sequences: "tokens" u8 [1024], gray, and "target" i8 [1024], the
 *                 label at the last place and -100 before
 *   synth:TASK, synth:TASK:KEY=NUMBER,…   mqar, copy, selective_copy, induction, adding, made from
 *                 a seed (data_synth.c): "tokens" and "target" i32 [length], -100 where nothing is
 *                 asked; keys length, vocab, pairs, items, n, n_test, seed
 * Images are u8 [C,H,W] in field "image", labels i64 [] in field "target".
 * options may be NULL. Errors: DHC_E_INPUT, one line beginning with the file. */
dhc_status dhc_dataset_open(const char *spec, DhcSplit split, const DhcDataOptions *options,
                            DhcDataset **out) DHC_MUST_USE;
void dhc_dataset_free(DhcDataset *d);
/* The library that reads hdf5:FILE; "": none. */
const char *dhc_data_hdf5(void);
/* NULL if there is none. */
const DhcField *dhc_dataset_field(const DhcDataset *d, const char *name);
/* Example i into to[f], for each field f whose pointer is not NULL. By any number of threads. Errors: those of reading the
 * source, which name the file. */
dhc_status dhc_dataset_read(const DhcDataset *d, int64_t i, void *const *to) DHC_MUST_USE;

/* Fields, shapes and examples into a digest: all of these, or, of more than most_bytes a field, as many bytes of examples at
 * even distances. */
dhc_status dhc_dataset_digest(const DhcDataset *d, int64_t most_bytes, const dhc_exec *exec, DhcSha256 *h) DHC_MUST_USE;

/* ---- the order ---------------------------------------------------------- */

/* A permutation of 0..n-1: Fisher-Yates from the end, the swap partner of place
 * i drawn below i + 1 by Philox with key (seed, DHC_SITE_SHUFFLE), index i, step
 * epoch. Equal for equal arguments on every machine. */
enum { DHC_SITE_SHUFFLE = 0x53485546 };
void dhc_data_permute(uint32_t seed, int64_t epoch, int64_t n, int64_t *order);

/* Where training stands in its data: enough to go on exactly. */
typedef struct DhcDataPosition {
  uint32_t seed;
  int64_t epoch; /* from 0 */
  int64_t next;  /* examples of this epoch already handed out */
  int turn;      /* parts of the batch behind them already handed out */
} DhcDataPosition;

typedef struct DhcBatcher DhcBatcher;
typedef struct DhcBatchOptions {
  int64_t batch;  /* examples a batch, at least 1 */
  bool shuffle;   /* else in file order */
  bool drop_last; /* no short batch at the end of an epoch */
  bool once;      /* one epoch is all that will be asked for */
  int workers;    /* threads that read batches ahead, of data from files; 0: whoever asks for a batch reads it */
  uint32_t seed;
  int part, parts; /* of every batch only part number `part` of `parts`; parts 0 or 1: all of it */
  int turns;       /* so many parts from that one on, one after the other, each as a batch; 0: one */
} DhcBatchOptions;

/* Examples [first, first + n) of a batch of `whole`, as even as can be, earlier parts the larger ones. Where there are fewer
 * examples than parts the last ones get one, too, which counts for nothing: share is n / whole, or 0. */
typedef struct DhcBatchPart {
  int64_t first, n, whole;
  double share;
} DhcBatchPart;
/* The part of its turn. */
DhcBatchPart dhc_batch_part(const DhcBatchOptions *o, int turn, int64_t whole);
/* Batches are the same for any number of workers. The data set must outlive the batcher. */
dhc_status dhc_batcher_new(const DhcDataset *d, const DhcBatchOptions *options,
                           DhcBatcher **out) DHC_MUST_USE;
void dhc_batcher_free(DhcBatcher *b);
/* Gathers the next batch: dst[f] receives field f's examples one after the other
 * (NULL: not wanted). *n: how many examples; 0 at the end of an epoch, once,
 * after which the next epoch begins. Where examples cannot be read the error is that of the first of them, whoever read
 * which first, and the batcher stays where it is. */
dhc_status dhc_batcher_next(DhcBatcher *b, void *const *dst, int64_t *n) DHC_MUST_USE;
/* The same without moving on, and the move past a batch of n that was peeked at, or, of 0, past the epoch's end. */
dhc_status dhc_batcher_peek(DhcBatcher *b, void *const *dst, int64_t *n) DHC_MUST_USE;
void dhc_batcher_skip(DhcBatcher *b, int64_t n);
/* The next epoch begins, whatever is left of this one. */
void dhc_batcher_end_epoch(DhcBatcher *b);
/* Past a part of a batch of `whole` examples. */
void dhc_batch_move(const DhcBatchOptions *o, DhcDataPosition *at, int64_t whole);
/* Which part of the whole it was that was handed out last. */
DhcBatchPart dhc_batcher_part(const DhcBatcher *b);
/* Indices into the data set of the batch handed out last. */
const int64_t *dhc_batcher_indices(const DhcBatcher *b);
/* Memory for what is read ahead, in batches of that size, and for the order of examples. */
int64_t dhc_batcher_bytes(const DhcDataset *d, int64_t batch);
/* Batches an epoch has. */
int64_t dhc_batcher_count(const DhcBatcher *b);
DhcDataPosition dhc_batcher_position(const DhcBatcher *b);
/* Goes on at a saved position (its seed replaces the batcher's). DHC_E_INPUT if
 * it does not fit this data set. */
dhc_status dhc_batcher_seek(DhcBatcher *b, DhcDataPosition at) DHC_MUST_USE;

#endif
