/* Pages: one file each, readable on a phone and on paper, in light and dark; nothing is fetched. */
#ifndef DHC_CLI_PAGE_H
#define DHC_CLI_PAGE_H

#include "cli/figure.h"

void page_begin(const char *title, FILE *to);
void page_end(FILE *to);
void page_heading(const char *title, FILE *to);
/* Figures side by side where there is room, from page_pair_begin to page_pair_end. */
void page_pair_begin(FILE *to);
void page_pair_end(FILE *to);
/* rc, or what comes of the figure, which is freed. rc not 0: nothing is written. */
int page_figure(const Cli *c, int rc, Figure *f, const char *title, FILE *to);
void page_command(const char *command, FILE *to);
/* Tables: a row of heads, rows of cells. */
void page_table_begin(const char *const *heads, int n, FILE *to);
void page_row(const char *name, FILE *to); /* its first cell */
void page_cell_text(const char *text, FILE *to);
void page_cell(const char *format, double v, FILE *to); /* NaN: empty */
void page_row_end(FILE *to);
void page_table_end(FILE *to);

#endif
