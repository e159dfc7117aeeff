/* What the runtime says where the system fails it, or who calls it does: word for word. The linker sends a few calls
 * here (--wrap). */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "runtime/device.h"
#include "runtime/events.h"
#include "runtime/program.h"
#include "support.h"

/* ---- calls that fail ------------------------------------------------------------------- */

static int lock_error, random_error, threads_left = -1, copies_left = -1;

int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);
int __wrap_flock(int fd, int how) {
  errno = lock_error;
  return lock_error ? -1 : __real_flock(fd, how);
}
ssize_t __real_getrandom(void *to, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *to, size_t n, unsigned flags) {
  errno = random_error;
  return random_error ? -1 : __real_getrandom(to, n, flags);
}
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg) {
  if (threads_left == 0) {
    return EAGAIN;
  }
  threads_left--;
  return __real_pthread_create(t, a, run, arg);
}
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
char *__wrap_strdup(const char *s) {
  return copies_left-- == 0 ? NULL : __real_strdup(s);
}

static char heard[800];
static void hear(void *ctx, DhcWarnLevel level, const char *line) {
  (void)ctx;
  (void)level;
  snprintf(heard, sizeof heard, "%s", line);
}
static const DhcWarn warn = {NULL, hear};

static void the_system(void **state) {
  (void)state;
  char folder[256], text[800], id[DHC_RUN_ID_CHARS];
  DhcPool *pool;
  DhcRunFolder run;
  support_folder(folder);
  threads_left = 1;
  assert_fails(dhc_pool_new(3, &pool), DHC_E_ENVIRONMENT, "cannot start thread 2 of 3: resource temporarily unavailable");
  const DhcDataset streamed = {.n_examples = 4, .from_files = true};
  DhcBatcher *batcher;
  threads_left = 1;
  assert_fails(dhc_batcher_new(&streamed, &(DhcBatchOptions){.batch = 1, .workers = 2}, &batcher), DHC_E_ENVIRONMENT,
               "cannot start a thread that reads data: resource temporarily unavailable");
  threads_left = -1;
  random_error = ENOSYS;
  assert_fails(dhc_run_id_draw(id), DHC_E_ENVIRONMENT, "no random bits for the run's id: function not implemented");
  random_error = 0;
  lock_error = ENOLCK;
  assert_ok(dhc_run_folder_open(folder, false, &warn, &run));
  lock_error = 0;
  dhc_run_folder_close(&run);
  snprintf(text, sizeof text, "%s: cannot be locked (No locks available): no other training may write there", folder);
  assert_string_equal(heard, text);
  copies_left = 0;
  snprintf(text, sizeof text, "out of memory (%zu bytes for a path)", strlen(folder) + 1);
  assert_fails(dhc_run_folder_open(folder, false, &warn, &run), DHC_E_ENVIRONMENT, text);
  support_drop(folder);
}

/* ---- files ------------------------------------------------------------------------------- */

static void files(void **state) {
  (void)state;
  static float values[4];
  char folder[256], path[512], text[800];
  DhcTensorView v = {.name = "w", .dtype = DHC_F32, .rank = 1, .shape = {4}, .data = values, .bytes = 12};
  support_folder(folder);
  support_join(path, folder, "file");
  snprintf(text, sizeof text, "%s: bytes do not fit the shape", path);
  assert_fails(dhc_npy_write(path, &v), DHC_E_USAGE, text);

  enum { LONG = 20 << 20, PAIRS = 5 }; /* above 100,000,000 bytes together */
  char *value = malloc(LONG + 1);
  assert_non_null(value);
  memset(value, 'x', LONG);
  value[LONG] = 0;
  DhcMetaPair meta[PAIRS] = {{"a", value}, {"b", value}, {"c", value}, {"d", value}, {"e", value}};
  v.bytes = 16;
  snprintf(text, sizeof text, "%s: header is over the limit", path);
  assert_fails(dhc_safetensors_write(path, &v, 1, meta, PAIRS), DHC_E_USAGE, text);

  DhcEvents *events;
  const double one = 1;
  const char *tag = value + LONG - 5000;
  assert_ok(dhc_events_open(path, &events));
  snprintf(text, sizeof text, "%s: an event of more than 4096 bytes", path);
  assert_fails(dhc_events_scalars(events, 1, 1, &tag, &one, 1), DHC_E_ENVIRONMENT, text);
  dhc_events_close(events);
  free(value);

  const DhcDataset endless = {.n_examples = INT64_MAX / 4};
  DhcBatcher *batcher;
  assert_fails(dhc_batcher_new(&endless, &(DhcBatchOptions){.batch = 1}, &batcher), DHC_E_INPUT, "too many examples");
  support_drop(folder);
}

/* ---- the kernel store ------------------------------------------------------------------------ */

