/* Images as bytes. One function a struct reads it as it writes it, so that the two cannot
 * differ: every number is 8 bytes, little endian; a string its length and bytes; an array its length and
 * elements. In front stand a magic number, DHC_ABI_VERSION, the length of what follows and its SHA-256.
 *
 * Packed, an image has no layout, as whoever reads it has that; a number takes a byte for every seven bits of it, and
 * a string or program that was there before is its number among those. Only the version stands in front. */
#include <stdlib.h>
#include <string.h>

#include "runtime/image.h"
#include "runtime/tensor.h"
#include "runtime/sha256.h"

enum { HEAD_BYTES = 24 + 32 };
static const uint64_t magic = UINT64_C(0x31474d4943484425);

/* What a read image owns, newest first; the image itself is the oldest. */
typedef struct Block {
  struct Block *next;
  size_t used, size; /* of data[] */
  _Alignas(16) unsigned char data[];
} Block;

typedef struct Owned {
  dhc_image image; /* first: what callers hold */
  Block *blocks;
} Owned;

/* Strings or programs of a packed image in the order in which they came first. */
typedef struct Said {
  const void **at; /* borrowed from the image */
  int32_t *n;      /* bytes or words */
  int32_t n_said, room;
  int32_t *slot; /* writing: open addressing, 1 + number; twice as many as `room` */
} Said;

typedef struct Io {
  bool reading, bad, no_memory, packed;
  uint8_t *out; /* writing */
  size_t n, room;
  const uint8_t *at, *end; /* reading */
  Owned *owned;
  Said strings, programs; /* packed */
} Io;

/* ---- numbers, strings, arrays ---------------------------------------------------------- */

static void put_bytes(Io *x, const void *bytes, size_t n) {
  if (x->n + n > x->room) {
    size_t room = x->room * 2 > x->n + n ? x->room * 2 : x->n + n + 4096;
    uint8_t *more = x->no_memory ? NULL : realloc(x->out, room);
    if (!more) {
      x->no_memory = true;
      return;
    }
    x->out = more;
    x->room = room;
  }
  if (n) memcpy(x->out + x->n, bytes, n);
  x->n += n;
}

static void word(Io *x, uint64_t *v) {
  uint8_t b[8];
  if (!x->reading) {
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)(*v >> 8 * i);
    put_bytes(x, b, 8);
    return;
  }
  *v = 0;
  if (x->end - x->at < 8) {
    x->bad = true;
    return;
  }
  for (int i = 0; i < 8; i++) *v |= (uint64_t)*x->at++ << 8 * i;
}

