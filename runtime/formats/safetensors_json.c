/* The header's JSON has a fixed shape (names to {dtype, shape, data_offsets},
 * and one table of strings), so it is read straight into the result: no tree, no
 * recursion, integers exact, every error with its byte. What the reader of the
 * safetensors package (0.8.0) takes is taken: fields of other names, a tensor as a
 * list of its three fields, a metadata table that is null. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/formats/safetensors_internal.h"

typedef struct Cursor {
  DhcSafetensors *s;
  const uint8_t *text;
  size_t n, at;
  bool index;          /* all of a file, not a header */
  size_t strings_used; /* of s->strings, which has n + 1 bytes: decoded text with its
                          NUL is never longer than the quoted original */
} Cursor;

static dhc_status wrong(const Cursor *c, size_t at, const char *what) {
  return dhc_status_file(c->s->path, "%s %zu: %s", c->index ? "byte" : "header byte", at, what);
}

/* ---- checks of the text as a whole ------------------------------------------ */

static dhc_status check_depth(const Cursor *c) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < c->n; i++) {
    uint8_t b = c->text[i];
    if (in_string) {
      i += b == '\\';
      in_string = b != '"';
    } else if (b == '"') {
      in_string = true;
    } else if (b == '[' || b == '{') {
      if (++depth > DHC_SAFETENSORS_MAX_DEPTH) {
        return dhc_status_file(c->s->path, "header byte %zu: JSON nested deeper than %d levels", i,
                               DHC_SAFETENSORS_MAX_DEPTH);
      }
    } else if (b == ']' || b == '}') {
      depth--;
    }
  }
  return dhc_status_ok();
}

/* Bytes of the well-formed UTF-8 sequence at p (RFC 3629), 0 if there is none. */
static size_t utf8_length(const uint8_t *p, size_t n) {
  if (p[0] < 0x80) {
    return 1;
  }
  size_t k = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4 || k > n) {
    return 0;
  }
  for (size_t i = 1; i < k; i++) {
    if ((p[i] & 0xc0) != 0x80) {
      return 0;
    }
  }
  bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
  bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
  bool beyond = p[0] == 0xf4 && p[1] >= 0x90;
  return overlong || surrogate || beyond ? 0 : k;
}

/* ---- tokens ------------------------------------------------------------------ */

static void skip_space(Cursor *c) {
  while (c->at < c->n && (c->text[c->at] == ' ' || c->text[c->at] == '\t' ||
                          c->text[c->at] == '\n' || c->text[c->at] == '\r')) {
    c->at++;
  }
}

/* Takes the character if it is next. */
static bool take(Cursor *c, char what) {
  skip_space(c);
  if (c->at < c->n && c->text[c->at] == (uint8_t)what) {
    c->at++;
    return true;
  }
  return false;
}

static dhc_status expect(Cursor *c, char what) {
  if (!take(c, what)) {
    char text[] = "expected '?'";
    text[10] = what;
    return wrong(c, c->at, text);
  }
  return dhc_status_ok();
}

static bool hex4(const Cursor *c, size_t at, uint32_t *out) {
  uint32_t v = 0;
  if (at > c->n || c->n - at < 4) {
    return false;
  }
  for (size_t i = at; i < at + 4; i++) {
    uint8_t b = c->text[i];
    uint32_t digit = b >= '0' && b <= '9'   ? (uint32_t)(b - '0')
                     : b >= 'a' && b <= 'f' ? (uint32_t)(b - 'a') + 10
                     : b >= 'A' && b <= 'F' ? (uint32_t)(b - 'A') + 10
                                            : 16;
    if (digit == 16) {
      return false;
    }
    v = v << 4 | digit;
  }
  *out = v;
  return true;
}

/* \uXXXX, the cursor after the u; a surrogate pair is one code point. U+0000, which no C string
 * holds, stays as it is written. */
static bool unicode_escape(Cursor *c, char **to) {
  uint32_t v, low;
  if (!hex4(c, c->at, &v) || (v >= 0xdc00 && v < 0xe000)) {
    return false;
  }
  c->at += 4;
  if (v == 0) {
    memcpy(*to, "\\u0000", 6);
    *to += 6;
    return true;
  }
  if (v >= 0xd800 && v < 0xdc00) {
    if (c->n - c->at < 6 || c->text[c->at] != '\\' || c->text[c->at + 1] != 'u' ||
        !hex4(c, c->at + 2, &low) || low < 0xdc00 || low >= 0xe000) {
      return false;
    }
    c->at += 6;
    v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
  }
  char *p = *to;
  if (v < 0x80) {
    *p++ = (char)v;
  } else if (v < 0x800) {
    *p++ = (char)(0xc0 | v >> 6);
    *p++ = (char)(0x80 | (v & 0x3f));
  } else {
    if (v < 0x10000) {
      *p++ = (char)(0xe0 | v >> 12);
    } else {
      *p++ = (char)(0xf0 | v >> 18);
      *p++ = (char)(0x80 | (v >> 12 & 0x3f));
    }
    *p++ = (char)(0x80 | (v >> 6 & 0x3f));
    *p++ = (char)(0x80 | (v & 0x3f));
  }
  *to = p;
  return true;
}

