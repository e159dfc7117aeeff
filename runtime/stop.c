#include "runtime/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

/* Process-wide because signals are; lock-free, so a handler may use them. */
static atomic_int stop_signal, n_asked, n_holds;
static const int caught[] = {SIGINT, SIGTERM, SIGHUP};
enum { N_CAUGHT = sizeof caught / sizeof caught[0] };
static struct sigaction before[N_CAUGHT];

static void on_signal(int signal_number) {
  int none = 0;
  if (signal_number != SIGHUP && atomic_fetch_add(&n_asked, 1) > 0) {
    _exit(128 + signal_number);
  }
  atomic_compare_exchange_strong(&stop_signal, &none, signal_number);
}

#ifdef DHC_STOP_HOOK
static atomic_long polls_left; /* 0: not asked for */

static void read_hook(void) {
  const char *text = getenv("DHC_STOP_AT_POLL");
  atomic_store(&polls_left, text != NULL ? atol(text) : 0);
}

static void count_poll(void) {
  if (atomic_load_explicit(&polls_left, memory_order_relaxed) > 0 && atomic_fetch_sub(&polls_left, 1) == 1) {
    atomic_store(&stop_signal, SIGINT);
  }
}
#else
static void read_hook(void) {
}
static void count_poll(void) {
}
#endif

void dhc_stop_install(void) {
  struct sigaction action = {.sa_flags = SA_RESTART};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  atomic_store(&stop_signal, 0);
  atomic_store(&n_asked, 0);
  read_hook();
  for (int i = 0; i < N_CAUGHT; i++) {
    (void)sigaction(caught[i], NULL, &before[i]);
    if (caught[i] == SIGHUP && before[i].sa_handler == SIG_IGN) {
      continue;
    }
    (void)sigaction(caught[i], &action, NULL); /* of these signals it cannot fail */
  }
}

int dhc_stop_signal(void) {
  if (atomic_load_explicit(&n_holds, memory_order_relaxed) > 0) {
    return 0;
  }
  count_poll();
  return atomic_load_explicit(&stop_signal, memory_order_relaxed);
}

int dhc_stop_pending(void) {
  return atomic_load_explicit(&stop_signal, memory_order_relaxed);
}

void dhc_stop_hold(void) {
  atomic_fetch_add(&n_holds, 1);
}

void dhc_stop_release(void) {
  atomic_fetch_sub(&n_holds, 1);
}

void dhc_stop_uninstall(void) {
  for (int i = 0; i < N_CAUGHT; i++) {
    (void)sigaction(caught[i], &before[i], NULL);
  }
  atomic_store(&stop_signal, 0);
  atomic_store(&n_asked, 0);
}
