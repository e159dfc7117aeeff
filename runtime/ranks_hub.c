/* The hub: every rank's socket, what they exchange, and who has fallen behind. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "runtime/ranks.h"

typedef struct Peer {
  char *bytes; /* of an exchange that waits for the others; NULL: none */
  size_t n_bytes;
  bool bye, answers;
  uint64_t mark; /* how much it has begun, as it answered */
} Peer;

typedef struct Serve {
  DhcHub *h;
  Peer *peer;
  char *body;
  struct pollfd *poll;
  double moved, asked; /* when something last came of the ranks; when they were asked whether they are there, 0: not since */
  dhc_status st;
  bool heard; /* of the rank itself */
} Serve;

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(Serve *s, int rank, dhc_status st, bool said) {
  if (s->st.code) return;
  s->st = st;
  s->h->who = rank;
  s->h->said = said;
}

static int n_waiting(const Serve *s) {
  int n = 0;
  for (int i = 0; i < s->h->n; i++) n += s->peer[i].bytes != NULL;
  return n;
}

/* Everybody has sent: all get all. */
static void pass_on(Serve *s) {
  size_t n = s->peer[0].n_bytes, all = 0;
  for (int i = 0; i < s->h->n; i++) all += s->peer[i].n_bytes;
  char *text = malloc(all + 1);
  if (!text || all != n * (size_t)s->h->n)
    fail(s, 0, dhc_status_make(DHC_E_ENVIRONMENT, "ranks that do different things: are they of one version of dhcc?"), false);
  for (size_t i = 0, at = 0; !s->st.code && i < (size_t)s->h->n; at += s->peer[i++].n_bytes) memcpy(text + at, s->peer[i].bytes, s->peer[i].n_bytes);
  for (int i = 0; i < s->h->n; i++) {
    if (!s->st.code) dhc_ranks_send(s->h->fd[i], DHC_RANKS_BYTES, i, text, all); /* one that is gone is seen soon enough */
    free(s->peer[i].bytes);
    s->peer[i].bytes = NULL;
  }
  free(text);
  s->moved = now_s();
  s->asked = 0;
}

static void keep_bytes(Serve *s, int i, size_t n) {
  Peer *p = &s->peer[i];
  free(p->bytes);
  p->bytes = malloc(n + 1);
  if (!p->bytes) {
    fail(s, i, dhc_status_memory((long long)n, "what ranks exchange"), false);
    return;
  }
  memcpy(p->bytes, s->body, n);
  p->n_bytes = n;
  if (n_waiting(s) == s->h->n) pass_on(s);
}

static void hear(Serve *s, int i) {
  DhcRanksHead head;
  dhc_status st;
  Peer *p = &s->peer[i];
  if (!dhc_ranks_receive(s->h->fd[i], &head, s->body, DHC_RANKS_MOST_BYTES)) {
    if (!p->bye) fail(s, i, dhc_status_make(DHC_E_ENVIRONMENT, "rank %d is gone", i), false);
    p->bye = true;
    s->poll[i].fd = -1;
    return;
  }
  p->answers = true;
  switch (head.kind) {
  case DHC_RANKS_PONG: memcpy(&p->mark, s->body, sizeof p->mark); return;
  case DHC_RANKS_BYTES: keep_bytes(s, i, head.bytes); return;
  case DHC_RANKS_BYE: p->bye = true; return;
  case DHC_RANKS_FAIL:
    p->bye = true;
    memcpy(&st, s->body, sizeof st);
    st.message[sizeof st.message - 1] = 0;
    fail(s, i, st, i == 0);
    s->heard = true;
    return;
  default: return;
  }
}

static void ask(Serve *s, double now) {
  for (int i = 0; i < s->h->n; i++) {
    s->peer[i].answers = s->peer[i].bye;
    s->peer[i].mark = UINT64_MAX;
    if (!s->peer[i].bye) dhc_ranks_send(s->h->fd[i], DHC_RANKS_PING, i, NULL, 0);
  }
  s->asked = now;
}

