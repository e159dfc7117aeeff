/* Folders of sweeps and of runs, read. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/plot.h"

const char *plot_text(const cJSON *json, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(json, name));
  return text ? text : "";
}

double plot_number(const cJSON *json, const char *name) {
  const cJSON *v = cJSON_GetObjectItem(json, name);
  return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

/* ---- folders -------------------------------------------------------------------------------- */

static bool holds(const char *folder, const char *name) {
  char path[4096];
  int n = snprintf(path, sizeof path, "%s/%s", folder, name);
  return n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
}

static bool holds_runs(const char *folder) {
  char pattern[4096];
  glob_t found = {0};
  int n = snprintf(pattern, sizeof pattern, "%s/*/metrics.csv", folder);
  bool any = n > 0 && (size_t)n < sizeof pattern && !glob(pattern, GLOB_NOSORT, NULL, &found) && found.gl_pathc > 0;
  globfree(&found);
  return any;
}

static int open_sweep(Plot *p, const char *folder) {
  char *text = NULL;
  const char *metric = p->curves ? NULL : p->c->y;
  dhc_status st = dhc_sweep_json(folder, metric, &text);
  if (st.code == DHC_E_USAGE && metric) {
    cli_error(p->c, "--y: %s", st.message);
    return 2;
  }
  if (st.code != DHC_OK) return cli_fail(p->c, st);
  PlotSweep *s = &p->sweep[p->n_sweeps++];
  *s = (PlotSweep){.folder = folder, .doc = cJSON_Parse(text)};
  free(text);
  if (!s->doc) return cli_no_memory(p->c);
  const char *first = plot_text(p->sweep[0].doc, "metric"), *mine = plot_text(s->doc, "metric");
  if (p->curves || !strcmp(first, mine)) return 0;
  cli_error(p->c, "%s is about %s, %s about %s: --y says which to draw", p->sweep[0].folder, first, folder, mine);
  return 1;
}

int plot_open(Plot *p, const Cli *c) {
  static const char *const of_steps[] = {"step", "epoch", "time_s"};
  *p = (Plot){.c = c, .x = c->x, .y = c->y};
  for (size_t i = 0; c->x && i < sizeof of_steps / sizeof *of_steps; i++) p->curves = p->curves || !strcmp(c->x, of_steps[i]);
  for (int i = 0; i < c->n_args; i++) p->curves = p->curves || (!holds(c->args[i], "sweep.json") && holds(c->args[i], "metrics.csv"));
  for (int i = 0; i < c->n_args; i++) {
    int rc = 0;
    if (holds(c->args[i], "sweep.json")) {
      rc = open_sweep(p, c->args[i]);
    } else if (holds(c->args[i], "metrics.csv")) {
      p->run[p->n_runs++] = c->args[i];
    } else {
      if (holds_runs(c->args[i])) cli_error(c, "%s: holds no sweep and no run; its folders do (dhcc plot %s/*)", c->args[i], c->args[i]);
      else cli_error(c, "%s: holds no sweep and no run", c->args[i]);
      rc = 1;
    }
    if (rc) return rc;
  }
  if (!p->y && !p->curves) p->y = plot_text(p->sweep[0].doc, "metric");
  return 0;
}

void plot_close(Plot *p) {
  for (int i = 0; i < p->n_sweeps; i++) cJSON_Delete(p->sweep[i].doc);
  *p = (Plot){0};
}

/* ---- numbers of a variant ---------------------------------------------------------------------- */

double plot_mean(const cJSON *doc, const char *hash, const char *column) {
  const cJSON *run;
  double sum = 0;
  int n = 0;
  cJSON_ArrayForEach(run, cJSON_GetObjectItem(doc, "runs")) {
    double v = plot_number(run, column);
    if (strcmp(plot_text(run, "hash"), hash) || isnan(v) || !strcmp(column, "seed")) continue;
    sum += v;
    n++;
  }
  return n ? sum / n : (double)NAN;
}

/* The share of a letter in "M3 A1"; NaN: there are no mixers, or none of that letter is spoken of. */
static double share_of(const char *mixers, const char *letter) {
  size_t n = strlen(letter);
  double all = 0, these = NAN;
  for (const char *at = mixers; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
    size_t word = strcspn(at, " "), digits = strcspn(at, "0123456789 ");
    double count = word > digits ? strtod(at + digits, NULL) : 0;
    all += count;
    if (digits == n && !strncmp(at, letter, n)) these = count;
  }
  return all > 0 ? these / all : (double)NAN;
}

/* "mamba_ratio=3" of "mamba_ratio=3;lr=1e-3" as a number. */
static double setting_of(const char *settings, const char *key) {
  size_t n = strlen(key);
  for (const char *at = settings; *at; at += strcspn(at, ";"), at += *at == ';') {
    if (!strncmp(at, "optimizer.", strlen("optimizer."))) at += strlen("optimizer.");
    if (strncmp(at, key, n) || at[n] != '=') continue;
    char *end;
    double v = strtod(at + n + 1, &end);
    return end > at + n + 1 && (!*end || *end == ';') ? v : (double)NAN;
  }
  return NAN;
}

double plot_x_of(const cJSON *doc, const cJSON *variant, const char *key) {
  double v = setting_of(plot_text(variant, "settings"), key);
  if (isnan(v)) v = plot_number(variant, key);
  if (isnan(v)) v = share_of(plot_text(variant, "mixers"), key);
  if (isnan(v)) v = plot_mean(doc, plot_text(variant, "hash"), key);
  return !strcmp(key, "sequence_length") && v < 0 ? (double)NAN : v;
}

