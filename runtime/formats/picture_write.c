/* Pictures into files. */
#include <stdlib.h>
#include <string.h>

#include "runtime/formats/picture.h"
#include "runtime/io.h"

#ifdef DHC_HAS_PNG
#include <png.h>

dhc_status dhc_picture_write(const char *path, int64_t width, int64_t height, const uint8_t *rgb) {
  png_image image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = PNG_FORMAT_RGB};
  png_alloc_size_t n = PNG_IMAGE_PNG_SIZE_MAX(image);
  void *bytes = malloc(n);
  if (!bytes) return dhc_status_memory((long long)n, "a picture");
  dhc_status st = dhc_status_ok();
  if (png_image_write_to_memory(&image, bytes, &n, 0, rgb, 0, NULL)) st = dhc_file_replace(path, bytes, n);
  else st = dhc_status_make(DHC_E_INPUT, "%s: %s", path, image.message);
  free(bytes);
  return st;
}
#else
dhc_status dhc_picture_write(const char *path, int64_t width, int64_t height, const uint8_t *rgb) {
  (void)width, (void)height, (void)rgb;
  return dhc_status_file(path, "this dhcc was built without libpng (libpng-dev)");
}
#endif
