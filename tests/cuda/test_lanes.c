/* Lanes for commands of a list: whatever touches the same memory keeps its order, by waiting where it is in different lanes;
 * the longest way stays in lane 0, and what can wait or is alone leaves it. And which may read some operands early. */
#include "backends/cuda/lanes.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(x)                                                      \
  do {                                                                \
    if (!(x)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

enum { N = 300, MOST = 4 };

typedef struct Listed {
  DhcCudaUse use[N * MOST];
  DhcCudaStep step[N];
  int n, n_uses;
} Listed;

static void add(Listed *l) {
  l->step[l->n++] = (DhcCudaStep){.first_use = l->n_uses};
}

static void touch(Listed *l, uint64_t begin, uint64_t end, bool writes) {
  l->use[l->n_uses++] = (DhcCudaUse){begin, end, writes, false};
  l->step[l->n - 1].n_uses++;
}

static bool in_conflict(const Listed *l, int i, int j) {
  const DhcCudaStep *x = &l->step[i], *y = &l->step[j];
  for (int a = x->first_use; a < x->first_use + x->n_uses; a++)
    for (int b = y->first_use; b < y->first_use + y->n_uses; b++)
      if (l->use[a].begin < l->use[b].end && l->use[b].begin < l->use[a].end && (l->use[a].writes || l->use[b].writes)) return true;
  return false;
}

/* Has j's lane waited for i, or for one behind it, when j begins? */
static bool waited(const Listed *l, int i, int j) {
  for (int k = 0; k <= j; k++)
    if (l->step[k].lane == l->step[j].lane && l->step[k].after[l->step[i].lane] >= i) return true;
  return false;
}

static int check_order(const Listed *l) {
  int apart = 0;
  for (int j = 0; j < l->n; j++) {
    const DhcCudaStep *s = &l->step[j];
    CHECK(s->lane >= 0 && s->lane < DHC_CUDA_ALL_LANES && s->after[s->lane] == -1 && s->ranks == (s->lane == DHC_CUDA_RANKS_LANE));
    if (s->follows && j) CHECK(s->lane == l->step[j - 1].lane);
    for (int k = 0; k < DHC_CUDA_ALL_LANES; k++)
      if (s->after[k] >= 0) CHECK(s->after[k] < j && l->step[s->after[k]].lane == k && l->step[s->after[k]].signals);
    apart += s->lane > 0;
    for (int i = 0; i < j; i++)
      if (l->step[i].lane != s->lane && in_conflict(l, i, j)) CHECK(waited(l, i, j));
  }
  return apart;
}

static uint32_t state = 1;
static int draw(int below) {
  state = state * 1664525u + 1013904223u;
  return (int)((state >> 16) % (uint32_t)below);
}

/* Commands over places that overlap, as buffers do whose memory is used again. */
static void at_random(void) {
  int apart = 0;
  for (int round = 0; round < 60; round++) {
    Listed *l = calloc(1, sizeof *l);
    CHECK(l);
    int n = 1 + draw(N), places = 4 + draw(200);
    while (l->n < n) {
      add(l);
      l->step[l->n - 1].ranks = round % 2 && draw(12) == 0;
      l->step[l->n - 1].follows = l->n > 1 && !l->step[l->n - 1].ranks && !l->step[l->n - 2].ranks && draw(10) == 0;
      for (int u = draw(MOST) + 1; u > 0; u--) {
        uint64_t begin = (uint64_t)draw(places);
        touch(l, begin, begin + 1 + (uint64_t)draw(3), u == 1);
      }
    }
    CHECK(!dhc_cuda_lanes(l->use, l->step, l->n).code);
    apart += check_order(l);
    free(l);
  }
  CHECK(apart > 0);
}

enum { CHAIN = 40, GRADIENTS = 100000 };

/* A chain whose links also give what only the last command reads, and now and then a fill that the next link needs. */
static void like_a_step(bool with_ranks) {
  Listed *l = calloc(1, sizeof *l);
  CHECK(l);
  for (uint64_t i = 0; i < CHAIN; i++) {
    add(l); /* what the link adds up to */
    touch(l, 10 + 10 * i, 20 + 10 * i, true);
    add(l); /* the link */
    touch(l, 10 * i, 10 * i + 10, false);
    touch(l, 10 + 10 * i, 20 + 10 * i, true);
    add(l); /* its gradient */
    touch(l, 10 * i, 10 * i + 10, false);
    touch(l, GRADIENTS, GRADIENTS + 1000, true);
  }
  for (int k = 0; with_ranks && k < 2; k++) { /* summed over ranks by halves */
    add(l);
    l->step[l->n - 1].ranks = true;
    touch(l, GRADIENTS + 500 * (uint64_t)k, GRADIENTS + 500 * (uint64_t)k + 500, true);
  }
  add(l);
  touch(l, GRADIENTS, GRADIENTS + 1000, false);
  CHECK(!dhc_cuda_lanes(l->use, l->step, l->n).code);
  check_order(l);
  for (int i = 0; i < CHAIN; i++) {
    CHECK(l->step[3 * i + 1].lane == 0 && l->step[3 * i + 1].urgent);
    if (i < CHAIN / 2) CHECK(l->step[3 * i + 2].lane > 0 && !l->step[3 * i + 2].urgent && (!i || l->step[3 * i].lane > 0));
  }
  free(l);
}

/* Two gradients, parts of one range, are summed over ranks while a chain goes on; what is made of the first alone waits for that and
 * for nothing behind it, and holds up nobody. */
static void late(void) {
  Listed *l = calloc(1, sizeof *l);
  int made[2], summed[2], folded[2];
  CHECK(l);
  for (uint64_t k = 0; k < 2; k++) {
    made[k] = l->n;
    add(l);
    touch(l, GRADIENTS + 500 * k, GRADIENTS + 500 * k + 500, true);
    summed[k] = l->n;
    add(l);
    l->step[l->n - 1].ranks = true;
    touch(l, GRADIENTS + 500 * k, GRADIENTS + 500 * k + 500, true);
    for (uint64_t i = 0; i < CHAIN; i++) {
      add(l);
      touch(l, 10 * (CHAIN * k + i), 10 * (CHAIN * k + i) + 10, false);
      touch(l, 10 * (CHAIN * k + i) + 10, 10 * (CHAIN * k + i) + 20, true);
    }
  }
  for (uint64_t k = 0; k < 2; k++) {
    folded[k] = l->n;
    add(l);
    touch(l, GRADIENTS + 500 * k, GRADIENTS + 500 * k + 500, false);
    touch(l, GRADIENTS + 2000 + k, GRADIENTS + 2001 + k, true);
  }
  add(l);
  touch(l, GRADIENTS, GRADIENTS + 2002, false);
  CHECK(!dhc_cuda_lanes(l->use, l->step, l->n).code);
  check_order(l);
  for (int i = 0; i < l->n; i++) {
    const DhcCudaStep *s = &l->step[i];
    CHECK((s->lane == DHC_CUDA_LATE_LANE) == (i == folded[0]));
    if (i < folded[0]) CHECK(s->after[DHC_CUDA_RANKS_LANE] == -1 && s->after[DHC_CUDA_LATE_LANE] == -1);
  }
  CHECK(l->step[folded[0]].after[DHC_CUDA_RANKS_LANE] == summed[0] && l->step[folded[1]].after[DHC_CUDA_RANKS_LANE] == summed[1]);
  CHECK(l->step[summed[1]].after[l->step[made[1]].lane] == made[1]);
  CHECK(l->step[l->n - 1].after[DHC_CUDA_LATE_LANE] == folded[0]);
  free(l);
}

/* Who reads a part of what was written, or more than that, needs it as one does who reads just that. */
static void by_parts(uint64_t begin, uint64_t end) {
  Listed *l = calloc(1, sizeof *l);
  CHECK(l);
  for (uint64_t i = 0; i < CHAIN; i++) {
    add(l);
    touch(l, 100 * i + begin, 100 * i + end, false);
    touch(l, 100 * i + 100, 100 * i + 200, true);
    add(l); /* its gradient */
    touch(l, 100 * i, 100 * i + 100, false);
    touch(l, GRADIENTS + 10 * i, GRADIENTS + 10 * i + 10, true);
  }
  add(l);
  touch(l, GRADIENTS, GRADIENTS + 10 * CHAIN, false);
  CHECK(!dhc_cuda_lanes(l->use, l->step, l->n).code);
  check_order(l);
  for (int i = 0; i < CHAIN; i++) CHECK(l->step[2 * i].lane == 0 && (i >= CHAIN / 2 || l->step[2 * i + 1].lane > 0));
  free(l);
}

/* Commands that have nothing to do with each other are shared out; behind one that touches much stands none that touches little. */
static void apart(void) {
  enum { MUCH = 1000000000, ALONE = 12 };
  Listed *l = calloc(1, sizeof *l);
  CHECK(l);
  add(l);
  touch(l, 0, MUCH, true);
  for (uint64_t i = 0; i < ALONE; i++) {
    add(l);
    touch(l, MUCH + 10 * i, MUCH + 10 * i + 10, true);
  }
  add(l);
  touch(l, 0, MUCH + 10 * ALONE, false);
  CHECK(!dhc_cuda_lanes(l->use, l->step, l->n).code);
  CHECK(check_order(l) == ALONE || check_order(l) == ALONE + 1);
  int in[DHC_CUDA_ALL_LANES] = {0};
  for (int i = 1; i <= ALONE; i++) in[l->step[i].lane]++;
  for (int k = 0; k < DHC_CUDA_LATE_LANE; k++) CHECK(in[k] == (k == l->step[0].lane ? 0 : ALONE / (DHC_CUDA_LATE_LANE - 1)));
  free(l);
}

/* Weights that nothing writes may be read before a command has waited; those that some command of the list writes, in part or
 * behind it, may not. */
static void early(void) {
  Listed l = {0};
  static const uint64_t weights = 1000, work = 5000;
  for (int i = 0; i < 4; i++) {
    add(&l);
    touch(&l, work + 100 * (uint64_t)i, work + 100 * (uint64_t)i + 100, false);
    touch(&l, weights + 100 * (uint64_t)i, weights + 100 * (uint64_t)i + 100, false);
    l.use[l.n_uses - 1].early = true;
    touch(&l, work + 100 * (uint64_t)i + 100, work + 100 * (uint64_t)i + 200, true);
  }
  CHECK(!dhc_cuda_find_early(l.use, l.step, l.n).code);
  for (int i = 0; i < 4; i++) CHECK(l.step[i].early);
  add(&l);
  touch(&l, weights + 250, weights + 320, true); /* of the third and the fourth */
  touch(&l, 900, weights, true);                 /* up to where they begin */
  touch(&l, weights + 400, weights + 500, true); /* and from where they end */
  CHECK(!dhc_cuda_find_early(l.use, l.step, l.n).code);
  CHECK(l.step[0].early && l.step[1].early && !l.step[2].early && !l.step[3].early);
}

int main(void) {
  at_random();
  like_a_step(false);
  like_a_step(true);
  late();
  by_parts(0, 100);
  by_parts(20, 30);
  by_parts(50, 150);
  apart();
  early();
  return 0;
}
