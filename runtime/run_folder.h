/* The folder of one training run: who may write there, and what lies there already. */
#ifndef DHC_RUNTIME_RUN_FOLDER_H
#define DHC_RUNTIME_RUN_FOLDER_H

#include <stdbool.h>

#include "runtime/status.h"

typedef struct DhcRunFolder {
  char *path;
  int fd;    /* -1: not open */
  bool made; /* it was not there */
} DhcRunFolder;

/* Locks the folder and removes what killed saves left in it. The lock is on the folder itself
 * and dies with the process: DHC_E_ENVIRONMENT where another training, of this process or not,
 * holds it. A file system without locks gives a warning. make: the folder and its parents are
 * made if missing; else a missing one is DHC_E_INPUT. On failure nothing is left to close. One that was
 * made, and nothing put into, goes when it is closed. */
dhc_status dhc_run_folder_open(const char *path, bool make, const DhcWarn *warn,
                               DhcRunFolder *out) DHC_MUST_USE;
void dhc_run_folder_close(DhcRunFolder *f);

/* A run and a sweep have folders of their own: DHC_E_INPUT where a run is to go to a folder that holds a sweep, or a
 * sweep to one that holds a run. */
dhc_status dhc_run_folder_of_run(const char *path) DHC_MUST_USE;
dhc_status dhc_run_folder_of_sweep(const char *path) DHC_MUST_USE;

enum { DHC_RUN_ID_CHARS = 33, DHC_RUN_FILE_CHARS = 256 };
/* 32 hex digits that no other run has. */
dhc_status dhc_run_id_draw(char id[DHC_RUN_ID_CHARS]) DHC_MUST_USE;

/* Whether the folder holds files of a run (a config, checkpoints, weights, metrics); name gets
 * one of them. An error where nobody can tell. */
dhc_status dhc_run_folder_used(const char *path, bool *used, char name[DHC_RUN_FILE_CHARS]) DHC_MUST_USE;

#endif
