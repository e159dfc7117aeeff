/* One rank: its socket to the hub, and the thread that listens there. */
#include "runtime/ranks.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { GRACE_S = 1, ENDED = 3 /* exit status */ };

struct DhcRanks {
  int rank, n, local, fd;
  bool threaded, speaks, closing, agreed, told;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t news;
  uint64_t mark;
  char *all; /* of an exchange that has come; NULL: none */
  size_t all_bytes;
  bool ended;
  char why[500];
  void (*say)(void *ctx, const char *line);
  void *ctx;
  DhcHubThread *hub;
};

/* ---- messages --------------------------------------------------------------------------- */

static bool send_all(int fd, const void *from, size_t n) {
  for (const char *at = from; n > 0;) {
    ssize_t k = send(fd, at, n, MSG_NOSIGNAL);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return false;
    at += k;
    n -= (size_t)k;
  }
  return true;
}

static bool receive_all(int fd, void *to, size_t n) {
  for (char *at = to; n > 0;) {
    ssize_t k = recv(fd, at, n, 0);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return false;
    at += k;
    n -= (size_t)k;
  }
  return true;
}

bool dhc_ranks_send(int fd, DhcRanksMessage kind, int rank, const void *body, size_t bytes) {
  DhcRanksHead head = {.kind = kind, .rank = (uint32_t)rank, .bytes = bytes};
  return send_all(fd, &head, sizeof head) && (!bytes || send_all(fd, body, bytes));
}

bool dhc_ranks_receive(int fd, DhcRanksHead *head, void *body, size_t room) {
  return receive_all(fd, head, sizeof *head) && head->bytes <= room && (!head->bytes || receive_all(fd, body, head->bytes));
}

/* ---- the thread that listens ----------------------------------------------------------------- */

/* The work does not come to hear of it by itself. */
static void end_process(DhcRanks *r) {
  if (r->speaks && r->say) r->say(r->ctx, r->why);
  _exit(ENDED);
}

/* All ranks end: the work is told at its next exchange, and given a while to come to one. */
static void end_work(DhcRanks *r, const char *why) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += GRACE_S;
  pthread_mutex_lock(&r->lock);
  snprintf(r->why, sizeof r->why, "%s", why);
  r->ended = true;
  pthread_cond_broadcast(&r->news);
  int err = 0;
  while (!r->closing && !err) err = pthread_cond_timedwait(&r->news, &r->lock, &until);
  bool closing = r->closing;
  pthread_mutex_unlock(&r->lock);
  if (!closing) end_process(r);
}

static void *listen_to_hub(void *ranks) {
  DhcRanks *r = ranks;
  size_t room = (size_t)r->n * DHC_RANKS_MOST_BYTES;
  for (;;) {
    DhcRanksHead head;
    char *body = malloc(room + 1);
    bool got = body && dhc_ranks_receive(r->fd, &head, body, room);
    pthread_mutex_lock(&r->lock);
    bool closing = r->closing || r->told; /* it is on its way already */
    pthread_mutex_unlock(&r->lock);
    if (!got || head.kind == DHC_RANKS_END) {
      if (got) body[head.bytes] = 0;
      if (got && r->rank) r->speaks = false; /* the hub's process says it, that of rank 0; of that the next one */
      if (!closing) end_work(r, got ? body : "rank 0 is gone");
      free(body);
      return NULL;
    }
    if (head.kind == DHC_RANKS_PING) {
      pthread_mutex_lock(&r->lock);
      dhc_ranks_send(r->fd, DHC_RANKS_PONG, r->rank, &r->mark, sizeof r->mark);
      pthread_mutex_unlock(&r->lock);
      free(body);
      continue;
    }
    pthread_mutex_lock(&r->lock);
    free(r->all);
    r->all = body;
    r->all_bytes = head.bytes;
    pthread_cond_broadcast(&r->news);
    pthread_mutex_unlock(&r->lock);
  }
}

/* ---- beginning and ending ----------------------------------------------------------------------- */

