/* Long forms of the front end's messages. */
#ifndef DHC_FRONTEND_EXPLAIN_H
#define DHC_FRONTEND_EXPLAIN_H

/* Explanation of a code ("E0201"), or NULL if the front end has no such message. */
const char *dhc_frontend_explain(const char *code);
/* Title and code of the i-th message in order of codes; false behind the last. */
_Bool dhc_frontend_error(int i, const char **code, const char **title);

#endif
