/* Figures: series of points, lines or bars over one pair of axes, and the files that show them.
 *
 *   figure.c          building; CSV and JSON; which file has which form
 *   figure_svg.c      SVG, which follows the reader's light or dark and needs nothing else
 *   figure_gnuplot.c  gnuplot's own text, and PDF and PNG, which gnuplot draws */
#ifndef DHC_CLI_FIGURE_H
#define DHC_CLI_FIGURE_H

#include "cli/cli.h"

typedef struct FigurePoint {
  double x, y, low, high; /* low, high NaN: no interval */
  char *name;             /* or NULL */
} FigurePoint;

typedef enum FigureForm { FIGURE_POINTS, FIGURE_LINE, FIGURE_BARS } FigureForm;

typedef struct FigureSeries {
  char *name;
  FigureForm form;
  FigurePoint *at;
  int n, room;
} FigureSeries;

typedef struct Figure {
  const char *x_label, *y_label; /* borrowed, or own_label */
  char own_label[80];
  FigureSeries *series;
  int n, room;
  char **ticks; /* x = 1, 2 ... stand for these names; none: x is a number */
  int n_ticks, ticks_room;
  bool log_x, log_y;
  bool no_memory; /* something of it is missing */
} Figure;

/* Texts are copied. What finds no memory is left out and noted. */
FigureSeries *figure_series(Figure *f, const char *name, FigureForm form); /* until the next one is made; NULL: no memory */
void figure_point(Figure *f, FigureSeries *s, FigurePoint p);
double figure_tick(Figure *f, const char *name); /* the place of that name, from 1 on */
void figure_free(Figure *f);

/* Whether a point can be shown: a logarithm has no place for 0. */
bool figure_shows(const Figure *f, const FigurePoint *p);

enum { FIGURE_COLORS = 6 };
extern const char *const figure_colors[FIGURE_COLORS];

void figure_svg(const Figure *f, FILE *to);
/* A text in the element that is open. */
void figure_svg_text(const char *text, FILE *to);
/* The commands; `terminal` "pdfcairo" or "pngcairo", written to `output`. */
void figure_gnuplot(const Figure *f, const char *terminal, const char *output, FILE *to);

bool figure_ends(const char *path, const char *suffix);
/* Whether the name ends as a figure's does: .svg, .pdf, .png, .gp, .csv or .json. */
bool figure_form(const char *path);
#define FIGURE_FORMS ".svg, .pdf, .png, .gp, .csv or .json"
/* The file, whole or not there; exit status after a message. */
int figure_write(const Cli *c, const Figure *f, const char *path);
/* Draws with gnuplot to a file that is there afterwards (figure_gnuplot.c). */
int figure_draw(const Cli *c, const Figure *f, const char *path, const char *temporary);

/* A file that `write` fills: whole, or as it was. Exit status, of `write` too, after a message. */
int figure_replace(const Cli *c, const char *path, int (*write)(void *ctx, FILE *to), void *ctx);

#endif