/* Seven bits a byte, the lowest first, below them the sign; the last byte has no top bit. */
static void put_short(Io *x, int64_t v) {
  uint64_t w = (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
  uint8_t b[10];
  size_t n = 0;
  for (; w > 127; w >>= 7) b[n++] = (uint8_t)(w | 128);
  b[n++] = (uint8_t)w;
  put_bytes(x, b, n);
}

static int64_t get_short(Io *x) {
  uint64_t w = 0;
  for (int shift = 0; shift < 64 && x->at < x->end; shift += 7) {
    uint8_t b = *x->at++;
    w |= (uint64_t)(b & 127) << shift;
    if (b < 128) return (int64_t)(w >> 1 ^ (w & 1 ? UINT64_MAX : 0));
  }
  x->bad = true;
  return 0;
}

static void i64(Io *x, int64_t *v) {
  uint64_t w = (uint64_t)*v;
  if (x->packed) {
    if (x->reading) *v = get_short(x);
    else put_short(x, *v);
    return;
  }
  word(x, &w);
  if (x->reading) *v = (int64_t)w;
}

static void i32(Io *x, int32_t *v) {
  int64_t w = *v;
  i64(x, &w);
  if (w < INT32_MIN || w > INT32_MAX) x->bad = true;
  else if (x->reading) *v = (int32_t)w;
}

static void u32(Io *x, uint32_t *v) {
  int64_t w = *v;
  i64(x, &w);
  if (w < 0 || w > UINT32_MAX) x->bad = true;
  else if (x->reading) *v = (uint32_t)w;
}

static void f64(Io *x, double *v) {
  uint64_t w;
  memcpy(&w, v, 8);
  word(x, &w);
  if (x->reading) memcpy(v, &w, 8);
}

/* Zeroed, owned by the image; n is at most what the bytes left could fill. */
static void *owned(Io *x, size_t bytes) {
  enum { USUAL = 32 << 10 };
  Block *b = x->owned->blocks;
  if (x->bad || x->no_memory) return NULL;
  bytes = (bytes + 15) / 16 * 16;
  if (!b || b->size - b->used < bytes) {
    size_t size = bytes > USUAL ? bytes : USUAL;
    b = calloc(1, sizeof *b + size);
    if (!b) {
      x->no_memory = true;
      return NULL;
    }
    b->size = size;
    b->next = x->owned->blocks;
    x->owned->blocks = b;
  }
  b->used += bytes;
  return b->data + b->used - bytes;
}

static bool said_grow(Io *x, Said *s) {
  int32_t room = s->room ? s->room * 2 : 256;
  const void **at = realloc(s->at, sizeof *at * (size_t)room);
  if (at) s->at = at;
  int32_t *n = realloc(s->n, sizeof *n * (size_t)room);
  if (n) s->n = n;
  if (at && n) s->room = room;
  else x->no_memory = true;
  free(s->slot);
  s->slot = NULL;
  return at && n;
}

static void say(Io *x, Said *s, const void *at, int32_t n) {
  if (s->n_said == s->room && !said_grow(x, s)) return;
  s->at[s->n_said] = at;
  s->n[s->n_said++] = n;
}

/* Slot of n elements at `at`, or the free one where they belong. */
static int32_t *said_slot(const Said *s, const void *at, int32_t n, size_t each) {
  const uint8_t *p = at;
  size_t bytes = (size_t)n * each, mask = (size_t)s->room * 2 - 1, i = 0;
  uint64_t h = bytes, w; /* FNV-1a by words */
  for (; i + 8 <= bytes; i += 8) {
    memcpy(&w, p + i, 8);
    h = (h ^ w) * UINT64_C(1099511628211);
    h ^= h >> 29;
  }
  for (; i < bytes; i++) h = (h ^ p[i]) * UINT64_C(1099511628211);
  size_t k = (size_t)(h ^ h >> 32) & mask;
  for (; s->slot[k]; k = (k + 1) & mask) {
    int32_t was = s->slot[k] - 1;
    if (s->n[was] == n && !memcmp(s->at[was], at, bytes)) break;
  }
  return &s->slot[k];
}

/* Writing: -2 - the number of what was said before, else n. */
static int32_t said_or(Io *x, Said *s, const void *at, int32_t n, size_t each) {
  if (!x->packed || n <= 0 || x->no_memory || (s->n_said == s->room && !said_grow(x, s))) return n;
  if (!s->slot) {
    s->slot = calloc((size_t)s->room * 2, sizeof *s->slot);
    if (!s->slot) {
      x->no_memory = true;
      return n;
    }
    for (int32_t i = 0; i < s->n_said; i++) *said_slot(s, s->at[i], s->n[i], each) = i + 1;
  }
  int32_t *slot = said_slot(s, at, n, each);
  if (*slot) return -1 - *slot;
  say(x, s, at, n);
  *slot = s->n_said;
  return n;
}

/* Reading: what n stands for; *length of it. */
static const void *said_at(Io *x, const Said *s, int32_t n, int32_t *length) {
  int64_t number = -2 - (int64_t)n;
  if (number < 0 || number >= s->n_said) {
    x->bad = true;
    return NULL;
  }
  *length = s->n[number];
  return s->at[number];
}

static void said_free(Io *x) {
  Said *all[2] = {&x->strings, &x->programs};
  for (int i = 0; i < 2; i++) {
    free(all[i]->at);
    free(all[i]->n);
    free(all[i]->slot);
  }
}

/* Length of what is at least `least` bytes an element; 0 where it cannot be. */
static int32_t count(Io *x, int32_t n, size_t least) {
  i32(x, &n);
  if (x->reading && (x->bad || n < 0 || (uint64_t)n > (uint64_t)(x->end - x->at) / (x->packed ? 1 : least))) {
    x->bad = true;
    n = 0;
  }
  return n;
}

static void text(Io *x, const char **s) {
  int32_t n = -1;
  if (!x->reading) {
    if (*s) n = said_or(x, &x->strings, *s, (int32_t)strlen(*s), 1);
    i32(x, &n);
    if (n > 0) put_bytes(x, *s, (size_t)n);
    return;
  }
  *s = NULL;
  i32(x, &n);
  if (x->bad || n == -1) return;
  if (x->packed && n < 0) {
    *s = said_at(x, &x->strings, n, &n);
    return;
  }
  if (n < 0 || n > x->end - x->at || memchr(x->at, 0, (size_t)n)) {
    x->bad = true;
    return;
  }
  char *to = owned(x, (size_t)n + 1);
  if (!to) return;
  memcpy(to, x->at, (size_t)n);
  x->at += n;
  *s = to;
  if (x->packed && n) say(x, &x->strings, to, n);
}

/* A program that was there before; false: it follows. */
static bool said_program(Io *x, dhc_dimprog *p) {
  const uint8_t *back = x->at;
  int32_t n = x->reading ? 0 : said_or(x, &x->programs, p->code, p->n_code, sizeof *p->code);
  if (!x->reading && n >= 0) return false;
  i32(x, &n);
  if (n < 0 && x->reading) p->code = said_at(x, &x->programs, n, &p->n_code);
  if (n >= 0) x->at = back;
  return n < 0;
}

static void program(Io *x, dhc_dimprog *p) {
  if (x->packed && said_program(x, p)) return;
  int32_t n = count(x, p->n_code, 8);
  int64_t *code = (int64_t *)(uintptr_t)p->code;
  if (x->reading) {
    p->code = code = n ? owned(x, sizeof *code * (size_t)n) : NULL;
    p->n_code = n;
  }
  for (int32_t i = 0; code && i < n; i++) i64(x, &code[i]);
  if (x->packed && x->reading && code && !x->bad) say(x, &x->programs, code, n);
}

/* An array of structs: `each` is called for every element. */
#define ARRAY(x, array, n, each)                                                           \
  do {                                                                                     \
    int32_t n_ = count(x, n, 8);                                                           \
    if ((x)->reading) {                                                                    \
      (n) = n_;                                                                            \
      (array) = n_ ? owned(x, sizeof *(array) * (size_t)n_) : NULL;                        \
    }                                                                                      \
    for (int32_t i_ = 0; (array) && i_ < n_ && !(x)->bad; i_++)                            \
      each(x, (void *)(uintptr_t)&(array)[i_]);                                            \
  } while (0)

/* ---- structs ------------------------------------------------------------------------------ */

static void word32(Io *x, void *at) {
  i32(x, at);
}

static void name(Io *x, void *at) {
  text(x, at);
}

static void dim(Io *x, void *at) {
  program(x, at);
}

static void buffer(Io *x, void *at) {
  dhc_buffer *b = at;
  i32(x, &b->segment);
  i32(x, &b->alias);
  program(x, &b->at);
  program(x, &b->bytes);
  ARRAY(x, b->below, b->n_below, word32);
}

static void ref(Io *x, void *at) {
  dhc_ref *r = at;
  i32(x, &r->buffer);
  program(x, &r->offset);
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++) program(x, &r->step[d]);
  program(x, &r->low);
  program(x, &r->high);
}

