/* runtime/formats/picture.c once more without its libraries (see CMakeLists.txt): what a build that lacks them says; and
 * a picture of another size than its reader has room for. Pixels: tests/cli/predict.sh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/formats/picture.h"
#include "runtime/io.h"

static int failures;

static void says(const char *path, const void *bytes, size_t n, const char *want) {
  DhcPictureSize size = {1, 2, 2};
  uint8_t room[4];
  dhc_status st = dhc_file_replace(path, bytes, n);
  if (st.code == DHC_OK) st = dhc_picture_read(path, size, room);
  if (st.code != DHC_E_INPUT || !strstr(st.message, want)) {
    printf("FAILED: %s, want %s\n", st.message, want);
    failures++;
  }
}

int main(int argc, char **argv) {
  char folder[] = "/tmp/dhc_pictures_XXXXXX", path[64];
  const uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xd9};
  const uint8_t png[] = {0x89, 'P', 'N', 'G', 13, 10, 26, 10, 0, 0, 0, 13, 'I', 'H', 'D', 'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0x3a, 0x7e, 0x9b, 0x55,
                         0, 0, 0, 10, 'I', 'D', 'A', 'T', 0x78, 0x9c, 0x63, 0, 0, 0, 2, 0, 1, 0x48, 0xaf, 0xa4, 0x71};
  bool without = argc > 1 && !strcmp(argv[1], "without");
  if (!mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/x", folder);
  if (without) {
    says(path, png, sizeof png, "is a PNG, and this dhcc was built without libpng (libpng-dev)");
    says(path, jpeg, sizeof jpeg, "is a JPEG, and this dhcc was built without libjpeg (libjpeg62-turbo-dev)");
    if (*dhc_picture_formats()) printf("FAILED: formats %s\n", dhc_picture_formats()), failures++;
  } else {
    says(path, png, sizeof png, "is 1x1 pixels, not 2x2");
  }
  says(path, "x", 1, "is neither PNG nor JPEG");
  unlink(path);
  rmdir(folder);
  return failures != 0;
}
