/* predict: the likeliest classes of pictures. */
#include <cjson/cJSON.h>

#include "cli/cli.h"

enum { TOP = 5 };

typedef struct Predictions {
  const Cli *c;
  cJSON *list;    /* under --json */
  cJSON *classes; /* of the picture at hand */
  int n;
} Predictions;

static void show_json(Predictions *to, const dhc_prediction *p) {
  if (p->place == 0) {
    cJSON *picture = cJSON_CreateObject();
    cJSON_AddStringToObject(picture, "file", p->file);
    to->classes = cJSON_AddArrayToObject(picture, "classes");
    cli_add(to->list, NULL, picture);
  }
  cJSON *row = cJSON_CreateObject();
  cJSON_AddNumberToObject(row, "label", (double)p->label);
  if (p->name) cJSON_AddStringToObject(row, "name", p->name);
  cJSON_AddNumberToObject(row, "probability", p->probability);
  cli_add(to->classes, NULL, row);
}

static void show_csv(const Predictions *to, const dhc_prediction *p) {
  if (!to->n) puts("file,place,label,name,probability");
  cli_csv_text(p->file, stdout);
  printf(",%d,%lld,", p->place + 1, (long long)p->label);
  cli_csv_text(p->name ? p->name : "", stdout);
  putchar(',');
  cli_csv_number(p->probability, stdout);
  putchar('\n');
}

static void show(void *ctx, const dhc_prediction *p) {
  Predictions *to = ctx;
  if (to->list) show_json(to, p);
  else if (to->c->csv) show_csv(to, p);
  else {
    if (p->place == 0) printf("%s%s\n", to->n ? "\n" : "", p->file);
    printf("  %6.2f %%  %3lld  %s\n", 100 * p->probability, (long long)p->label, p->name ? p->name : "");
  }
  to->n++;
}

int cmd_predict(const Cli *c) {
  if (!c->weights)
    return cli_lacks(c, "predict: needs --weights FILE of a MODEL that is no run");
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  int rc = cli_open(c, &s, &m);
  if (!rc) {
    Predictions to = {.c = c, .list = cli_doc(c) ? cJSON_AddArrayToObject(cli_doc(c), "predictions") : NULL};
    const dhc_predict_options o = {.weights = c->weights, .images = c->args + 1, .n_images = c->n_args - 1, .batch = c->batch,
                                   .top = c->top > 0 ? (int)c->top : TOP, .row = show, .ctx = &to};
    rc = cli_done(c, s, dhc_predict(m, &o));
  }
  cli_close(c, s, m);
  return rc;
}
