/* Figures are built here and written in the form that a file's name asks for. */
#include "cli/figure.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Told apart by those who do not see every color, too; a third of the way to black and to white. */
const char *const figure_colors[FIGURE_COLORS] = {"#2f6fb5", "#c4581c", "#2a8f65", "#9a54ad", "#b8860b", "#6f7780"};

/* ---- building --------------------------------------------------------------------------- */

/* Room for one more; false: none. */
static bool grow(Figure *f, void *list, int n, int *room, size_t size) {
  if (n < *room) return true;
  int more = *room ? 2 * *room : 16;
  void *all = realloc(*(void **)list, size * (size_t)more);
  if (!all) {
    f->no_memory = true;
    return false;
  }
  *(void **)list = all;
  *room = more;
  return true;
}

static char *copy(Figure *f, const char *text) {
  char *out = text ? strdup(text) : NULL;
  if (text && !out) f->no_memory = true;
  return out;
}

FigureSeries *figure_series(Figure *f, const char *name, FigureForm form) {
  if (!grow(f, &f->series, f->n, &f->room, sizeof *f->series)) return NULL;
  f->series[f->n] = (FigureSeries){.name = copy(f, name), .form = form};
  return &f->series[f->n++];
}

void figure_point(Figure *f, FigureSeries *s, FigurePoint p) {
  if (!s || !grow(f, &s->at, s->n, &s->room, sizeof *s->at)) return;
  p.name = copy(f, p.name);
  s->at[s->n++] = p;
}

double figure_tick(Figure *f, const char *name) {
  for (int i = 0; i < f->n_ticks; i++)
    if (!strcmp(f->ticks[i], name)) return i + 1;
  char *text = copy(f, name);
  if (!text || !grow(f, &f->ticks, f->n_ticks, &f->ticks_room, sizeof *f->ticks)) {
    free(text);
    return NAN;
  }
  f->ticks[f->n_ticks++] = text;
  return f->n_ticks;
}

void figure_free(Figure *f) {
  for (int i = 0; i < f->n; i++) {
    for (int k = 0; k < f->series[i].n; k++) free(f->series[i].at[k].name);
    free(f->series[i].at);
    free(f->series[i].name);
  }
  for (int i = 0; i < f->n_ticks; i++) free(f->ticks[i]);
  free(f->ticks);
  free(f->series);
  *f = (Figure){0};
}

bool figure_shows(const Figure *f, const FigurePoint *p) {
  return isfinite(p->x) && isfinite(p->y) && (!f->log_x || p->x > 0) && (!f->log_y || p->y > 0);
}

/* ---- as numbers ---------------------------------------------------------------------------- */

static void write_csv(const Figure *f, FILE *to) {
  fputs("series,name,", to);
  cli_csv_text(f->x_label, to);
  fputc(',', to);
  cli_csv_text(f->y_label, to);
  fputs(",low,high\n", to);
  for (int i = 0; i < f->n; i++)
    for (int k = 0; k < f->series[i].n; k++) {
      const FigurePoint *p = &f->series[i].at[k];
      const double v[] = {p->x, p->y, p->low, p->high};
      cli_csv_text(f->series[i].name ? f->series[i].name : "", to);
      fputc(',', to);
      cli_csv_text(p->name ? p->name : "", to);
      for (int d = 0; d < 4; d++) {
        fputc(',', to);
        cli_csv_number(v[d], to);
      }
      fputc('\n', to);
    }
}

static void json_number(cJSON *to, const char *name, double v) {
  char text[DHC_NUMBER_TEXT];
  if (!isfinite(v)) return;
  dhc_format_number(v, text);
  cli_add(to, name, cJSON_CreateRaw(text));
}