/* Nothing has moved for long: who does not answer, else who has begun less than others. Where all have begun as much they work on
 * something long. */
static void look_for_lost(Serve *s, double now) {
  double half = s->h->timeout_s / 2.0;
  int least = -1, most = -1;
  if (!(s->asked > 0) && now - s->moved > half) ask(s, now);
  if (!(s->asked > 0) || now - s->asked < half) return;
  for (int i = 0; i < s->h->n; i++) {
    if (!s->peer[i].answers) {
      fail(s, i, dhc_status_make(DHC_E_ENVIRONMENT, "rank %d has not answered for %d s", i, s->h->timeout_s), false);
      return;
    }
    if (s->peer[i].bye) continue;
    if (least < 0 || s->peer[i].mark < s->peer[least].mark) least = i;
    if (most < 0 || s->peer[i].mark > s->peer[most].mark) most = i;
  }
  if (least >= 0 && s->peer[least].mark < s->peer[most].mark)
    fail(s, least, dhc_status_make(DHC_E_ENVIRONMENT, "the others have waited for rank %d for %d s", least, s->h->timeout_s), false);
  s->asked = 0;
  s->moved = now;
}

static bool all_left(const Serve *s) {
  for (int i = 0; i < s->h->n; i++)
    if (!s->peer[i].bye) return false;
  return true;
}

/* What fails on all ranks alike, rank 0 says itself, perhaps a little later. */
static void let_rank_0_say_it(Serve *s) {
  DhcRanksHead head;
  struct pollfd f = {.fd = s->h->fd[0], .events = POLLIN};
  double until = now_s() + 1;
  while (now_s() < until && poll(&f, 1, 100) >= 0) {
    if (!f.revents) continue;
    if (!dhc_ranks_receive(f.fd, &head, s->body, DHC_RANKS_MOST_BYTES) || head.kind == DHC_RANKS_BYE) return;
    if (head.kind != DHC_RANKS_FAIL) continue;
    s->h->who = 0;
    s->h->said = true;
    return;
  }
}

static void serve(Serve *s) {
  while (!s->st.code && !all_left(s)) {
    int got = poll(s->poll, (nfds_t)s->h->n, 200);
    for (int i = 0; got > 0 && i < s->h->n && !s->st.code; i++)
      if (s->poll[i].fd >= 0 && s->poll[i].revents) hear(s, i);
    if (s->h->look) s->h->look(s->h->ctx);
    look_for_lost(s, now_s());
  }
  if (s->st.code && s->heard && s->h->who > 0) let_rank_0_say_it(s);
  for (int i = 0; i < s->h->n && s->st.code; i++)
    if (i != s->h->who) dhc_ranks_send(s->h->fd[i], DHC_RANKS_END, i, s->st.message, strlen(s->st.message));
}

dhc_status dhc_hub_run(DhcHub *h) {
  Serve s = {.h = h, .peer = calloc((size_t)h->n, sizeof(Peer)), .body = malloc(DHC_RANKS_MOST_BYTES),
             .poll = calloc((size_t)h->n, sizeof(struct pollfd)), .moved = now_s()};
  h->who = -1;
  h->said = false;
  if (!s.peer || !s.body || !s.poll) s.st = dhc_status_memory(DHC_RANKS_MOST_BYTES, "ranks");
  for (int i = 0; i < h->n && !s.st.code; i++) {
    s.poll[i] = (struct pollfd){.fd = h->fd[i], .events = POLLIN};
    setsockopt(h->fd[i], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 30}, sizeof(struct timeval)); /* for the rest of a message */
  }
  if (!s.st.code) serve(&s);
  for (int i = 0; s.peer && i < h->n; i++) free(s.peer[i].bytes);
  free(s.peer);
  free(s.body);
  free(s.poll);
  return s.st;
}
