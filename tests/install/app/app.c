/* A program of somebody else: runs the forward pass of a model that lies only in the
 * installed folder, twice with equal weights, and prints what came out. */
#include <stdio.h>

#include <dhc/dhc.h>

static int failed(dhc_status st, const char *what) {
  if (st.code == DHC_OK) return 0;
  fprintf(stderr, "%s: %s\n", what, st.message);
  return 1;
}

static int forward(dhc_session *s, dhc_model *m, float *y) {
  float x[4] = {1, 2, 3, 4};
  dhc_tensor in = {.name = "x", .dtype = DHC_F32, .rank = 2, .dim = {1, 4}, .data = x};
  const dhc_tensor *out = NULL;
  int n_out = 0, bad = 1;
  dhc_program *p = NULL;
  if (failed(dhc_program_open(m, "forward", DHC_MODE_RUN, &p), "program")) {
    dhc_session_print_diagnostics(s, stderr, false);
  } else if (!failed(dhc_program_init(p, 1), "init") && !failed(dhc_program_run(p, 0, &in, 1, &out, &n_out), "run")) {
    bad = n_out != 1 || out[0].dim[1] != 3;
    for (int i = 0; !bad && i < 3; i++)
      y[i] = out[0].dtype == DHC_F64 ? (float)((const double *)out[0].data)[i] : ((const float *)out[0].data)[i];
  }
  dhc_program_close(p);
  return bad;
}

int main(void) {
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  float y[2][3];
  int bad = failed(dhc_session_open(&(dhc_session_options){.threads = 1}, &s), "session");
  if (!bad && failed(dhc_model_open(s, &(dhc_model_options){.name = "only_here"}, &m), "model")) {
    dhc_session_print_diagnostics(s, stderr, false);
    bad = 1;
  }
  bad = bad || forward(s, m, y[0]) || forward(s, m, y[1]);
  for (int i = 0; !bad && i < 3; i++) bad = !(y[0][i] == y[1][i]);
  if (!bad) printf("dhc %s: y = %g %g %g\n", dhc_version(), (double)y[0][0], (double)y[0][1], (double)y[0][2]);
  dhc_model_close(m);
  dhc_session_close(s);
  return bad;
}
