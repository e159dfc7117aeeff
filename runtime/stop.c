#include "runtime/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

/* Process-wide because signals are; lock-free, so a handler may use it. */
static atomic_int stop_signal;
static struct sigaction old_interrupt, old_terminate;

static void on_signal(int signal_number) {
  int none = 0;
  if (!atomic_compare_exchange_strong(&stop_signal, &none, signal_number)) {
    _exit(128 + signal_number);
  }
}

dhc_status dhc_stop_install(void) {
  struct sigaction action = {.sa_flags = SA_RESTART};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  atomic_store(&stop_signal, 0);
  if (sigaction(SIGINT, &action, &old_interrupt) != 0 ||
      sigaction(SIGTERM, &action, &old_terminate) != 0) {
    return dhc_status_errno(errno, "cannot catch signals");
  }
  return dhc_status_ok();
}

int dhc_stop_signal(void) {
  return atomic_load_explicit(&stop_signal, memory_order_relaxed);
}

void dhc_stop_uninstall(void) {
  (void)sigaction(SIGINT, &old_interrupt, NULL);
  (void)sigaction(SIGTERM, &old_terminate, NULL);
  atomic_store(&stop_signal, 0);
}