static void item(Io *x, void *at) {
  dhc_item *it = at;
  i32(x, &it->kind);
  i32(x, &it->kernel);
  ARRAY(x, it->refs, it->n_refs, ref);
  ARRAY(x, it->dims, it->n_dims, dim);
  program(x, &it->bytes);
  u32(x, &it->pattern);
  program(x, &it->count);
  i32(x, &it->n_body);
  text(x, &it->label);
}

static void guard(Io *x, void *at) {
  dhc_guard *g = at;
  program(x, &g->cond);
  text(x, &g->message);
  u32(x, &g->src_file);
  u32(x, &g->src_begin);
  u32(x, &g->src_end);
}

static void kernel_class(Io *x, void *at) {
  dhc_kernel_class *c = at;
  program(x, &c->guard);
  program(x, &c->n_tasks);
  program(x, &c->first_tasks);
  for (int i = 0; i < DHC_MAX_PHASES - 2; i++) program(x, &c->later_tasks[i]);
  program(x, &c->scratch_bytes);
  program(x, &c->shared_bytes);
}

static void kernel(Io *x, void *at) {
  dhc_kernel *k = at;
  text(x, &k->name);
  i32(x, &k->n_ptrs);
  i32(x, &k->n_dims);
  ARRAY(x, k->classes, k->n_classes, kernel_class);
  program(x, &k->flops);
  program(x, &k->bytes);
}

/* `made` belongs to a process and is left behind: then there has to be a text. */
static void graph(Io *x, dhc_graph *g) {
  if (!x->reading && g->made && !g->text) x->bad = true;
  text(x, &g->text);
}

static void slot(Io *x, void *at) {
  dhc_slot *s = at;
  text(x, &s->name);
  text(x, &s->file);
  i32(x, &s->role);
  i32(x, &s->dtype);
  i32(x, &s->rank);
  for (int d = 0; d < DHC_TENSOR_MAX_RANK; d++) i64(x, &s->dim[d]);
  i64(x, &s->n);
  i64(x, &s->at);
  graph(x, &s->begin);
}

