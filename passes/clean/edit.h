/* Small edits of a module that several passes make, and questions they ask. */
#ifndef DHC_PASSES_EDIT_H
#define DHC_PASSES_EDIT_H

#include "ir/ir.h"

/* Symbols and facts of `from` for the new function `to`. */
void dhc_edit_copy_binders(DhcFunc *to, const DhcFunc *from);
/* Takes f out of the module's list; nothing may refer to it. */
void dhc_edit_drop(DhcModule *m, const DhcFunc *f);
/* Makes f the last of the list: it may then call all others. */
void dhc_edit_move_last(DhcModule *m, DhcFunc *f);
/* Puts f right before its user: callees before callers. */
void dhc_edit_place_before(DhcModule *m, DhcFunc *f, const DhcFunc *user);
/* Puts n right before `at` of the same function; the order of uses is the caller's care. */
void dhc_edit_move_before(DhcNode *n, DhcNode *at);
/* A scan got another body: the old one goes if no other scan runs it, and leaves its name. */
void dhc_edit_replaced_body(DhcModule *m, const DhcFunc *old, DhcFunc *now);

/* A body with a recurrence of its own: one trip of its scan is a chunk of steps. What is as
 * large as a chunk's states must stay inside it. */
bool dhc_edit_has_steps(const DhcFunc *body);
/* Number of f's parameter v; -1: it is none. */
int dhc_edit_param(const DhcFunc *f, const DhcValue *v);
/* Whether an attribute's list of axes has this one. */
bool dhc_edit_lists(const DhcAttr *axes, int axis);

#endif
