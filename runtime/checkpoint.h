/* Checkpoints: one safetensors file with the weights under their paths, whatever
 * else training needs under prefixed names ("opt.m.<path>", "opt.v.<path>",
 * "opt.ema.<path>"), and its place in metadata, sealed by a SHA-256.
 * A save leaves the old checkpoint or the new one, whole. */
#ifndef DHC_RUNTIME_CHECKPOINT_H
#define DHC_RUNTIME_CHECKPOINT_H

#include "runtime/data/data.h"
#include "runtime/formats/safetensors.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

#define DHC_CHECKPOINT_MOMENTS "opt." /* before the name of a range of moments, averaged weights among them */

typedef struct DhcCheckpointMeta {
  int64_t step;            /* completed training steps */
  DhcDataPosition data;    /* seed, epoch, next example */
  uint32_t rng_seed;       /* of dropout and augmentation (with step: all of it) */
  const char *model_hash;  /* hex digits; what the weights fit */
  const char *run_id;      /* whose the checkpoint is: drawn once a run, kept when it goes on */
  bool stop;               /* an extra one, made because the run was stopped: the next one takes its place */
  const DhcMetaPair *more; /* what else the trainer wants back (dhc_checkpoint_text); NULL after reading */
  int32_t n_more;
} DhcCheckpointMeta;

/* Writes one checkpoint file atomically. Every float tensor is checked first: a
 * NaN or infinity is DHC_E_NUMERIC "tensor 'x' is not finite at index i" and
 * nothing is written. */
dhc_status dhc_checkpoint_write(const char *path, const DhcCheckpointMeta *meta,
                                const DhcTensorView *tensors, int32_t n_tensors) DHC_MUST_USE;
/* Writes FOLDER/checkpoint-<step, 9 digits>.safetensors, then prunes. What has that
 * name and is neither this run's nor a damaged file (another run's checkpoint, a
 * folder, a pipe) is renamed to NAME.aside first, with a warning.
 * On failure the message ends with which checkpoint is kept: "...: no space left on
 * device; checkpoint of step 400 kept". */
dhc_status dhc_checkpoint_save(const char *folder, const DhcCheckpointMeta *meta,
                               const DhcTensorView *tensors, int32_t n_tensors,
                               int32_t n_keep, const DhcWarn *warn) DHC_MUST_USE;
/* Removes, of run `run_id` and of steps before `step`, all checkpoints but the newest: so
 * that n_keep (0 = 2) regular ones are left, that of `step` counted unless it is a stop's. Whatever
 * belongs to another run or cannot be read stays. */
void dhc_checkpoint_prune(const char *folder, const char *run_id, int64_t step, bool stop,
                          int32_t n_keep);
/* Removes every checkpoint of run `run_id`; NULL: of any, readable or not. */
void dhc_checkpoint_remove_run(const char *folder, const char *run_id);
/* Largest step among the names of checkpoints; -1: there is none, or no such folder. An error where the folder
 * cannot be listed: nobody knows then what it holds. */
dhc_status dhc_checkpoint_newest(const char *folder, int64_t *step) DHC_MUST_USE;
/* Calls seen(ctx, run_id) for every checkpoint that can be read, oldest first. */
void dhc_checkpoint_runs(const char *folder, void (*seen)(void *ctx, const char *run_id), void *ctx);

typedef struct DhcCheckpoint {
  DhcSafetensors *file;
  DhcCheckpointMeta meta; /* strings live as long as file */
} DhcCheckpoint;
/* Checks structure, seal and, if model_hash is not NULL, the model: "m.safetensors
 * was made for model 3f2a91c0, this model is 91bc07de". */
dhc_status dhc_checkpoint_open(const char *path, const char *model_hash,
                               DhcCheckpoint *out) DHC_MUST_USE;
/* The newest whole checkpoint of run `run_id` in a folder, out->file NULL if it has none.
 * run_id NULL: of the one run whose checkpoints lie there; DHC_E_INPUT if there are several.
 * What is damaged or no file is skipped, and so is another run's, each with a warning;
 * DHC_E_INPUT if nothing else is there but some of it cannot be read. */
dhc_status dhc_checkpoint_open_latest(const char *folder, const char *run_id, const DhcWarn *warn,
                                      DhcCheckpoint *out) DHC_MUST_USE;
/* A text of meta.more by its key, NULL if there is none. */
const char *dhc_checkpoint_text(const DhcCheckpoint *c, const char *key);
void dhc_checkpoint_close(DhcCheckpoint *c);

#endif
