#include "runtime/formats/picture.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/io.h"

#ifdef DHC_HAS_PNG
#include <png.h>
#endif
#ifdef DHC_HAS_JPEG
#include <jpeglib.h>
#endif

enum { MAX_SIDE = 1 << 15 };

const char *dhc_picture_formats(void) {
#if defined DHC_HAS_PNG && defined DHC_HAS_JPEG
  return "PNG, JPEG";
#elif defined DHC_HAS_PNG
  return "PNG";
#elif defined DHC_HAS_JPEG
  return "JPEG";
#else
  return "";
#endif
}

bool dhc_picture_named(const char *path) {
  static const char *const ends[] = {".png", ".jpg", ".jpeg"};
  size_t n = strlen(path);
  for (int i = 0; i < 3; i++) {
    size_t m = strlen(ends[i]);
    if (n > m && strcasecmp(path + n - m, ends[i]) == 0) {
      return true;
    }
  }
  return false;
}

/* A file's bytes, or the first of them. */
typedef struct Bytes {
  const uint8_t *at;
  size_t n;
} Bytes;

/* Where the pixels of a row go: interleaved in the file's channels here, in planes of those wanted there. */
typedef struct Target {
  DhcPictureSize want;
  uint8_t *to;
} Target;

#if defined DHC_HAS_PNG || defined DHC_HAS_JPEG
static void put_row(const Target *t, int64_t y, const uint8_t *row, int channels) {
  int64_t plane = t->want.height * t->want.width;
  uint8_t *to = t->to + y * t->want.width;
  for (int64_t x = 0; x < t->want.width; x++, row += channels) {
    for (int64_t c = 0; c < t->want.channels; c++) {
      to[c * plane + x] = channels == 1              ? row[0]
                          : t->want.channels == 3 ? row[c]
                                                  : (uint8_t)((299 * row[0] + 587 * row[1] + 114 * row[2] + 500) / 1000);
    }
  }
}

static dhc_status fits(const char *path, DhcPictureSize got, const Target *t) {
  if (got.height < 1 || got.width < 1 || got.height > MAX_SIDE || got.width > MAX_SIDE) {
    return dhc_status_file(path, "is %lldx%lld pixels, more than %d on a side", (long long)got.width, (long long)got.height, MAX_SIDE);
  }
  if (t != NULL && (got.height != t->want.height || got.width != t->want.width)) {
    return dhc_status_file(path, "is %lldx%lld pixels, not %lldx%lld", (long long)got.width, (long long)got.height,
                           (long long)t->want.width, (long long)t->want.height);
  }
  return dhc_status_ok();
}
#endif

/* ---- PNG ------------------------------------------------------------------------------- */

#ifdef DHC_HAS_PNG
typedef struct Png {
  const Bytes *bytes;
  size_t at;
  char said[160];
  png_structp png;
  png_infop info;
  uint8_t *rows; /* one, of interlaced pictures all */
  dhc_status st;
} Png;

static void png_said(png_structp png, png_const_charp text) {
  Png *p = png_get_error_ptr(png);
  snprintf(p->said, sizeof p->said, "%s", text);
  png_longjmp(png, 1);
}

static void png_ignored(png_structp png, png_const_charp text) {
  (void)png, (void)text;
}

static void png_bytes(png_structp png, png_bytep to, size_t n) {
  Png *p = png_get_io_ptr(png);
  if (n > p->bytes->n - p->at) {
    png_error(png, "ends too early");
  }
  memcpy(to, p->bytes->at + p->at, n);
  p->at += n;
}