static bool escape(Cursor *c, char **to) {
  static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
  if (c->at >= c->n) {
    return false;
  }
  char b = (char)c->text[c->at++];
  if (b == 'u') {
    return unicode_escape(c, to);
  }
  const char *hit = b != '\0' ? strchr(from, b) : NULL;
  if (hit == NULL) {
    return false;
  }
  *(*to)++ = into[hit - from];
  return true;
}

/* A string, decoded into s->strings; never holds a NUL but its last. */
static dhc_status string(Cursor *c, const char **out) {
  DHC_TRY(expect(c, '"'));
  size_t begin = c->at - 1;
  char *to = c->s->strings + c->strings_used;
  *out = to;
  while (c->at < c->n && c->text[c->at] != '"') {
    uint8_t b = c->text[c->at];
    size_t at = c->at;
    if (b == '\\') {
      c->at++;
      if (!escape(c, &to)) {
        return wrong(c, at, "bad escape in a string");
      }
      continue;
    }
    size_t k = utf8_length(c->text + at, c->n - at);
    if (k == 0 || b < 0x20) {
      return wrong(c, at, "invalid byte in a string");
    }
    memcpy(to, c->text + at, k);
    to += k;
    c->at += k;
  }
  if (c->at >= c->n) {
    return wrong(c, begin, "string is never closed");
  }
  c->at++;
  *to++ = '\0';
  c->strings_used = (size_t)(to - c->s->strings);
  return dhc_status_ok();
}

/* A JSON integer >= 0. Beyond 64 bits: *fits = false. */
static dhc_status integer(Cursor *c, uint64_t *out, bool *fits) {
  skip_space(c);
  size_t begin = c->at;
  uint64_t v = 0;
  *fits = true;
  while (c->at < c->n && c->text[c->at] >= '0' && c->text[c->at] <= '9') {
    uint64_t digit = (uint64_t)(c->text[c->at++] - '0');
    if (__builtin_mul_overflow(v, (uint64_t)10, &v) || __builtin_add_overflow(v, digit, &v)) {
      *fits = false;
    }
  }
  size_t n = c->at - begin;
  uint8_t next = c->at < c->n ? c->text[c->at] : ' ';
  if (n == 0 || (n > 1 && c->text[begin] == '0') || next == '.' || next == 'e' || next == 'E') {
    return wrong(c, begin, "expected a whole number");
  }
  *out = v;
  return dhc_status_ok();
}

/* ---- values that nobody asked for ------------------------------------------------ */

static bool word(Cursor *c, const char *text) {
  size_t n = strlen(text);
  if (c->n - c->at < n || memcmp(c->text + c->at, text, n) != 0) {
    return false;
  }
  c->at += n;
  return true;
}

static size_t digits(Cursor *c) {
  size_t begin = c->at;
  while (c->at < c->n && c->text[c->at] >= '0' && c->text[c->at] <= '9') {
    c->at++;
  }
  return c->at - begin;
}

static bool number(Cursor *c) {
  (void)word(c, "-");
  bool zero = word(c, "0");
  if (!zero && digits(c) == 0) {
    return false;
  }
  if (word(c, ".") && digits(c) == 0) {
    return false;
  }
  if (word(c, "e") || word(c, "E")) {
    (void)(word(c, "+") || word(c, "-"));
    return digits(c) > 0;
  }
  return true;
}

/* A string, number, true, false or null. */
static dhc_status skip_plain(Cursor *c) {
  const char *text;
  size_t begin = c->at;
  if (c->at < c->n && c->text[c->at] == '"') {
    return string(c, &text);
  }
  if (word(c, "true") || word(c, "false") || word(c, "null") || number(c)) {
    return dhc_status_ok();
  }
  return wrong(c, begin, "expected a value");
}

