/* Fuzz targets for what is read from files, one a kind (FUZZ_KIND): any bytes as the file. What is
 * accepted is read to its last byte; what is not has a message. The input may hold two files: the
 * first two bytes say where the second begins. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/payload.h"
#include "ir/spec.h"
#include "runtime/checkpoint.h"
#include "runtime/data/data.h"
#include "runtime/formats/gguf.h"
#include "runtime/formats/npy.h"
#include "runtime/formats/safetensors.h"
#include "runtime/image.h"
#include "runtime/metrics.h"
#include "runtime/plan.h"
#include "runtime/sha256.h"
#include "runtime/store.h"
#include "tests/fuzz/fuzz.h"

#define KIND_safetensors 1
#define KIND_header 2
#define KIND_npy 3
#define KIND_idx 4
#define KIND_cifar 5
#define KIND_text 6
#define KIND_run 7
#define KIND_store 8
#define KIND_image 9
#define KIND_gguf 10
#define KIND_OF(name) KIND_##name
#define KIND(name) KIND_OF(name)

static bool told(dhc_status st) {
  fuzz_check(st.code == DHC_OK || st.message[0], "a failure has a message");
  return st.code == DHC_OK;
}

typedef struct Two {
  const uint8_t *a, *b;
  size_t n_a, n_b;
} Two;

/* first … then … */
__attribute__((unused)) static Two split(const uint8_t *data, size_t n) {
  size_t at = n < 2 ? 0 : (size_t)data[0] | (size_t)data[1] << 8, body = n < 2 ? 0 : n - 2;
  if (at > body) at = body;
  const uint8_t *first = n < 2 ? data : data + 2;
  return (Two){first, first + at, at, body - at};
}

__attribute__((unused)) static void read_view(const DhcTensorView *v) {
  volatile double sum = 0;
  int64_t n, bytes;
  fuzz_check(dhc_size_tensor(v->dtype, v->rank, v->shape, &n, &bytes) && bytes == v->bytes, "a view's bytes are those of its shape");
  for (int64_t i = 0; i < n; i++) sum += dhc_tensor_get(v, i);
  (void)dhc_tensor_first_nonfinite(v);
}

__attribute__((unused)) static void read_tensors(DhcSafetensors *f) {
  for (int32_t i = 0; i < dhc_safetensors_count(f); i++) {
    const DhcTensorView *v = dhc_safetensors_at(f, i);
    fuzz_check(dhc_safetensors_find(f, v->name) == v, "a tensor is found by its name");
    if (dhc_safetensors_readable(f, v).code == DHC_OK) read_view(v);
  }
  (void)dhc_safetensors_meta(f, "format");
}

__attribute__((unused)) static void read_data(const char *kind, const DhcDataOptions *o) {
  char spec[300];
  snprintf(spec, sizeof spec, "%s", kind);
  for (int split = DHC_SPLIT_TRAIN; split <= DHC_SPLIT_TEST; split++) {
    DhcDataset *d = NULL;
    volatile unsigned sum = 0;
    if (!told(dhc_dataset_open(spec, (DhcSplit)split, o, &d))) continue;
    for (int32_t f = 0; f < d->n_fields; f++) {
      int64_t bytes = d->fields[f].example_bytes;
      uint8_t *example = malloc((size_t)bytes + 1);
      void *to[64] = {NULL};
      to[f] = example;
      for (int64_t i = 0; example && i < d->n_examples && told(dhc_dataset_read(d, i, to)); i++)
        for (int64_t k = 0; k < bytes; k++) sum += example[k];
      free(example);
    }
    dhc_dataset_free(d);
  }
}

#if KIND(FUZZ_KIND) == KIND_safetensors
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  DhcSafetensors *f = NULL;
  if (told(dhc_safetensors_from_bytes("fuzz", data, n, &f))) read_tensors(f);
  dhc_safetensors_close(f);
  return 0;
}

#elif KIND(FUZZ_KIND) == KIND_gguf
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  DhcSafetensors *f = NULL;
  if (dhc_gguf_begins(data, n) && told(dhc_gguf_from_bytes("fuzz", data, n, &f))) read_tensors(f);
  dhc_safetensors_close(f);
  return 0;
}

