/* Convolutions whose windows lie side by side, and their gradients, as contractions: no input meets more than one place, so
 * that patches are the input itself in another order. A place's products stand in the order of (c, k…) as before, and those
 * of a weight in that of (n, place); an input's are those over o alone. For pass "lower". */
#include "passes/fuse/fuse_internal.h"

typedef struct Patch {
  DhcBuilder b;
  DhcDims *dims;
  DhcNode *n;
  int n_s;
  const DhcType *x, *w, *y; /* of the convolution, whichever of the three n gives */
  const DhcDim *all;        /* elements of a patch */
} Patch;

enum { FEW_TAPS = 64 };

bool dhc_fu_is_patches(const DhcNode *n, const DhcPassCtx *px) {
  int64_t all = 1, k = 1;
  bool dw = n->op == DHC_OP_CONV_DW;
  if (!dhc_conv_is_patches(n)) return false;
  const DhcType *w = dw ? &n->results[0]->type : &n->args[1]->type;
  for (int i = 2; i < w->rank; i++)
    if (dhc_dim_is_const(w->dim[i], &k)) all *= k;
  return all > FEW_TAPS || n->op == DHC_OP_CONV_DX || (dw && px->repeats);
}

/* x as [n, place…, c, k…], its patches flat. */
static DhcValue *patches_of(Patch *p, DhcValue *x) {
  const DhcDim *cut[DHC_MAX_RANK] = {p->x->dim[0], p->x->dim[1]}, *flat[DHC_MAX_RANK] = {p->x->dim[0]};
  int64_t perm[DHC_MAX_RANK] = {0};
  for (int i = 0; x && i < p->n_s; i++) {
    const DhcDim *size = dhc_dim_mul(p->dims, p->y->dim[2 + i], p->w->dim[2 + i]);
    if (size != x->type.dim[2 + i]) x = dhc_b_slice(&p->b, x, 2 + i, dhc_dim_const(p->dims, 0), size);
  }
  for (int i = 0; i < p->n_s; i++) {
    cut[2 + 2 * i] = flat[1 + i] = p->y->dim[2 + i];
    cut[3 + 2 * i] = p->w->dim[2 + i];
    perm[1 + i] = 2 + 2 * i;
    perm[2 + p->n_s + i] = 3 + 2 * i;
  }
  perm[1 + p->n_s] = 1;
  flat[1 + p->n_s] = p->all;
  x = x ? dhc_b_reshape(&p->b, x, cut, 2 + 2 * p->n_s) : NULL;
  x = x ? dhc_b_transpose(&p->b, x, perm) : NULL;
  return x ? dhc_b_reshape(&p->b, x, flat, 2 + p->n_s) : NULL;
}

/* The same backwards; places that no window meets are 0. */
static DhcValue *from_patches(Patch *p, DhcValue *x) {
  const DhcDim *cut[DHC_MAX_RANK] = {p->x->dim[0]}, *whole[DHC_MAX_RANK] = {p->x->dim[0], p->x->dim[1]};
  const DhcDim *none[DHC_MAX_RANK], *behind[DHC_MAX_RANK];
  int64_t perm[DHC_MAX_RANK] = {0, 1 + p->n_s}, one[DHC_MAX_RANK];
  cut[1 + p->n_s] = p->x->dim[1];
  for (int i = 0; i < p->n_s; i++) {
    cut[1 + i] = p->y->dim[2 + i];
    cut[2 + p->n_s + i] = p->w->dim[2 + i];
    perm[2 + 2 * i] = 1 + i;
    perm[3 + 2 * i] = 2 + p->n_s + i;
    whole[2 + i] = dhc_dim_mul(p->dims, p->y->dim[2 + i], p->w->dim[2 + i]);
  }
  x = x ? dhc_b_reshape(&p->b, x, cut, 2 + 2 * p->n_s) : NULL;
  x = x ? dhc_b_transpose(&p->b, x, perm) : NULL;
  x = x ? dhc_b_reshape(&p->b, x, whole, 2 + p->n_s) : NULL;
  bool same = true;
  for (int i = 0; i < 2 + p->n_s; i++) {
    one[i] = 1;
    none[i] = dhc_dim_const(p->dims, 0);
    behind[i] = dhc_dim_sub(p->dims, p->x->dim[i], whole[i]);
    same = same && whole[i] == p->x->dim[i];
  }
  DhcModule *m = p->b.f->module;
  DhcAttr pad[3] = {dhc_attr_dims(m, none, 2 + p->n_s), dhc_attr_dims(m, behind, 2 + p->n_s), dhc_attr_ints(m, one, 2 + p->n_s)};
  return same || !x ? x : dhc_build1(&p->b, DHC_OP_PAD, &x, 1, pad, 3);
}

