/* Tuning files (tuning.c) and the search that makes them (tune.c). */
#ifndef DHC_API_TUNING_H
#define DHC_API_TUNING_H

#include "api/api.h"
#include "passes/plan/schedule.h"

typedef struct DhcTuned {
  int target; /* of DhcTuning.targets */
  int line;   /* of the file */
  char spec[33];
  int n_class;
  const char *template_name;
  int v[8];
} DhcTuned;

typedef struct DhcTunedTime {
  int target;
  char spec[33];
  int round;
  int64_t ns;
} DhcTunedTime;

typedef struct DhcTuning {
  DhcArena *arena;
  const char *path;
  char digest[65]; /* of the file, or of what the search is at */
  DHC_VEC(const char *) targets;
  DHC_VEC(DhcTuned) kernels;
  DHC_VEC(DhcTunedTime) times;
  bool searches; /* every kernel has its candidate number `round`, if it has so many, whatever stands above */
  int round;
} DhcTuning;

dhc_status tuning_read(const char *path, DhcArena *arena, DhcTuning **out) DHC_MUST_USE;
dhc_status tuning_write(const DhcTuning *t, const char *path) DHC_MUST_USE;
/* The name of a spec: of its text, without the target. */
void tuning_spec(const DhcSpec *s, char hash[33]);
int tuning_target(const DhcTuning *t, const char *target); /* -1: none */
/* classes become those that the file chooses, on the compiler's target. */
dhc_status tuning_apply(const DhcTuning *t, DhcCompiler *c, const DhcSpec *spec, DhcSchedule *classes, int n_classes) DHC_MUST_USE;

#endif