#elif KIND(FUZZ_KIND) == KIND_header /* JSON alone: length and data are made to fit it */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  size_t most = 4096;
  uint8_t *file = calloc(8 + n + most, 1);
  fuzz_check(file != NULL, "memory");
  for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)n >> 8 * i);
  memcpy(file + 8, data, n);
  for (size_t body = 0; body <= most; body = body ? body * 4 : 4) {
    DhcSafetensors *f = NULL;
    if (told(dhc_safetensors_from_bytes("fuzz", file, 8 + n + body, &f))) read_tensors(f);
    dhc_safetensors_close(f);
  }
  free(file);
  return 0;
}

#elif KIND(FUZZ_KIND) == KIND_npy
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  DhcNpy npy;
  if (!told(dhc_npy_parse("fuzz", data, n, &npy))) return 0;
  read_view(&npy.view);
  int64_t rows = npy.view.rank ? npy.view.shape[0] : 1;
  uint8_t *row = malloc(rows ? (size_t)(npy.view.bytes / rows) + 1 : 1);
  for (int64_t i = 0; row && i < rows && npy.view.bytes; i++) dhc_npy_row(&npy, i, row);
  free(row);
  return 0;
}

#elif KIND(FUZZ_KIND) == KIND_idx
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  Two t = split(data, n);
  char spec[300];
  fuzz_file("train-images-idx3-ubyte", t.a, t.n_a);
  fuzz_file("train-labels-idx1-ubyte", t.b, t.n_b);
  snprintf(spec, sizeof spec, "idx:%s", fuzz_folder());
  read_data(spec, &(DhcDataOptions){.n_val = (int64_t)(n % 3), .max_bytes = 1 << 24});
  return 0;
}

#elif KIND(FUZZ_KIND) == KIND_cifar
enum { RECORD = 3073 };
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char *const files[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin",
                                      "test_batch.bin"};
  uint8_t whole[3 * RECORD] = {0};
  char spec[300];
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) { /* each byte is a file's size and its first label */
    int code = i < n ? data[i] : 3;
    whole[0] = whole[RECORD] = whole[2 * RECORD] = (uint8_t)(code & 15);
    fuzz_file(files[i], whole, (size_t)(code >> 6) * RECORD - (size_t)(code >> 6 && (code & 16)));
  }
  snprintf(spec, sizeof spec, "cifar10:%s", fuzz_folder());
  read_data(spec, &(DhcDataOptions){.n_val = (int64_t)(n % 3), .max_bytes = 1 << 24});
  return 0;
}

#elif KIND(FUZZ_KIND) == KIND_text /* "FILE@LENGTH": the length, a newline, the file */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  const uint8_t *line = n ? memchr(data, '\n', n) : NULL;
  size_t head = line ? (size_t)(line - data) : 0;
  char spec[400];
  const char *path = fuzz_file("t.txt", line ? line + 1 : data, line ? n - head - 1 : n);
  snprintf(spec, sizeof spec, "text:%s%s%.*s", path, line ? "@" : "", (int)(head < 40 ? head : 40), (const char *)data);
  read_data(spec, &(DhcDataOptions){.n_val = (int64_t)(n % 3), .max_bytes = 1 << 24});
  read_data("text:", &(DhcDataOptions){0});
  return 0;
}

