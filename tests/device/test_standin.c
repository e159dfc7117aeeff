/* A program on a device whose memory the host does not see: what crosses, and when. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) run_on(argv[i]);
  return 0;
}
