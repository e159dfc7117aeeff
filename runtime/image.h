/* Reading images (dhc/abi.h): symbols from shapes, checks of what comes in, and files. */
#ifndef DHC_RUNTIME_IMAGE_H
#define DHC_RUNTIME_IMAGE_H

#include "runtime/plan.h"
#include "runtime/tensor.h"

enum { DHC_IMAGE_MAX_SYMBOLS = 32 };

/* Symbols from the shapes of inputs; in[i] is parameter i of the image, NULL where it is no input
 * or not given. Symbols that no shape tells are 1. False: *wrong is a parameter whose shape does not
 * fit its type. */
bool dhc_image_solve(const dhc_image *im, const DhcTensorView *const *in, int64_t *symbols, int32_t *wrong);
/* First guard that does not hold at these sizes, or -1. */
int32_t dhc_image_guard(const dhc_image *im, const int64_t *symbols);
/* Extents of a tensor; false where they do not fit in 63 bits or are negative. */
bool dhc_image_shape(const dhc_image *im, int32_t tensor, const int64_t *symbols, int64_t *dim);
/* Integers that the entry takes as indices are in range; DHC_E_INPUT names tensor, place, value
 * and range. */
dhc_status dhc_image_check_indices(const dhc_image *im, const DhcTensorView *const *in, const int64_t *symbols) DHC_MUST_USE;
/* Number of the parameter or result with that name and role, or -1. */
int32_t dhc_image_find(const dhc_image *im, dhc_image_role role, const char *name);

/* ---- as bytes (image_io.c) ---------------------------------------------------------- */

/* The image without code: kernel classes come back with fn = NULL. *bytes is malloc's, the caller's.
 * The same image gives the same bytes everywhere. */
dhc_status dhc_image_write(const dhc_image *im, uint8_t **bytes, size_t *n_bytes) DHC_MUST_USE;
/* DHC_E_INPUT where the bytes are no image of this version, are damaged, or refer to what is not
 * there; nothing that comes back reaches outside itself. Freed with dhc_image_free. */
dhc_status dhc_image_read(const uint8_t *bytes, size_t n_bytes, dhc_image **out) DHC_MUST_USE;
void dhc_image_free(dhc_image *im);
/* Every number in it that stands for something else does (image_fits.c). */
bool dhc_image_fits(const dhc_image *im);

/* The same in a fraction of the bytes and without the layout, for who has an equal one (the kernel store); damage
 * is for the caller to find. The layout is copied, what it points to borrowed. */
dhc_status dhc_image_pack(const dhc_image *im, uint8_t **bytes, size_t *n_bytes) DHC_MUST_USE;
dhc_status dhc_image_unpack(const uint8_t *bytes, size_t n_bytes, const dhc_layout *l, dhc_image **out) DHC_MUST_USE;

#endif
