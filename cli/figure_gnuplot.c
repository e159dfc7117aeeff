/* PDF and PNG are gnuplot's: it gets commands with the numbers in them. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/figure.h"

extern char **environ;

/* A text in single quotes, in which gnuplot changes nothing. */
static void quoted(const char *text, FILE *to) {
  fputc('\'', to);
  for (; text && *text; text++) {
    if (*text == '\'') fputs("''", to);
    else fputc((unsigned char)*text < 0x20 ? ' ' : *text, to);
  }
  fputc('\'', to);
}

static void number(double v, FILE *to) {
  char text[DHC_NUMBER_TEXT];
  dhc_format_number(v, text);
  fputs(isfinite(v) ? text : "NaN", to);
  fputc(' ', to);
}

static bool has_intervals(const FigureSeries *s) {
  for (int i = 0; i < s->n; i++)
    if (isfinite(s->at[i].low) && isfinite(s->at[i].high)) return true;
  return false;
}

static void put_data(const Figure *f, FILE *to) {
  for (int i = 0; i < f->n; i++) {
    fprintf(to, "$s%d << END\n", i);
    for (int k = 0; k < f->series[i].n; k++) {
      const FigurePoint *p = &f->series[i].at[k];
      number(p->x, to), number(p->y, to), number(p->low, to), number(p->high, to);
      fputc('\n', to);
    }
    fputs("END\n", to);
  }
}

/* Large numbers as 2.5M, where an axis has some. */
static void put_format(const Figure *f, char axis, FILE *to) {
  double most = 0;
  for (int i = 0; i < f->n; i++)
    for (int k = 0; k < f->series[i].n; k++) most = fmax(most, fabs(axis == 'x' ? f->series[i].at[k].x : f->series[i].at[k].y));
  if (most >= 9999.5) fprintf(to, "set format %c '%%.1s%%c'\n", axis);
}

static void put_axes(const Figure *f, FILE *to) {
  fputs("set xlabel ", to);
  quoted(f->x_label, to);
  fputs("\nset ylabel ", to);
  quoted(f->y_label, to);
  fputs("\nset grid ytics lc rgb '#cccccc'\nset tics nomirror\nset border 3\nset boxwidth 0.7\n", to);
  if (f->n_ticks) {
    fputs("set xtics rotate by 35 right (", to);
    for (int i = 0; i < f->n_ticks; i++) {
      if (i) fputs(", ", to);
      quoted(f->ticks[i], to);
      fprintf(to, " %d", i + 1);
    }
    fprintf(to, ")\nset xrange [0.4:%.1f]\n", f->n_ticks + 0.6);
  } else if (!f->log_x) {
    fputs("set offsets graph 0.02, graph 0.02, graph 0.05, graph 0.05\n", to);
  }
  if (!f->n_ticks) put_format(f, 'x', to);
  put_format(f, 'y', to);
  if (f->log_x) fputs("set logscale x\n", to);
  if (f->log_y) fputs("set logscale y\n", to);
  bool legend = f->n > 1;
  fputs(legend ? "set key outside bottom center horizontal\n" : "unset key\n", to);
}

static bool is_ascii(const char *text) {
  for (; text && *text; text++)
    if ((unsigned char)*text > 0x7E) return false;
  return true;
}

/* gnuplot warns of an encoding that is not its locale's: it is told of one where it has to be. */
static bool needs_encoding(const Figure *f) {
  bool plain = is_ascii(f->x_label) && is_ascii(f->y_label);
  for (int i = 0; i < f->n; i++) plain = plain && is_ascii(f->series[i].name);
  for (int i = 0; i < f->n_ticks; i++) plain = plain && is_ascii(f->ticks[i]);
  return !plain;
}