/* y as [n, place…, o], or the other way round. */
static DhcValue *outs_last(Patch *p, DhcValue *y, bool back) {
  int64_t perm[DHC_MAX_RANK] = {0};
  for (int i = 0; i < p->n_s; i++) perm[back ? 2 + i : 1 + i] = back ? 1 + i : 2 + i;
  perm[back ? 1 : 1 + p->n_s] = back ? 1 + p->n_s : 1;
  return y ? dhc_b_transpose(&p->b, y, perm) : NULL;
}

/* Contracted over one axis of each. */
static DhcValue *contract(Patch *p, DhcValue *x, int64_t axis_x, DhcValue *y, int64_t axis_y) {
  return x && y ? dhc_b_dot(&p->b, x, y, NULL, NULL, 0, &axis_x, &axis_y, 1) : NULL;
}

static DhcValue *flat_weights(Patch *p, DhcValue *w) {
  return dhc_b_reshape(&p->b, w, (const DhcDim *[]){p->w->dim[0], p->all}, 2);
}

static DhcValue *weights_of(Patch *p, DhcValue *patches, DhcValue *dy) {
  const DhcDim *rows = p->y->dim[0];
  for (int i = 0; i < p->n_s; i++) rows = dhc_dim_mul(p->dims, rows, p->y->dim[2 + i]);
  patches = patches ? dhc_b_reshape(&p->b, patches, (const DhcDim *[]){rows, p->all}, 2) : NULL;
  dy = dy ? dhc_b_reshape(&p->b, dy, (const DhcDim *[]){rows, p->w->dim[0]}, 2) : NULL;
  DhcValue *w = contract(p, dy, 0, patches, 0);
  return w ? dhc_b_reshape(&p->b, w, p->w->dim, p->w->rank) : NULL;
}

bool dhc_fu_lower_patches(DhcNode *n) {
  DhcValue *const *a = n->args;
  const DhcType *result = &n->results[0]->type;
  bool dx = n->op == DHC_OP_CONV_DX, dw = n->op == DHC_OP_CONV_DW;
  Patch p = {.b = {.f = n->func, .before = n, .span = n->span, .origin = n->origin}, .dims = n->func->module->dims, .n = n};
  p.x = dx ? result : &a[0]->type;
  p.w = dw ? result : &a[1]->type;
  p.y = dx ? &a[0]->type : dw ? &a[1]->type : result;
  p.n_s = p.w->rank - 2;
  p.all = p.w->dim[1];
  for (int i = 0; i < p.n_s; i++) p.all = dhc_dim_mul(p.dims, p.all, p.w->dim[2 + i]);
  DhcValue *to = NULL;
  if (dx) {
    DhcValue *y = outs_last(&p, a[0], false), *w = flat_weights(&p, a[1]);
    to = from_patches(&p, contract(&p, y, 1 + p.n_s, w, 0));
  } else if (dw) {
    DhcValue *x = patches_of(&p, a[0]), *y = outs_last(&p, a[1], false);
    to = weights_of(&p, x, y);
  } else {
    DhcValue *x = patches_of(&p, a[0]), *w = flat_weights(&p, a[1]);
    to = outs_last(&p, contract(&p, x, 1 + p.n_s, w, 1), true);
  }
  if (!to) return false;
  dhc_replace_uses(n->results[0], to);
  dhc_node_remove(n);
  return true;
}