dhc_status dhc_ranks_begin(int rank, int n, int local, int fd, DhcRanks **out) {
  DhcRanks *r = calloc(1, sizeof *r);
  *out = NULL;
  if (!r) {
    close(fd);
    return dhc_status_memory((long long)sizeof *r, "a rank");
  }
  *r = (DhcRanks){.rank = rank, .n = n, .local = local, .fd = fd};
  pthread_mutex_init(&r->lock, NULL);
  pthread_cond_init(&r->news, NULL);
  int err = pthread_create(&r->thread, NULL, listen_to_hub, r);
  r->threaded = !err;
  if (err) {
    close(fd);
    free(r);
    return dhc_status_errno(err, "a rank's thread");
  }
  *out = r;
  return dhc_status_ok();
}

void dhc_ranks_own_hub(DhcRanks *r, DhcHubThread *t) { r->hub = t; }

void dhc_ranks_agreed(DhcRanks *r) { r->agreed = true; }

void dhc_ranks_speak(DhcRanks *r, bool always) { r->speaks = always; }

void dhc_ranks_tell(DhcRanks *r, const dhc_status *st) {
  pthread_mutex_lock(&r->lock);
  if (!r->ended && !r->told && !(r->agreed && r->rank)) {
    dhc_ranks_send(r->fd, DHC_RANKS_FAIL, r->rank, st, sizeof *st);
    r->told = true;
  }
  pthread_mutex_unlock(&r->lock);
}

void dhc_ranks_close(DhcRanks *r, const dhc_status *st) {
  if (!r) return;
  if (st && st->code) dhc_ranks_tell(r, st);
  pthread_mutex_lock(&r->lock);
  r->closing = true;
  pthread_cond_broadcast(&r->news);
  if (!r->ended && !r->told) dhc_ranks_send(r->fd, DHC_RANKS_BYE, r->rank, NULL, 0);
  pthread_mutex_unlock(&r->lock);
  shutdown(r->fd, SHUT_WR);
  if (r->hub) dhc_hub_thread_end(r->hub);
  if (r->threaded) pthread_join(r->thread, NULL); /* the hub closes its end when all are done */
  close(r->fd);
  pthread_mutex_destroy(&r->lock);
  pthread_cond_destroy(&r->news);
  free(r->all);
  free(r);
}

int dhc_ranks_number(const DhcRanks *r) { return r->rank; }
int dhc_ranks_count(const DhcRanks *r) { return r->n; }
int dhc_ranks_local(const DhcRanks *r) { return r->local; }
bool dhc_ranks_speaks(const DhcRanks *r) { return r->speaks; }
const char *dhc_ranks_ended(const DhcRanks *r) { return r->ended ? r->why : NULL; }

void dhc_ranks_last_words(DhcRanks *r, void (*say)(void *ctx, const char *line), void *ctx) {
  r->say = say;
  r->ctx = ctx;
}

void dhc_ranks_mark(DhcRanks *r) {
  pthread_mutex_lock(&r->lock);
  r->mark++;
  pthread_mutex_unlock(&r->lock);
}

/* ---- exchange --------------------------------------------------------------------------------------- */

dhc_status dhc_ranks_exchange(DhcRanks *r, const void *mine, size_t bytes, void *all) {
  pthread_mutex_lock(&r->lock);
  r->mark++;
  bool sent = !r->ended && dhc_ranks_send(r->fd, DHC_RANKS_BYTES, r->rank, mine, bytes);
  while (!r->ended && (!sent || !r->all)) pthread_cond_wait(&r->news, &r->lock); /* not sent: the thread hears why */
  bool whole = r->all && r->all_bytes == bytes * (size_t)r->n;
  if (r->all && whole) memcpy(all, r->all, r->all_bytes);
  free(r->all);
  r->all = NULL;
  dhc_status st = r->ended && !whole ? dhc_status_make(DHC_E_ENVIRONMENT, "%s", r->why) : dhc_status_ok();
  pthread_mutex_unlock(&r->lock);
  if (st.code == DHC_OK && !whole) return dhc_status_make(DHC_E_ENVIRONMENT, "ranks that do different things: are they of one version of dhcc?");
  return st;
}