static void stored(void **state) {
  (void)state;
  static const char key[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  char folder[256], path[512], text[800];
  DhcStore *s;
  DhcStoreBytes b;
  support_folder(folder);
  DhcStoreOptions options = {.dir = folder, .warn = warn};
  assert_ok(dhc_store_open(&options, &s));
  assert_true(dhc_store_put(s, key, NULL, "code", 4));
  dhc_store_close(s);
  support_join(path, folder, key);
  assert_int_equal(chmod(path, 0666), 0);
  assert_ok(dhc_store_open(&options, &s));
  assert_false(dhc_store_get(s, key, &b));
  assert_string_equal(heard, "cache entry e3b0c442 is not private, rebuilt");
  char *needs = malloc(70000);
  assert_non_null(needs);
  memset(needs, 'x', 69999);
  needs[69999] = 0;
  assert_true(dhc_store_put(s, key, needs, "code", 4)); /* it is there, but only in memory */
  snprintf(text, sizeof text, "cannot write to the cache: cache entry %.8s is too large", key);
  assert_string_equal(heard, text);
  free(needs);
  dhc_store_close(s);
  support_drop(folder);
}

/* ---- devices and plans ------------------------------------------------------------------------- */

static const int64_t one_code[] = {DHC_DIM_CONST, 1}, room_code[] = {DHC_DIM_CONST, 64};

/* A checked kernel that reports byte 4100 of its second operand. */
static void stray(void *const *ptr, const intptr_t *dim, intptr_t t0, intptr_t t1, void *scratch) {
  (void)dim, (void)t0, (void)t1, (void)scratch;
  int64_t *report = (int64_t *)ptr[3] + 2 * (2 + 2);
  report[0] = 2;
  report[1] = 4100;
}

static void plans(void **state) {
  (void)state;
  static const dhc_kernel_class only = {.n_tasks = {one_code, 2}, .fn = stray};
  static const dhc_kernel kernel = {.name = "stray", .n_ptrs = 2, .n_classes = 1, .classes = &only};
  static const dhc_kernel *const kernels[] = {&kernel};
  static const dhc_ref refs[] = {{.buffer = 0}, {.buffer = 0}};
  static const dhc_item item = {.kind = DHC_ITEM_CALL, .n_refs = 2, .refs = refs};
  dhc_buffer buffer = {.segment = DHC_SEGMENT_WORK, .alias = -1, .bytes = {room_code, 2}};
  const dhc_plan plan = {.name = "test", .n_buffers = 1, .buffers = &buffer, .n_items = 1, .items = &item, .n_kernels = 1};
  DhcBound *b;
  DhcDevice *d;
  DhcDevicePtr base[DHC_N_SEGMENTS] = {0}, ptr[DHC_MAX_KERNEL_PTRS + 2] = {0};
  assert_ok(dhc_plan_bind(&plan, kernels, NULL, 1, &b));
  assert_ok(dhc_host_device_open("test", NULL, NULL, &d));
  d->checked = true;
  assert_ok(d->ops->alloc(d, 64, &base[DHC_SEGMENT_WORK]));
  assert_fails(dhc_bound_run(b, d, base, 0, NULL), DHC_E_ENVIRONMENT,
               "kernel stray, item 0 of the plan, reads or writes outside operand 1, from its byte 4100 on: a bug of dhcc");
  d->ops->free(d, base[DHC_SEGMENT_WORK]);
  dhc_bound_free(b);
  const DhcLaunch wide = {.fn = stray, .ptr = ptr, .n_ptrs = DHC_MAX_KERNEL_PTRS + 1, .n_tasks = 1};
  assert_fails(d->ops->launch(d, &wide), DHC_E_USAGE, "a kernel of 257 operands");
  assert_fails(d->ops->load(d, "code", 4, NULL, 0, NULL), DHC_E_ENVIRONMENT, "test: takes no code");
  dhc_device_close(d);
  buffer.alias = 0;
  assert_fails(dhc_plan_bind(&plan, kernels, NULL, 1, &b), DHC_E_USAGE, "plan 'test': buffer 0 is malformed");
}

/* An image that wants more of a device than it has. */
static void images(void **state) {
  (void)state;
  const dhc_image packed = {.version = DHC_ABI_VERSION, .plan = {.name = "forward"}, .n_panels = 1};
  const dhc_layout nothing = {0};
  DhcDeviceOps ops = dhc_host_device_ops;
  ops.pack = NULL;
  DhcDevice *d;
  DhcProg *p;
  DhcLoaded *l;
  assert_ok(dhc_host_device_open("test", NULL, NULL, &d));
  d->ops = &ops;
  assert_ok(dhc_prog_open(d, &nothing, &p));
  assert_fails(dhc_prog_load(p, &packed, &l), DHC_E_USAGE, "entry 'forward' reads packed weights, which this device has not");
  dhc_prog_close(p);
  dhc_device_close(d);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_system),
      cmocka_unit_test(files),
      cmocka_unit_test(stored),
      cmocka_unit_test(plans),
      cmocka_unit_test(images),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
