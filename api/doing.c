/* What a session is at. Written by the thread that works, read by any. */
#include "api/api.h"

void session_doing(dhc_session *s, const char *what, int64_t done, int64_t of) {
  atomic_store(&s->doing.what, what);
  atomic_store(&s->doing.count.done, done);
  atomic_store(&s->doing.count.of, of);
}

dhc_doing dhc_session_doing(const dhc_session *s) {
  if (!s) return (dhc_doing){0};
  return (dhc_doing){atomic_load(&s->doing.what), atomic_load(&s->doing.count.done), atomic_load(&s->doing.count.of)};
}