void figure_gnuplot(const Figure *f, const char *terminal, const char *output, FILE *to) {
  bool png = !strcmp(terminal, "pngcairo");
  fputs(needs_encoding(f) ? "set encoding utf8\n" : "", to);
  fprintf(to, "set terminal %s noenhanced color font 'Sans,%d' size %s\nset output ", terminal, png ? 20 : 10,
          png ? "1440,900 linewidth 2" : "16cm,10cm");
  quoted(output, to);
  fputc('\n', to);
  put_data(f, to);
  put_axes(f, to);
  fputs("plot ", to);
  for (int i = 0; i < f->n; i++) {
    const FigureSeries *s = &f->series[i];
    const char *color = figure_colors[i % FIGURE_COLORS];
    static const char *const forms[] = {[FIGURE_POINTS] = "points pt 7 ps 0.8", [FIGURE_LINE] = "lines lw 1.5", [FIGURE_BARS] = "boxes fs solid 0.8"};
    fputs(i ? ", \\\n     " : "", to);
    /* in front of the points: it clears their places */
    if (has_intervals(s) && s->form == FIGURE_LINE) fprintf(to, "$s%d using 1:3:4 with filledcurves fs transparent solid 0.18 lc rgb '%s' notitle, \\\n     ", i, color);
    else if (has_intervals(s)) fprintf(to, "$s%d using 1:2:3:4 with yerrorbars pt 7 ps 0.1 lc rgb '%s' notitle, \\\n     ", i, color);
    fprintf(to, "$s%d using 1:2 with %s lc rgb '%s' title ", i, forms[s->form], color);
    quoted(s->name, to);
  }
  fputs(f->n ? "\n" : "NaN notitle\n", to);
}

/* ---- running it ---------------------------------------------------------------------------------- */

/* The first line of what it said, without the place in a file that nobody sees. */
static void first_line(FILE *said, char *to, size_t n) {
  char line[400];
  *to = 0;
  rewind(said);
  while (fgets(line, sizeof line, said)) {
    line[strcspn(line, "\r\n")] = 0;
    const char *at = line + strspn(line, " ^");
    const char *text = strstr(at, "line ") ? strstr(at, ": ") : NULL;
    if (!*at || (at[0] == 'p' && !strncmp(at, "plot ", 5))) continue;
    snprintf(to, n, "%s", text ? text + 2 : at);
    if (text) return;
  }
}

/* Status of gnuplot with these commands; -1: errno says why it could not be run. */
static int run(FILE *commands, FILE *said) {
  static char name[] = "gnuplot", defaults[] = "-d";
  char *argv[] = {name, defaults, NULL};
  posix_spawn_file_actions_t files;
  pid_t child;
  int status = 0;
  if ((errno = posix_spawn_file_actions_init(&files))) return -1;
  errno = posix_spawn_file_actions_adddup2(&files, fileno(commands), 0);
  if (!errno) errno = posix_spawn_file_actions_adddup2(&files, fileno(said), 1);
  if (!errno) errno = posix_spawn_file_actions_adddup2(&files, fileno(said), 2);
  if (!errno) errno = posix_spawnp(&child, "gnuplot", &files, NULL, argv, environ);
  int err = errno;
  posix_spawn_file_actions_destroy(&files);
  errno = err;
  if (err) return -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int figure_draw(const Cli *c, const Figure *f, const char *path, const char *temporary) {
  FILE *commands = tmpfile(), *said = tmpfile();
  struct stat st;
  char why[300] = "";
  int rc = 3, status = -1;
  int there = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666); /* what the system says of it, it says here */
  if (there < 0 || !commands || !said) {
    cli_system_error(c, path, errno);
  } else {
    figure_gnuplot(f, figure_ends(path, ".png") ? "pngcairo" : "pdfcairo", temporary, commands);
    bool bad = fflush(commands) || ferror(commands);
    rewind(commands);
    if (!bad) status = run(commands, said);
    if (status == 127 || (status < 0 && errno == ENOENT))
      cli_error(c, "%s: gnuplot draws .pdf and .png, and is not installed (on Debian: apt-get install gnuplot-nox); .svg and .gp need none", path);
    else if (status < 0)
      cli_system_error(c, "gnuplot", errno);
    else if (status || stat(temporary, &st) || !st.st_size)
      first_line(said, why, sizeof why), cli_error(c, "%s: gnuplot ended with status %d%s%s", path, status, *why ? ": " : "", why);
    else
      rc = 0;
  }
  if (there >= 0) close(there);
  if (commands) fclose(commands);
  if (said) fclose(said);
  return rc;
}
