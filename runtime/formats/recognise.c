#include "runtime/formats/recognise.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* A file that begins (at `at`) with these bytes. First hit counts. */
typedef struct Magic {
  size_t at, n;
  const char *bytes;
  const char *what;
} Magic;

#define CONVERT "save its tensors with the safetensors package and give that file"
static const Magic magics[] = {
    {0, 23, "version https://git-lfs", "a git-lfs pointer in place of the file; git lfs pull fetches the file itself"},
    {0, 4, "GGUF", "a GGUF file, which is read for weights alone (--weights)"},
    {0, 4, "ggjt", "a GGML file; give the .safetensors it was made from"},
    {0, 4, "lmgg", "a GGML file; give the .safetensors it was made from"},
    {0, 6, "\x93NUMPY", "a NumPy .npy file"},
    {0, 8, "\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes; " CONVERT},
    {0, 2, "\x1f\x8b", "gzip data; unpack it first (gunzip)"},
    {0, 6, "\xfd" "7zXZ\0", "xz data; unpack it first (unxz)"},
    {0, 4, "\x28\xb5\x2f\xfd", "zstd data; unpack it first (unzstd)"},
    {0, 3, "BZh", "bzip2 data; unpack it first (bunzip2)"},
    {257, 5, "ustar", "a tar archive; unpack it first"},
    {4, 4, "TFL3", "a TensorFlow Lite file; " CONVERT},
};

static bool holds(const uint8_t *bytes, size_t n_bytes, const char *text) {
  size_t n = strlen(text);
  return memmem(bytes, n_bytes, text, n) != NULL;
}

/* The names of a zip's first entries stand near its front. */
static const char *kind_of_zip(const uint8_t *bytes, size_t n) {
  size_t front = n < 4096 ? n : 4096;
  if (holds(bytes, front, "data.pkl") || holds(bytes, front, ".data/") || holds(bytes, front, "/version")) {
    return "a PyTorch checkpoint (zip); save its state_dict with safetensors.torch.save_file and give that file";
  }
  if (holds(bytes, front, ".npy")) {
    return "a NumPy .npz archive; unpack it and give a .npy of it, or save its arrays with safetensors.numpy.save_file";
  }
  return "a zip archive (PyTorch's .pt and .bin files are some); save its tensors with safetensors.torch.save_file and give that file";
}

/* Protocol 2 to 5 and then an opcode that begins a value or a frame, as no header length does whose
 * file goes on with '{'. */
static bool is_pickle(const uint8_t *b, size_t n) {
  return n > 3 && b[0] == 0x80 && b[1] >= 2 && b[1] <= 5 && b[2] != 0 && strchr("\x8a\x95}](cN", b[2]) != NULL;
}

static bool is_text(const uint8_t *bytes, size_t n) {
  size_t front = n < 512 ? n : 512;
  for (size_t i = 0; i < front; i++) {
    uint8_t b = bytes[i];
    if ((b < 0x20 && b != '\t' && b != '\n' && b != '\r' && b != '\f') || b == 0x7f) {
      return false;
    }
  }
  return front > 0;
}

static const char *kind_of_text(const uint8_t *bytes, size_t n) {
  size_t i = n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
  while (i < n && (bytes[i] == ' ' || bytes[i] == '\t' || bytes[i] == '\n' || bytes[i] == '\r')) {
    i++;
  }
  const char *text = (const char *)bytes + i;
  size_t left = n - i;
  if (left >= 14 && strncasecmp(text, "<!doctype html", 14) == 0) {
    return "an HTML page, perhaps of a server that asked for something else; download the file itself";
  }
  if (left >= 5 && strncasecmp(text, "<html", 5) == 0) {
    return "an HTML page, perhaps of a server that asked for something else; download the file itself";
  }
  if (left >= 1 && *text == '{') {
    return holds(bytes, n < 65536 ? n : 65536, "\"weight_map\"") ? "the index of a checkpoint in several files" : "JSON text";
  }
  return "a text file";
}

const char *dhc_recognise(const uint8_t *bytes, size_t n_bytes) {
  for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
    const Magic *m = &magics[i];
    if (n_bytes >= m->at + m->n && memcmp(bytes + m->at, m->bytes, m->n) == 0) {
      return m->what;
    }
  }
  if (n_bytes >= 4 && memcmp(bytes, "PK\3\4", 4) == 0) {
    return kind_of_zip(bytes, n_bytes);
  }
  if (is_pickle(bytes, n_bytes)) {
    return "a Python pickle, as older PyTorch writes; save its state_dict with safetensors.torch.save_file and give that file";
  }
  return is_text(bytes, n_bytes) ? kind_of_text(bytes, n_bytes) : NULL;
}
