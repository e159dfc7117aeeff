/* Metrics as TensorBoard reads them, beside metrics.csv and made of the same rows: those of a run that goes on are
 * written again from it, so that no step stands there twice. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "api/train/trainer.h"
#include "runtime/events.h"
#include "runtime/io.h"
#include "runtime/number.h"

/* Tags of the columns of a row, in their order; NULL: no scalar of its own. */
static const char *const tags[TRAIN_N_COLUMNS] = {NULL,           "train/epoch",     "train/loss",      "train/accuracy", "train/lr",
                                                  "train/grad_norm", "train/samples_s", NULL,            "val/loss",       "val/accuracy"};

dhc_status trainer_event(Trainer *t, const double row[TRAIN_N_COLUMNS]) {
  const char *tag[TRAIN_N_COLUMNS];
  double value[TRAIN_N_COLUMNS];
  int n = 0;
  int64_t step = dhc_number_whole(row[TRAIN_COLUMN_STEP]);
  if (!t->events || step < 0) return dhc_status_ok(); /* a row that is no row of a run */
  for (int i = 0; i < TRAIN_N_COLUMNS; i++) {
    if (!tags[i]) continue;
    tag[n] = tags[i];
    value[n++] = row[i];
  }
  bool any = false;
  for (int i = 0; i < n; i++) any = any || isfinite(value[i]);
  if (!any) return dhc_status_ok();
  return dhc_events_scalars(t->events, step, t->event_wall + (isfinite(row[TRAIN_COLUMN_TIME]) ? row[TRAIN_COLUMN_TIME] : 0), tag, value, n);
}

static dhc_status replay(Trainer *t, const char *at, const char *end) {
  at = memchr(at, '\n', (size_t)(end - at)); /* behind the header */
  while (at && ++at < end) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    double row[TRAIN_N_COLUMNS];
    if (!stop) break;
    for (int i = 0; i < TRAIN_N_COLUMNS; i++) {
      char text[64];
      size_t k = 0;
      for (; at < stop && *at != ','; at++)
        if (k + 1 < sizeof text) text[k++] = *at;
      text[k] = '\0';
      at += at < stop;
      row[i] = k ? strtod(text, NULL) : (double)NAN;
    }
    DHC_TRY(trainer_event(t, row));
    at = stop;
  }
  return dhc_status_ok();
}

dhc_status trainer_open_events(Trainer *t) {
  if (!t->o->tensorboard || !t->o->out || t->events) return dhc_status_ok();
  t->event_wall = (double)time(NULL) - (session_now_ms() - t->t0) / 1e3;
  DHC_TRY(dhc_events_open(dhc_arena_printf(&t->arena, "%s/" TRAIN_EVENTS_FILE, t->o->out), &t->events));
  DhcMapping map;
  dhc_status st = dhc_map_open(dhc_arena_printf(&t->arena, "%s/metrics.csv", t->o->out), &map);
  if (st.code == DHC_E_INPUT || (st.code == DHC_OK && !map.n_bytes)) return dhc_status_ok(); /* no rows yet */
  if (st.code != DHC_OK) return st;
  st = replay(t, (const char *)map.bytes, (const char *)map.bytes + map.n_bytes);
  dhc_map_close(&map);
  return st;
}
