/* Step templates. Each makes nodes on operand x and gives one float value, or returns
 * false without having made anything if x does not suit it. A value of NULL: the builder
 * refused. */
#ifndef DHC_TESTS_RANDOM_STEPS_H
#define DHC_TESTS_RANDOM_STEPS_H

#include "tests/random/random_internal.h"

/* random_anchors.c: reductions, contractions, windows, recurrences, calls, routing */
bool random_reduce(RandomGen *r, RandomValue x, RandomValue *out);
bool random_softmax(RandomGen *r, RandomValue x, RandomValue *out);
bool random_norm(RandomGen *r, RandomValue x, RandomValue *out);
bool random_dot(RandomGen *r, RandomValue x, RandomValue *out);
bool random_conv(RandomGen *r, RandomValue x, RandomValue *out);
bool random_window(RandomGen *r, RandomValue x, RandomValue *out);
bool random_linear_scan(RandomGen *r, RandomValue x, RandomValue *out);
bool random_scan(RandomGen *r, RandomValue x, RandomValue *out);
bool random_call(RandomGen *r, RandomValue x, RandomValue *out);
bool random_top_k(RandomGen *r, RandomValue x, RandomValue *out);
bool random_take(RandomGen *r, RandomValue x, RandomValue *out);

#endif
