/* Several processes that do one thing together, numbered from 0: ranks. Here is what they say to one another beside their
 * devices: small messages, over a socket each to a hub, which knows who is still there.
 *
 * Whatever ends one of them ends all. The hub is told, or sees the socket close, or asks where nothing moves; it then tells the
 * others, whose next exchange fails with its line. A rank that does not come to that (its device waits for the one that is gone)
 * is ended by a thread of its own. What a rank writes to disk must therefore be whole at any time. */
#ifndef DHC_RUNTIME_RANKS_H
#define DHC_RUNTIME_RANKS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

typedef struct DhcRanks DhcRanks;

enum { DHC_RANKS_MOST = 1024, DHC_RANKS_TIMEOUT = 600 /* seconds */, DHC_RANKS_MOST_BYTES = 1 << 16 };

/* n processes out of this one, which is the hub: they return with *out, it with NULL there when all have ended, with the line of
 * what ended them early (naming the rank), unless that was rank 0, which said it itself. *rc: exit status of the first that
 * failed. Before threads and devices. timeout_s: so long the others wait for a rank before it is taken for gone. */
dhc_status dhc_ranks_fork(int n, int timeout_s, DhcRanks **out, int *rc) DHC_MUST_USE;
/* One of the processes that torchrun, MPI or Slurm started, by what these put into the environment (ranks_env.c); rank 0 is
 * the hub as well, in a thread. *out NULL: it says that this is the only one. */
dhc_status dhc_ranks_from_environment(int timeout_s, DhcRanks **out) DHC_MUST_USE;
/* st: how this rank has ended. Waits until the hub knows. */
void dhc_ranks_close(DhcRanks *r, const dhc_status *st);

/* st is how this rank ends: the others hear of it now, whatever its own end takes. Not where they know. */
void dhc_ranks_tell(DhcRanks *r, const dhc_status *st);
/* How this rank will have ended all say alike: rank 0 is enough. */
void dhc_ranks_agreed(DhcRanks *r);

int dhc_ranks_number(const DhcRanks *r);
int dhc_ranks_count(const DhcRanks *r);
int dhc_ranks_local(const DhcRanks *r); /* among those of this machine: which device is its own */
/* Whether this process is the one to say why all ended (elsewhere the hub, or another rank, does): `line` of ended. */
bool dhc_ranks_speaks(const DhcRanks *r);
/* NULL while nothing has ended the ranks; else why. */
const char *dhc_ranks_ended(const DhcRanks *r);
/* Called with that line, if this rank speaks, before the process is ended from outside its own work. */
void dhc_ranks_last_words(DhcRanks *r, void (*say)(void *ctx, const char *line), void *ctx);

/* This rank begins something in which the others have a part: of ranks that wait for one another the one that has begun least
 * is behind. */
void dhc_ranks_mark(DhcRanks *r);
/* `bytes` of every rank, in their order, into all: n times as many. All ranks call it, with the same size. */
dhc_status dhc_ranks_exchange(DhcRanks *r, const void *mine, size_t bytes, void *all) DHC_MUST_USE;

/* ---- inside (ranks_*.c) ---------------------------------------------------------------- */

typedef enum DhcRanksMessage { DHC_RANKS_HELLO = 1, DHC_RANKS_BYTES, DHC_RANKS_FAIL, DHC_RANKS_BYE, DHC_RANKS_PING, DHC_RANKS_PONG, DHC_RANKS_END } DhcRanksMessage;
typedef struct DhcRanksHead {
  uint32_t kind, rank;
  uint64_t bytes; /* behind it */
} DhcRanksHead;
/* False: the other end is gone. */
bool dhc_ranks_send(int fd, DhcRanksMessage kind, int rank, const void *body, size_t bytes);
bool dhc_ranks_receive(int fd, DhcRanksHead *head, void *body, size_t room);

/* Serves n sockets until every rank has said goodbye (DHC_OK) or one has failed: the line. *who: that rank, -1: none; *said: it
 * says so itself. alive: further than its socket tells, whether a rank's process is there, or NULL. */
typedef struct DhcHub {
  int n, timeout_s;
  int *fd;
  void (*look)(void *ctx); /* now and then, or NULL */
  void *ctx;
  int who;
  bool said;
} DhcHub;
dhc_status dhc_hub_run(DhcHub *h) DHC_MUST_USE;
/* The rank behind a socket to the hub; takes the socket. */
dhc_status dhc_ranks_begin(int rank, int n, int local, int fd, DhcRanks **out) DHC_MUST_USE;
void dhc_ranks_speak(DhcRanks *r, bool always);
/* The hub's thread in rank 0's process: ended with it. */
typedef struct DhcHubThread DhcHubThread;
void dhc_ranks_own_hub(DhcRanks *r, DhcHubThread *t);
void dhc_hub_thread_end(DhcHubThread *t);

#endif