bool plot_is_share(const cJSON *variant, const char *key) {
  return isnan(setting_of(plot_text(variant, "settings"), key)) && isnan(plot_number(variant, key)) && !isnan(share_of(plot_text(variant, "mixers"), key));
}

const char *plot_ratio_letter(const cJSON *doc, char letter[8]) {
  const cJSON *all = cJSON_GetObjectItem(doc, "variants"), *variant;
  const char *first = plot_text(cJSON_GetArrayItem(all, 0), "mixers");
  letter[0] = 0;
  for (const char *at = first; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
    char word[8];
    double lo = INFINITY, hi = -INFINITY;
    snprintf(word, sizeof word, "%.*s", (int)strcspn(at, "0123456789 "), at);
    cJSON_ArrayForEach(variant, all) {
      double v = share_of(plot_text(variant, "mixers"), word);
      lo = fmin(lo, v), hi = fmax(hi, v);
    }
    if (hi > lo) snprintf(letter, 8, "%s", word);
  }
  return letter;
}

/* ---- metrics.csv ------------------------------------------------------------------------------------ */

/* Number of the column of that name in a line of names; -1: none. */
static int column_of(const char *line, const char *name) {
  size_t n = strlen(name);
  int k = 0;
  for (const char *at = line;; at++, k++) {
    size_t length = strcspn(at, ",\r\n");
    if (length == n && !strncmp(at, name, n)) return k;
    at += length;
    if (*at != ',') return -1;
  }
}

static double cell(const char *line, int k) {
  for (; k > 0 && *line; line++) k -= *line == ',';
  char *end;
  double v = strtod(line, &end);
  return k || end == line ? (double)NAN : v;
}

static bool add(PlotCurve *curve, double x, double y) {
  if (curve->n == curve->room) {
    int room = curve->room ? 2 * curve->room : 256;
    double *xs = realloc(curve->x, sizeof *xs * (size_t)room);
    if (xs) curve->x = xs;
    double *ys = realloc(curve->y, sizeof *ys * (size_t)room);
    if (ys) curve->y = ys;
    if (!xs || !ys) return !(curve->no_memory = true);
    curve->room = room;
  }
  curve->x[curve->n] = x;
  curve->y[curve->n++] = y;
  return true;
}

/* The last row of a step says what its epoch came to: of a step with two rows, it is the one that counts. */
bool plot_read_curve(const char *folder, const char *x, const char *y, PlotCurve *out) {
  char path[4096], *line = NULL;
  size_t room = 0;
  *out = (PlotCurve){0};
  snprintf(path, sizeof path, "%s/metrics.csv", folder);
  errno = 0;
  FILE *from = fopen(path, "r");
  bool ok = from && getline(&line, &room, from) > 0;
  int step = ok ? column_of(line, "step") : -1, kx = ok ? column_of(line, x) : -1, ky = ok ? column_of(line, y) : -1;
  double last = NAN;
  ok = step >= 0 && kx >= 0 && ky >= 0;
  while (ok && getline(&line, &room, from) > 0) {
    double s = cell(line, step), a = cell(line, kx), b = cell(line, ky);
    if (isnan(a) || isnan(b)) continue;
    if (out->n && s == last) out->n--;
    last = s;
    ok = add(out, a, b);
  }
  if (errno == ENOMEM) out->no_memory = true, ok = false;
  if (from) fclose(from);
  free(line);
  if (!ok) plot_curve_free(out);
  if (out->no_memory) cli_doc_missing();
  return ok;
}

void plot_read_last(const char *folder, const char *const *columns, int n, double *out) {
  char path[4096], *line = NULL;
  size_t room = 0;
  int at[PLOT_MOST_COLUMNS];
  for (int k = 0; k < n; k++) out[k] = NAN;
  snprintf(path, sizeof path, "%s/metrics.csv", folder);
  errno = 0;
  FILE *from = fopen(path, "r");
  bool ok = from && getline(&line, &room, from) > 0;
  for (int k = 0; k < n && k < PLOT_MOST_COLUMNS; k++) at[k] = ok ? column_of(line, columns[k]) : -1;
  while (ok && getline(&line, &room, from) > 0)
    for (int k = 0; k < n && k < PLOT_MOST_COLUMNS; k++) {
      double v = at[k] < 0 ? (double)NAN : cell(line, at[k]);
      if (!isnan(v)) out[k] = v;
    }
  if (errno == ENOMEM) cli_doc_missing();
  if (from) fclose(from);
  free(line);
}

void plot_curve_free(PlotCurve *curve) {
  free(curve->x);
  free(curve->y);
  *curve = (PlotCurve){.no_memory = curve->no_memory};
}

void plot_curve_thin(PlotCurve *curve, int most) {
  int each = (curve->n + most - 1) / most, n = 0;
  for (int i = 0; each > 1 && i < curve->n; i += each, n++) {
    double x = 0, y = 0;
    int k = 0;
    for (; k < each && i + k < curve->n; k++) x += curve->x[i + k], y += curve->y[i + k];
    curve->x[n] = x / k;
    curve->y[n] = y / k;
  }
  if (each > 1) curve->n = n;
}
