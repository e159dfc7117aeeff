/* Packed copies of weights (dhc_panel in dhc/abi.h): the one loop that makes them in this process, for devices in
 * the host's memory and for the constants of objects. ir/spec_tag.c says where an element lies. */
#ifndef DHC_RUNTIME_PANEL_H
#define DHC_RUNTIME_PANEL_H

#include "dhc/abi.h"

/* Elements of one packed matrix; panels of all matrices, one after the other. */
int64_t dhc_panel_elements(const dhc_panel *x);
int64_t dhc_panel_count(const dhc_panel *x);
/* Panels [first, end) of all; from, to: the first matrix and its copy, f32. */
void dhc_panel_pack(const dhc_panel *x, int64_t first, int64_t end, const float *from, float *to);

#endif
