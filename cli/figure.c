/* Figures are built here and written in the form that a file's name asks for. */
#include "cli/figure.h"

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

static void json_text(const char *text, FILE *to) {
  fputc('"', to);
  for (; text && *text; text++) {
    if (*text == '"' || *text == '\\') fprintf(to, "\\%c", *text);
    else if ((unsigned char)*text < 0x20) fprintf(to, "\\u%04x", (unsigned)(unsigned char)*text);
    else fputc(*text, to);
  }
  fputc('"', to);
}

static void json_number(const char *name, double v, FILE *to) {
  char text[DHC_NUMBER_TEXT];
  dhc_format_number(v, text);
  if (isfinite(v)) fprintf(to, ", \"%s\": %s", name, text);
}

static void write_json(const Figure *f, FILE *to) {
  fputs("{\"x\": ", to);
  json_text(f->x_label, to);
  fputs(", \"y\": ", to);
  json_text(f->y_label, to);
  fputs(", \"series\": [", to);
  for (int i = 0; i < f->n; i++) {
    fputs(i ? ",\n{\"name\": " : "\n{\"name\": ", to);
    json_text(f->series[i].name, to);
    fputs(", \"points\": [", to);
    for (int k = 0; k < f->series[i].n; k++) {
      const FigurePoint *p = &f->series[i].at[k];
      fputs(k ? ",\n {\"name\": " : "\n {\"name\": ", to);
      json_text(p->name, to);
      json_number("x", p->x, to), json_number("y", p->y, to), json_number("low", p->low, to), json_number("high", p->high, to);
      fputc('}', to);
    }
    fputs("]}", to);
  }
  fputs("]}\n", to);
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
  const Figure *f;
  const char *path;
} Asked;

static int write_text(void *ctx, FILE *to) {
  const Asked *a = ctx;
  char output[4096];
  if (figure_ends(a->path, ".svg")) figure_svg(a->f, to);
  else if (figure_ends(a->path, ".csv")) write_csv(a->f, to);
  else if (figure_ends(a->path, ".json")) write_json(a->f, to);
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
  if (!figure_ends(path, ".pdf") && !figure_ends(path, ".png")) return figure_replace(c, path, write_text, &(Asked){f, path});
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