static void png_take(Png *p, const char *path, const Target *t, DhcPictureSize *got) {
  png_set_read_fn(p->png, p, png_bytes);
  png_set_user_limits(p->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* fits says what is too large */
  png_read_info(p->png, p->info);
  bool colour = (png_get_color_type(p->png, p->info) & PNG_COLOR_MASK_COLOR) != 0;
  *got = (DhcPictureSize){colour ? 3 : 1, png_get_image_height(p->png, p->info), png_get_image_width(p->png, p->info)};
  p->st = fits(path, *got, t);
  if (t == NULL || p->st.code != DHC_OK) {
    return;
  }
  png_set_expand(p->png);
  png_set_strip_16(p->png);
  png_set_strip_alpha(p->png);
  int passes = png_set_interlace_handling(p->png);
  png_read_update_info(p->png, p->info);
  size_t bytes = png_get_rowbytes(p->png, p->info);
  int64_t n = passes > 1 ? got->height : 1;
  p->rows = malloc(bytes * (size_t)n);
  if (p->rows == NULL) {
    p->st = dhc_status_memory((long long)bytes * n, "a picture");
    return;
  }
  for (int k = 0; k < passes; k++) {
    for (int64_t y = 0; y < got->height; y++) {
      uint8_t *row = p->rows + (passes > 1 ? (size_t)y * bytes : 0);
      png_read_row(p->png, row, NULL);
      if (k == passes - 1) {
        put_row(t, y, row, colour ? 3 : 1);
      }
    }
  }
}

/* What libpng refuses comes back here; nothing of this function's own changes in between. */
static void png_try(Png *p, const char *path, const Target *t, DhcPictureSize *got) {
  if (setjmp(png_jmpbuf(p->png)) == 0) {
    png_take(p, path, t, got);
  } else {
    p->st = dhc_status_file(path, "is no whole PNG: %s", p->said);
  }
}

/* What a PNG begins with: mark, length and name of a chunk that is always the first, width and height, bits, colours. */
enum { PNG_WIDTH = 16, PNG_HEIGHT = 20, PNG_COLOURS = 25 };

static dhc_status png_size(const char *path, const Bytes *b, DhcPictureSize *got) {
  if (b->n <= PNG_COLOURS || memcmp(b->at + 12, "IHDR", 4) != 0) {
    return dhc_status_file(path, "is no whole PNG: ends too early");
  }
  *got = (DhcPictureSize){(b->at[PNG_COLOURS] & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1, png_get_uint_32(b->at + PNG_HEIGHT),
                          png_get_uint_32(b->at + PNG_WIDTH)};
  return fits(path, *got, NULL);
}

static dhc_status read_png(const char *path, const Bytes *b, const Target *t, DhcPictureSize *got) {
  if (t == NULL) {
    return png_size(path, b, got);
  }
  Png p = {.bytes = b, .st = dhc_status_ok()};
  p.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &p, png_said, png_ignored);
  p.info = p.png != NULL ? png_create_info_struct(p.png) : NULL;
  if (p.info == NULL) {
    png_destroy_read_struct(&p.png, NULL, NULL);
    return dhc_status_memory(1 << 12, "a picture");
  }
  png_try(&p, path, t, got);
  png_destroy_read_struct(&p.png, &p.info, NULL);
  free(p.rows);
  return p.st;
}
#else
static dhc_status read_png(const char *path, const Bytes *b, const Target *t, DhcPictureSize *got) {
  (void)b, (void)t, (void)got;
  return dhc_status_file(path, "is a PNG, and this dhcc was built without libpng (libpng-dev)");
}
#endif

/* ---- JPEG ------------------------------------------------------------------------------ */

#ifdef DHC_HAS_JPEG
typedef struct Jpeg {
  struct jpeg_error_mgr errors; /* first: libjpeg hands it back */
  struct jpeg_decompress_struct d;
  jmp_buf at;
  char said[JMSG_LENGTH_MAX];
  uint8_t *row;
  dhc_status st;
} Jpeg;

static void jpeg_said(j_common_ptr cx) {
  Jpeg *j = (Jpeg *)cx->err;
  cx->err->format_message(cx, j->said);
  longjmp(j->at, 1);
}

/* Levels below 0 are warnings, of damaged data: what libjpeg makes up for them is no picture of the file's. */
static void jpeg_warned(j_common_ptr cx, int level) {
  if (level < 0) {
    jpeg_said(cx);
  }
}

static void jpeg_take(Jpeg *j, const char *path, const Bytes *b, const Target *t, DhcPictureSize *got) {
  struct jpeg_decompress_struct *d = &j->d;
  jpeg_create_decompress(d);
  jpeg_mem_src(d, b->at, (unsigned long)b->n);
  jpeg_read_header(d, TRUE);
  bool gray = d->jpeg_color_space == JCS_GRAYSCALE;
  *got = (DhcPictureSize){gray ? 1 : 3, d->image_height, d->image_width};
  j->st = fits(path, *got, t);
  if (j->st.code == DHC_OK && (d->jpeg_color_space == JCS_CMYK || d->jpeg_color_space == JCS_YCCK)) {
    j->st = dhc_status_file(path, "has four inks (CMYK); save it as RGB");
  }
  if (t == NULL || j->st.code != DHC_OK) {
    return;
  }
  d->out_color_space = gray ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(d);
  j->row = malloc((size_t)got->width * 3);
  if (j->row == NULL) {
    j->st = dhc_status_memory((long long)got->width * 3, "a picture");
    return;
  }
  for (int64_t y = 0; y < got->height; y++) {
    JSAMPROW row = j->row;
    jpeg_read_scanlines(d, &row, 1);
    put_row(t, y, j->row, gray ? 1 : 3);
  }
  jpeg_finish_decompress(d);
}

static void jpeg_try(Jpeg *j, const char *path, const Bytes *b, const Target *t, DhcPictureSize *got) {
  if (setjmp(j->at) == 0) {
    jpeg_take(j, path, b, t, got);
  } else {
    j->st = dhc_status_file(path, "is no whole JPEG: %s", j->said);
  }
}

static dhc_status read_jpeg(const char *path, const Bytes *b, const Target *t, DhcPictureSize *got) {
  Jpeg j = {.st = dhc_status_ok()};
  j.d.err = jpeg_std_error(&j.errors);
  j.errors.error_exit = jpeg_said;
  j.errors.emit_message = jpeg_warned;
  jpeg_try(&j, path, b, t, got);
  jpeg_destroy_decompress(&j.d);
  free(j.row);
  return j.st;
}
#else
static dhc_status read_jpeg(const char *path, const Bytes *b, const Target *t, DhcPictureSize *got) {
  (void)b, (void)t, (void)got;
  return dhc_status_file(path, "is a JPEG, and this dhcc was built without libjpeg (libjpeg62-turbo-dev)");
}
#endif

/* ---- either ---------------------------------------------------------------------------- */

static const uint8_t png_mark[8] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10}, jpeg_mark[3] = {0xff, 0xd8, 0xff};

