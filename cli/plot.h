/* What dhcc plot draws: sweeps and runs, read from their folders.
 *
 *   plot_data.c   reading; numbers of variants; learning curves
 *   plot_sweep.c  figures of sweeps
 *   plot_page.c   tables as LaTeX, and the page with everything */
#ifndef DHC_CLI_PLOT_H
#define DHC_CLI_PLOT_H

#include "cli/figure.h"

enum { PLOT_MAX_FOLDERS = 16 /* the most arguments that main.c lets a plot have */, PLOT_MOST_POINTS = 400, PLOT_MOST_COLUMNS = 16 /* read at once */ };

typedef struct PlotSweep {
  const char *folder;
  struct cJSON *doc; /* dhc_sweep_json of the metric that is drawn */
} PlotSweep;

typedef struct Plot {
  const Cli *c;
  PlotSweep sweep[PLOT_MAX_FOLDERS];
  int n_sweeps;
  const char *run[PLOT_MAX_FOLDERS]; /* folders */
  int n_runs;
  const char *x, *y; /* columns; x NULL: variants in order; y: of the first sweep, or of runs NULL: loss, and val_loss of a single one */
  bool curves;       /* x is a column of metrics.csv */
  bool thin;         /* for the eye: at most PLOT_MOST_POINTS a line, means of what lies between */
} Plot;

/* ---- plot_data.c ---- */

/* Reads every folder of the command line; exit status after a message. */
int plot_open(Plot *p, const Cli *c);
void plot_close(Plot *p);

const char *plot_text(const struct cJSON *json, const char *name); /* "": none */
double plot_number(const struct cJSON *json, const char *name);    /* NaN: none */
/* Mean of a column of results.csv over the finished runs of a variant. */
double plot_mean(const struct cJSON *doc, const char *hash, const char *column);
/* What stands below: a number or setting of the variant, the share of a letter among its mixers ("A"), a column's mean. */
double plot_x_of(const struct cJSON *doc, const struct cJSON *variant, const char *key);
bool plot_is_share(const struct cJSON *variant, const char *key); /* whether that is a share */
/* The letter whose share the variants differ in most usefully: the last one that some but not all mixers have; "": none. */
const char *plot_ratio_letter(const struct cJSON *doc, char letter[8]);

/* Rows of a metrics.csv; false: it is none, or has no such column, or there is no memory for it. */
typedef struct PlotCurve {
  double *x, *y;
  int n, room;
  bool no_memory;
} PlotCurve;
bool plot_read_curve(const char *folder, const char *x, const char *y, PlotCurve *out);
/* Of several columns in one reading, what stands last in each; NaN: nothing. */
void plot_read_last(const char *folder, const char *const *columns, int n, double *out);
void plot_curve_free(PlotCurve *curve);
void plot_curve_thin(PlotCurve *curve, int most);

/* ---- plot_sweep.c ---- */

/* Means and intervals of the metric against x; DHC-like exit status. */
int plot_means(const Plot *p, const char *x, Figure *f);
/* Learning curves: a line a run, or a variant (the mean over its seeds). */
int plot_curves(const Plot *p, const char *x, const char *y, Figure *f);
/* The metric against a column, with the variants that no other one beats in both. */
int plot_pareto(const Plot *p, const char *x, Figure *f);

/* ---- plot_page.c ---- */
int plot_tex(void *plot, FILE *to);
/* A page with figures, tables and commands: one file, nothing is fetched. */
int plot_html(void *plot, FILE *to);

#endif
