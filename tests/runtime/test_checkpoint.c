/* Checkpoints, the folder of a run, metrics and stop signals. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static float weights[4] = {1, 2, 3, 4};
static float moments[4] = {0.5f, 0.25f, 0, 0};
static const char model_a[] = "3f2a91c000000000000000000000000000000000000000000000000000000000";
static const char model_b[] = "91bc07de00000000000000000000000000000000000000000000000000000000";

static const DhcTensorView tensors[2] = {
    {.name = "fc.weight", .dtype = DHC_F32, .rank = 2, .shape = {2, 2}, .data = weights, .bytes = 16},
    {.name = "opt.m.fc.weight", .dtype = DHC_F32, .rank = 2, .shape = {2, 2}, .data = moments,
     .bytes = 16}};

static const char run_a[] = "a0000000000000000000000000000001", run_b[] = "b0000000000000000000000000000002";
static const DhcMetaPair more[] = {{"run.lr", "1e-3"}, {"state.best", "3fe0000000000000"}};

static DhcCheckpointMeta meta_at(int64_t step) {
  return (DhcCheckpointMeta){.step = step,
                             .data = {.seed = 0xffffffffu, .epoch = 3, .next = 512},
                             .rng_seed = 42,
                             .model_hash = model_a,
                             .run_id = run_a,
                             .more = more,
                             .n_more = 2};
}

static void round_trip(void **state) {
  (void)state;
  char folder[256], path[512], expected[1200];
  support_folder(folder);
  support_join(path, folder, "best.safetensors");
  DhcCheckpointMeta meta = meta_at(400);
  assert_ok(dhc_checkpoint_write(path, &meta, tensors, 2));
  DhcCheckpoint c;
  assert_ok(dhc_checkpoint_open(path, model_a, &c));
  assert_int_equal(c.meta.step, 400);
  assert_int_equal(c.meta.data.seed, 0xffffffffu);
  assert_int_equal(c.meta.data.epoch, 3);
  assert_int_equal(c.meta.data.next, 512);
  assert_int_equal(c.meta.rng_seed, 42);
  assert_string_equal(c.meta.run_id, run_a);
  assert_false(c.meta.stop);
  assert_string_equal(dhc_checkpoint_text(&c, "run.lr"), "1e-3");
  assert_string_equal(dhc_checkpoint_text(&c, "state.best"), "3fe0000000000000");
  assert_null(dhc_checkpoint_text(&c, "run.seed"));
  assert_memory_equal(dhc_safetensors_find(c.file, "opt.m.fc.weight")->data, moments, 16);
  dhc_checkpoint_close(&c);
  snprintf(expected, sizeof expected, "%s was made for model 3f2a91c0, this model is 91bc07de", path);
  assert_fails(dhc_checkpoint_open(path, model_b, &c), DHC_E_INPUT, expected);
  assert_ok(dhc_checkpoint_open(path, NULL, &c));
  dhc_checkpoint_close(&c);
  assert_ok(dhc_safetensors_write(path, tensors, 2, NULL, 0));
  snprintf(expected, sizeof expected, "%s: error: is no checkpoint, only weights", path);
  assert_fails(dhc_checkpoint_open(path, NULL, &c), DHC_E_INPUT, expected);
  support_drop(folder);
}

static int count_files(const char *folder, int64_t first, int64_t last) {
  int n = 0;
  for (int64_t step = first; step <= last; step++) {
    char name[64], path[512];
    snprintf(name, sizeof name, "checkpoint-%09lld.safetensors", (long long)step);
    n += access(support_join(path, folder, name), F_OK) == 0;
  }
  return n;
}

static int n_heard;
static char heard[1200]; /* the last warning */
static void hear(void *ctx, DhcWarnLevel level, const char *line) {
  (void)ctx;
  (void)level;
  snprintf(heard, sizeof heard, "%s", line);
  n_heard++;
}
static const DhcWarn warn = {NULL, hear};

static void save_as(const char *folder, int64_t step, const char *run, bool stop) {
  DhcCheckpointMeta meta = meta_at(step);
  meta.run_id = run;
  meta.stop = stop;
  assert_ok(dhc_checkpoint_save(folder, &meta, tensors, 2, 0, &warn));
}

