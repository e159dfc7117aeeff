/* What the board has: a debugger that prints (semihosting). */
#ifndef BOARD_H
#define BOARD_H

void print(const char *text);

#endif
