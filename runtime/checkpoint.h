/* Checkpoints: one safetensors file with the weights under their paths, whatever
 * else training needs under prefixed names ("opt.m.<path>", "opt.v.<path>",
 * "ema.<path>", "state.<path>"), and its place in metadata, sealed by a SHA-256.
 * A save leaves the old checkpoint or the new one, whole. */
#ifndef DHC_RUNTIME_CHECKPOINT_H
#define DHC_RUNTIME_CHECKPOINT_H

#include "runtime/data/data.h"
#include "runtime/formats/safetensors.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

typedef struct DhcCheckpointMeta {
  int64_t step;            /* completed training steps */
  DhcDataPosition data;    /* seed, epoch, next example */
  uint32_t rng_seed;       /* of dropout and augmentation (with step: all of it) */
  const char *model_hash;  /* hex digits; what the weights fit */
  const char *config_json; /* anything else the trainer wants back, or NULL */
} DhcCheckpointMeta;

/* Writes one checkpoint file atomically. Every float tensor is checked first: a
 * NaN or infinity is DHC_E_NUMERIC "tensor 'x' is not finite at index i" and
 * nothing is written. */
dhc_status dhc_checkpoint_write(const char *path, const DhcCheckpointMeta *meta,
                                const DhcTensorView *tensors, int32_t n_tensors) DHC_MUST_USE;
/* Writes FOLDER/checkpoint-<step, 9 digits>.safetensors, then removes those of
 * earlier steps but the newest n_keep - 1 (0 = 2 in all). A folder belongs to one
 * run: later steps that lie there are left alone and are what open_latest finds.
 * On failure the message ends with which
 * checkpoint is kept: "…: no space left on device; checkpoint of step 400
 * kept". */
dhc_status dhc_checkpoint_save(const char *folder, const DhcCheckpointMeta *meta,
                               const DhcTensorView *tensors, int32_t n_tensors,
                               int32_t n_keep) DHC_MUST_USE;
/* Makes the folder if needed and removes what killed saves left in it. */
dhc_status dhc_checkpoint_prepare(const char *folder) DHC_MUST_USE;

typedef struct DhcCheckpoint {
  DhcSafetensors *file;
  DhcCheckpointMeta meta; /* strings live as long as file */
} DhcCheckpoint;
/* Checks structure, seal and, if model_hash is not NULL, the model: "m.safetensors
 * was made for model 3f2a91c0, this model is 91bc07de". */
dhc_status dhc_checkpoint_open(const char *path, const char *model_hash,
                               DhcCheckpoint *out) DHC_MUST_USE;
/* The newest checkpoint of a folder that is whole; damaged ones are skipped with
 * a warning. DHC_E_INPUT if there is none. */
dhc_status dhc_checkpoint_open_latest(const char *folder, const char *model_hash,
                                      const DhcWarn *warn, DhcCheckpoint *out) DHC_MUST_USE;
void dhc_checkpoint_close(DhcCheckpoint *c);

#endif
