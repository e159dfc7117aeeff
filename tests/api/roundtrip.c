/* roundtrip IN OUT MODEL [PRESET or -] [KEY=VALUE]...: loads a weights file into a model and saves
 * it again. Compiles nothing. Exit 1 and the message where the file is refused. */
#include <stdio.h>
#include <string.h>

#include "dhc/dhc.h"

static int say(dhc_status st) {
  if (st.code != DHC_OK) printf("%s\n", st.message);
  return st.code != DHC_OK;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  dhc_program *p = NULL;
  dhc_model_options o = {.name = argv[3], .preset = strcmp(argv[4], "-") ? argv[4] : NULL,
                         .sets = (const char *const *)argv + 5, .n_sets = argc - 5};
  int bad = say(dhc_session_open(&(dhc_session_options){.threads = 1}, &s));
  bad = bad || say(dhc_model_open(s, &o, &m));
  bad = bad || say(dhc_program_open(m, "forward", DHC_MODE_RUN, &p));
  bad = bad || say(dhc_program_init(p, 1)); /* so that nothing is right by being zero */
  bad = bad || say(dhc_program_load(p, argv[1], false));
  bad = bad || say(dhc_program_save(p, argv[2], false));
  if (!bad) printf("%lld parameters\n", (long long)dhc_model_n_params(m));
  dhc_program_close(p);
  dhc_model_close(m);
  dhc_session_close(s);
  return bad;
}
