/* Numbers as texts that other programs read: CSV, JSON, settings of a run. */
#ifndef DHC_RUNTIME_NUMBER_H
#define DHC_RUNTIME_NUMBER_H

#include <stdint.h>

enum { DHC_NUMBER_CHARS = 48 };

/* v with as few significant digits, from `least` to `most`, as bring it back (most = 17 always does; 9 for a float32),
 * with '.' in every locale. Whole numbers below 2^53 have all their digits; "inf", "-inf" and "nan" are what they are. */
void dhc_number_text(double v, int least, int most, char text[DHC_NUMBER_CHARS]);
/* A number of a file as an integer: -1 for what is none from 0 to 2^53. */
int64_t dhc_number_whole(double v);

#endif
