/* Images as bytes. One function a struct reads it as it writes it, so that the two cannot
 * differ: every number is 8 bytes, little endian; a string its length and bytes; an array its length and
 * elements. In front stand a magic number, DHC_ABI_VERSION, the length of what follows and its SHA-256. */
#include <stdlib.h>
#include <string.h>

#include "runtime/image.h"
#include "runtime/sha256.h"

enum { HEAD_BYTES = 24 + 32, MAX_RANK = 8 };
static const uint64_t magic = UINT64_C(0x31474d4943484425);

/* What a read image owns, newest first; the image itself is the oldest. */
typedef struct Block {
  struct Block *next;
} Block;

typedef struct Owned {
  dhc_image image; /* first: what callers hold */
  Block *blocks;
} Owned;

typedef struct Io {
  bool reading, bad, no_memory;
  uint8_t *out; /* writing */
  size_t n, room;
  const uint8_t *at, *end; /* reading */
  Owned *owned;
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

static void i64(Io *x, int64_t *v) {
  uint64_t w = (uint64_t)*v;
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
  uint64_t w = *v;
  word(x, &w);
  if (w > UINT32_MAX) x->bad = true;
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
  Block *b = x->bad || x->no_memory ? NULL : calloc(1, sizeof *b + 8 + bytes);
  if (!b) {
    if (!x->bad) x->no_memory = true;
    return NULL;
  }
  b->next = x->owned->blocks;
  x->owned->blocks = b;
  return (char *)b + (sizeof *b + 7) / 8 * 8;
}

/* Length of what is at least `least` bytes an element; 0 where it cannot be. */
static int32_t count(Io *x, int32_t n, size_t least) {
  i32(x, &n);
  if (x->reading && (x->bad || n < 0 || (uint64_t)n > (uint64_t)(x->end - x->at) / least)) {
    x->bad = true;
    n = 0;
  }
  return n;
}

static void text(Io *x, const char **s) {
  int32_t n = -1;
  if (!x->reading) {
    if (*s) n = (int32_t)strlen(*s);
    i32(x, &n);
    if (n > 0) put_bytes(x, *s, (size_t)n);
    return;
  }
  *s = NULL;
  i32(x, &n);
  if (x->bad || n == -1) return;
  if (n < 0 || n > x->end - x->at || memchr(x->at, 0, (size_t)n)) {
    x->bad = true;
    return;
  }
  char *to = owned(x, (size_t)n + 1);
  if (!to) return;
  memcpy(to, x->at, (size_t)n);
  x->at += n;
  *s = to;
}

static void program(Io *x, dhc_dimprog *p) {
  int32_t n = count(x, p->n_code, 8);
  int64_t *code = (int64_t *)(uintptr_t)p->code;
  if (x->reading) {
    p->code = code = n ? owned(x, sizeof *code * (size_t)n) : NULL;
    p->n_code = n;
  }
  for (int32_t i = 0; code && i < n; i++) i64(x, &code[i]);
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
  i32(x, &b->dtype);
  i32(x, &b->alias);
  program(x, &b->at);
  program(x, &b->bytes);
  ARRAY(x, b->below, b->n_below, word32);
  text(x, &b->name);
}

static void ref(Io *x, void *at) {
  dhc_ref *r = at;
  i32(x, &r->buffer);
  program(x, &r->offset);
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++) program(x, &r->step[d]);
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
  u32(x, &it->src_file);
  u32(x, &it->src_begin);
  u32(x, &it->src_end);
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
  for (int d = 0; d < MAX_RANK; d++) i64(x, &s->dim[d]);
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
}

