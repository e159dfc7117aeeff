/* Figures as SVG, tables as LaTeX, both in one page. Numbers are those of sweep.json. */
#include <math.h>
#include <string.h>

#include "cli/plot.h"

enum { WIDTH = 720, HEIGHT = 420, LEFT = 78, RIGHT = 16, TOP = 16, BOTTOM = 96, N_COLORS = 6 };
static const char *const colors[N_COLORS] = {"#3b6fb6", "#c2571a", "#2f8f5b", "#8a4fae", "#b23a48", "#6b6b6b"};

typedef struct Range {
  double lo, hi;
} Range;

static void widen(Range *r, double v) {
  if (!isfinite(v)) return;
  r->lo = fmin(r->lo, v);
  r->hi = fmax(r->hi, v);
}

static void pad(Range *r) {
  if (r->lo > r->hi) *r = (Range){0, 1};
  double by = r->hi > r->lo ? 0.06 * (r->hi - r->lo) : fabs(r->lo) > 0 ? 0.1 * fabs(r->lo) : 1;
  r->lo -= by;
  r->hi += by;
}

static double place(Range r, double v, double from, double to) {
  return from + (v - r.lo) / (r.hi - r.lo) * (to - from);
}

/* A step of 1, 2 or 5 times a power of ten that gives about n of them. */
static double nice_step(Range r, int n) {
  double raw = (r.hi - r.lo) / n, power = pow(10, floor(log10(raw))), head = raw / power;
  return power * (head < 1.5 ? 1 : head < 3.5 ? 2 : head < 7.5 ? 5 : 10);
}

static void put_text(const char *text, FILE *to) {
  for (; *text; text++) {
    if (*text == '&') fputs("&amp;", to);
    else if (*text == '<') fputs("&lt;", to);
    else if (*text == '>') fputs("&gt;", to);
    else if (*text == '"') fputs("&quot;", to);
    else fputc(*text, to);
  }
}

static void axes(const Plot *p, Range x, Range y, FILE *to) {
  double step = nice_step(y, 6);
  for (double v = ceil(y.lo / step) * step; v <= y.hi; v += step) {
    double at = place(y, v, HEIGHT - BOTTOM, TOP);
    fprintf(to, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT,
            WIDTH - RIGHT, at, at, LEFT - 8, at + 4, fabs(v) < step / 1e6 ? 0 : v);
  }
  step = nice_step(x, 7);
  for (double v = ceil(x.lo / step) * step; v <= x.hi && !p->named; v += step)
    fprintf(to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n", place(x, v, LEFT, WIDTH - RIGHT), HEIGHT - BOTTOM + 18,
            fabs(v) < step / 1e6 ? 0 : v);
  fprintf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8);
  put_text(p->x_label, to);
  fprintf(to, "</text>\n<text transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">", (TOP + HEIGHT - BOTTOM) / 2);
  put_text(p->y_label, to);
  fputs("</text>\n", to);
}

static void point(const Plot *p, const PlotPoint *q, const char *color, Range x, Range y, FILE *to) {
  if (!isfinite(q->x) || !isfinite(q->y)) return;
  double at = place(x, q->x, LEFT, WIDTH - RIGHT), up = place(y, q->y, HEIGHT - BOTTOM, TOP);
  fprintf(to, "<g stroke=\"%s\" fill=\"%s\">", color, color);
  if (isfinite(q->low) && isfinite(q->high)) {
    double low = place(y, q->low, HEIGHT - BOTTOM, TOP), high = place(y, q->high, HEIGHT - BOTTOM, TOP);
    fprintf(to, "<path d=\"M%.1f %.1fV%.1fM%.1f %.1fh10M%.1f %.1fh10\" fill=\"none\" stroke-width=\"1.5\"/>", at, low, high, at - 5, low, at - 5, high);
  }
  fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>", at, up);
  put_text(q->name, to);
  fprintf(to, ": %.6g</title></circle></g>\n", q->y);
  if (!p->named) return;
  fprintf(to, "<text transform=\"translate(%.1f %d) rotate(-28)\" text-anchor=\"end\">", at + 4, HEIGHT - BOTTOM + 16);
  put_text(q->name, to);
  fputs("</text>\n", to);
}