/* Any JSON value: `closing` holds the brackets that are open. check_depth has bounded them. */
static dhc_status skip_value(Cursor *c) {
  char closing[DHC_SAFETENSORS_MAX_DEPTH];
  int depth = 0;
  const char *key;
  for (;;) {
    bool opened = false;
    skip_space(c);
    if (take(c, '[')) {
      closing[depth++] = ']';
      opened = true;
    } else if (take(c, '{')) {
      closing[depth++] = '}';
      opened = true;
    } else {
      DHC_TRY(skip_plain(c));
    }
    /* Behind a value, or a bracket that may close at once. */
    while (depth > 0 && take(c, closing[depth - 1])) {
      depth--;
      opened = false;
    }
    if (depth == 0) {
      return dhc_status_ok();
    }
    if (!opened) {
      DHC_TRY(expect(c, ','));
    }
    if (closing[depth - 1] == '}') {
      DHC_TRY(string(c, &key));
      DHC_TRY(expect(c, ':'));
    }
  }
}

/* ---- the fixed shape ----------------------------------------------------------- */

static dhc_status parse_shape(Cursor *c, StTensor *t) {
  uint64_t n = 1;
  t->shape_fits = true;
  t->n_dims = t->view.rank = 0;
  DHC_TRY(expect(c, '['));
  bool empty = take(c, ']');
  while (!empty) {
    uint64_t v = 0;
    bool fits;
    DHC_TRY(integer(c, &v, &fits));
    t->shape_fits = t->shape_fits && fits && !__builtin_mul_overflow(n, v, &n);
    if (t->view.rank < DHC_TENSOR_MAX_RANK) {
      t->view.shape[t->view.rank++] = fits && v <= INT64_MAX ? (int64_t)v : INT64_MAX;
    }
    t->n_dims++;
    if (!take(c, ',')) {
      DHC_TRY(expect(c, ']'));
      break;
    }
  }
  t->shape_fits = t->shape_fits && n <= INT64_MAX;
  t->n_elements = t->shape_fits ? (int64_t)n : 0;
  return dhc_status_ok();
}

static dhc_status parse_offsets(Cursor *c, StTensor *t) {
  bool fits;
  size_t at = c->at;
  DHC_TRY(expect(c, '['));
  DHC_TRY(integer(c, &t->begin, &fits));
  bool both = fits;
  DHC_TRY(expect(c, ','));
  DHC_TRY(integer(c, &t->end, &fits));
  if (!both || !fits) {
    return wrong(c, at, "data offset out of range");
  }
  return expect(c, ']');
}

/* A name, or (as a table of one) a name with the value null. */
static dhc_status parse_dtype(Cursor *c, StTensor *t) {
  const char *text;
  bool table = take(c, '{');
  DHC_TRY(string(c, &text));
  snprintf(t->dtype_text, sizeof t->dtype_text, "%s", text);
  if (!table) {
    return dhc_status_ok();
  }
  DHC_TRY(expect(c, ':'));
  skip_space(c);
  if (!word(c, "null")) {
    return wrong(c, c->at, "expected null");
  }
  return expect(c, '}');
}

static dhc_status parse_field(Cursor *c, StTensor *t, unsigned k) {
  return k == 0 ? parse_dtype(c, t) : k == 1 ? parse_shape(c, t) : k == 2 ? parse_offsets(c, t) : skip_value(c);
}

/* [dtype, shape, data_offsets] */
static dhc_status parse_listed(Cursor *c, StTensor *t) {
  for (unsigned k = 0; k < 3; k++) {
    if (k > 0) {
      DHC_TRY(expect(c, ','));
    }
    DHC_TRY(parse_field(c, t, k));
  }
  return expect(c, ']');
}

static dhc_status parse_fields(Cursor *c, StTensor *t) {
  static const char *const keys[3] = {"dtype", "shape", "data_offsets"};
  unsigned seen = 0;
  DHC_TRY(expect(c, '{'));
  do {
    const char *key;
    size_t keep = c->strings_used;
    skip_space(c);
    size_t at = c->at;
    DHC_TRY(string(c, &key));
    unsigned k = 0;
    while (k < 3 && strcmp(key, keys[k]) != 0) {
      k++;
    }
    if (k < 3 && (seen & 1u << k) != 0) {
      return wrong(c, at, "key given twice");
    }
    seen |= 1u << k;
    DHC_TRY(expect(c, ':'));
    DHC_TRY(parse_field(c, t, k));
    c->strings_used = keep; /* keys, dtypes and other fields are not kept */
  } while (take(c, ','));
  size_t at = c->at;
  DHC_TRY(expect(c, '}'));
  return (seen & 7) == 7 ? dhc_status_ok() : wrong(c, at, "tensor lacks dtype, shape or data_offsets");
}

static dhc_status parse_tensor(Cursor *c, StTensor *t) {
  size_t keep = c->strings_used;
  if (!take(c, '[')) {
    return parse_fields(c, t);
  }
  DHC_TRY(parse_listed(c, t));
  c->strings_used = keep;
  return dhc_status_ok();
}

