/* What the stand-in device has been asked for, in this process. */
#ifndef DHC_TESTS_STANDIN_H
#define DHC_TESTS_STANDIN_H

#include <stdint.h>

typedef struct DhcStandinCounts {
  int64_t allocs, uploads, downloads, downloaded_bytes, aheads, launches, packs, prepares, replays;
} DhcStandinCounts;

__attribute__((visibility("default"))) DhcStandinCounts dhc_standin_counts(void);

#endif