void plot_svg(const Plot *p, FILE *to) {
  Range x = {INFINITY, -INFINITY}, y = x;
  for (int s = 0; s < p->n; s++)
    for (int i = 0; i < p->series[s].n; i++) {
      const PlotPoint *q = &p->series[s].at[i];
      if (!isfinite(q->y)) continue;
      widen(&x, q->x), widen(&y, q->y), widen(&y, q->low), widen(&y, q->high);
    }
  pad(&x), pad(&y);
  fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH, HEIGHT);
  fputs("<style>text{font:12px system-ui,sans-serif;fill:#222}.grid{stroke:#ccc;stroke-width:.7}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}}</style>\n", to);
  axes(p, x, y, to);
  for (int s = 0; s < p->n; s++)
    for (int i = 0; i < p->series[s].n; i++) point(p, &p->series[s].at[i], colors[s % N_COLORS], x, y, to);
  for (int s = 0; s < p->n && p->n > 1; s++) {
    fprintf(to, "<circle cx=\"%d\" cy=\"%d\" r=\"4\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">", LEFT + 12, TOP + 8 + 18 * s, colors[s % N_COLORS], LEFT + 22,
            TOP + 12 + 18 * s);
    put_text(p->series[s].folder, to);
    fputs("</text>\n", to);
  }
  fputs("</svg>\n", to);
}

/* ---- tables ---------------------------------------------------------------------------- */

static void tex_text(const char *text, FILE *to) {
  for (; *text; text++) {
    if (strchr("_&%#${}", *text)) fprintf(to, "\\%c", *text);
    else if (*text == '\\') fputs("\\textbackslash{}", to);
    else if (*text == '~' || *text == '^') fprintf(to, "\\%c{}", *text);
    else fputc(*text, to);
  }
}

static void cell(FILE *to, const char *before, const char *format, double v, const char *after) {
  fputs(before, to);
  if (isfinite(v)) fprintf(to, format, v);
  fputs(after, to);
}

void plot_tex(const Plot *p, FILE *to) {
  for (int s = 0; s < p->n; s++) {
    const PlotSeries *r = &p->series[s];
    fputs("% ", to);
    for (const char *c = r->command; *c; c++) fputc(*c == '\n' ? ' ' : *c, to);
    fputs("\n\\begin{tabular}{llrrrrr}\n\\hline\nvariant & mixers & parameters & $n$ & ", to);
    tex_text(r->metric, to);
    fputs(" & difference & $p$ (Holm) \\\\\n\\hline\n", to);
    for (int i = 0; i < r->n; i++) {
      const PlotPoint *q = &r->at[i];
      tex_text(q->name, to);
      fputs(" & ", to);
      tex_text(q->mixers, to);
      fprintf(to, " & %.0f & %.0f & ", q->parameters, q->n);
      cell(to, "", "%.4g", q->y, "");
      if (isfinite(q->low)) fprintf(to, " $\\pm$ %.2g", q->y - q->low);
      cell(to, " & ", "%+.4g", q->difference, "");
      cell(to, " & ", "%.3g", q->p, " \\\\\n");
    }
    fputs("\\hline\n\\end{tabular}\n", to);
  }
}

static void html_table(const PlotSeries *r, FILE *to) {
  fputs("<h2>", to);
  put_text(r->folder, to);
  fputs("</h2>\n<div class=\"wide\"><table><tr><th>variant<th>hash<th>mixers<th>parameters<th>n<th>", to);
  put_text(r->metric, to);
  fputs("<th>95 %<th>difference<th>p (Holm)</tr>\n", to);
  for (int i = 0; i < r->n; i++) {
    const PlotPoint *q = &r->at[i];
    fputs("<tr><td>", to);
    put_text(q->name, to);
    fprintf(to, "<td><code>%s</code><td>", q->hash);
    put_text(q->mixers, to);
    fprintf(to, "<td>%.0f<td>%.0f", q->parameters, q->n);
    cell(to, "<td>", "%.6g", q->y, "");
    if (isfinite(q->low)) fprintf(to, "<td>%.6g &hellip; %.6g", q->low, q->high);
    else fputs("<td>", to);
    cell(to, "<td>", "%+.6g", q->difference, "");
    cell(to, "<td>", "%.3g", q->p, "</tr>\n");
  }
  fputs("</table></div>\n", to);
  if (*r->baseline) {
    fputs("<p>Differences from ", to);
    put_text(r->baseline, to);
    fputs(": paired t-test over seeds, p adjusted for the number of comparisons.</p>\n", to);
  }
  fputs("<pre>", to);
  put_text(r->command, to);
  fputs("</pre>\n", to);
}

void plot_html(const Plot *p, FILE *to) {
  fputs("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
        "<title>Sweep</title>\n<style>:root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}"
        "svg{width:100%;height:auto}.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
        "th,td{padding:.25rem .6rem;border-bottom:1px solid #8884;text-align:right;white-space:nowrap}"
        "th:first-child,td:first-child{text-align:left}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
        "@media print{body{max-width:none;margin:0}h2{break-before:avoid}}</style>\n<h1>", to);
  put_text(p->y_label, to);
  fputs(" against ", to);
  put_text(p->x_label, to);
  fputs("</h1>\n<p>Means over seeds with 95 % intervals by Student's t.</p>\n", to);
  plot_svg(p, to);
  for (int s = 0; s < p->n; s++) html_table(&p->series[s], to);
  fputs("</html>\n", to);
}
