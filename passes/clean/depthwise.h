/* Convolutions that leave channels apart (depthwise): each output is a chain over the taps of
 * one channel. With few taps there is nothing to pack or to tile: derivatives compute such a
 * result anew, and fusion writes the chain out as elementwise ops over shifted inputs. */
#ifndef DHC_PASSES_DEPTHWISE_H
#define DHC_PASSES_DEPTHWISE_H

#include "ir/ir.h"

/* conv or conv_dx in f32 or f64 with as many groups as channels, in and out. */
bool dhc_depthwise_is(const DhcNode *n);
/* Such a conv, or conv_dx of stride 1, with few taps. */
bool dhc_depthwise_few(const DhcNode *n);
/* fma(x, w[tap], sum), x and sum of n's result type. `tap` has an entry for each spatial axis. */
DhcValue *dhc_depthwise_step(DhcBuilder *b, const DhcNode *n, const int64_t *tap, DhcValue *x, DhcValue *sum);
/* The result of n, for which dhc_depthwise_few holds, as its definition has it: from +0, taps
 * ascending, zeros where a tap meets none. A transposed operand is read in its own layout. */
DhcValue *dhc_depthwise_chain(DhcBuilder *b, const DhcNode *n);
#endif
