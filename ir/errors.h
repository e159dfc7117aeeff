/* The table of error codes, errors.def, as data. */
#ifndef DHC_IR_ERRORS_H
#define DHC_IR_ERRORS_H

typedef struct DhcErrorInfo {
  const char *code, *title, *text;
  const char *command; /* reports the code when FILE holds the example; "": the example says how in words */
  const char *example;
} DhcErrorInfo;
/* The i-th row, in order of codes; NULL behind the last. */
const DhcErrorInfo *dhc_error_row(int i);

#endif