static int64_t latest(const char *folder, const char *run) {
  DhcCheckpoint c;
  n_heard = 0;
  assert_ok(dhc_checkpoint_open_latest(folder, run, &warn, &c));
  int64_t step = c.file != NULL ? c.meta.step : -1;
  dhc_checkpoint_close(&c);
  return step;
}

static void rotation(void **state) {
  (void)state;
  char root[256], folder[512], path[600];
  support_folder(root);
  support_join(folder, root, "run/one");
  DhcRunFolder lock;
  assert_ok(dhc_run_folder_open(folder, true, &warn, &lock));
  DhcCheckpoint c;
  assert_int_equal(latest(folder, run_a), -1);
  for (int64_t step = 1; step <= 6; step++) {
    save_as(folder, step, run_a, false);
    assert_int_equal(count_files(folder, 1, 6), step < 2 ? 1 : 2);
  }
  assert_int_equal(latest(folder, NULL), 6);
  /* NaN and infinity stop a save; the older checkpoints stay. */
  DhcCheckpointMeta meta = meta_at(7);
  for (int k = 0; k < 2; k++) {
    moments[1] = k == 0 ? NAN : -INFINITY;
    assert_fails(dhc_checkpoint_save(folder, &meta, tensors, 2, 2, &warn), DHC_E_NUMERIC,
                 "tensor 'opt.m.fc.weight' is not finite at index 1; checkpoint of step 6 kept");
  }
  moments[1] = 0.25f;
  assert_int_equal(count_files(folder, 5, 7), 2);
  /* A torn newest one: the one before is found, with a warning. */
  snprintf(path, sizeof path, "%s/checkpoint-000000006.safetensors", folder);
  assert_int_equal(truncate(path, 100), 0);
  assert_int_equal(latest(folder, run_a), 5);
  assert_int_equal(n_heard, 1);
  snprintf(path, sizeof path, "%s/checkpoint-000000005.safetensors", folder);
  assert_int_equal(truncate(path, 7), 0); /* and where there is none before, the newest one's fault is said */
  dhc_status s = dhc_checkpoint_open_latest(folder, run_a, &warn, &c);
  assert_int_equal(s.code, DHC_E_INPUT);
  assert_non_null(strstr(s.message, "checkpoint-000000006.safetensors: error: "));
  /* A killed save's leftover goes when training starts again. */
  snprintf(path, sizeof path, "%s/.checkpoint-000000007.safetensors.dhc-tmp-1-0", folder);
  support_write(path, "half", 4);
  dhc_run_folder_close(&lock);
  assert_ok(dhc_run_folder_open(folder, false, &warn, &lock));
  assert_int_equal(access(path, F_OK), -1);
  dhc_run_folder_close(&lock);
  support_drop(root);
}

/* A stop's checkpoint is one more, and goes with the next regular one. */
static void stops_are_extra(void **state) {
  (void)state;
  char folder[256];
  support_folder(folder);
  save_as(folder, 10, run_a, false);
  save_as(folder, 20, run_a, false);
  save_as(folder, 25, run_a, true);
  assert_int_equal(count_files(folder, 10, 25), 3);
  save_as(folder, 27, run_a, true);
  assert_int_equal(count_files(folder, 25, 26), 0);
  assert_int_equal(count_files(folder, 10, 27), 3);
  assert_int_equal(latest(folder, run_a), 27);
  save_as(folder, 30, run_a, false);
  assert_int_equal(count_files(folder, 20, 30), 2);
  assert_int_equal(count_files(folder, 10, 30), 2);
  support_drop(folder);
}

