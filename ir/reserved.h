/* Names that folders share. Those of parameters begin with "$", so that no model can write them; the rest of an
 * optimiser's parameters have its own names with "$" in front. */
#ifndef DHC_IR_RESERVED_H
#define DHC_IR_RESERVED_H

/* Scalars of any entry. */
#define DHC_NAME_SEED "$seed"
#define DHC_NAME_STEP "$step"
/* Of a training step (passes/grad/train_step.c): flat tensors … */
#define DHC_NAME_WEIGHTS "$w"
#define DHC_RANGE_EMA "ema"
#define DHC_RANGE_BEGUN "begun"
#define DHC_NAME_EMA "$" DHC_RANGE_EMA
#define DHC_NAME_BEGUN "$" DHC_RANGE_BEGUN
/* … and scalars. */
#define DHC_NAME_LR "$lr"
#define DHC_NAME_CLIP "$clip"
#define DHC_NAME_LIMIT "$limit"
#define DHC_NAME_OPT_STEP "$opt_step"
#define DHC_NAME_EMA_DECAY "$ema_decay"
#define DHC_NAME_WEIGHT_DECAY "$weight_decay"

#endif
