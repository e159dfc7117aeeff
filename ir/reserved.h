/* Names that folders share. Those of parameters begin with "$", so that no model can write them. */
#ifndef DHC_IR_RESERVED_H
#define DHC_IR_RESERVED_H

/* Scalars of any entry. */
#define DHC_NAME_SEED "$seed"
#define DHC_NAME_STEP "$step"
/* Of a training step (passes/grad/train_step.c): flat tensors … */
#define DHC_NAME_WEIGHTS "$w"
#define DHC_RANGE_EMA "ema"
#define DHC_RANGE_BEGUN "begun"
#define DHC_RANGE_SUM "parts_sum"   /* gradients of the parts of a batch so far */
#define DHC_RANGE_MORE "parts_more" /* the same of the loss, then of float buffers */
#define DHC_NAME_EMA "$" DHC_RANGE_EMA
#define DHC_NAME_BEGUN "$" DHC_RANGE_BEGUN
#define DHC_NAME_SUM "$" DHC_RANGE_SUM
#define DHC_NAME_MORE "$" DHC_RANGE_MORE
/* … and scalars. */
#define DHC_NAME_LR "$lr"
#define DHC_NAME_CLIP "$clip"
#define DHC_NAME_LIMIT "$limit"
#define DHC_NAME_OPT_STEP "$opt_step"
#define DHC_NAME_SHARE "$share" /* of a part of a batch: its examples by those of the whole */
#define DHC_NAME_FIRST "$first" /* number of its first example in the whole */
#define DHC_NAME_ROWS "$rows"   /* how many it has */
#define DHC_NAME_PART "$part"   /* its number among those that one rank sees in turn */
#define DHC_NAME_EMA_DECAY "$ema_decay"
#define DHC_NAME_WEIGHT_DECAY DHC_NAME_OF(DHC_OPTIMIZER_WEIGHT_DECAY)

/* A moment, or an argument of the optimiser, as a parameter of the step: the optimiser's own name for it, marked. */
#define DHC_NAME_OF(name) "$" name
/* Arguments of optimisers that the step gives itself: how old the moments are, and 0 where nothing decays. */
#define DHC_OPTIMIZER_STEP "step"
#define DHC_OPTIMIZER_LR "lr"
#define DHC_OPTIMIZER_WEIGHT_DECAY "weight_decay"

/* Results that mean something beyond their entry; prefixes of what is derived from other names. */
#define DHC_RESULT_LOSS "loss"
#define DHC_RESULT_GRAD_NORM "grad_norm"
#define DHC_RESULT_FINITE "finite"
#define DHC_PREFIX_GRADIENT "grad."
#define DHC_PREFIX_COTANGENT "cotangent."
#define DHC_PREFIX_TAP "tap."
#define DHC_PREFIX_REQUIRE "$require: " /* a message follows */

/* Composites that passes/grad makes and passes/fuse knows: a recurrence over states, and its derivative. */
#define DHC_KERNEL_RECURRENCE "recurrence"
#define DHC_KERNEL_RECURRENCE_BACK "recurrence_back"

#endif
