/* Ranks as processes that this one makes; this one is the hub. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/ranks.h"

enum { GRACE_S = 4 }; /* longer than a rank gives its own work */

typedef struct Children {
  int n;
  pid_t *pid; /* 0: not there, or ended */
  int *status; /* of waitpid, when it has ended */
  int *fd;
} Children;

static volatile sig_atomic_t got_signal;

static void on_signal(int number) { got_signal = number; }

/* A rank is not in the group of the terminal's signals: they come through the hub, once. */
static void forward(void *children) {
  Children *c = children;
  int number = got_signal;
  if (!number) return;
  got_signal = 0;
  for (int i = 0; i < c->n; i++)
    if (c->pid[i]) kill(c->pid[i], number);
}

static void catch_signals(void) {
  static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction action, old;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
    if (!sigaction(caught[i], NULL, &old) && old.sa_handler != SIG_IGN) sigaction(caught[i], &action, NULL);
}

/* In the child: everything of its siblings closed. */
static dhc_status become(Children *c, int rank, pid_t parent, DhcRanks **out) {
  int fd = c->fd[rank];
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left behind */
  if (getppid() != parent) _exit(3);
  setpgid(0, 0);
  for (int i = 0; i < rank; i++) close(c->fd[i]);
  return dhc_ranks_begin(rank, c->n, rank, fd, out);
}

static void wait_one(Children *c, int i, int options) {
  int status;
  pid_t got = c->pid[i] ? waitpid(c->pid[i], &status, options) : 0;
  if (got == 0 || (got < 0 && errno == EINTR)) return;
  c->status[i] = got < 0 ? 0 : status;
  c->pid[i] = 0;
}

/* All ended, those that take too long by force. */
static void collect(Children *c, bool failed) {
  for (int tick = 0;; tick++) {
    bool any = false;
    for (int i = 0; i < c->n; i++) {
      wait_one(c, i, WNOHANG);
      any = any || c->pid[i];
    }
    if (!any) return;
    forward(c);
    if (failed && tick == GRACE_S * 50)
      for (int i = 0; i < c->n; i++)
        if (c->pid[i]) kill(c->pid[i], SIGKILL);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  }
}

static int exit_status(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : 3;
}

/* Says more of a rank that is gone: by which signal. */
static dhc_status explain(const Children *c, const DhcHub *h, dhc_status st) {
  if (h->who < 0 || h->said) return st;
  int status = c->status[h->who];
  if (WIFSIGNALED(status) && strstr(st.message, "is gone"))
    return dhc_status_make(DHC_E_ENVIRONMENT, "rank %d was ended by signal %d (%s)", h->who, WTERMSIG(status), strsignal(WTERMSIG(status)));
  if (WIFEXITED(status) && strstr(st.message, "is gone"))
    return dhc_status_make(DHC_E_ENVIRONMENT, "rank %d ended by itself with status %d", h->who, WEXITSTATUS(status));
  return st;
}

static dhc_status lead(Children *c, int timeout_s, int *rc) {
  DhcHub h = {.n = c->n, .timeout_s = timeout_s, .fd = c->fd, .look = forward, .ctx = c};
  catch_signals();
  dhc_status st = dhc_hub_run(&h);
  bool lost = st.code && h.who >= 0 && !h.said && (strstr(st.message, "answered") || strstr(st.message, "waited"));
  if (lost && c->pid[h.who]) kill(c->pid[h.who], SIGKILL);
  for (int i = 0; i < c->n; i++) shutdown(c->fd[i], SHUT_WR);
  collect(c, st.code != DHC_OK);
  for (int i = 0; i < c->n; i++) close(c->fd[i]);
  st = explain(c, &h, st);
  *rc = st.code ? (h.said ? exit_status(c->status[h.who]) : (int)st.code) : 0;
  for (int i = 0; i < c->n && !*rc; i++) *rc = exit_status(c->status[i]);
  return h.said ? dhc_status_ok() : st;
}

static void give_up(Children *c, bool run) {
  for (int i = 0; run && i < c->n; i++)
    if (c->pid[i]) kill(c->pid[i], SIGKILL);
  if (run) collect(c, true);
  free(c->pid);
  free(c->status);
  free(c->fd);
}

dhc_status dhc_ranks_fork(int n, int timeout_s, DhcRanks **out, int *rc) {
  Children c = {.n = n, .pid = calloc((size_t)n, sizeof(pid_t)), .status = calloc((size_t)n, sizeof(int)), .fd = calloc((size_t)n, sizeof(int))};
  dhc_status st = c.pid && c.status && c.fd ? dhc_status_ok() : dhc_status_memory(n, "ranks");
  pid_t parent = getpid();
  *out = NULL;
  *rc = 3;
  for (int i = 0; i < n && st.code == DHC_OK; i++) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
      st = dhc_status_errno(errno, "a socket for rank %d", i);
      break;
    }
    c.pid[i] = fork();
    if (c.pid[i] == 0) {
      close(ends[0]);
      c.fd[i] = ends[1];
      c.pid[i] = 0;
      st = become(&c, i, parent, out);
      give_up(&c, false);
      return st;
    }
    close(ends[1]);
    c.fd[i] = ends[0];
    if (c.pid[i] < 0) {
      c.pid[i] = 0;
      st = dhc_status_errno(errno, "rank %d", i);
    }
  }
  if (st.code == DHC_OK) st = lead(&c, timeout_s, rc);
  give_up(&c, true);
  return st;
}
