/* Ranks that somebody else has started: who is which, and where they meet, as torchrun, Open MPI, MPICH (PMI) and Slurm say it
 * in the environment. Rank 0 listens at MASTER_ADDR:MASTER_PORT, the others call there. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "runtime/ranks.h"

typedef struct Launcher {
  const char *name, *rank, *n, *local, *local_n; /* variables; the last ones may not be there */
} Launcher;

static const Launcher launchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    {"Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"},
};

typedef struct Place {
  int rank, n, local, local_n;
  char host[256], port[16];
} Place;

/* A whole number of a variable; `usual` where it is not set. */
static dhc_status number(const char *name, int lo, int hi, int usual, int *out) {
  const char *text = name ? getenv(name) : NULL;
  char *end;
  *out = usual;
  if (!text || !*text) return dhc_status_ok();
  long v = strtol(text, &end, 10);
  if (*end || v < lo || v > hi) return dhc_status_make(DHC_E_ENVIRONMENT, "%s: needs a whole number from %d to %d, is '%.60s'", name, lo, hi, text);
  *out = (int)v;
  return dhc_status_ok();
}

/* The first name of a list as Slurm writes it: "node[03-07,9],other" is node03. */
static void first_host(const char *list, char *to, size_t room) {
  size_t n = strcspn(list, ",[");
  if (n >= room) n = room - 1;
  memcpy(to, list, n);
  to[n] = 0;
  if (list[n] != '[') return;
  size_t digits = strcspn(list + n + 1, ",-]");
  if (n + digits >= room) return;
  memcpy(to + n, list + n + 1, digits);
  to[n + digits] = 0;
}

/* torchrun keeps MASTER_PORT for a store of its own; the one behind it is the ranks', or the one that DHC_PORT names. */
static dhc_status find_port(Place *p) {
  const char *own = getenv("TORCHELASTIC_USE_AGENT_STORE");
  int given = 0, port = 0;
  DHC_TRY(number("DHC_PORT", 1, 65535, 0, &given));
  DHC_TRY(number("MASTER_PORT", 1, 65535, 0, &port));
  if (given) port = given;
  else if (port && own && !strcmp(own, "True")) port += port < 65535 ? 1 : -1;
  if (port) snprintf(p->port, sizeof p->port, "%d", port);
  return dhc_status_ok();
}

static dhc_status find_address(const Launcher *l, Place *p) {
  const char *host = getenv("MASTER_ADDR"), *job = getenv("SLURM_JOB_ID"), *nodes = getenv("SLURM_STEP_NODELIST");
  bool slurm = !strcmp(l->name, "Slurm");
  if (host && *host) snprintf(p->host, sizeof p->host, "%s", host);
  else if (slurm && nodes) first_host(nodes, p->host, sizeof p->host);
  else if (p->local_n == p->n) snprintf(p->host, sizeof p->host, "127.0.0.1");
  else return dhc_status_make(DHC_E_ENVIRONMENT, "--distributed: %s says nothing of where rank 0 is: set MASTER_ADDR", l->name);
  DHC_TRY(find_port(p));
  if (*p->port) return dhc_status_ok();
  /* without a port one that is the same for all of a job */
  long own = job && slurm ? atol(job) : (long)getppid();
  if ((slurm && job) || p->local_n == p->n) snprintf(p->port, sizeof p->port, "%ld", 20000 + own % 20000);
  else return dhc_status_make(DHC_E_ENVIRONMENT, "--distributed: %s says nothing of a port: set MASTER_PORT", l->name);
  return dhc_status_ok();
}

static dhc_status find_place(Place *p) {
  const Launcher *l = NULL;
  for (size_t i = 0; i < sizeof launchers / sizeof *launchers && !l; i++)
    if (getenv(launchers[i].rank) && getenv(launchers[i].n)) l = &launchers[i];
  if (!l)
    return dhc_status_make(DHC_E_ENVIRONMENT, "--distributed: neither torchrun (RANK, WORLD_SIZE) nor MPI (OMPI_COMM_WORLD_RANK, PMI_RANK) nor Slurm (SLURM_PROCID) "
                           "has started this process");
  DHC_TRY(number(l->n, 1, DHC_RANKS_MOST, 1, &p->n));
  DHC_TRY(number(l->rank, 0, p->n - 1, 0, &p->rank));
  DHC_TRY(number(l->local_n, 1, DHC_RANKS_MOST, 0, &p->local_n));
  DHC_TRY(number(l->local, 0, DHC_RANKS_MOST, p->rank, &p->local));
  return p->n > 1 ? find_address(l, p) : dhc_status_ok();
}

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void prompt(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* small messages that somebody waits for */
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static dhc_status resolve(const Place *p, bool listens, struct addrinfo **out) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC, .ai_flags = listens ? AI_PASSIVE : 0};
  int err = getaddrinfo(listens ? NULL : p->host, p->port, &hints, out);
  return err ? dhc_status_make(DHC_E_ENVIRONMENT, "rank %d: %s, port %s: %s", p->rank, p->host, p->port, gai_strerror(err)) : dhc_status_ok();
}

/* ---- rank 0 ------------------------------------------------------------------------------- */

struct DhcHubThread {
  DhcHub hub;
  pthread_t thread;
};

