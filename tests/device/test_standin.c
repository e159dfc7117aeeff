/* A program on a device whose memory the host does not see: what crosses, and when. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dhc/dhc.h"
#include "tests/device/standin.h"

#define CHECK(x)                                                   \
  do {                                                             \
    if (!(x)) {                                                    \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
      exit(1);                                                     \
    }                                                              \
  } while (0)

static void ok(dhc_status st) {
  if (st.code == DHC_OK) return;
  fprintf(stderr, "%s\n", st.message);
  exit(1);
}

/* Three steps on the device's own clock: a call of one phase took 2 ms each time, one of two 4. */
static void profile(dhc_program *p, const dhc_tensor *in, int forward) {
  dhc_program_profile(p, true);
  DhcStandinCounts before = dhc_standin_counts();
  for (int i = 0; i < 3; i++) ok(dhc_program_run(p, 0, in, 2, NULL, NULL));
  ok(dhc_program_run(p, forward, in, 1, NULL, NULL)); /* another entry: not counted */
  CHECK(dhc_standin_counts().replays == before.replays + 1);
  double flops = 0;
  CHECK(dhc_program_profile_rows(p) > 0);
  for (int i = 0; i < dhc_program_profile_rows(p); i++) {
    dhc_profile_row r = dhc_program_profile_row(p, i);
    double each = r.ms / (r.runs ? (double)r.runs : 1);
    CHECK(r.runs % 3 == 0 && (r.runs == 0 || each == 2 || each == 4));
    flops += r.flops;
  }
  CHECK(flops == 0 || flops > 4 * 2e5); /* of mlp's contractions, where kernels come from specs */
  dhc_program_profile(p, false);
}

/* Inputs that lie on the device already do not travel, and give the same; of a loss the targets come down to be looked at. */
static void there(dhc_program *p, int forward, const dhc_tensor *in, const dhc_tensor *want) {
  const dhc_tensor *results;
  int n;
  void *at[2], *no[2] = {NULL, NULL};
  int64_t bytes = dhc_tensor_bytes(want);
  char *first = malloc((size_t)bytes);
  CHECK(first);
  memcpy(first, want->data, (size_t)bytes);
  ok(dhc_program_upload(p, &in[0], &at[0]));
  ok(dhc_program_upload(p, &in[1], &at[1]));
  dhc_tensor apart[2] = {in[0], in[1]};
  apart[0].data = apart[1].data = NULL;
  DhcStandinCounts before = dhc_standin_counts(), after;
  ok(dhc_program_run_at(p, forward, apart, at, 1, &results, &n));
  after = dhc_standin_counts();
  CHECK(after.uploads == before.uploads && !memcmp(results[0].data, first, (size_t)bytes));
  ok(dhc_program_run_at(p, forward, in, no, 1, &results, &n));
  CHECK(dhc_standin_counts().uploads == after.uploads + 1 && !memcmp(results[0].data, first, (size_t)bytes));
  dhc_status st = dhc_program_run_at(p, forward, apart, no, 1, &results, &n);
  CHECK(st.code == DHC_E_USAGE && strstr(st.message, "has no data"));
  ok(dhc_program_run_at(p, 0, apart, at, 2, NULL, NULL));
  dhc_program_drop(p, at[0]);
  dhc_program_drop(p, at[1]);
  free(first);
}

/* From one place several times in a row they are read where they lie: another list of commands, no copy. */
static void lent(dhc_program *p, int forward, const dhc_tensor *in) {
  static float other[4 * 784];
  const dhc_tensor *results;
  int n, prepares[] = {0, 1, 1, 2, 2, 3, 3, 4};
  void *a, *b, *no[1] = {NULL};
  char want[2][4 * 10 * sizeof(float)];
  dhc_tensor of[2] = {in[0], in[0]};
  memcpy(other, in[0].data, sizeof other);
  for (int i = 0; i < 784; i++) other[i] += 1;
  of[1].data = other;
  for (int k = 0; k < 2; k++) {
    ok(dhc_program_run_at(p, forward, &of[k], no, 1, &results, &n));
    memcpy(want[k], results[0].data, sizeof want[k]);
  }
  CHECK(memcmp(want[0], want[1], sizeof want[0]));
  ok(dhc_program_upload(p, &of[0], &a));
  ok(dhc_program_upload(p, &of[1], &b));
  void *const at[] = {a, a, a, b, b, b, b, NULL};
  DhcStandinCounts before = dhc_standin_counts();
  for (int i = 0; i < 8; i++) {
    ok(dhc_program_run_at(p, forward, in, &at[i], 1, &results, &n));
    CHECK(!memcmp(results[0].data, want[at[i] == b], sizeof want[0]));
    CHECK(dhc_standin_counts().prepares - before.prepares == prepares[i]);
  }
  dhc_program_drop(p, a);
  dhc_program_drop(p, b);
}

