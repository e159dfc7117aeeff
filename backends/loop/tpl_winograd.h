/* What templates of the rule of tiles (ir/sum.h) share: its transforms, and which specs they serve (tpl_winograd.c). */
#ifndef DHC_BACKENDS_LOOP_TPL_WINOGRAD_H
#define DHC_BACKENDS_LOOP_TPL_WINOGRAD_H

#include "backends/loop/tpl_conv.h"

enum { DHC_WINOGRAD_POINTS = 16 };

/* One column of B^T d, of G g (half: 0.5 in as many lanes), of A^T M. */
void dhc_winograd_input(DhcLp *b, const DhcLv d[4], DhcLv out[4]);
void dhc_winograd_weights(DhcLp *b, const DhcLv g[3], DhcLv half, DhcLv out[4]);
void dhc_winograd_results(DhcLp *b, const DhcLv m[4], DhcLv out[2]);
/* Roles of a 3 x 3 convolution of single steps; false: the program is refused. */
bool dhc_winograd_roles(DhcConv *v);

#endif
