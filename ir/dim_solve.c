/* Substitution, evaluation and solving of dims. */
#include "ir/dim_internal.h"

static int find_name(const char *name, int n, const char *const *names) {
  for (int i = 0; i < n; i++)
    if (names[i] == name || strcmp(names[i], name) == 0) return i;
  return -1;
}

const DhcDim *dhc_dim_subst(DhcDims *cx, const DhcDim *d, int n, const char *const *from,
                            const DhcDim *const *to) {
  if (n == 0 || dhc_dim_is_const(d, NULL)) return d;
  const DhcDim *sum = dhc_dim_const(cx, 0);
  for (int i = 0; i < d->n; i++) {
    const DhcDimTerm *t = &d->term[i];
    const DhcDim *product = dhc_dim_const(cx, t->coef);
    for (int k = 0; k < t->n; k++) {
      const DhcAtom *a = t->atom[k];
      const DhcDim *v;
      int s = a->name ? find_name(a->name, n, from) : -1;
      if (s >= 0)
        v = to[s];
      else if (a->name)
        v = dhc_dim_monomial(cx, 1, 1, &a);
      else
        v = dhc_dim_floordiv(cx, dhc_dim_subst(cx, a->p, n, from, to), a->k);
      product = dhc_dim_mul(cx, product, v);
    }
    sum = dhc_dim_add(cx, sum, product);
  }
  return sum;
}

/* ---- evaluation -------------------------------------------------------------------------- */

typedef struct Env {
  int n;
  const char *const *names;
  const int64_t *values;
  const bool *bound; /* NULL: all are */
} Env;

static bool eval_dim(const DhcDim *d, const Env *env, int64_t *out);

static bool eval_atom(const DhcAtom *a, const Env *env, int64_t *out) {
  if (!a->name) {
    if (!eval_dim(a->p, env, out)) return false;
    *out = dhc_floordiv64(*out, a->k);
    return true;
  }
  int s = find_name(a->name, env->n, env->names);
  if (s < 0 || (env->bound && !env->bound[s])) return false;
  *out = env->values[s];
  return true;
}

static bool eval_dim(const DhcDim *d, const Env *env, int64_t *out) {
  int64_t sum = 0;
  for (int i = 0; i < d->n; i++) {
    int64_t product = d->term[i].coef, v;
    for (int k = 0; k < d->term[i].n; k++)
      if (!eval_atom(d->term[i].atom[k], env, &v) || __builtin_mul_overflow(product, v, &product))
        return false;
    if (__builtin_add_overflow(sum, product, &sum)) return false;
  }
  *out = sum;
  return true;
}

bool dhc_dim_eval(const DhcDim *d, int n, const char *const *names, const int64_t *values,
                  int64_t *out) {
  Env env = {n, names, values, NULL};
  return eval_dim(d, &env, out);
}

/* ---- unification ------------------------------------------------------------------------- */

/* The one unbound symbol of d into *name; false if there are several. */
static bool only_unknown(const DhcDim *d, const Env *env, const char **name) {
  for (int i = 0; i < d->n; i++)
    for (int k = 0; k < d->term[i].n; k++) {
      const DhcAtom *a = d->term[i].atom[k];
      if (!a->name) {
        if (!only_unknown(a->p, env, name)) return false;
        continue;
      }
      int s = find_name(a->name, env->n, env->names);
      if (s >= 0 && env->bound[s]) continue;
      if (*name && *name != a->name) return false;
      *name = a->name;
    }
  return true;
}

/* d = slope * name + rest with both known; false if d is not linear in name. */
static bool linear_in(const DhcDim *d, const char *name, const Env *env, int64_t *slope,
                      int64_t *rest) {
  *slope = *rest = 0;
  for (int i = 0; i < d->n; i++) {
    int64_t product = d->term[i].coef, v;
    int times = 0;
    for (int k = 0; k < d->term[i].n; k++) {
      const DhcAtom *a = d->term[i].atom[k];
      if (a->name == name) {
        times++;
        continue;
      }
      if (!eval_atom(a, env, &v) || __builtin_mul_overflow(product, v, &product)) return false;
    }
    int64_t *into = times ? slope : rest;
    if (times > 1 || __builtin_add_overflow(*into, product, into)) return false;
  }
  return true;
}

bool dhc_dim_unify(const DhcDim *pattern, int64_t extent, int n, const char *const *names,
                   int64_t *values, bool *bound, bool *unbound) {
  Env env = {n, names, values, bound};
  const char *name = NULL;
  if (!only_unknown(pattern, &env, &name)) {
    *unbound = true;
    return true;
  }
  int64_t slope, rest, room;
  if (!name) return eval_dim(pattern, &env, &rest) && rest == extent;
  int s = find_name(name, n, names);
  if (s < 0 || !linear_in(pattern, name, &env, &slope, &rest) || slope == 0) {
    *unbound = true; /* some other extent has to tell */
    return true;
  }
  if (__builtin_sub_overflow(extent, rest, &room)) return false;
  if (slope == -1 && room == INT64_MIN) return false;
  if (room % slope != 0 || room / slope < 1) return false;
  values[s] = room / slope;
  bound[s] = true;
  return true;
}

const DhcDim *dhc_dim_solve(DhcDims *cx, const DhcDim *pattern, const char *name,
                            const DhcDim *value) {
  const DhcDim *slope = dhc_dim_const(cx, 0), *rest = slope;
  for (int i = 0; i < pattern->n; i++) {
    const DhcDimTerm *t = &pattern->term[i];
    const DhcDim *m = dhc_dim_const(cx, t->coef);
    int times = 0;
    for (int k = 0; k < t->n; k++) {
      const char *inner[64];
      int n = t->atom[k]->name ? 0 : dhc_dim_symbols(t->atom[k]->p, inner, 64);
      if (find_name(name, n, inner) >= 0) return NULL;
      if (t->atom[k]->name && strcmp(t->atom[k]->name, name) == 0)
        times++;
      else
        m = dhc_dim_mul(cx, m, dhc_dim_monomial(cx, 1, 1, &t->atom[k]));
    }
    if (times > 1) return NULL;
    const DhcDim **into = times ? &slope : &rest;
    *into = dhc_dim_add(cx, *into, m);
  }
  return dhc_dim_divide(cx, dhc_dim_sub(cx, value, rest), slope);
}
