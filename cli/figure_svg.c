/* A figure as an SVG element: colors by class, so that they follow the reader's light or dark; numbers as titles. */
#include <math.h>
#include <string.h>

#include "cli/figure.h"

/* Sizes for a phone: a third narrower than it is drawn, its letters can be read. */
enum { WIDTH = 520, TOP = 12, RIGHT = 22, PLOT_HEIGHT = 250, TICK_CHARS = 24, LEGEND_MOST = 24, LINE = 20 };

typedef struct Axis {
  double lo, hi; /* logarithms on a logarithmic axis */
  bool log;
  double from, to; /* in the picture */
} Axis;

typedef struct Canvas {
  const Figure *f;
  FILE *to;
  Axis x, y;
  int left, bottom, height; /* of the axes' corner; of the whole */
} Canvas;

void figure_svg_text(const char *text, FILE *to) {
  for (; text && *text; text++) {
    if (*text == '&') fputs("&amp;", to);
    else if (*text == '<') fputs("&lt;", to);
    else if (*text == '>') fputs("&gt;", to);
    else if (*text == '"') fputs("&quot;", to);
    else fputc((unsigned char)*text < 0x20 ? ' ' : *text, to);
  }
}

/* ---- axes ---------------------------------------------------------------------------------- */

static void widen(Axis *a, double v) {
  if (!isfinite(v) || (a->log && v <= 0)) return;
  if (a->log) v = log10(v);
  a->lo = fmin(a->lo, v);
  a->hi = fmax(a->hi, v);
}

static void pad(Axis *a, double share) {
  if (a->lo > a->hi) a->lo = 0, a->hi = 1;
  double by = a->hi > a->lo ? share * (a->hi - a->lo) : a->log ? 0.3 : fabs(a->lo) > 0 ? 0.1 * fabs(a->lo) : 1;
  a->lo -= by;
  a->hi += by;
}

static double place(const Axis *a, double v) {
  return a->from + ((a->log ? log10(v) : v) - a->lo) / (a->hi - a->lo) * (a->to - a->from);
}

/* 2500000 as 2.5M: what a reader compares. On an axis all have its largest number's unit. */
static const char *tick_text(const Axis *a, double v, char text[32]) {
  static const char *const units[] = {"", "k", "M", "G", "T", "P"};
  double most = a->log ? fabs(v) : fmax(fabs(a->lo), fabs(a->hi)), unit = 1;
  int k = 0;
  if (most >= 9999.5)
    for (; most >= 999.5 && k < 5; k++) most /= 1000, unit *= 1000;
  snprintf(text, 32, "%.4g%s", v / unit, v != 0 ? units[k] : "");
  return text;
}

/* A step of 1, 2 or 5 times a power of ten that gives about n of them. */
static double nice_step(const Axis *a, int n) {
  double raw = (a->hi - a->lo) / n, power = pow(10, floor(log10(raw))), head = raw / power;
  return power * (head < 1.5 ? 1 : head < 3.5 ? 2 : head < 7.5 ? 5 : 10);
}

/* Places for numbers on the axis; how many. */
static int ticks_of(const Axis *a, int wanted, double *at, int most) {
  int n = 0;
  if (!a->log) {
    double step = nice_step(a, wanted);
    for (double v = ceil(a->lo / step) * step; v <= a->hi && n < most; v += step) at[n++] = fabs(v) < step / 1e6 ? 0 : v;
    return n;
  }
  static const double heads[] = {1, 2, 5};
  double decades = a->hi - a->lo, every = fmax(1, ceil(decades / wanted));
  for (double d = floor(a->lo); d <= a->hi; d += every)
    for (int h = 0; h < (decades < 2 ? 3 : 1) && n < most; h++) {
      double v = heads[h] * pow(10, d);
      if (log10(v) >= a->lo && log10(v) <= a->hi) at[n++] = v;
    }
  return n;
}