#elif KIND(FUZZ_KIND) == KIND_run
/* A true digest, so that what stands behind it is reached: 64 hex digits that stand for it become zeros. */
static void seal(uint8_t *file, size_t n) {
  static const char key[] = "\"dhc.sha256\":\"";
  uint8_t *at = n > sizeof key + 64 ? memmem(file, n, key, sizeof key - 1) : NULL, digest[32];
  if (!at || at + sizeof key - 1 + 64 > file + n) return;
  at += sizeof key - 1;
  memset(at, '0', 64);
  DhcSha256 h;
  char hex[65];
  dhc_sha256_init(&h);
  dhc_sha256_update(&h, file, n);
  dhc_sha256_final(&h, digest);
  dhc_sha256_hex(digest, hex);
  memcpy(at, hex, 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char *const columns[] = {"step", "loss", "list"};
  Two t = split(data, n);
  uint8_t *copy = malloc(t.n_a + 1);
  fuzz_check(copy != NULL, "memory");
  if (t.n_a) memcpy(copy, t.a, t.n_a);
  seal(copy, t.n_a);
  fuzz_file("checkpoint-000000007.safetensors", copy, t.n_a);
  DhcCheckpoint c;
  if (told(dhc_checkpoint_open_latest(fuzz_folder(), NULL, NULL, &c))) {
    read_tensors(c.file);
    dhc_checkpoint_close(&c);
  }
  free(copy);
  DhcMetrics *m = NULL;
  const char *csv = fuzz_file("metrics.csv", t.b, t.n_b), *jsonl = fuzz_file("metrics.jsonl", t.b, t.n_b);
  int64_t kept = 0;
  if (told(dhc_metrics_open(csv, jsonl, columns, 3, 1, true, &m)) && told(dhc_metrics_keep(m, 2, &kept)))
    fuzz_check(kept >= 0 && kept <= 2, "no more rows than asked for are kept");
  if (m) dhc_metrics_close(m);
  return 0;
}

#elif KIND(FUZZ_KIND) == KIND_image
/* What stands behind an image's head, which is made to fit: magic, version, length, digest. */
enum { HEAD = 56 };

static void seal(uint8_t *image, size_t body) {
  static const dhc_image none = {.plan = {.name = ""}, .finite = -1};
  uint8_t *whole;
  size_t n;
  fuzz_check(told(dhc_image_write(&none, &whole, &n)) && n > HEAD, "an empty image is written");
  memcpy(image, whole, 16);
  free(whole);
  for (int i = 0; i < 8; i++) image[16 + i] = (uint8_t)((uint64_t)body >> 8 * i);
  dhc_sha256_bytes(image + HEAD, body, image + 24);
}

/* Bound to small sizes: what refers to what is read, no code is there to run. */
static void bind(const dhc_image *im) {
  const dhc_plan *plan = &im->plan;
  int64_t *symbols = malloc(sizeof *symbols * ((size_t)plan->n_symbols + 1));
  const dhc_kernel **kernels = malloc(sizeof(dhc_kernel *) * ((size_t)plan->n_kernels + 1));
  fuzz_check(symbols && kernels, "memory");
  for (int i = 0; i < plan->n_symbols; i++) symbols[i] = 2 + i;
  for (int i = 0; i < plan->n_kernels; i++) kernels[i] = &im->kernels[i];
  DhcBound *b = NULL;
  if (told(dhc_plan_bind(plan, kernels, symbols, 2, &b))) dhc_bound_free(b);
  free(kernels);
  free(symbols);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  uint8_t *image = malloc(n + HEAD), *again = NULL;
  size_t n_again;
  dhc_image *im = NULL;
  fuzz_check(image != NULL, "memory");
  if (n) memcpy(image + HEAD, data, n);
  seal(image, n);
  if (told(dhc_image_read(image, n + HEAD, &im))) {
    fuzz_check(told(dhc_image_write(im, &again, &n_again)), "what was read can be written");
    bind(im);
    dhc_image_free(im);
  }
  free(again);
  free(image);
  return 0;
}

#else /* store: an entry as it lies in the folder, made whole or not, and a payload */
enum { HEADER = 4 + 4 + 4 + 8 + 64 + 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char key[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
  DhcStore *s = NULL;
  DhcStoreOptions o = {.dir = fuzz_folder(), .features = "sse2 avx"};
  chmod(fuzz_file(key, data, n), 0600);
  if (told(dhc_store_open(&o, &s))) {
    DhcStoreBytes b;
    DhcStoreList list;
    if (dhc_store_get(s, key, &b)) dhc_store_bytes_free(&b);
    if (told(dhc_store_verify(s, n % 2 == 0, &list))) dhc_store_list_free(&list);
    dhc_store_close(s);
  }
  DhcArena a;
  dhc_arena_init(&a);
  dhc_kernel_class classes[DHC_MAX_CLASSES];
  const char *object;
  size_t n_object;
  int n_classes;
  if (dhc_payload_read(&a, data, n, classes, &n_classes, &object, &n_object)) {
    int64_t env[4] = {1, 2, 3, 4}, v;
    fuzz_check(n_object > 0 && (const uint8_t *)object + n_object == data + n, "the object is the rest");
    for (int i = 0; i < n_classes; i++) (void)dhc_dimprog_eval(classes[i].n_tasks, env, 4, 1, &v);
  }
  dhc_arena_fini(&a);
  return 0;
}
#endif