/* Room for one more of *items; doubles. */
static void *grow(void *items, int32_t n, int32_t *cap, size_t item_bytes) {
  if (n < *cap) {
    return items;
  }
  int32_t wanted = *cap == 0 ? 16 : *cap * 2;
  void *p = realloc(items, (size_t)wanted * item_bytes);
  if (p != NULL) {
    *cap = wanted;
  }
  return p;
}

/* A table of strings into s->meta. */
static dhc_status parse_strings(Cursor *c, const char *what) {
  DhcSafetensors *s = c->s;
  DHC_TRY(expect(c, '{'));
  if (take(c, '}')) {
    return dhc_status_ok();
  }
  do {
    StMeta m = {0};
    DHC_TRY(string(c, &m.key));
    DHC_TRY(expect(c, ':'));
    skip_space(c);
    if (c->at >= c->n || c->text[c->at] != '"') {
      return wrong(c, c->at, what);
    }
    m.value_at = c->at + 1;
    DHC_TRY(string(c, &m.value));
    m.value_raw_bytes = c->at - 1 - m.value_at;
    m.order = s->n_meta;
    StMeta *grown = grow(s->meta, s->n_meta, &s->cap_meta, sizeof m);
    if (grown == NULL) {
      return dhc_status_memory(s->n_meta * (long long)sizeof m, "metadata");
    }
    s->meta = grown;
    s->meta[s->n_meta++] = m;
  } while (take(c, ','));
  return expect(c, '}');
}

static dhc_status parse_metadata(Cursor *c) {
  skip_space(c);
  return word(c, "null") ? dhc_status_ok() : parse_strings(c, "metadata values must be strings");
}

static dhc_status parse_entry(Cursor *c, bool *metadata_seen) {
  DhcSafetensors *s = c->s;
  StTensor t = {0};
  size_t at = c->at;
  DHC_TRY(string(c, &t.view.name));
  DHC_TRY(expect(c, ':'));
  if (strcmp(t.view.name, "__metadata__") == 0) {
    if (*metadata_seen) {
      return wrong(c, at, "key given twice");
    }
    *metadata_seen = true;
    return parse_metadata(c);
  }
  DHC_TRY(parse_tensor(c, &t));
  t.order = s->n_tensors;
  StTensor *grown = grow(s->tensors, s->n_tensors, &s->cap_tensors, sizeof t);
  if (grown == NULL) {
    return dhc_status_memory(s->n_tensors * (long long)sizeof t, "a table of tensors");
  }
  s->tensors = grown;
  s->tensors[s->n_tensors++] = t;
  return dhc_status_ok();
}

/* Room for the strings of c; their nesting is bounded. */
static dhc_status begin_text(Cursor *c) {
  DHC_TRY(check_depth(c));
  c->s->strings = malloc(c->n + 1);
  return c->s->strings != NULL ? dhc_status_ok() : dhc_status_memory((long long)c->n, "a header");
}

static dhc_status end_text(Cursor *c) {
  skip_space(c);
  return c->at == c->n ? dhc_status_ok() : wrong(c, c->at, "text after the header's end");
}

dhc_status dhc_safetensors_parse_header(DhcSafetensors *s) {
  Cursor c = {.s = s, .text = s->bytes + 8, .n = s->header_bytes};
  DHC_TRY(begin_text(&c));
  bool metadata_seen = false;
  DHC_TRY(expect(&c, '{'));
  if (!take(&c, '}')) {
    do {
      DHC_TRY(parse_entry(&c, &metadata_seen));
    } while (take(&c, ','));
    DHC_TRY(expect(&c, '}'));
  }
  return end_text(&c);
}

dhc_status dhc_safetensors_parse_index(DhcSafetensors *s) {
  Cursor c = {.s = s, .text = s->bytes, .n = s->n_bytes, .index = true};
  DHC_TRY(begin_text(&c));
  bool seen = false;
  DHC_TRY(expect(&c, '{'));
  do {
    const char *key;
    size_t keep = c.strings_used;
    DHC_TRY(string(&c, &key));
    DHC_TRY(expect(&c, ':'));
    if (!seen && strcmp(key, "weight_map") == 0) {
      seen = true;
      DHC_TRY(parse_strings(&c, "names of files must be strings"));
    } else {
      DHC_TRY(skip_value(&c));
      c.strings_used = keep;
    }
  } while (take(&c, ','));
  DHC_TRY(expect(&c, '}'));
  DHC_TRY(end_text(&c));
  return seen ? dhc_status_ok() : dhc_status_file(s->path, "is no .safetensors file, and no index of some: it has no \"weight_map\"");
}