static void run_on(const char *backend) {
  enum { B = 4, D = 784 };
  static float x[B * D];
  int64_t target[B] = {1, 2, 3, 4};
  dhc_session *s;
  dhc_model *m;
  dhc_program *p;
  const dhc_tensor *results;
  int n, forward;
  for (int i = 0; i < B * D; i++) x[i] = (float)(i % 17) / 17;
  ok(dhc_session_open(&(dhc_session_options){.backend = backend, .threads = 2}, &s));
  ok(dhc_model_open(s, &(dhc_model_options){.name = "mlp"}, &m));
  ok(dhc_program_open(m, "loss", DHC_MODE_TRAIN, &p));
  ok(dhc_program_add(p, "forward", DHC_MODE_RUN, &forward));
  ok(dhc_program_init(p, 1));
  dhc_tensor in[2] = {{"image", DHC_F32, 4, {B, 1, 28, 28}, x}, {"target", DHC_I64, 1, {B}, target}};
  DhcStandinCounts before = dhc_standin_counts(), after;
  ok(dhc_program_run(p, forward, in, 1, NULL, NULL));
  after = dhc_standin_counts();
  CHECK(after.downloads == before.downloads); /* weights are packed where they lie, */
  int64_t packs = after.packs - before.packs;
  CHECK(packs > 0 || strcmp(backend, "cpu"));
  before = after;
  ok(dhc_program_run(p, forward, in, 1, NULL, NULL));
  after = dhc_standin_counts();
  CHECK(after.replays == before.replays + 1 && after.prepares == before.prepares);
  CHECK(after.packs == before.packs); /* and again when they have changed */
  CHECK(after.downloads == before.downloads); /* results that nobody asks for stay there */
  ok(dhc_program_run(p, forward, in, 1, &results, &n));
  CHECK(n >= 1 && dhc_standin_counts().downloaded_bytes == after.downloaded_bytes + dhc_tensor_bytes(&results[0]));
  if (!strcmp(backend, "cpu")) there(p, forward, in, &results[0]), lent(p, forward, in);
  before = dhc_standin_counts();
  ok(dhc_program_check(p, forward));
  CHECK(dhc_standin_counts().downloaded_bytes - before.downloaded_bytes < 64); /* it is looked at there */
  float loss[3];
  for (int i = 0; i < 3; i++) {
    before = dhc_standin_counts();
    ok(dhc_program_run(p, 0, in, 2, &results, &n));
    after = dhc_standin_counts();
    loss[i] = results[0].dtype == DHC_F64 ? (float)*(double *)results[0].data : *(float *)results[0].data;
  }
  CHECK(loss[2] < loss[0]);
  CHECK(after.downloaded_bytes - before.downloaded_bytes < 4096); /* a step's numbers, never its weights */
  CHECK(after.allocs == before.allocs);
  before = dhc_standin_counts();
  ok(dhc_program_run(p, forward, in, 1, NULL, NULL));
  CHECK(dhc_standin_counts().packs == before.packs + packs);
  profile(p, in, forward);
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
}

/* ---- batches of a training run --------------------------------------------------------------- */

static void write_npy(const char *path, const char *type, const char *shape, const void *data, size_t bytes) {
  char header[128];
  memset(header, ' ', sizeof header);
  memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* 118 bytes follow */
  int n = snprintf(header + 10, 100, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type, shape);
  header[10 + n] = ' ';
  header[127] = '\n';
  FILE *f = fopen(path, "wb");
  CHECK(f && fwrite(header, 1, sizeof header, f) == sizeof header && fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0);
}

enum { EXAMPLES = 20, BATCH = 4, PIXELS = 3 * 8 * 8 };
static const char *make_images(void) {
  static uint8_t pixel[EXAMPLES * PIXELS];
  static char folder[64] = "/tmp/dhc-standin-XXXXXX", path[96];
  int64_t label[EXAMPLES];
  CHECK(mkdtemp(folder));
  for (int i = 0; i < EXAMPLES * PIXELS; i++) pixel[i] = (uint8_t)(i * 7 % 251);
  for (int i = 0; i < EXAMPLES; i++) label[i] = i % 10;
  snprintf(path, sizeof path, "%s/train", folder);
  CHECK(mkdir(path, 0700) == 0);
  snprintf(path, sizeof path, "%s/train/image.npy", folder);
  write_npy(path, "|u1", "20, 3, 8, 8", pixel, sizeof pixel);
  snprintf(path, sizeof path, "%s/train/target.npy", folder);
  write_npy(path, "<i8", "20", label, sizeof label);
  return folder;
}

typedef struct Steps {
  DhcStandinCounts before;
  int n;
} Steps;

/* Pictures go up once, as pixels, and never come down: both fields of the next batch while a step runs, unless it is the
 * epoch's last; those of the first before it. */
static bool after_step(void *ctx, const dhc_train_progress *p) {
  Steps *s = ctx;
  DhcStandinCounts now = dhc_standin_counts();
  if (s->n++ > 1 && !p->epoch_end) {
    CHECK(now.downloaded_bytes - s->before.downloaded_bytes < BATCH * PIXELS);
    int64_t of_epoch = p->step % (EXAMPLES / BATCH);
    CHECK(now.aheads - s->before.aheads == (of_epoch == 0 ? 0 : of_epoch == 1 ? 4 : 2));
  }
  s->before = now;
  return true;
}

static void train_on(const char *backend) {
  char data[96];
  dhc_session *s;
  dhc_model *m;
  dhc_train_result result;
  Steps steps = {.n = 0};
  const char *const sets[] = {"hidden_dim=8"};
  snprintf(data, sizeof data, "npy:%s", make_images());
  ok(dhc_session_open(&(dhc_session_options){.backend = backend, .threads = 2}, &s));
  ok(dhc_model_open(s, &(dhc_model_options){.name = "dhc_ssm", .sets = sets, .n_sets = 1}, &m));
  dhc_train_options o = {.data = data, .batch = BATCH, .epochs = 2, .val_fraction = -1, .progress = after_step, .ctx = &steps};
  ok(dhc_train(m, &o, &result));
  CHECK(result.steps == 2 * EXAMPLES / BATCH && steps.n == result.steps); /* an epoch's end is in the row of its last step */
  dhc_model_close(m);
  dhc_session_close(s);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) run_on(argv[i]);
  if (argc > 1) train_on(argv[argc - 1]);
  return 0;
}