/* Two runs in one folder: neither is taken for the other, nothing of the other goes. */
static void other_runs(void **state) {
  (void)state;
  char folder[256], path[512], text[1200];
  support_folder(folder);
  save_as(folder, 40, run_b, false);
  for (int64_t step = 1; step <= 5; step++) {
    save_as(folder, step, run_a, false);
  }
  assert_int_equal(latest(folder, run_a), 5);
  assert_int_equal(n_heard, 1);
  snprintf(text, sizeof text, "%s/checkpoint-000000040.safetensors: is a checkpoint of another run (b0000000); left alone", folder);
  assert_string_equal(heard, text);
  assert_int_equal(latest(folder, run_b), 40);
  DhcCheckpoint c;
  snprintf(text, sizeof text, "%s: has checkpoints of the runs b0000000 and a0000000, and no config.json that says which of them to go on with", folder);
  assert_fails(dhc_checkpoint_open_latest(folder, NULL, &warn, &c), DHC_E_INPUT, text);
  n_heard = 0;
  save_as(folder, 40, run_a, false); /* in its way: it moves, and is said to */
  assert_int_equal(n_heard, 1);
  support_join(path, folder, "checkpoint-000000040.safetensors");
  snprintf(text, sizeof text, "%s: is a checkpoint of another run; renamed to %s.aside", path, path);
  assert_string_equal(heard, text);
  support_join(path, folder, "checkpoint-000000040.safetensors.aside");
  assert_ok(dhc_checkpoint_open(path, model_a, &c));
  assert_string_equal(c.meta.run_id, run_b);
  dhc_checkpoint_close(&c);
  assert_int_equal(latest(folder, run_a), 40);
  save_as(folder, 50, run_b, false);
  dhc_checkpoint_remove_run(folder, run_b);
  assert_int_equal(count_files(folder, 50, 50), 0);
  assert_int_equal(count_files(folder, 1, 49), 2);
  support_drop(folder);
}

/* What is no file at all is skipped for what it is, and moves out of the way of a save. */
static void no_files(void **state) {
  (void)state;
  static const char *const causes[] = {"is a folder, no regular file", "is a named pipe, no regular file", "is a link to nothing",
                                       "too many levels of symbolic links"};
  for (int k = 0; k < 4; k++) {
    char folder[256], path[512], text[1200];
    support_folder(folder);
    save_as(folder, 10, run_a, false);
    support_join(path, folder, "checkpoint-000000020.safetensors");
    assert_int_equal(k == 0   ? mkdir(path, 0777)
                     : k == 1 ? mkfifo(path, 0666)
                     : k == 2 ? symlink("nowhere", path)
                              : symlink("checkpoint-000000020.safetensors", path),
                     0);
    assert_int_equal(latest(folder, run_a), 10);
    assert_int_equal(n_heard, 1);
    snprintf(text, sizeof text, "%s: %s (trying the one before)", path, causes[k]);
    assert_string_equal(heard, text);
    save_as(folder, 20, run_a, false);
    assert_int_equal(n_heard, 2);
    assert_non_null(strstr(heard, "is in the way of a checkpoint; renamed to "));
    assert_int_equal(latest(folder, run_a), 20);
    support_drop(folder);
  }
}

/* One training a folder; the lock goes with the process that holds it. */
static void locked(void **state) {
  (void)state;
  char folder[256], text[600], name[DHC_RUN_FILE_CHARS];
  support_folder(folder);
  DhcRunFolder f, g;
  snprintf(text, sizeof text, "%s: another process writes there", folder);
  assert_ok(dhc_run_folder_open(folder, false, &warn, &f));
  assert_fails(dhc_run_folder_open(folder, false, &warn, &g), DHC_E_ENVIRONMENT, text);
  dhc_run_folder_close(&f);
  int ready[2];
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    bool ok = dhc_run_folder_open(folder, false, &warn, &f).code == DHC_OK;
    _exit(write(ready[1], ok ? "y" : "n", 1) == 1 ? pause() : 1);
  }
  char answer;
  assert_int_equal(read(ready[0], &answer, 1), 1);
  assert_int_equal(answer, 'y');
  assert_fails(dhc_run_folder_open(folder, false, &warn, &g), DHC_E_ENVIRONMENT, text);
  kill(pid, SIGKILL);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  assert_ok(dhc_run_folder_open(folder, false, &warn, &f));
  dhc_run_folder_close(&f);
  close(ready[0]);
  close(ready[1]);
  bool used;
  assert_ok(dhc_run_folder_used(folder, &used, name));
  assert_false(used);
  save_as(folder, 7, run_a, true);
  assert_ok(dhc_run_folder_used(folder, &used, name));
  assert_true(used);
  assert_string_equal(name, "checkpoint-000000007.safetensors");
  char a[DHC_RUN_ID_CHARS], b[DHC_RUN_ID_CHARS];
  assert_ok(dhc_run_id_draw(a));
  assert_ok(dhc_run_id_draw(b));
  assert_int_equal(strspn(a, "0123456789abcdef"), 32);
  assert_string_not_equal(a, b);
  support_drop(folder);
}

