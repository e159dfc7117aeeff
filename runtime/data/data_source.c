/* A file read from front to back, inflated on the way if it is gzip. */
#include <string.h>

#include "runtime/data/data_internal.h"

void dhc_source_close(DhcSource *s) {
  if (s->gzip) {
    inflateEnd(&s->z);
  }
  dhc_map_close(&s->map);
  s->gzip = false;
}

dhc_status dhc_source_open(DhcSource *s, const char *path) {
  *s = (DhcSource){.path = path};
  DHC_TRY(dhc_map_open(path, &s->map));
  if (s->map.n_bytes >= 2 && s->map.bytes[0] == 0x1f && s->map.bytes[1] == 0x8b) {
    if (inflateInit2(&s->z, 16 + MAX_WBITS) != Z_OK) {
      dhc_map_close(&s->map);
      return dhc_status_memory(1 << 16, "inflating");
    }
    s->gzip = true;
  }
  return dhc_status_ok();
}

/* Hands zlib the next piece of the mapping (its counters are 32-bit). */
static void feed(DhcSource *s) {
  size_t left = s->map.n_bytes - s->at;
  size_t piece = left < ((size_t)1 << 30) ? left : (size_t)1 << 30;
  s->z.next_in = (Bytef *)(uintptr_t)(s->map.bytes + s->at);
  s->z.avail_in = (uInt)piece;
  s->at += piece;
}

/* Takes zero bytes behind a member, as tapes and block devices leave them and gzip passes over them; true if
 * nothing else follows. */
static bool only_zeros(DhcSource *s) {
  for (;;) {
    for (; s->z.avail_in > 0; s->z.avail_in--, s->z.next_in++) {
      if (*s->z.next_in != 0) {
        return false;
      }
    }
    if (s->at == s->map.n_bytes) {
      return true;
    }
    feed(s);
  }
}

dhc_status dhc_source_read(DhcSource *s, uint8_t *to, size_t n, size_t *got) {
  *got = 0;
  if (!s->gzip) {
    size_t left = s->map.n_bytes - s->at;
    *got = left < n ? left : n;
    if (*got > 0) {
      memcpy(to, s->map.bytes + s->at, *got);
    }
    s->at += *got;
    return dhc_status_ok();
  }
  while (*got < n) {
    size_t piece = n - *got < ((size_t)1 << 30) ? n - *got : (size_t)1 << 30;
    if (s->z.avail_in == 0 && s->at < s->map.n_bytes) {
      feed(s);
    }
    s->z.next_out = to + *got;
    s->z.avail_out = (uInt)piece;
    int r = inflate(&s->z, Z_NO_FLUSH);
    *got += piece - s->z.avail_out;
    if (r == Z_STREAM_END) {
      if (only_zeros(s)) {
        return dhc_status_ok();
      }
      r = inflateReset(&s->z); /* another member follows */
    }
    if (r == Z_MEM_ERROR) {
      return dhc_status_memory(1 << 16, "inflating");
    }
    if (r != Z_OK && r != Z_BUF_ERROR) {
      return dhc_status_file(s->path, "gzip data is damaged");
    }
    if (r == Z_BUF_ERROR && s->z.avail_in == 0 && s->at == s->map.n_bytes) {
      return dhc_status_file(s->path, "gzip data ends too early");
    }
  }
  return dhc_status_ok();
}
