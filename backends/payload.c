#include "backends/payload.h"

#include "ir/spec.h"

enum { MAGIC = 0x34504b44, MAX_CLASSES = DHC_MAX_CLASSES, MAX_CODE = 1 << 16, N_PROGS = 5 + DHC_MAX_PHASES - 2 };

/* The programs of a class in the order in which they are written. */
static void programs_of(dhc_kernel_class *c, dhc_dimprog *prog[N_PROGS]) {
  prog[0] = &c->guard;
  prog[1] = &c->n_tasks;
  prog[2] = &c->first_tasks;
  prog[3] = &c->scratch_bytes;
  prog[4] = &c->shared_bytes;
  for (int i = 0; i < DHC_MAX_PHASES - 2; i++) prog[5 + i] = &c->later_tasks[i];
}

static void put_word(uint8_t **at, uint64_t v) {
  for (int i = 0; i < 8; i++) *(*at)++ = (uint8_t)(v >> 8 * i);
}

static void put_prog(uint8_t **at, dhc_dimprog p) {
  put_word(at, (uint64_t)p.n_code);
  for (int i = 0; i < p.n_code; i++) put_word(at, (uint64_t)p.code[i]);
}

static size_t prog_bytes(dhc_dimprog p) { return 8 * (size_t)(1 + p.n_code); }

uint8_t *dhc_payload_write(DhcArena *arena, const dhc_kernel_class *classes, int n, const char *text,
                           const char *object, size_t n_object, size_t *n_bytes) {
  size_t n_text = strlen(text), padded = (n_text + 7) & ~(size_t)7, size = 16 + padded + n_object;
  dhc_dimprog *prog[N_PROGS];
  for (int i = 0; i < n; i++) {
    dhc_kernel_class c = classes[i];
    programs_of(&c, prog);
    for (int k = 0; k < N_PROGS; k++) size += prog_bytes(*prog[k]);
  }
  uint8_t *bytes = dhc_arena_alloc(arena, size), *at = bytes;
  put_word(&at, (uint64_t)MAGIC | (uint64_t)n << 32);
  for (int i = 0; i < n; i++) {
    dhc_kernel_class c = classes[i];
    programs_of(&c, prog);
    for (int k = 0; k < N_PROGS; k++) put_prog(&at, *prog[k]);
  }
  put_word(&at, n_text);
  memcpy(at, text, n_text);
  memset(at + n_text, 0, padded - n_text);
  memcpy(at + padded, object, n_object);
  *n_bytes = size;
  return bytes;
}

typedef struct Reader {
  const uint8_t *at, *end;
  bool bad;
} Reader;

static uint64_t get_word(Reader *r) {
  if (r->end - r->at < 8) {
    r->bad = true;
    return 0;
  }
  uint64_t v = 0;
  for (int i = 0; i < 8; i++) v |= (uint64_t)*r->at++ << 8 * i;
  return v;
}

static dhc_dimprog get_prog(Reader *r, DhcArena *arena) {
  uint64_t n = get_word(r);
  if (r->bad || n > MAX_CODE || (uint64_t)(r->end - r->at) / 8 < n) {
    r->bad = true;
    return (dhc_dimprog){0};
  }
  int64_t *code = DHC_NEW_N(arena, int64_t, n + 1);
  for (uint64_t i = 0; i < n; i++) code[i] = (int64_t)get_word(r);
  return (dhc_dimprog){n ? code : NULL, (int32_t)n};
}

static bool read_payload(DhcArena *arena, const uint8_t *bytes, size_t n_bytes, dhc_kernel_class *classes, int *n,
                         const char **text, size_t *n_text, const char **object, size_t *n_object) {
  Reader r = {bytes, bytes + n_bytes, false};
  uint64_t head = get_word(&r);
  if (r.bad || (uint32_t)head != MAGIC || head >> 32 < 1 || head >> 32 > MAX_CLASSES) return false;
  *n = (int)(head >> 32);
  for (int i = 0; i < *n; i++) {
    classes[i] = (dhc_kernel_class){0};
    dhc_dimprog *prog[N_PROGS];
    programs_of(&classes[i], prog);
    for (int k = 0; k < N_PROGS; k++) *prog[k] = get_prog(&r, arena);
  }
  uint64_t length = get_word(&r), left = (uint64_t)(r.end - r.at);
  if (r.bad || length > left || ((length + 7) & ~(uint64_t)7) > left) return false;
  *text = (const char *)r.at;
  *n_text = (size_t)length;
  r.at += (length + 7) & ~(uint64_t)7;
  if (r.at == r.end) return false;
  *object = (const char *)r.at;
  *n_object = (size_t)(r.end - r.at);
  return true;
}

bool dhc_payload_read(DhcArena *arena, const uint8_t *bytes, size_t n_bytes,
                      dhc_kernel_class *classes, int *n, const char **object, size_t *n_object) {
  const char *text;
  size_t n_text;
  return read_payload(arena, bytes, n_bytes, classes, n, &text, &n_text, object, n_object);
}

const char *dhc_payload_text(DhcArena *arena, const uint8_t *bytes, size_t n_bytes) {
  dhc_kernel_class classes[MAX_CLASSES];
  const char *text, *object;
  size_t n_text, n_object;
  int n;
  if (!read_payload(arena, bytes, n_bytes, classes, &n, &text, &n_text, &object, &n_object)) return NULL;
  return dhc_arena_printf(arena, "%.*s", (int)n_text, text);
}