/* Names for what is in the way of a checkpoint are used up. */
static void no_name_left(void **state) {
  (void)state;
  char folder[256], path[512], aside[600], text[600];
  support_folder(folder);
  support_join(path, folder, "checkpoint-000000007.safetensors");
  for (int i = 0; i < 1000; i++) {
    snprintf(aside, sizeof aside, i == 0 ? "%s.aside" : "%s.aside-%d", path, i);
    support_write(aside, "", 0);
  }
  save_as(folder, 7, run_b, false);
  snprintf(text, sizeof text, "%s: cannot be renamed; checkpoint of step 7 kept", path);
  DhcCheckpointMeta meta = meta_at(7);
  dhc_status st = dhc_checkpoint_save(folder, &meta, tensors, 2, 2, &warn);
  assert_int_equal(st.code, DHC_E_ENVIRONMENT);
  assert_string_equal(st.message, text);
  support_drop(folder);
}

/* Files that look like checkpoints. */
static void forged(void **state) {
  (void)state;
  static const DhcMetaPair later = {"dhc.checkpoint", "99"}, bare = {"dhc.checkpoint", "2"};
  char folder[256], path[512], text[700];
  DhcCheckpoint c;
  support_folder(folder);
  support_join(path, folder, "c.safetensors");
  assert_ok(dhc_safetensors_write_sealed(path, tensors, 2, &later, 1, "dhc.sha256"));
  snprintf(text, sizeof text, "%s: error: checkpoint format 99 is not known", path);
  assert_fails(dhc_checkpoint_open(path, NULL, &c), DHC_E_INPUT, text);
  assert_ok(dhc_safetensors_write(path, tensors, 2, &bare, 1));
  snprintf(text, sizeof text, "%s: error: has no checksum (metadata 'dhc.sha256')", path);
  assert_fails(dhc_checkpoint_open(path, NULL, &c), DHC_E_INPUT, text);
  assert_ok(dhc_safetensors_write_sealed(path, tensors, 2, &bare, 1, "dhc.sha256"));
  snprintf(text, sizeof text, "%s: error: checkpoint lacks part of its metadata", path);
  assert_fails(dhc_checkpoint_open(path, NULL, &c), DHC_E_INPUT, text);
  DhcCheckpointMeta meta = meta_at(1);
  assert_ok(dhc_checkpoint_write(path, &meta, tensors, 2));
  size_t n;
  uint8_t *bytes = support_read(path, &n);
  bytes[n - 1] ^= 1;
  support_write(path, bytes, n);
  free(bytes);
  snprintf(text, sizeof text, "%s: error: is damaged: its checksum does not fit its contents", path);
  assert_fails(dhc_checkpoint_open(path, NULL, &c), DHC_E_INPUT, text);
  support_drop(folder);
}

static int try_checkpoint(void *ctx, const uint8_t *bytes, size_t n) {
  DhcCheckpoint c;
  const char *path = ctx;
  support_write(path, bytes, n);
  if (dhc_checkpoint_open(path, model_a, &c).code != DHC_OK) {
    return 0;
  }
  dhc_checkpoint_close(&c);
  return 1;
}

static void damaged(void **state) {
  (void)state;
  char folder[256], path[512];
  support_folder(folder);
  support_join(path, folder, "c.safetensors");
  DhcCheckpointMeta meta = meta_at(1);
  assert_ok(dhc_checkpoint_write(path, &meta, tensors, 2));
  size_t n;
  uint8_t *bytes = support_read(path, &n);
  assert_int_equal(support_damage(bytes, n, try_checkpoint, path), 0);
  assert_int_equal(try_checkpoint(path, bytes, n), 1);
  free(bytes);
  support_drop(folder);
}

/* ---- metrics -------------------------------------------------------------------------- */