static void range(Io *x, void *at) {
  dhc_range *r = at;
  text(x, &r->name);
  i32(x, &r->dtype);
  i32(x, &r->like_weights);
  i32(x, &r->from_weights);
  i64(x, &r->n);
  i64(x, &r->at);
  i64(x, &r->begin);
  i64(x, &r->whole);
}

static void tensor(Io *x, void *at) {
  dhc_image_tensor *t = at;
  text(x, &t->name);
  text(x, &t->type);
  i32(x, &t->role);
  i32(x, &t->dtype);
  i32(x, &t->buffer);
  i32(x, &t->place);
  i32(x, &t->absent);
  f64(x, &t->value);
  ARRAY(x, t->dims, t->rank, dim);
}

static void equation(Io *x, void *at) {
  dhc_equation *e = at;
  i32(x, &e->symbol);
  i32(x, &e->tensor);
  i32(x, &e->axis);
  program(x, &e->value);
}

static void panel(Io *x, void *at) {
  dhc_panel *p = at;
  i32(x, &p->tensor);
  i32(x, &p->buffer);
  i32(x, &p->width);
  i64(x, &p->matrices);
  i64(x, &p->rows);
  i64(x, &p->cols);
  i32(x, &p->tag);
}

static void index_check(Io *x, void *at) {
  dhc_index_check *c = at;
  i32(x, &c->tensor);
  i32(x, &c->has_part);
  program(x, &c->extent);
  for (int d = 0; d < DHC_TENSOR_MAX_RANK; d++) {
    program(x, &c->start[d]);
    program(x, &c->size[d]);
    i64(x, &c->step[d]);
  }
  i32(x, &c->exempt);
  i64(x, &c->exempted);
  text(x, &c->into);
}

static void require(Io *x, void *at) {
  dhc_require *r = at;
  i32(x, &r->tensor);
  text(x, &r->message);
}

static void scalar(Io *x, void *at) {
  dhc_scalar *s = at;
  text(x, &s->name);
  f64(x, &s->value);
}

static void begin(Io *x, void *at) {
  dhc_begin *b = at;
  i32(x, &b->slot);
  i32(x, &b->result);
  f64(x, &b->value);
}

static void update_param(Io *x, void *at) {
  dhc_update_param *p = at;
  i32(x, &p->kind);
  i32(x, &p->range);
  text(x, &p->scalar);
  i32(x, &p->from_least);
  f64(x, &p->least);
}

static void update(Io *x, dhc_update *u) {
  graph(x, &u->formula);
  ARRAY(x, u->params, u->n_params, update_param);
  ARRAY(x, u->results, u->n_results, word32);
  i32(x, &u->average);
  i32(x, &u->loss);
  i32(x, &u->norm);
}

static void layout(Io *x, dhc_layout *l) {
  ARRAY(x, l->slots, l->n_slots, slot);
  ARRAY(x, l->ranges, l->n_ranges, range);
  i32(x, &l->dtype);
  i64(x, &l->n_weights);
  for (int a = 0; a < DHC_N_SEGMENTS; a++) i64(x, &l->bytes[a]);
}

static void image(Io *x, dhc_image *im) {
  dhc_plan *p = &im->plan;
  text(x, &p->name);
  ARRAY(x, p->symbols, p->n_symbols, name);
  ARRAY(x, p->buffers, p->n_buffers, buffer);
  ARRAY(x, p->items, p->n_items, item);
  ARRAY(x, p->guards, p->n_guards, guard);
  ARRAY(x, im->kernels, p->n_kernels, kernel);
  if (!x->packed) layout(x, &im->layout);
  i32(x, &im->n_params);
  i32(x, &im->n_results);
  int32_t n = x->reading ? 0 : im->n_params + im->n_results;
  ARRAY(x, im->tensors, n, tensor);
  if (im->n_params < 0 || im->n_results < 0 || (int64_t)im->n_params + im->n_results != n) x->bad = true;
  ARRAY(x, im->equations, im->n_equations, equation);
  ARRAY(x, im->panels, im->n_panels, panel);
  ARRAY(x, im->index_checks, im->n_index_checks, index_check);
  ARRAY(x, im->requires, im->n_requires, require);
  ARRAY(x, im->scalars, im->n_scalars, scalar);
  graph(x, &im->reset);
  ARRAY(x, im->begins, im->n_begins, begin);
  update(x, &im->update);
  i32(x, &im->finite);
}

