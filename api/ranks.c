/* Ranks as dhc.h knows them. */
#include "api/api.h"
#include "runtime/ranks.h"

static int timeout_of(int timeout) { return timeout > 0 ? timeout : DHC_RANKS_TIMEOUT; }

dhc_status dhc_group_fork(int n, int timeout, dhc_group **out, int *rc) {
  return dhc_ranks_fork(n, timeout_of(timeout), out, rc);
}

dhc_status dhc_group_from_environment(int timeout, dhc_group **out) { return dhc_ranks_from_environment(timeout_of(timeout), out); }
int dhc_group_rank(const dhc_group *g) { return dhc_ranks_number(g); }
int dhc_group_size(const dhc_group *g) { return dhc_ranks_count(g); }
int dhc_group_local(const dhc_group *g) { return dhc_ranks_local(g); }
bool dhc_group_speaks(const dhc_group *g) { return dhc_ranks_speaks(g); }
bool dhc_group_ended(const dhc_group *g) { return dhc_ranks_ended(g) != NULL; }
void dhc_group_last_words(dhc_group *g, void (*say)(void *ctx, const char *line), void *ctx) { dhc_ranks_last_words(g, say, ctx); }
void dhc_group_close(dhc_group *g, const dhc_status *st) { dhc_ranks_close(g, st && st->code == DHC_E_INTERRUPTED ? NULL : st); }
