/* Faults of dhcc itself. */
#ifndef DHC_IR_BUG_H
#define DHC_IR_BUG_H

/* Says where and what, aborts. */
#define DHC_BUG(...) dhc_bug(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void dhc_bug(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