/* Lists of any length beside numbers; many columns with long names. */
static void metrics_lists(void **state) {
  (void)state;
  char folder[256], csv[512], jsonl[512];
  support_folder(folder);
  support_join(csv, folder, "m.csv");
  support_join(jsonl, folder, "m.jsonl");
  static const char *const columns[] = {"step", "a.count", "b.count"};
  DhcMetrics *m;
  assert_ok(dhc_metrics_open(csv, jsonl, columns, 3, 2, false, &m));
  double counts[] = {12, 0, 2.5, NAN};
  assert_ok(dhc_metrics_row(m, (double[]){1}, (DhcMetricList[]){{counts, 4}, {counts, 1}}));
  assert_ok(dhc_metrics_row(m, (double[]){2}, (DhcMetricList[]){{NULL, 0}, {counts + 1, 1}}));
  int64_t kept;
  assert_ok(dhc_metrics_keep(m, 1, &kept));
  assert_int_equal(kept, 1);
  static double many[3000];
  assert_ok(dhc_metrics_row(m, (double[]){2}, (DhcMetricList[]){{many, 3000}, {counts, 2}}));
  dhc_metrics_close(m);
  DhcMapping map;
  assert_ok(dhc_map_open(csv, &map));
  static const char want[] = "step,a.count,b.count\n1,12 0 2.5 nan,12\n2,0 0 0";
  assert_memory_equal(map.bytes, want, sizeof want - 1);
  assert_int_equal(map.n_bytes, strlen("step,a.count,b.count\n1,12 0 2.5 nan,12\n2,") + 2 * 3000 - 1 + strlen(",12 0\n"));
  dhc_map_close(&map);
  assert_ok(dhc_map_open(jsonl, &map));
  static const char json[] = "{\"step\":1,\"a.count\":[12,0,2.5,null],\"b.count\":[12]}\n{\"step\":2,\"a.count\":[0,";
  assert_memory_equal(map.bytes, json, sizeof json - 1);
  dhc_map_close(&map);
  support_drop(folder);
}

static void metrics_rows(void **state) {
  (void)state;
  static const char *const columns[] = {"step", "loss", "lr"};
  char folder[256], csv[512], jsonl[512];
  DhcMetrics *m;
  support_folder(folder);
  support_join(csv, folder, "m.csv");
  support_join(jsonl, folder, "m.jsonl");
  assert_ok(dhc_metrics_open(csv, jsonl, columns, 3, 0, false, &m));
  assert_ok(dhc_metrics_row(m, (double[]){1, 0.1f, 1e-3}, NULL));
  assert_ok(dhc_metrics_row(m, (double[]){2, NAN, INFINITY}, NULL));
  dhc_metrics_close(m);
  assert_ok(dhc_metrics_open(csv, jsonl, columns, 3, 0, true, &m));
  assert_ok(dhc_metrics_row(m, (double[]){3, -2.5e-20, 9007199254740991.0}, NULL));
  dhc_metrics_close(m);
  size_t n;
  char *text = (char *)support_read(csv, &n);
  text[n] = '\0';
  assert_string_equal(text, "step,loss,lr\n1,0.100000001,0.001\n2,,\n3,-2.5e-20,9007199254740991\n");
  free(text);
  text = (char *)support_read(jsonl, &n);
  text[n] = '\0';
  assert_string_equal(text, "{\"step\":1,\"loss\":0.100000001,\"lr\":0.001}\n"
                            "{\"step\":2,\"loss\":null,\"lr\":null}\n"
                            "{\"step\":3,\"loss\":-2.5e-20,\"lr\":9007199254740991}\n");
  free(text);
  /* Going on from row 1 after a kill in the middle of a line. */
  FILE *f = fopen(csv, "a");
  fputs("4,0.", f);
  fclose(f);
  int64_t kept;
  assert_ok(dhc_metrics_open(csv, jsonl, columns, 3, 0, true, &m));
  assert_ok(dhc_metrics_keep(m, 4, &kept));
  assert_int_equal(kept, 3);
  assert_ok(dhc_metrics_keep(m, 1, &kept));
  assert_int_equal(kept, 1);
  assert_ok(dhc_metrics_row(m, (double[]){2, 0.5, 1}, NULL));
  dhc_metrics_close(m);
  text = (char *)support_read(csv, &n);
  text[n] = '\0';
  assert_string_equal(text, "step,loss,lr\n1,0.100000001,0.001\n2,0.5,1\n");
  free(text);
  text = (char *)support_read(jsonl, &n);
  text[n] = '\0';
  assert_string_equal(text, "{\"step\":1,\"loss\":0.100000001,\"lr\":0.001}\n"
                            "{\"step\":2,\"loss\":0.5,\"lr\":1}\n");
  free(text);
  static const char *const other[] = {"step", "acc"};
  dhc_status s = dhc_metrics_open(csv, NULL, other, 2, 0, true, &m);
  assert_non_null(strstr(s.message, "m.csv: error: has other columns, cannot go on with it"));
  static const char *const comma[] = {"step", "a,b"};
  assert_fails(dhc_metrics_open(csv, NULL, comma, 2, 0, true, &m), DHC_E_USAGE, "metrics: column name 'a,b' is not allowed");
  support_write(csv, "step,lo", 7); /* killed while it wrote the header */
  assert_ok(dhc_metrics_open(csv, NULL, columns, 3, 0, true, &m));
  dhc_metrics_close(m);
  text = (char *)support_read(csv, &n);
  assert_int_equal(n, strlen("step,loss,lr\n"));
  free(text);
  assert_int_equal(unlink(csv), 0);
  assert_int_equal(mkfifo(csv, 0666), 0); /* must not be waited for */
  assert_int_equal(dhc_metrics_open(csv, NULL, columns, 3, 0, true, &m).code, DHC_E_ENVIRONMENT);
  assert_int_equal(unlink(csv), 0);
  /* Never a descriptor that somebody prints to. */
  int err = dup(2);
  close(2);
  assert_ok(dhc_metrics_open(csv, NULL, columns, 3, 0, false, &m));
  ssize_t printed = write(2, "progress", 8);
  dup2(err, 2);
  close(err);
  assert_int_equal(printed, -1);
  dhc_metrics_close(m);
  assert_fails(dhc_metrics_open(csv, NULL, columns, 0, 0, false, &m), DHC_E_USAGE, "metrics: needs 1 to 4096 columns, got 0");
  static const char *const bad[] = {"a,b"};
  assert_int_equal(dhc_metrics_open(csv, NULL, bad, 1, 0, false, &m).code, DHC_E_USAGE);
  assert_ok(dhc_metrics_open(NULL, NULL, columns, 3, 0, false, &m));
  assert_ok(dhc_metrics_row(m, (double[]){1, 2, 3}, NULL));
  dhc_metrics_close(m);
  support_drop(folder);
}

