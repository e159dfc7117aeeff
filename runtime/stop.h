/* Stopping on SIGINT and SIGTERM: the first sets a flag that long work polls,
 * the second ends the process at once with status 130 or 143. */
#ifndef DHC_RUNTIME_STOP_H
#define DHC_RUNTIME_STOP_H

#include "runtime/status.h"

/* Installs the handlers (the flag is the one piece of process-wide state here:
 * signals are process-wide). Only a command calls this, never the library. */
dhc_status dhc_stop_install(void) DHC_MUST_USE;
/* The first signal's number, 0 as long as none came. */
int dhc_stop_signal(void);
/* Clears the flag and puts the old handlers back. */
void dhc_stop_uninstall(void);

#endif
