/* Checkpoints, metrics and stop signals. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static DhcCheckpointMeta meta_at(int64_t step) {
  return (DhcCheckpointMeta){.step = step,
                             .data = {.seed = 0xffffffffu, .epoch = 3, .next = 512},
                             .rng_seed = 42,
                             .model_hash = model_a,
                             .config_json = "{\"lr\": \"1e-3\"}"};
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
  assert_string_equal(c.meta.config_json, meta.config_json);
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
static void hear(void *ctx, DhcWarnLevel level, const char *line) {
  (void)ctx;
  (void)level;
  (void)line;
  n_heard++;
}

static void rotation(void **state) {
  (void)state;
  char root[256], folder[512], path[600];
  support_folder(root);
  support_join(folder, root, "run/one");
  assert_ok(dhc_checkpoint_prepare(folder));
  DhcCheckpoint c;
  DhcWarn warn = {NULL, hear};
  assert_int_equal(dhc_checkpoint_open_latest(folder, model_a, &warn, &c).code, DHC_E_INPUT);
  for (int64_t step = 1; step <= 6; step++) {
    DhcCheckpointMeta meta = meta_at(step);
    assert_ok(dhc_checkpoint_save(folder, &meta, tensors, 2, 0));
    assert_int_equal(count_files(folder, 1, 6), step < 2 ? 1 : 2);
  }
  assert_ok(dhc_checkpoint_open_latest(folder, model_a, &warn, &c));
  assert_int_equal(c.meta.step, 6);
  dhc_checkpoint_close(&c);
  /* NaN and infinity stop a save; the older checkpoints stay. */
  DhcCheckpointMeta meta = meta_at(7);
  for (int k = 0; k < 2; k++) {
    moments[1] = k == 0 ? NAN : -INFINITY;
    assert_fails(dhc_checkpoint_save(folder, &meta, tensors, 2, 2), DHC_E_NUMERIC,
                 "tensor 'opt.m.fc.weight' is not finite at index 1; checkpoint of step 6 kept");
  }
  moments[1] = 0.25f;
  assert_int_equal(count_files(folder, 5, 7), 2);
  /* A torn newest one: the one before is found, with a warning. */
  snprintf(path, sizeof path, "%s/checkpoint-000000006.safetensors", folder);
  assert_int_equal(truncate(path, 100), 0);
  n_heard = 0;
  assert_ok(dhc_checkpoint_open_latest(folder, model_a, &warn, &c));
  assert_int_equal(c.meta.step, 5);
  assert_int_equal(n_heard, 1);
  dhc_checkpoint_close(&c);
  dhc_status s = dhc_checkpoint_open_latest(folder, model_b, NULL, &c);
  assert_non_null(strstr(s.message, "was made for model 3f2a91c0"));
  /* A killed save's leftover goes when training starts again. */
  snprintf(path, sizeof path, "%s/.checkpoint-000000007.safetensors.dhc-tmp-1-0", folder);
  support_write(path, "half", 4);
  assert_ok(dhc_checkpoint_prepare(folder));
  assert_int_equal(access(path, F_OK), -1);
  support_drop(root);
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
  assert_ok(dhc_metrics_cut(m, 2));
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
  /* Going on from step 1 after a kill in the middle of a line. */
  FILE *f = fopen(csv, "a");
  fputs("4,0.", f);
  fclose(f);
  assert_ok(dhc_metrics_open(csv, jsonl, columns, 3, 0, true, &m));
  assert_ok(dhc_metrics_cut(m, 4));
  assert_ok(dhc_metrics_cut(m, 2));
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
  static const char *const bad[] = {"a,b"};
  assert_int_equal(dhc_metrics_open(csv, NULL, bad, 1, 0, false, &m).code, DHC_E_USAGE);
  assert_ok(dhc_metrics_open(NULL, NULL, columns, 3, 0, false, &m));
  assert_ok(dhc_metrics_row(m, (double[]){1, 2, 3}, NULL));
  dhc_metrics_close(m);
  support_drop(folder);
}

/* ---- signals -------------------------------------------------------------------------- */

static void stop_flag(void **state) {
  (void)state;
  assert_ok(dhc_stop_install());
  assert_int_equal(dhc_stop_signal(), 0);
  raise(SIGTERM);
  assert_int_equal(dhc_stop_signal(), SIGTERM);
  dhc_stop_uninstall();
  assert_int_equal(dhc_stop_signal(), 0);
  for (int k = 0; k < 2; k++) { /* the second signal ends the process at once */
    pid_t pid = fork();
    if (pid == 0) {
      if (dhc_stop_install().code == DHC_OK) {
        raise(SIGTERM);
        raise(k == 0 ? SIGINT : SIGTERM);
      }
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
      cmocka_unit_test(metrics_rows), cmocka_unit_test(metrics_lists), cmocka_unit_test(stop_flag),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