/* ---- the whole ---------------------------------------------------------------------------------- */

dhc_status dhc_image_write(const dhc_image *im, uint8_t **bytes, size_t *n_bytes) {
  static const uint8_t head[HEAD_BYTES];
  Io x = {.reading = false};
  dhc_image copy = *im; /* written through, unchanged */
  put_bytes(&x, head, sizeof head);
  image(&x, &copy);
  if (x.no_memory || x.bad) {
    free(x.out);
    return x.bad ? dhc_status_make(DHC_E_USAGE, "an image that counts wrongly") : dhc_status_memory((long long)x.n, "an image");
  }
  Io h = {.out = x.out, .room = x.room};
  uint64_t first = magic, version = DHC_ABI_VERSION, rest = x.n - HEAD_BYTES;
  word(&h, &first);
  word(&h, &version);
  word(&h, &rest);
  dhc_sha256_bytes(x.out + HEAD_BYTES, x.n - HEAD_BYTES, x.out + 24);
  *bytes = x.out;
  *n_bytes = x.n;
  return dhc_status_ok();
}

dhc_status dhc_image_pack(const dhc_image *im, uint8_t **bytes, size_t *n_bytes) {
  Io x = {.packed = true};
  dhc_image copy = *im;
  int32_t version = DHC_ABI_VERSION;
  i32(&x, &version);
  image(&x, &copy);
  said_free(&x);
  if (x.no_memory || x.bad) {
    free(x.out);
    return x.bad ? dhc_status_make(DHC_E_USAGE, "an image that counts wrongly") : dhc_status_memory((long long)x.n, "an image");
  }
  *bytes = x.out;
  *n_bytes = x.n;
  return dhc_status_ok();
}

void dhc_image_free(dhc_image *im) {
  if (!im) return;
  Owned *o = (Owned *)(void *)im;
  while (o->blocks) {
    Block *b = o->blocks;
    o->blocks = b->next;
    free(b);
  }
  free(o);
}

static dhc_status check_head(const uint8_t *bytes, size_t n_bytes) {
  Io h = {.reading = true, .at = bytes, .end = bytes + n_bytes};
  uint64_t first, version, rest;
  uint8_t digest[32];
  word(&h, &first);
  word(&h, &version);
  word(&h, &rest);
  if (h.bad || first != magic || n_bytes < HEAD_BYTES) return dhc_status_make(DHC_E_INPUT, "no image");
  if (version != DHC_ABI_VERSION)
    return dhc_status_make(DHC_E_INPUT, "an image of version %llu, this is version %d", (unsigned long long)version, DHC_ABI_VERSION);
  dhc_sha256_bytes(bytes + HEAD_BYTES, n_bytes - HEAD_BYTES, digest);
  if (rest != n_bytes - HEAD_BYTES || memcmp(digest, bytes + 24, sizeof digest)) return dhc_status_make(DHC_E_INPUT, "a damaged image");
  return dhc_status_ok();
}

static dhc_status read_image(Io *x, const dhc_layout *l, dhc_image **out) {
  size_t n_bytes = (size_t)(x->end - x->at);
  Owned *o = x->owned = calloc(1, sizeof *o);
  if (!o) return dhc_status_memory((long long)sizeof *o, "an image");
  o->image.version = DHC_ABI_VERSION;
  if (l) o->image.layout = *l;
  image(x, &o->image);
  bool whole = !x->bad && !x->no_memory && x->at == x->end && dhc_image_fits(&o->image);
  if (whole) {
    *out = &o->image;
    return dhc_status_ok();
  }
  dhc_image_free(&o->image);
  return x->no_memory ? dhc_status_memory((long long)n_bytes, "an image") : dhc_status_make(DHC_E_INPUT, "an image that does not hold together");
}

dhc_status dhc_image_read(const uint8_t *bytes, size_t n_bytes, dhc_image **out) {
  DHC_TRY(check_head(bytes, n_bytes));
  Io x = {.reading = true, .at = bytes + HEAD_BYTES, .end = bytes + n_bytes};
  return read_image(&x, NULL, out);
}

dhc_status dhc_image_unpack(const uint8_t *bytes, size_t n_bytes, const dhc_layout *l, dhc_image **out) {
  Io x = {.reading = true, .packed = true, .at = bytes, .end = bytes + n_bytes};
  int32_t version = 0;
  i32(&x, &version);
  if (x.bad || version != DHC_ABI_VERSION) return dhc_status_make(DHC_E_INPUT, "no image of this version");
  dhc_status st = read_image(&x, l, out);
  said_free(&x);
  return st;
}