static void *run_hub(void *arg) {
  DhcHubThread *t = arg;
  dhc_status st = dhc_hub_run(&t->hub);
  (void)st; /* every rank has it, this process' own too */
  for (int i = 0; i < t->hub.n; i++) shutdown(t->hub.fd[i], SHUT_WR);
  return NULL;
}

void dhc_hub_thread_end(DhcHubThread *t) {
  pthread_join(t->thread, NULL);
  for (int i = 0; i < t->hub.n; i++) close(t->hub.fd[i]);
  free(t->hub.fd);
  free(t);
}

static dhc_status listen_at(const Place *p, int *out) {
  struct addrinfo *list;
  int on = 1, err = 0;
  DHC_TRY(resolve(p, true, &list));
  *out = -1;
  for (struct addrinfo *a = list; a && *out < 0; a = a->ai_next) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, DHC_RANKS_MOST)) *out = fd;
    else err = errno, close(fd);
  }
  freeaddrinfo(list);
  return *out < 0 ? dhc_status_errno(err, "rank 0 cannot listen on port %s", p->port) : dhc_status_ok();
}

/* Everybody's call, who says which rank it is. Who says something else is no rank, and hung up on. */
static dhc_status answer_all(const Place *p, int listener, int timeout_s, int *fd) {
  double until = now_s() + timeout_s;
  for (int n = 1; n < p->n;) {
    struct pollfd f = {.fd = listener, .events = POLLIN};
    int left = (int)((until - now_s()) * 1000), missing = 0;
    while (missing < p->n && fd[missing] >= 0) missing++;
    if (left <= 0) return dhc_status_make(DHC_E_ENVIRONMENT, "rank %d has not come to port %s of rank 0 within %d s", missing, p->port, timeout_s);
    if (poll(&f, 1, left < 200 ? left : 200) <= 0) continue;
    int one = accept(listener, NULL, NULL);
    DhcRanksHead head;
    struct timeval wait = {.tv_sec = 5};
    if (one < 0) continue;
    setsockopt(one, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    bool good = dhc_ranks_receive(one, &head, NULL, 0) && head.kind == DHC_RANKS_HELLO && head.rank > 0 && head.rank < (uint32_t)p->n && fd[head.rank] < 0;
    if (!good) {
      close(one);
      continue;
    }
    prompt(one);
    fd[head.rank] = one;
    n++;
  }
  return dhc_status_ok();
}

static dhc_status begin_hub(const Place *p, int timeout_s, DhcRanks **out) {
  int listener = -1, pair[2] = {-1, -1};
  DhcHubThread *t = calloc(1, sizeof *t);
  int *fd = calloc((size_t)p->n, sizeof *fd);
  dhc_status st = t && fd ? listen_at(p, &listener) : dhc_status_memory(p->n, "ranks");
  for (int i = 0; fd && i < p->n; i++) fd[i] = -1;
  if (st.code == DHC_OK && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) st = dhc_status_errno(errno, "a socket for rank 0");
  if (st.code == DHC_OK) fd[0] = pair[0];
  if (st.code == DHC_OK) st = answer_all(p, listener, timeout_s, fd);
  if (listener >= 0) close(listener);
  if (st.code == DHC_OK) {
    t->hub = (DhcHub){.n = p->n, .timeout_s = timeout_s, .fd = fd};
    int err = pthread_create(&t->thread, NULL, run_hub, t);
    if (err) st = dhc_status_errno(err, "a rank's thread");
  }
  if (st.code == DHC_OK) {
    DHC_TRY(dhc_ranks_begin(0, p->n, p->local, pair[1], out));
    dhc_ranks_own_hub(*out, t);
    return st;
  }
  for (int i = 0; fd && i < p->n; i++)
    if (fd[i] >= 0) close(fd[i]);
  if (pair[1] >= 0) close(pair[1]);
  free(fd);
  free(t);
  return st;
}

/* ---- the others ------------------------------------------------------------------------------ */

static int call_once(const struct addrinfo *list) {
  for (const struct addrinfo *a = list; a; a = a->ai_next) {
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !connect(fd, a->ai_addr, a->ai_addrlen)) return fd;
    if (fd >= 0) close(fd);
  }
  return -1;
}

static dhc_status call_hub(const Place *p, int timeout_s, DhcRanks **out) {
  struct addrinfo *list;
  DHC_TRY(resolve(p, false, &list));
  double until = now_s() + timeout_s;
  int fd = call_once(list);
  while (fd < 0 && now_s() < until) { /* rank 0 may begin later */
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    fd = call_once(list);
  }
  freeaddrinfo(list);
  if (fd < 0) return dhc_status_make(DHC_E_ENVIRONMENT, "rank %d: rank 0 does not answer at %s, port %s, for %d s", p->rank, p->host, p->port, timeout_s);
  prompt(fd);
  dhc_ranks_send(fd, DHC_RANKS_HELLO, p->rank, NULL, 0); /* where it has hung up, the first exchange says so */
  return dhc_ranks_begin(p->rank, p->n, p->local, fd, out);
}

dhc_status dhc_ranks_from_environment(int timeout_s, DhcRanks **out) {
  Place p = {0};
  *out = NULL;
  DHC_TRY(find_place(&p));
  if (p.n == 1) return dhc_status_ok();
  DHC_TRY(p.rank ? call_hub(&p, timeout_s, out) : begin_hub(&p, timeout_s, out));
  dhc_ranks_speak(*out, p.rank < 2);
  return dhc_status_ok();
}
