/* Errors of the environment (memory, files, damaged data, drivers): a code and one
 * line that says what and where. Must be looked at. */
#ifndef DHC_STATUS_H
#define DHC_STATUS_H

typedef enum dhc_code {
  DHC_OK = 0,
  DHC_E_INPUT = 1,       /* the input is wrong: file contents, shapes, names */
  DHC_E_USAGE = 2,       /* the call or command line is wrong */
  DHC_E_ENVIRONMENT = 3, /* no memory, disk, driver, permission */
  DHC_E_NUMERIC = 4,     /* NaN or infinity stopped the work */
  DHC_E_INTERRUPTED = 5  /* a stop was asked for and obeyed */
} dhc_code;

/* By value, self-contained; message is empty for DHC_OK. */
typedef struct dhc_status {
  dhc_code code;
  char message[500];
} dhc_status;

#define DHC_MUST_USE __attribute__((warn_unused_result))

#endif
