/* Pictures in files, PNG (libpng) and JPEG (libjpeg), as u8 [C, H, W]. */
#ifndef DHC_RUNTIME_PICTURE_H
#define DHC_RUNTIME_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/status.h"

typedef struct DhcPictureSize {
  int64_t channels; /* as the file has them: 1 gray, 3 colour */
  int64_t height, width;
} DhcPictureSize;

/* What this build reads, "PNG, JPEG"; "": neither. */
const char *dhc_picture_formats(void);
/* Whether a name ends in .png, .jpg or .jpeg, in any case. */
bool dhc_picture_named(const char *path);
/* From the file's header. What it is its first bytes say, not its name. DHC_E_INPUT for what is neither, is damaged, or is
 * more than 2^15 pixels wide or high; of a form that this build cannot read too. */
dhc_status dhc_picture_size(const char *path, DhcPictureSize *out) DHC_MUST_USE;
/* The pixels, [channels, height, width] of that size, channels 1 or 3: gray in three equal ones, colours in one by luma (ITU-R
 * BT.601, rounded); 16 bits are cut to 8, transparency is left out. DHC_E_INPUT also where the size is another. */
dhc_status dhc_picture_read(const char *path, DhcPictureSize want, uint8_t *to) DHC_MUST_USE;
/* A PNG of `height` rows of `width` pixels of red, green and blue. */
dhc_status dhc_picture_write(const char *path, int64_t width, int64_t height, const uint8_t *rgb) DHC_MUST_USE;

#endif