/* ---- signals -------------------------------------------------------------------------- */

/* Exit status of a child that gets these signals one after the other; 0: it went on. */
static int after_signals(const int *signals, int n, bool hangup_ignored) {
  pid_t pid = fork();
  if (pid == 0) {
    (void)signal(SIGHUP, hangup_ignored ? SIG_IGN : SIG_DFL);
    dhc_stop_install();
    for (int i = 0; i < n; i++) {
      raise(signals[i]);
    }
    _exit(dhc_stop_signal() == 0 ? 100 : 0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void hangups(void **state) {
  (void)state;
  assert_int_equal(after_signals((int[]){SIGHUP}, 1, false), 0);
  assert_int_equal(after_signals((int[]){SIGHUP}, 1, true), 100); /* nohup */
  assert_int_equal(after_signals((int[]){SIGHUP, SIGHUP, SIGTERM, SIGHUP}, 4, false), 0); /* a logout */
  assert_int_equal(after_signals((int[]){SIGHUP, SIGTERM, SIGTERM}, 3, false), 143);
  assert_int_equal(after_signals((int[]){SIGINT, SIGHUP, SIGINT}, 3, false), 130);
  dhc_stop_install();
  raise(SIGHUP);
  dhc_stop_hold();
  assert_int_equal(dhc_stop_signal(), 0);
  dhc_stop_release();
  assert_int_equal(dhc_stop_signal(), SIGHUP);
  dhc_stop_uninstall();
}

static void stop_flag(void **state) {
  (void)state;
  dhc_stop_install();
  assert_int_equal(dhc_stop_signal(), 0);
  raise(SIGTERM);
  assert_int_equal(dhc_stop_signal(), SIGTERM);
  dhc_stop_uninstall();
  assert_int_equal(dhc_stop_signal(), 0);
  for (int k = 0; k < 2; k++) { /* the second signal ends the process at once */
    pid_t pid = fork();
    if (pid == 0) {
      dhc_stop_install();
      raise(SIGTERM);
      raise(k == 0 ? SIGINT : SIGTERM);
      _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), k == 0 ? 130 : 143);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),   cmocka_unit_test(rotation),  cmocka_unit_test(damaged),
      cmocka_unit_test(stops_are_extra), cmocka_unit_test(other_runs), cmocka_unit_test(no_files), cmocka_unit_test(locked),
      cmocka_unit_test(no_name_left), cmocka_unit_test(forged),
      cmocka_unit_test(metrics_rows), cmocka_unit_test(metrics_lists), cmocka_unit_test(stop_flag), cmocka_unit_test(hangups),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
