/* The sum rule in double, for the two interpreters. */
#include "ir/sum.h"

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