static void index_check(Io *x, void *at) {
  dhc_index_check *c = at;
  i32(x, &c->tensor);
  i32(x, &c->has_part);
  program(x, &c->extent);
  for (int d = 0; d < MAX_RANK; d++) {
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

static void image(Io *x, dhc_image *im) {
  dhc_plan *p = &im->plan;
  text(x, &p->name);
  ARRAY(x, p->symbols, p->n_symbols, name);
  ARRAY(x, p->buffers, p->n_buffers, buffer);
  ARRAY(x, p->items, p->n_items, item);
  ARRAY(x, p->guards, p->n_guards, guard);
  ARRAY(x, im->kernels, p->n_kernels, kernel);
  dhc_layout *l = &im->layout;
  ARRAY(x, l->slots, l->n_slots, slot);
  ARRAY(x, l->ranges, l->n_ranges, range);
  i32(x, &l->dtype);
  i64(x, &l->n_weights);
  for (int a = 0; a < DHC_N_SEGMENTS; a++) i64(x, &l->bytes[a]);
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

/* ---- what refers to what --------------------------------------------------------------------- */

static bool in(int64_t i, int64_t n) {
  return i >= 0 && i < n;
}

static bool tensor_fits(const dhc_image *im, int32_t i) {
  const dhc_image_tensor *t = &im->tensors[i];
  bool result = i >= im->n_params;
  bool fits = t->name && t->type && in(t->dtype, DHC_N_DTYPES) && in(t->rank, MAX_RANK + 1) && in(t->role, DHC_IMAGE_SCALAR + 1) &&
              t->buffer < im->plan.n_buffers && t->buffer >= (result ? 0 : -1) && result == (t->role == DHC_IMAGE_RESULT);
  if (!fits) return false;
  switch (t->role) {
    case DHC_IMAGE_WEIGHT:
    case DHC_IMAGE_BUFFER:
    case DHC_IMAGE_TABLE:
    case DHC_IMAGE_STATE: return in(t->place, im->layout.n_slots) && im->layout.slots[t->place].role == t->role;
    case DHC_IMAGE_RANGE: return t->place == -1 || in(t->place, im->layout.n_ranges);
    default: return true;
  }
}

static bool layout_fits(const dhc_layout *l) {
  bool fits = in(l->dtype, DHC_N_DTYPES) && l->n_weights >= 0;
  for (int a = 0; a < DHC_N_SEGMENTS; a++) fits = fits && l->bytes[a] >= 0;
  for (int32_t i = 0; fits && i < l->n_slots; i++) {
    const dhc_slot *s = &l->slots[i];
    int64_t bytes, end;
    fits = s->name && in(s->dtype, DHC_N_DTYPES) && in(s->rank, MAX_RANK + 1) && s->role >= DHC_IMAGE_WEIGHT && s->role <= DHC_IMAGE_STATE;
    if (!fits || s->role == DHC_IMAGE_STATE) continue;
    fits = dhc_size_mul(s->n, dhc_tensor_dtype_bytes(s->dtype), &bytes) && dhc_size_add(s->at, bytes, &end) &&
           end <= l->bytes[s->role == DHC_IMAGE_WEIGHT ? DHC_SEGMENT_WEIGHTS : DHC_SEGMENT_BUFFERS];
  }
  for (int32_t i = 0; fits && i < l->n_ranges; i++) {
    const dhc_range *r = &l->ranges[i];
    int64_t bytes, end;
    fits = r->name && in(r->dtype, DHC_N_DTYPES) && dhc_size_mul(r->n, dhc_tensor_dtype_bytes(r->dtype), &bytes) &&
           dhc_size_add(r->at, bytes, &end) && end <= l->bytes[DHC_SEGMENT_MOMENTS] && (!r->like_weights || r->n == l->n_weights);
  }
  return fits;
}

static bool checks_fit(const dhc_image *im) {
  bool fits = true;
  for (int32_t i = 0; i < im->n_equations; i++) {
    const dhc_equation *e = &im->equations[i];
    fits = fits && in(e->symbol, im->plan.n_symbols) && in(e->tensor, im->n_params) && in(e->axis, im->tensors[e->tensor].rank);
  }
  for (int32_t i = 0; fits && i < im->n_panels; i++) {
    const dhc_panel *p = &im->panels[i];
    int64_t each, all;
    fits = in(p->tensor, im->n_params) && im->tensors[p->tensor].role == DHC_IMAGE_WEIGHT && in(p->buffer, im->plan.n_buffers) &&
           p->width > 0 && dhc_size_mul(p->rows, p->cols, &each) && dhc_size_mul(each, p->matrices, &all) &&
           all <= im->layout.slots[im->tensors[p->tensor].place].n;
  }
  for (int32_t i = 0; fits && i < im->n_index_checks; i++) {
    const dhc_index_check *c = &im->index_checks[i];
    fits = in(c->tensor, im->n_params) && im->tensors[c->tensor].role == DHC_IMAGE_INPUT;
  }
  for (int32_t i = 0; fits && i < im->n_requires; i++)
    fits = im->requires[i].message && in((int64_t)im->requires[i].tensor - im->n_params, im->n_results);
  return fits;
}

static bool update_fits(const dhc_image *im) {
  const dhc_update *u = &im->update;
  bool fits = u->average >= -1 && u->average < im->layout.n_ranges && u->loss >= -1 && u->loss < im->n_results && u->norm >= -1 &&
              u->norm < im->n_results;
  for (int32_t i = 0; i < u->n_params; i++) {
    const dhc_update_param *p = &u->params[i];
    fits = fits && in(p->kind, DHC_UPDATE_SCALAR + 1) && p->range >= -1 && p->range < im->layout.n_ranges &&
           (p->kind != DHC_UPDATE_SCALAR || p->scalar);
  }
  for (int32_t i = 0; i < u->n_results; i++) fits = fits && u->results[i] >= -1 && u->results[i] < im->layout.n_ranges;
  for (int32_t i = 0; i < im->n_scalars; i++) fits = fits && im->scalars[i].name;
  for (int32_t i = 0; i < im->n_begins; i++) {
    const dhc_begin *b = &im->begins[i];
    fits = fits && in(b->slot, im->layout.n_slots) && im->layout.slots[b->slot].role == DHC_IMAGE_STATE && b->result >= -1 &&
           (b->result < 0 || im->reset.text);
  }
  return fits;
}

/* What binding does not check by itself. */
static bool fits(const dhc_image *im) {
  const dhc_plan *p = &im->plan;
  if (!p->name || p->n_symbols > DHC_IMAGE_MAX_SYMBOLS || im->finite < -1 || im->finite >= im->n_results || !layout_fits(&im->layout))
    return false;
  for (int32_t i = 0; i < p->n_symbols; i++)
    if (!p->symbols[i]) return false;
  for (int32_t i = 0; i < p->n_buffers; i++)
    if (!in(p->buffers[i].segment, DHC_N_SEGMENTS) || !in(p->buffers[i].dtype, DHC_N_DTYPES)) return false;
  for (int32_t i = 0; i < p->n_guards; i++)
    if (!p->guards[i].message) return false;
  for (int32_t i = 0; i < p->n_kernels; i++)
    if (!im->kernels[i].name || im->kernels[i].n_classes < 1) return false;
  for (int32_t i = 0; i < im->n_params + im->n_results; i++)
    if (!tensor_fits(im, i)) return false;
  return checks_fit(im) && update_fits(im);
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

dhc_status dhc_image_read(const uint8_t *bytes, size_t n_bytes, dhc_image **out) {
  DHC_TRY(check_head(bytes, n_bytes));
  Owned *o = calloc(1, sizeof *o);
  if (!o) return dhc_status_memory((long long)sizeof *o, "an image");
  Io x = {.reading = true, .at = bytes + HEAD_BYTES, .end = bytes + n_bytes, .owned = o};
  o->image.version = DHC_ABI_VERSION;
  image(&x, &o->image);
  bool whole = !x.bad && !x.no_memory && x.at == x.end && fits(&o->image);
  if (whole) {
    *out = &o->image;
    return dhc_status_ok();
  }
  dhc_image_free(&o->image);
  return x.no_memory ? dhc_status_memory((long long)n_bytes, "an image") : dhc_status_make(DHC_E_INPUT, "an image that does not hold together");
}