static bool begins(const Bytes *b, const uint8_t *mark, size_t n) {
  return b->n >= n && memcmp(b->at, mark, n) == 0;
}

static dhc_status read_bytes(const char *path, const Bytes *b, const Target *t, DhcPictureSize *got) {
  return begins(b, png_mark, sizeof png_mark)     ? read_png(path, b, t, got)
         : begins(b, jpeg_mark, sizeof jpeg_mark) ? read_jpeg(path, b, t, got)
                                                  : dhc_status_file(path, "is neither PNG nor JPEG");
}

static dhc_status read_picture(const char *path, size_t most, const Target *t, DhcPictureSize *got) {
  uint8_t *bytes = NULL;
  Bytes b = {.n = 0};
  DHC_TRY(dhc_file_read(path, most, &bytes, &b.n));
  b.at = bytes;
  dhc_status st = read_bytes(path, &b, t, got);
  free(bytes);
  return st;
}

enum { HEAD = 4096 };

dhc_status dhc_picture_size(const char *path, DhcPictureSize *out) {
  if (read_picture(path, HEAD, NULL, out).code == DHC_OK) {
    return dhc_status_ok();
  }
  return read_picture(path, SIZE_MAX, NULL, out); /* much may stand before the size; and this says what is wrong */
}

dhc_status dhc_picture_read(const char *path, DhcPictureSize want, uint8_t *to) {
  const Target t = {want, to};
  DhcPictureSize got;
  return read_picture(path, SIZE_MAX, &t, &got);
}
