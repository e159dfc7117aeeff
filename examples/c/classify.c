/* Classifies an image of an IDX file (MNIST's format), or where libpng is there a PNG, with DHC-SSM trained on Fashion-MNIST:
 *
 *   classify FILE NUMBER
 *   classify FILE.png
 *
 * FILE is t10k-images-idx3-ubyte, unpacked; a picture has 28 by 28 pixels, light on dark. The model is in this program; nothing else is read,
 * and but for libpng nothing allocates. */
#include <stdio.h>
#include <stdlib.h>
#ifdef HAVE_PNG
#include <png.h>
#include <string.h>
#endif

#include "clothes.h"

enum { SIDE = 28, CLASSES = 10, HEADER = 16 };

static const char *const names[CLASSES] = {"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"};

static unsigned char pixels[SIDE * SIDE];
static float probability[CLASSES];
static _Alignas(CLOTHES_ALIGN) char workspace[CLOTHES_WORKSPACE_BYTES];

static int read_image(const char *path, long number) {
  unsigned char header[HEADER];
  FILE *f = fopen(path, "rb");
  if (!f) return perror(path), 0;
  int good = fread(header, 1, HEADER, f) == HEADER && header[2] == 8 && header[3] == 3 && header[11] == SIDE && header[15] == SIDE;
  good = good && !fseek(f, HEADER + number * SIDE * SIDE, SEEK_SET) && fread(pixels, 1, sizeof pixels, f) == sizeof pixels;
  if (!good) fprintf(stderr, "%s: no image %ld of 28 by 28 pixels\n", path, number);
  fclose(f);
  return good;
}

#ifdef HAVE_PNG
static int read_png(const char *path) {
  png_image png;
  memset(&png, 0, sizeof png);
  png.version = PNG_IMAGE_VERSION;
  int good = png_image_begin_read_from_file(&png, path);
  if (good && (png.width != SIDE || png.height != SIDE)) {
    png_image_free(&png);
    return fprintf(stderr, "%s: not 28 by 28 pixels\n", path), 0;
  }
  png.format = PNG_FORMAT_GRAY;
  good = good && png_image_finish_read(&png, NULL, pixels, 0, NULL);
  if (!good) fprintf(stderr, "%s: %s\n", path, png.message);
  return good;
}
#else
static int read_png(const char *path) { return fprintf(stderr, "%s: built without libpng\n", path), 0; }
#endif

int main(int argc, char **argv) {
  if (argc != 2 && argc != 3) return fprintf(stderr, "usage: classify FILE NUMBER, or classify FILE.png\n"), 2;
  if (argc == 2 ? !read_png(argv[1]) : !read_image(argv[1], strtol(argv[2], NULL, 10))) return 1;
  dhc_object_status status = clothes_classify(pixels, probability, workspace, sizeof workspace, NULL);
  if (status != DHC_OBJECT_OK) return fprintf(stderr, "status %d\n", status), 1;
  int best = 0;
  for (int i = 1; i < CLASSES; i++)
    if (probability[i] > probability[best]) best = i;
  printf("%d %s %.4f\n", best, names[best], (double)probability[best]);
  return 0;
}
