/* JSON documents that are whole or not there: cJSON says NULL where it finds no memory, and
 * what is not added is simply missing. Here every addition is looked at, and the end tells. */
#ifndef DHC_API_JSON_H
#define DHC_API_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "ir/guard.h"

typedef struct JsonDoc {
  cJSON *root;  /* an object */
  bool missing; /* something could not be added */
  DhcHeld held; /* from json_begin to json_end */
} JsonDoc;

void json_begin(JsonDoc *d);
/* Adds to the object `in` under a name, or (name NULL) at the end of the array `in`. `in` may be
 * NULL, as what an addition that failed returns. */
cJSON *json_object(JsonDoc *d, cJSON *in, const char *name);
cJSON *json_array(JsonDoc *d, cJSON *in, const char *name);
void json_text(JsonDoc *d, cJSON *in, const char *name, const char *text);
void json_number(JsonDoc *d, cJSON *in, const char *name, double value);
void json_bool(JsonDoc *d, cJSON *in, const char *name, bool value);
/* Ends the document, in any case. st DHC_OK: *out is its text (free()), or NULL and
 * DHC_E_ENVIRONMENT if something is missing. Else *out is NULL and the result st. */
dhc_status json_end(JsonDoc *d, dhc_status st, bool pretty, char **out) DHC_MUST_USE;

#endif
