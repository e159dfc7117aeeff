/* What a command is at, where it would be silent: a thread that looks at the session and at when something was last said. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

enum { LOOK_MS = 100, LINE = 480 };

/* Seconds: silence of a terminal before it is filled, the usual time between lines of a log, and what a log's line of
 * progress may be late before another fills in for it. With the look it is less than a second that nothing is said. */
#define TERMINAL_S 0.5
#define LOG_S 0.6
#define GRACE_S 0.2

struct CliWatch {
  const Cli *c;
  const dhc_session *s; /* NULL before there is one */
  pthread_t thread;
  pthread_mutex_t lock; /* of all below, and of standard error */
  pthread_cond_t ends;
  bool running, end;
  bool terminal; /* a line is rewritten */
  bool partial;  /* it stands there without its end */
  double began, said; /* seconds */
  char line[LINE];    /* the last progress, to which what it is at is added; "": none */
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double log_s(const Cli *c) {
  return c->log_every > 0 ? c->log_every : LOG_S;
}

/* Seconds of silence after which something is said. */
static double patience(const CliWatch *w) {
  return w->terminal ? TERMINAL_S : log_s(w->c) + GRACE_S;
}

static void put_line(CliWatch *w, const char *text, bool whole) {
  char cut[LINE + 96];
  int columns = w->terminal ? cli_columns(stderr) : 0;
  snprintf(cut, sizeof cut, "%s", text);
  /* A line that wraps cannot be taken back: on a narrow terminal only its beginning shows. */
  if (!whole && columns > 1 && (size_t)columns <= strlen(cut)) cut[columns - 1] = 0;
  fprintf(stderr, "%s%s%s", w->terminal ? "\r\033[K" : "", cut, !w->terminal || whole ? "\n" : "");
  fflush(stderr);
  w->partial = w->terminal && !whole;
  w->said = now();
}

static void say(CliWatch *w) {
  const dhc_doing d = dhc_session_doing(w->s);
  const char *what = d.what ? d.what : "preparing";
  char of[64] = "", text[LINE + 96];
  if (d.of > 0) snprintf(of, sizeof of, " %lld of %lld", (long long)d.done, (long long)d.of);
  if (w->terminal && *w->line) snprintf(text, sizeof text, "%s  (%s%s)", w->line, what, of);
  else snprintf(text, sizeof text, "%s%s, %.0f s", what, of, now() - w->began);
  put_line(w, text, false);
}

static void *look(void *watch) {
  CliWatch *w = watch;
  pthread_mutex_lock(&w->lock);
  while (!w->end) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
    pthread_cond_timedwait(&w->ends, &w->lock, &until);
    if (!w->end && now() - w->said >= patience(w)) say(w);
  }
  pthread_mutex_unlock(&w->lock);
  return NULL;
}

/* Signals are for the thread that works. Without a thread a command is silent, no more. */
void cli_watch_begin(const Cli *c) {
  const char *term = getenv("TERM");
  CliWatch *w = calloc(1, sizeof *w);
  sigset_t all, was;
  if (!w) return;
  *w = (CliWatch){.c = c, .terminal = isatty(2) && !(term && !strcmp(term, "dumb")), .began = now(), .said = now()};
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->ends, NULL);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &was);
  w->running = !c->quiet && !pthread_create(&w->thread, NULL, look, w);
  pthread_sigmask(SIG_SETMASK, &was, NULL);
  c->report->watch = w;
}

void cli_watch_session(const Cli *c, const dhc_session *s) {
  CliWatch *w = c->report->watch;
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  w->s = s;
  pthread_mutex_unlock(&w->lock);
}

void cli_watch_end(const Cli *c) {
  CliWatch *w = c->report->watch;
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  w->end = true;
  pthread_cond_signal(&w->ends);
  if (w->partial) fputc('\n', stderr);
  pthread_mutex_unlock(&w->lock);
  if (w->running) pthread_join(w->thread, NULL);
  pthread_cond_destroy(&w->ends);
  pthread_mutex_destroy(&w->lock);
  free(w);
  c->report->watch = NULL;
}

bool cli_watch_due(const Cli *c, double terminal_s) {
  CliWatch *w = c->report->watch;
  if (!w) return true;
  pthread_mutex_lock(&w->lock);
  bool due = now() - w->said >= (w->terminal ? terminal_s : log_s(c));
  pthread_mutex_unlock(&w->lock);
  return due;
}

void cli_watch_progress(const Cli *c, const char *text, bool whole) {
  CliWatch *w = c->report->watch;
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  snprintf(w->line, sizeof w->line, "%s", text);
  put_line(w, text, whole);
  pthread_mutex_unlock(&w->lock);
}

void cli_watch_hold(const Cli *c) {
  CliWatch *w = c->report->watch;
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  if (w->partial) fputs("\r\033[K", stderr);
  w->partial = false;
}

void cli_watch_release(const Cli *c) {
  CliWatch *w = c->report->watch;
  if (!w) return;
  w->said = now();
  pthread_mutex_unlock(&w->lock);
}