static void put_numbers(const Canvas *s) {
  double at[32];
  char text[32];
  int n = ticks_of(&s->y, 5, at, 32);
  for (int i = 0; i < n; i++) {
    double y = place(&s->y, at[i]);
    fprintf(s->to, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", s->left,
            WIDTH - RIGHT, y, y, s->left - 7, y + 5, tick_text(&s->y, at[i], text));
  }
  n = s->f->n_ticks ? 0 : ticks_of(&s->x, 5, at, 32);
  for (int i = 0; i < n; i++)
    fprintf(s->to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", place(&s->x, at[i]), s->bottom + 20, tick_text(&s->x, at[i], text));
}

/* A name of at most TICK_CHARS letters, of which UTF-8 may need several bytes; of a path its end. */
static void put_short(const char *name, FILE *to) {
  char text[4 * TICK_CHARS + 8];
  size_t at = 0, length = strlen(name);
  int letters = 0;
  if (length > TICK_CHARS && strchr(name, '/')) {
    name += length - TICK_CHARS;
    while ((*name & 0xC0) == 0x80) name++;
    fputs("…", to);
  }
  for (; name[at] && at + 4 < sizeof text; at++) {
    if ((name[at] & 0xC0) != 0x80 && ++letters > TICK_CHARS) break;
    text[at] = name[at];
  }
  snprintf(text + at, sizeof text - at, "%s", name[at] ? "…" : "");
  figure_svg_text(text, to);
}

static void put_names(const Canvas *s) {
  int every = (s->f->n_ticks + 19) / 20; /* more do not fit side by side */
  for (int i = 0; i < s->f->n_ticks; i += every) {
    fprintf(s->to, "<text transform=\"translate(%.1f %d) rotate(-35)\" text-anchor=\"end\">", place(&s->x, i + 1) + 4, s->bottom + 16);
    put_short(s->f->ticks[i], s->to);
    fputs("</text>\n", s->to);
  }
}

static void put_labels(const Canvas *s, int at) {
  fprintf(s->to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (s->left + WIDTH - RIGHT) / 2, at);
  figure_svg_text(s->f->x_label, s->to);
  fprintf(s->to, "</text>\n<text transform=\"translate(15 %d) rotate(-90)\" text-anchor=\"middle\">", (TOP + s->bottom) / 2);
  figure_svg_text(s->f->y_label, s->to);
  fputs("</text>\n", s->to);
}

/* ---- series ---------------------------------------------------------------------------------------- */

static void put_title(const Canvas *s, const FigureSeries *r, const FigurePoint *p) {
  const char *name = p->name ? p->name : r->name;
  fputs("<title>", s->to);
  figure_svg_text(name, s->to);
  fprintf(s->to, "%s%.6g</title>", name && *name ? ": " : "", p->y);
}

static void put_interval(const Canvas *s, const FigurePoint *p) {
  if (!isfinite(p->low) || !isfinite(p->high) || (s->y.log && !(p->low > 0))) return;
  double at = place(&s->x, p->x), low = place(&s->y, p->low), high = place(&s->y, p->high);
  fprintf(s->to, "<path class=\"bar\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh10M%.1f %.1fh10\"/>", at, low, high, at - 5, low, at - 5, high);
}

static void put_points(const Canvas *s, const FigureSeries *r) {
  for (int i = 0; i < r->n; i++) {
    const FigurePoint *p = &r->at[i];
    if (!figure_shows(s->f, p)) continue;
    put_interval(s, p);
    fprintf(s->to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\">", place(&s->x, p->x), place(&s->y, p->y));
    put_title(s, r, p);
    fputs("</circle>\n", s->to);
  }
}

static void put_bars(const Canvas *s, const FigureSeries *r) {
  double zero = fmin(fmax(place(&s->y, 0), TOP), s->bottom), width = 0.7 * (place(&s->x, 2) - place(&s->x, 1));
  for (int i = 0; i < r->n; i++) {
    const FigurePoint *p = &r->at[i];
    if (!figure_shows(s->f, p)) continue;
    double y = place(&s->y, p->y);
    fprintf(s->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">", place(&s->x, p->x) - width / 2, fmin(y, zero), width, fmax(fabs(y - zero), 0.5));
    put_title(s, r, p);
    fputs("</rect>\n", s->to);
    put_interval(s, p);
  }
}

static bool in_band(const Canvas *s, const FigurePoint *p) {
  return figure_shows(s->f, p) && isfinite(p->low) && isfinite(p->high) && !(s->y.log && !(p->low > 0));
}

/* Intervals of a line, as far as they reach without a gap, as one surface: there and back. */
static void put_band(const Canvas *s, const FigureSeries *r) {
  for (int i = 0; i < r->n; i++) {
    int end = i;
    while (end < r->n && in_band(s, &r->at[end])) end++;
    if (end == i) continue;
    fputs("<path class=\"band\" d=\"M", s->to);
    for (int k = i; k < end; k++) fprintf(s->to, "%.1f %.1f ", place(&s->x, r->at[k].x), place(&s->y, r->at[k].high));
    for (int k = end - 1; k >= i; k--) fprintf(s->to, "%.1f %.1f ", place(&s->x, r->at[k].x), place(&s->y, r->at[k].low));
    fputs("z\"/>\n", s->to);
    i = end;
  }
}

static void put_line(const Canvas *s, const FigureSeries *r) {
  bool on = false; /* a line ends at what cannot be shown */
  put_band(s, r);
  fputs("<path class=\"line\" d=\"", s->to);
  for (int i = 0; i < r->n; i++) {
    bool shown = figure_shows(s->f, &r->at[i]);
    if (shown) fprintf(s->to, "%s%.1f %.1f", on ? "L" : "M", place(&s->x, r->at[i].x), place(&s->y, r->at[i].y));
    on = shown;
  }
  fputs("\"><title>", s->to);
  figure_svg_text(r->name, s->to);
  fputs("</title></path>\n", s->to);
}

static void put_series(const Canvas *s) {
  for (int i = 0; i < s->f->n; i++) {
    const FigureSeries *r = &s->f->series[i];
    fprintf(s->to, "<g class=\"c%d\">", i % FIGURE_COLORS);
    if (r->form == FIGURE_LINE) put_line(s, r);
    else if (r->form == FIGURE_BARS) put_bars(s, r);
    else put_points(s, r);
    fputs("</g>\n", s->to);
  }
}

static void put_legend(const Canvas *s, int top) {
  int n = s->f->n < LEGEND_MOST ? s->f->n : LEGEND_MOST;
  for (int i = 0; i < n; i++) {
    int x = 20 + (i % 2) * (WIDTH - 20) / 2, y = top + LINE * (i / 2);
    fprintf(s->to, "<g class=\"c%d\"><rect x=\"%d\" y=\"%d\" width=\"12\" height=\"8\"/></g><text x=\"%d\" y=\"%d\">", i % FIGURE_COLORS, x, y - 8, x + 18, y);
    put_short(s->f->series[i].name ? s->f->series[i].name : "", s->to);
    if (i == n - 1 && n < s->f->n) fprintf(s->to, " and %d more", s->f->n - n);
    fputs("</text>\n", s->to);
  }
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static void put_style(FILE *to) {
  static const char *const dark[FIGURE_COLORS] = {"#7ab2ee", "#f09a68", "#68cfa2", "#d09ae0", "#e6bf52", "#aab2ba"};
  fputs("<style>text{font:15px system-ui,sans-serif;fill:#222}.grid{stroke:#ccc;stroke-width:.7}.line{fill:none;stroke-width:1.6}.band{fill-opacity:.18;stroke:none}.bar{fill:none;stroke-width:1.5}", to);
  for (int i = 0; i < FIGURE_COLORS; i++) fprintf(to, ".c%d{fill:%s;stroke:%s}", i, figure_colors[i], figure_colors[i]);
  fputs("@media screen and (prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}", to);
  for (int i = 0; i < FIGURE_COLORS; i++) fprintf(to, ".c%d{fill:%s;stroke:%s}", i, dark[i], dark[i]);
  fputs("}</style>\n", to);
}

static int longest_tick(const Figure *f) {
  int most = 0;
  for (int i = 0; i < f->n_ticks; i++)
    if ((int)strlen(f->ticks[i]) > most) most = (int)strlen(f->ticks[i]);
  return most < TICK_CHARS ? most : TICK_CHARS;
}

void figure_svg(const Figure *f, FILE *to) {
  Axis x = {.lo = INFINITY, .hi = -INFINITY, .log = f->log_x}, y = {.lo = INFINITY, .hi = -INFINITY, .log = f->log_y};
  for (int s = 0; s < f->n; s++)
    for (int i = 0; i < f->series[s].n; i++) {
      const FigurePoint *p = &f->series[s].at[i];
      if (!figure_shows(f, p)) continue;
      widen(&x, p->x), widen(&y, p->y), widen(&y, p->low), widen(&y, p->high);
      if (f->series[s].form == FIGURE_BARS) widen(&y, 0);
    }
  pad(&x, 0.03), pad(&y, 0.06);
  if (f->n_ticks) x.lo = 0.4, x.hi = f->n_ticks + 0.6;
  int letters = longest_tick(f), legend = f->n > 1 ? (f->n < LEGEND_MOST ? f->n + 1 : LEGEND_MOST) / 2 * LINE : 0;
  int across = (int)(7.6 * letters - 0.6 * (WIDTH - 100) / (f->n_ticks + 0.2)); /* how far the first name reaches out */
  Canvas s = {.f = f, .to = to, .left = across > 76 ? across : 76, .bottom = TOP + PLOT_HEIGHT};
  int label = s.bottom + 42 + (int)(5.7 * letters);
  s.height = label + 10 + (legend ? legend + 12 : 0);
  x.from = s.left, x.to = WIDTH - RIGHT, y.from = s.bottom, y.to = TOP;
  s.x = x, s.y = y;
  fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH, s.height);
  put_style(to);
  put_numbers(&s);
  put_names(&s);
  put_labels(&s, label);
  put_series(&s);
  if (legend) put_legend(&s, label + 26);
  fputs("</svg>\n", to);
}