static cJSON *json_of(const Figure *f) {
  cJSON *doc = cJSON_CreateObject(), *series = NULL;
  cJSON_AddStringToObject(doc, "x", f->x_label);
  cJSON_AddStringToObject(doc, "y", f->y_label);
  cli_add(doc, "series", series = cJSON_CreateArray());
  for (int i = 0; i < f->n; i++) {
    cJSON *one = cJSON_CreateObject(), *points = cJSON_CreateArray();
    cJSON_AddStringToObject(one, "name", f->series[i].name ? f->series[i].name : "");
    cli_add(one, "points", points);
    cli_add(series, NULL, one);
    for (int k = 0; k < f->series[i].n; k++) {
      const FigurePoint *p = &f->series[i].at[k];
      cJSON *point = cJSON_CreateObject();
      cJSON_AddStringToObject(point, "name", p->name ? p->name : "");
      json_number(point, "x", p->x), json_number(point, "y", p->y), json_number(point, "low", p->low), json_number(point, "high", p->high);
      cli_add(points, NULL, point);
    }
  }
  return doc;
}

static int write_json(const Cli *c, const Figure *f, FILE *to) {
  cJSON *doc = json_of(f);
  char *text = cJSON_Print(doc);
  cJSON_Delete(doc);
  if (!text || cli_doc_is_missing()) {
    free(text);
    return cli_no_memory(c);
  }
  fprintf(to, "%s\n", text);
  free(text);
  return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

bool figure_ends(const char *path, const char *suffix) {
  size_t n = strlen(path), k = strlen(suffix);
  return n > k && !strcmp(path + n - k, suffix);
}

bool figure_form(const char *path) {
  static const char *const all[] = {".svg", ".pdf", ".png", ".gp", ".csv", ".json"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (figure_ends(path, all[i])) return true;
  return false;
}

/* In the folder of the file, under a name that a run which comes back to that folder clears away; false: too long. */
static bool temporary_name(const char *path, char *to, size_t n) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  int k = snprintf(to, n, "%.*s.%s.dhc-tmp-%ld", (int)(name - path), path, name, (long)getpid());
  return k > 0 && (size_t)k < n;
}

int figure_replace(const Cli *c, const char *path, int (*write)(void *ctx, FILE *to), void *ctx) {
  char temporary[4096];
  FILE *to = NULL;
  errno = ENAMETOOLONG;
  if (temporary_name(path, temporary, sizeof temporary)) to = fopen(temporary, "w");
  if (!to) {
    cli_system_error(c, path, errno);
    return 3;
  }
  int rc = write(ctx, to);
  bool bad = ferror(to) != 0;
  if (fclose(to) || bad || (!rc && rename(temporary, path))) {
    if (!rc) cli_system_error(c, path, errno);
    rc = 3;
  }
  if (rc) (void)unlink(temporary);
  return rc;
}

typedef struct Asked {
  const Cli *c;
  const Figure *f;
  const char *path;
} Asked;

static int write_text(void *ctx, FILE *to) {
  const Asked *a = ctx;
  char output[4096];
  if (figure_ends(a->path, ".svg")) figure_svg(a->f, to);
  else if (figure_ends(a->path, ".csv")) write_csv(a->f, to);
  else if (figure_ends(a->path, ".json")) return write_json(a->c, a->f, to);
  else {
    const char *slash = strrchr(a->path, '/'), *name = slash ? slash + 1 : a->path;
    snprintf(output, sizeof output, "%.*s.pdf", (int)(strlen(name) - strlen(".gp")), name);
    figure_gnuplot(a->f, "pdfcairo", output, to);
  }
  return 0;
}

int figure_write(const Cli *c, const Figure *f, const char *path) {
  char temporary[4096];
  if (f->no_memory) return cli_no_memory(c);
  if (!figure_ends(path, ".pdf") && !figure_ends(path, ".png")) return figure_replace(c, path, write_text, &(Asked){c, f, path});
  if (!temporary_name(path, temporary, sizeof temporary)) {
    cli_system_error(c, path, ENAMETOOLONG);
    return 3;
  }
  int rc = figure_draw(c, f, path, temporary);
  if (!rc && rename(temporary, path)) {
    cli_system_error(c, path, errno);
    rc = 3;
  }
  if (rc) (void)unlink(temporary);
  return rc;
}
