/* Stopping on SIGINT, SIGTERM and SIGHUP: the first sets a flag that long work polls; a SIGINT
 * or SIGTERM after another of these two ends the process at once with status 130 or 143. A hangup
 * is no such second signal: shell, terminal and system send it along with others. A SIGHUP that
 * was ignored when the handlers were installed (nohup) stays so. */
#ifndef DHC_RUNTIME_STOP_H
#define DHC_RUNTIME_STOP_H

/* Installs the handlers (the flag is the one piece of process-wide state here:
 * signals are process-wide). Only a command calls this, never the library. */
void dhc_stop_install(void);
/* The first signal's number, 0 as long as none came. */
int dhc_stop_signal(void);
/* The same, whatever is held. */
int dhc_stop_pending(void);
/* Until as many calls of release, dhc_stop_signal says 0: around what must come to its end. */
void dhc_stop_hold(void);
void dhc_stop_release(void);
/* In builds with tests $DHC_STOP_AT_POLL = N makes the Nth call of dhc_stop_signal (from 1) and
 * all later ones find a SIGINT: every place that polls can be stopped at. */
/* Clears the flag and puts the old handlers back. */
void dhc_stop_uninstall(void);

#endif
