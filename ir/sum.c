/* The sum rule and the product rule in double, for the two interpreters. */
#include "ir/sum.h"

#include <math.h>
#include <string.h>

static double take_block(DhcSum *s) {
  double *p = s->partial;
  for (int apart = DHC_SUM_PARTIALS / 2; apart > 0; apart /= 2)
    for (int i = 0; i < apart; i++) p[i] += p[i + apart];
  double block = p[0];
  memset(p, 0, sizeof s->partial);
  return block;
}

void dhc_sum_add(DhcSum *s, double x) {
  s->partial[s->n++ % DHC_SUM_PARTIALS] += x;
  if (s->n % DHC_SUM_BLOCK != 0) return;
  double sum = take_block(s);
  for (int64_t blocks = s->n / DHC_SUM_BLOCK; blocks % 2 == 0; blocks /= 2) sum = s->tree[--s->depth] + sum;
  s->tree[s->depth++] = sum;
}

double dhc_sum_end(DhcSum *s) {
  double sum = take_block(s);
  while (s->depth > 0) sum = s->tree[--s->depth] + sum;
  return sum;
}

void dhc_dot_add(DhcDotSum *s, double x, double y) {
  if (s->n > 0 && s->n % DHC_DOT_BLOCK == 0) {
    double sum = s->chain;
    int64_t blocks = s->n / DHC_DOT_BLOCK;
    int l = 0;
    for (; l < DHC_DOT_LEVELS - 1 && blocks % (1 << DHC_DOT_FAN_LOG2) == 0; l++, blocks >>= DHC_DOT_FAN_LOG2) {
      sum = s->level[l] + sum;
      s->level[l] = 0;
    }
    s->level[l] += sum;
    s->chain = 0;
  }
  s->chain = fma(x, y, s->chain);
  s->n++;
}

double dhc_dot_end(const DhcDotSum *s) {
  double sum = s->chain;
  for (int l = 0; l < DHC_DOT_LEVELS && s->n > DHC_DOT_BLOCK; l++) sum = s->level[l] + sum;
  return sum;
}
