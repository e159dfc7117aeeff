/* Text of every stage on the way from the model file to machine code. */
#include <stdlib.h>

#include "api/api.h"
#include "dhc/version.h"
#include "frontend/parse.h"

typedef enum Stage { ST_AST, ST_GRAPH, ST_FUSED, ST_SPEC, ST_PLAN, ST_KERNEL, ST_UNKNOWN } Stage;

static const struct {
  const char *name;
  Stage stage;
} stages[] = {{"ast", ST_AST}, {"graph", ST_GRAPH}, {"fused", ST_FUSED}, {"spec", ST_SPEC}, {"plan", ST_PLAN}};
enum { N_STAGES = sizeof stages / sizeof stages[0] }; /* and those of kernels: dhc_compiler_stage */

/* "fused", "grad.plan", "train.graph"; "grad" alone is grad.graph. */
static Stage parse_stage(const char *text, dhc_mode *mode, const char **kernel_stage) {
  *mode = DHC_MODE_RUN;
  if (!strncmp(text, "grad", 4) && (!text[4] || text[4] == '.')) *mode = DHC_MODE_GRAD, text += text[4] ? 5 : 4;
  if (!strncmp(text, "train", 5) && (!text[5] || text[5] == '.')) *mode = DHC_MODE_TRAIN, text += text[5] ? 6 : 5;
  if (!*text) return ST_GRAPH;
  for (int i = 0; i < N_STAGES; i++)
    if (!strcmp(stages[i].name, text)) return stages[i].stage;
  for (int i = 0; (*kernel_stage = dhc_compiler_stage(i)); i++)
    if (!strcmp(*kernel_stage, text)) return ST_KERNEL;
  return ST_UNKNOWN;
}

const char *dhc_stage_name(int i) {
  return i < 0 ? NULL : i < N_STAGES ? stages[i].name : dhc_compiler_stage(i - N_STAGES);
}

/* All of them, for who asked for another. */
static dhc_status no_stage(DhcArena *a, const char *got) {
  DhcText t = {.arena = a};
  for (int i = 0; i < N_STAGES; i++) dhc_text_printf(&t, "%s%s", stages[i].name, stages[i].stage == ST_GRAPH ? ", grad, train, " : ", ");
  for (int i = 0; dhc_compiler_stage(i); i++)
    dhc_text_printf(&t, "%s%s", i ? dhc_compiler_stage(i + 1) ? ", " : " or " : "", dhc_compiler_stage(i));
  return dhc_status_make(DHC_E_USAGE, "--stage: needs %s (also grad.STAGE, train.STAGE), got \"%s\"", dhc_text_str(&t), got);
}

static const char *default_entry(dhc_model *m, dhc_mode mode) {
  DhcEntryInfos e = dhc_model_entries(m->m);
  const char *want = mode == DHC_MODE_RUN ? "forward" : "loss";
  for (int i = 0; i < e.n; i++)
    if (!strcmp(e.at[i].name, want)) return want;
  return e.n ? e.at[0].name : want;
}

static dhc_status print_kernels(dhc_model *m, Version *v, const char *stage, DhcText *t) {
  DhcKernelRequest *rq = NULL;
  DHC_TRY(pipeline_requests(m, v, &rq));
  for (int i = 0; i < v->planned->plan.n_kernels; i++) {
    dhc_text_printf(t, "; kernel %d\n", i);
    DHC_TRY(dhc_compiler_print(m->s->compiler, &rq[i], stage, t));
  }
  return dhc_status_ok();
}

static dhc_status print_version(dhc_model *m, Version *v, Stage stage, const char *kernel_stage, DhcText *t) {
  if (stage == ST_GRAPH) {
    dhc_module_print(v->module, t);
    return dhc_status_ok();
  }
  v->way.rq.whole = false; /* these stages are of kernels, also where entries run whole */
  v->way.rq.tiles = (m->s->traits & DHC_BACKEND_TILES) && !m->s->compute; /* of the stage's backend */
  DHC_TRY(pipeline_fuse(m, v));
  if (stage == ST_FUSED) dhc_module_print(v->module, t);
  if (stage == ST_PLAN) dhc_plan_print(v->planned, t);
  for (int i = 0; stage == ST_SPEC && i < v->planned->plan.n_kernels; i++) {
    dhc_spec_print(v->planned->specs[i], t);
    dhc_text_puts(t, "\n");
  }
  return stage == ST_KERNEL ? print_kernels(m, v, kernel_stage, t) : dhc_status_ok();
}

/* Kernels are printed by a compiler of their own: the stage names its backend, and text needs no
 * machine to run on. */
typedef struct Offline {
  DhcCompiler *compiler;
  const char *backend;
  unsigned traits;
  bool offline;
} Offline;

static Offline offline_begin(dhc_session *s, const char *stage) {
  Offline was = {s->compiler, s->backend, s->traits, s->offline};
  const char *backend = dhc_compiler_stage_backend(stage);
  for (int i = 0; backend && dhc_backend_name(i); i++)
    if (!strcmp(dhc_backend_name(i), backend)) s->backend = backend, s->traits = dhc_backend_info(backend)->traits;
  s->compiler = NULL;
  s->offline = true;
  return was;
}

static void offline_end(dhc_session *s, const Offline *was) {
  dhc_compiler_close(s->compiler);
  s->compiler = was->compiler;
  s->backend = was->backend;
  s->traits = was->traits;
  s->offline = was->offline;
}

dhc_status api_model_print(dhc_model *m, const char *entry, const char *stage, char **out) {
  NEED_OUT(out);
  NEED(m);
  NEED(stage);
  dhc_mode mode;
  const char *kernel_stage = NULL;
  Stage st = parse_stage(stage, &mode, &kernel_stage);
  if (st == ST_UNKNOWN)
    return no_stage(&m->s->arena, stage);
  DhcText t = {.arena = &m->s->arena};
  if (st == ST_AST) {
    dhc_ast_print_program(dhc_elab_program(m->elab), &t);
  } else {
    Version *v = pipeline_graph(m, entry ? entry : default_entry(m, mode), mode, NULL, 0);
    if (!v) return session_errors(m->s);
    Offline was = offline_begin(m->s, kernel_stage ? kernel_stage : "");
    dhc_status printed = print_version(m, v, st, kernel_stage, &t);
    offline_end(m->s, &was);
    DHC_TRY(printed);
  }
  *out = strdup(dhc_text_str(&t));
  return *out ? dhc_status_ok() : dhc_status_memory(t.n, "a text");
}
