/* What handles a training's state, as source: it lies in memory of the host, or of the GPU (cuda_around.c). */
#include "backends/object/c99.h"

static const char *host_move(DhcC99Move kind, const char *to, const char *from, int64_t bytes, DhcArena *arena) {
  if (kind == DHC_C99_CLEAR) return dhc_arena_printf(arena, "fill(%s, 0u, %lld);\n", to, (long long)bytes);
  return dhc_arena_printf(arena, bytes < 0 ? "memcpy(%s, %s, (size_t)bytes);\n" : "memcpy(%s, %s, %lld);\n", to, from, (long long)bytes);
}

const DhcC99Moves dhc_c99_moves = {host_move, ""};

static const char look[] = "  if (state == 0) return DHC_OBJECT_NULL;\n  if (misaligned(state)) return DHC_OBJECT_ALIGN;\n";

typedef struct Train {
  const DhcObjTrain *t;
  const DhcC99Moves *moves;
  DhcText *to;
} Train;

static const char *within(const Train *w, const char *of, int64_t at) {
  return at ? dhc_arena_printf(w->to->arena, "(%schar *)%s + %lld", strcmp(of, "state") ? "const " : "", of, (long long)at) : of;
}

static void move(const Train *w, const char *before, DhcC99Move kind, const char *to, const char *from, int64_t bytes) {
  dhc_text_printf(w->to, "%s%s", before, w->moves->move(kind, to, from, bytes, w->to->arena));
}

static void begins(const Train *w) {
  const DhcObjTrain *t = w->t;
  const char *first = dhc_arena_printf(w->to->arena, "%s_first", t->c_name);
  int64_t weights = t->layout->bytes[DHC_SEGMENT_WEIGHTS], buffers = t->layout->bytes[DHC_SEGMENT_BUFFERS];
  dhc_c99_words(first, t->first, t->bytes - t->buffers + t->moments, w->to);
  dhc_text_printf(w->to, "\ndhc_object_status %s_reset(void *state) {\n%s", t->c_name, look);
  if (t->buffers > t->moments) move(w, "  ", DHC_C99_CLEAR, within(w, "state", t->moments), NULL, t->buffers - t->moments);
  for (int i = 0; i < t->layout->n_ranges; i++)
    if (t->layout->ranges[i].from_weights) move(w, "  ", DHC_C99_WITHIN, within(w, "state", t->moments + t->layout->ranges[i].at), "state", weights);
  dhc_text_printf(w->to, "%s  return DHC_OBJECT_OK;\n}\n\ndhc_object_status %s_init(void *state, int64_t state_bytes) {\n%s"
                         "  if (state_bytes < INT64_C(%lld)) return DHC_OBJECT_WORKSPACE;\n", w->moves->end, t->c_name, look, (long long)t->bytes);
  if (weights) move(w, "  ", DHC_C99_IN, "state", first, weights);
  if (buffers) move(w, "  ", DHC_C99_IN, within(w, "state", t->buffers), within(w, first, t->moments), buffers);
  dhc_text_printf(w->to, "  return %s_reset(state);\n}\n\n", t->c_name);
}

static void tensors(const Train *w, bool get) {
  const DhcObjTrain *t = w->t;
  dhc_text_printf(w->to, "dhc_object_status %s_%s(%svoid *state, int tensor, %svoid *data, int64_t bytes) {\n%s  if (data == 0) return DHC_OBJECT_NULL;\n"
                         "  switch (tensor) {\n", t->c_name, get ? "get" : "set", get ? "const " : "", get ? "" : "const ", look);
  for (int i = 0; i < t->kept.n; i++) {
    const DhcObjKept *k = &t->kept.at[i];
    const char *at = dhc_arena_printf(w->to->arena, get ? "(const char *)state + %lld" : "(char *)state + %lld", (long long)k->at);
    dhc_text_printf(w->to, "    case %d:\n      if (bytes != INT64_C(%lld)) return DHC_OBJECT_WEIGHTS;\n", i, (long long)(k->n * dhc_dtype_bytes((dhc_dtype)k->dtype)));
    move(w, "      ", get ? DHC_C99_OUT : DHC_C99_IN, get ? "data" : at, get ? at : "data", -1);
    dhc_text_puts(w->to, "      return DHC_OBJECT_OK;\n");
  }
  dhc_text_puts(w->to, "    default: return DHC_OBJECT_WEIGHTS;\n  }\n}\n\n");
}

void dhc_c99_training(const DhcObjTrain *t, const DhcC99Moves *moves, DhcText *to) {
  const Train w = {t, moves, to};
  begins(&w);
  tensors(&w, false);
  tensors(&w, true);
}
