/* What a figure or a table of sweeps shows: a point a variant. */
#ifndef DHC_CLI_PLOT_H
#define DHC_CLI_PLOT_H

#include "cli/cli.h"

typedef struct PlotPoint {
  const char *name, *hash, *mixers;
  double x, y, low, high; /* NaN: no interval */
  double parameters, n, difference, p; /* NaN: no baseline */
} PlotPoint;

typedef struct PlotSeries {
  const char *folder, *command, *metric, *baseline;
  PlotPoint *at;
  int n;
  struct cJSON *doc; /* holds the texts */
} PlotSeries;

typedef struct Plot {
  PlotSeries *series;
  int n;
  const char *x_label, *y_label;
  bool named; /* x is the variant itself, its number in order */
} Plot;

/* The figure as an SVG element that needs nothing else; colours follow the reader's light or dark. */
void plot_svg(const Plot *p, FILE *to);
void plot_tex(const Plot *p, FILE *to);
/* A page with figure, table and commands: one file, nothing is fetched. */
void plot_html(const Plot *p, FILE *to);

#endif
