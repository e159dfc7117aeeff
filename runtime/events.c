#include "runtime/events.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/io.h"

struct DhcEvents {
  int fd;
  char *path;
};

uint32_t dhc_crc32c(const void *bytes, size_t n) {
  const uint8_t *p = bytes;
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < n; i++) {
    crc ^= p[i];
    for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

/* As TFRecord keeps it. */
static uint32_t masked(uint32_t crc) {
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protocol buffers: what an event needs of them ------------------------------------------ */

enum { MAX_EVENT = 4096 };

typedef struct Message {
  uint8_t at[MAX_EVENT];
  size_t n;
  bool full; /* something did not fit */
} Message;

static void put_bytes(Message *m, const void *bytes, size_t n) {
  if (n > sizeof m->at - m->n) {
    m->full = true;
    return;
  }
  memcpy(m->at + m->n, bytes, n);
  m->n += n;
}

static void put_varint(Message *m, uint64_t v) {
  do {
    uint8_t byte = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    put_bytes(m, &byte, 1);
    v >>= 7;
  } while (v);
}

static void put_little(Message *m, uint64_t bits, int n) {
  for (int i = 0; i < n; i++) {
    uint8_t byte = (uint8_t)(bits >> (8 * i));
    put_bytes(m, &byte, 1);
  }
}

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

static void put_key(Message *m, unsigned number, unsigned wire) {
  put_varint(m, number << 3 | wire);
}

static void put_field(Message *m, unsigned number, const void *bytes, size_t n) {
  put_key(m, number, LENGTH);
  put_varint(m, n);
  put_bytes(m, bytes, n);
}

static void put_double(Message *m, unsigned number, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  put_key(m, number, FIXED64);
  put_little(m, bits, 8);
}

static void put_float(Message *m, unsigned number, float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  put_key(m, number, FIXED32);
  put_little(m, bits, 4);
}

/* Event: 1 wall_time, 2 step, 3 file_version, 5 summary; Summary: 1 value; Value: 1 tag, 2 simple_value. */

/* ---- the file ----------------------------------------------------------------------------------- */

static dhc_status write_all(const DhcEvents *e, const uint8_t *bytes, size_t n) {
  while (n > 0) {
    ssize_t k = write(e->fd, bytes, n);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return dhc_status_errno(errno, "%s", e->path);
    bytes += k;
    n -= (size_t)k;
  }
  return dhc_status_ok();
}

static dhc_status write_event(const DhcEvents *e, const Message *event) {
  Message frame = {.n = 0};
  put_little(&frame, event->n, 8);
  put_little(&frame, masked(dhc_crc32c(frame.at, 8)), 4);
  put_bytes(&frame, event->at, event->n);
  put_little(&frame, masked(dhc_crc32c(event->at, event->n)), 4);
  if (event->full || frame.full) return dhc_status_make(DHC_E_ENVIRONMENT, "%s: an event of more than %d bytes", e->path, MAX_EVENT);
  return write_all(e, frame.at, frame.n);
}

dhc_status dhc_events_open(const char *path, DhcEvents **out) {
  *out = NULL;
  DhcEvents *e = calloc(1, sizeof *e);
  if (e) e->path = strdup(path);
  if (e == NULL || e->path == NULL) {
    free(e);
    return dhc_status_memory((long long)strlen(path) + 1, "an event file");
  }
  (void)unlink(path); /* whoever reads the old one goes on doing so */
  e->fd = dhc_fd_above_standard(open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666));
  dhc_status st = e->fd < 0 ? dhc_status_errno(errno, "%s", path) : dhc_status_ok();
  if (st.code == DHC_OK) {
    Message event = {.n = 0};
    put_double(&event, 1, (double)time(NULL));
    put_field(&event, 3, "brain.Event:2", 13);
    st = write_event(e, &event);
  }
  if (st.code == DHC_OK) *out = e;
  else dhc_events_close(e);
  return st;
}

dhc_status dhc_events_scalars(DhcEvents *e, int64_t step, double wall_time, const char *const *tags, const double *values, int n) {
  Message summary = {.n = 0}, event = {.n = 0};
  for (int i = 0; i < n; i++) {
    if (!isfinite(values[i])) continue;
    Message value = {.n = 0};
    put_field(&value, 1, tags[i], strlen(tags[i]));
    put_float(&value, 2, (float)values[i]);
    put_field(&summary, 1, value.at, value.n);
    summary.full = summary.full || value.full;
  }
  put_double(&event, 1, wall_time);
  put_key(&event, 2, VARINT);
  put_varint(&event, (uint64_t)step);
  put_field(&event, 5, summary.at, summary.n);
  event.full = event.full || summary.full;
  return write_event(e, &event);
}

void dhc_events_close(DhcEvents *e) {
  if (e == NULL) return;
  if (e->fd >= 0) close(e->fd);
  free(e->path);
  free(e);
}
