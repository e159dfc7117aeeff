#include "cli/page.h"

#include <math.h>

static const char style[] =
    ":root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:1rem auto;padding:0 1rem}"
    "svg{width:100%;height:auto;max-width:38rem;display:block}figure{margin:0 0 1rem;break-inside:avoid}figcaption{font-weight:600;margin:.4rem 0}"
    ".pair{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr))}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .6rem;border-bottom:1px solid #8884;text-align:right;white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}h1,h2,h3,p{overflow-wrap:anywhere}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
    "@media print{:root{color-scheme:light}body{max-width:none;margin:0;font-size:10px}.wide{overflow:visible}svg{max-width:9cm}"
    ".pair{grid-template-columns:1fr 1fr;gap:.5rem}th,td{padding:.15rem .3rem;white-space:normal}h2,h3{break-after:avoid}tr{break-inside:avoid}}";

void page_begin(const char *title, FILE *to) {
  fputs("<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>", to);
  figure_svg_text(title, to);
  fprintf(to, "</title>\n<style>%s</style>\n<h1>", style);
  figure_svg_text(title, to);
  fputs("</h1>\n", to);
}

void page_end(FILE *to) {
  fputs("</html>\n", to);
}

void page_heading(const char *title, FILE *to) {
  fputs("<h2>", to);
  figure_svg_text(title, to);
  fputs("</h2>\n", to);
}

void page_pair_begin(FILE *to) {
  fputs("<div class=\"pair\">\n", to);
}

void page_pair_end(FILE *to) {
  fputs("</div>\n", to);
}

int page_figure(const Cli *c, int rc, Figure *f, const char *title, FILE *to) {
  if (!rc && f->no_memory) rc = cli_no_memory(c);
  if (!rc) {
    fputs("<figure><figcaption>", to);
    figure_svg_text(title, to);
    fputs("</figcaption>\n", to);
    figure_svg(f, to);
    fputs("</figure>\n", to);
  }
  figure_free(f);
  return rc;
}

void page_command(const char *command, FILE *to) {
  fputs("<pre>", to);
  figure_svg_text(command, to);
  fputs("</pre>\n", to);
}

/* ---- tables ------------------------------------------------------------------------------ */

void page_table_begin(const char *const *heads, int n, FILE *to) {
  fputs("<div class=\"wide\"><table><tr>", to);
  for (int i = 0; i < n; i++) {
    fputs("<th>", to);
    figure_svg_text(heads[i], to);
  }
  fputs("</tr>\n", to);
}

void page_row(const char *name, FILE *to) {
  fputs("<tr><td>", to);
  figure_svg_text(name, to);
}

void page_cell_text(const char *text, FILE *to) {
  fputs("<td>", to);
  figure_svg_text(text, to);
}

void page_cell(const char *format, double v, FILE *to) {
  fputs("<td>", to);
  if (isfinite(v)) fprintf(to, format, v);
}

void page_row_end(FILE *to) {
  fputs("</tr>\n", to);
}

void page_table_end(FILE *to) {
  fputs("</table></div>\n", to);
}
