#include "api/json.h"

#include <math.h>

#include "runtime/number.h"
#include "runtime/status.h"

static void drop(void *doc) {
  cJSON_Delete(doc);
}

void json_begin(JsonDoc *d) {
  *d = (JsonDoc){.root = cJSON_CreateObject()};
  d->missing = !d->root;
  dhc_hold(&d->held, drop, d->root);
}

static cJSON *add(JsonDoc *d, cJSON *in, const char *name, cJSON *item) {
  if (item && in && (name ? cJSON_AddItemToObject(in, name, item) : cJSON_AddItemToArray(in, item))) return item;
  cJSON_Delete(item);
  d->missing = true;
  return NULL;
}

cJSON *json_object(JsonDoc *d, cJSON *in, const char *name) {
  return add(d, in, name, cJSON_CreateObject());
}

cJSON *json_array(JsonDoc *d, cJSON *in, const char *name) {
  return add(d, in, name, cJSON_CreateArray());
}

void json_text(JsonDoc *d, cJSON *in, const char *name, const char *text) {
  add(d, in, name, cJSON_CreateString(text));
}

void json_number(JsonDoc *d, cJSON *in, const char *name, double value) {
  char text[DHC_NUMBER_CHARS]; /* cJSON's own has 15 digits where 17 differ little */
  dhc_number_text(value, 9, 17, text);
  add(d, in, name, isfinite(value) ? cJSON_CreateRaw(text) : cJSON_CreateNull());
}

void json_bool(JsonDoc *d, cJSON *in, const char *name, bool value) {
  add(d, in, name, cJSON_CreateBool(value));
}

dhc_status json_end(JsonDoc *d, dhc_status st, bool pretty, char **out) {
  *out = NULL;
  if (st.code == DHC_OK && !d->missing) *out = pretty ? cJSON_Print(d->root) : cJSON_PrintUnformatted(d->root);
  if (st.code == DHC_OK && !*out) st = dhc_status_memory(0, "a document");
  dhc_release(&d->held);
  cJSON_Delete(d->root);
  return st;
}
