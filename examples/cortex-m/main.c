/* Fashion-MNIST without an operating system: all memory is static, and the object tests itself before it is used. */
#include "board.h"
#include "clothes.h"

static _Alignas(CLOTHES_ALIGN) char workspace[CLOTHES_SELFTEST_WORKSPACE_BYTES];
static uint8_t pixels[28 * 28];
static float image[28 * 28], logits[10];

static const char *const name[10] = {"T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"};

int main(void) {
  int status = clothes_selftest(workspace, sizeof workspace);
  print(status == DHC_OBJECT_OK ? "selftest: the same bits as where the object was made\n" : "selftest: failed\n");
  if (status != DHC_OBJECT_OK) return status;
  for (int y = 2; y < 26; y++) /* two legs */
    for (int x = 9; x < 19; x++) pixels[28 * y + x] = y > 7 && (x == 13 || x == 14) ? 0 : 200;
  status = clothes_normalize(pixels, image, workspace, sizeof workspace, 0);
  if (status == DHC_OBJECT_OK) status = clothes_forward(image, logits, workspace, sizeof workspace, 0);
  if (status != DHC_OBJECT_OK) return status;
  int best = 0;
  for (int i = 1; i < 10; i++) best = logits[i] > logits[best] ? i : best;
  print("class: ");
  print(name[best]);
  print("\n");
  return 0;
}
