/* An object as one C99 file: what llvm*.c writes, statement by statement. */
#include "backends/object/c99.h"

typedef DhcC99Fn Fn;

/* ---- expressions ----------------------------------------------------------------------------------- */

static const char *name_of(Fn *f, const DhcObjX *x) {
  if (x->op == DHC_DIM_CONST) return dhc_arena_printf(f->arena, x->value == (int)x->value ? "%lld" : "INT64_C(%lld)", (long long)x->value);
  if (x->op == DHC_DIM_SYM) return f->e->symbol[x->value];
  return dhc_arena_printf(f->arena, "e%d", x->id);
}

/* What may leave its range is computed by functions that say so; nothing else is. */
static void put_expression(Fn *f, const DhcObjX *x, bool checks) {
  const char *a = x->a ? name_of(f, x->a) : "", *b = x->b ? name_of(f, x->b) : "";
  static const char *const checked[] = {[DHC_DIM_ADD] = "add", [DHC_DIM_SUB] = "sub", [DHC_DIM_MUL] = "mul",
                                        [DHC_DIM_FLOORDIV] = "floor", [DHC_DIM_CEILDIV] = "ceil"};
  static const char *const sign[] = {[DHC_DIM_ADD] = "+", [DHC_DIM_SUB] = "-", [DHC_DIM_MUL] = "*"};
  dhc_text_printf(f->to, "  const i64 e%d = ", x->id);
  switch (x->op) {
  case DHC_DIM_ADD:
  case DHC_DIM_SUB:
  case DHC_DIM_MUL:
    if (x->checked && checks) dhc_text_printf(f->to, "size_%s(%s, %s, &bad);\n", checked[x->op], a, b);
    else dhc_text_printf(f->to, "%s %s %s;\n", a, sign[x->op], b);
    return;
  case DHC_DIM_FLOORDIV:
  case DHC_DIM_CEILDIV:
    dhc_text_printf(f->to, "size_%s(%s, %s, %s);\n", checked[x->op], a, b, checks ? "&bad" : "0");
    return;
  case DHC_DIM_MIN: dhc_text_printf(f->to, "%s < %s ? %s : %s;\n", a, b, a, b); return;
  case DHC_DIM_MAX: dhc_text_printf(f->to, "%s > %s ? %s : %s;\n", a, b, a, b); return;
  case DHC_DIM_LE: dhc_text_printf(f->to, "%s <= %s;\n", a, b); return;
  case DHC_DIM_AND: dhc_text_printf(f->to, "%s != 0 && %s != 0;\n", a, b); return;
  default: dhc_text_printf(f->to, "%s != 0 ? %s : %s;\n", name_of(f, x->c), a, b);
  }
}

static const char *value_in(Fn *f, const DhcObjX *x, bool checks) {
  if (x->op == DHC_DIM_CONST || x->op == DHC_DIM_SYM || f->made[x->id]) return name_of(f, x);
  if (x->a) value_in(f, x->a, checks);
  if (x->b) value_in(f, x->b, checks);
  if (x->c) value_in(f, x->c, checks);
  put_expression(f, x, checks);
  f->made[x->id] = true;
  return name_of(f, x);
}
static const char *value(Fn *f, const DhcObjX *x) { return value_in(f, x, false); }

static Fn begin(const DhcObject *o, const DhcObjEntry *e, DhcText *to) {
  return (Fn){.o = o, .e = e, .to = to, .arena = to->arena, .made = DHC_NEW_N(to->arena, bool, e->x.n + 1)};
}

/* "int64_t B, int64_t L" or "B, L". */
static const char *sizes_of(const DhcObjEntry *e, const char *type, const char *after, DhcArena *arena) {
  DhcText t = {.arena = arena};
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) dhc_text_printf(&t, "%s%s%s", t.n ? ", " : "", type, e->symbol[i]);
  if (t.n) dhc_text_puts(&t, after);
  return dhc_text_str(&t);
}

/* ---- sizes ------------------------------------------------------------------------------------------- */

static const char sizes_text[] =
    "SHARED i64 size_add(i64 a, i64 b, int *bad) {\n"
    "  if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) return *bad = 1, 0;\n"
    "  return a + b;\n"
    "}\n"
    "SHARED i64 size_sub(i64 a, i64 b, int *bad) {\n"
    "  if (b < 0 ? a > INT64_MAX + b : a < INT64_MIN + b) return *bad = 1, 0;\n"
    "  return a - b;\n"
    "}\n"
    "SHARED i64 size_mul(i64 a, i64 b, int *bad) {\n"
    "  u64 x = a < 0 ? 0 - (u64)a : (u64)a, y = b < 0 ? 0 - (u64)b : (u64)b;\n"
    "  if (x != 0 && y > (u64)INT64_MAX / x) return *bad = 1, 0;\n"
    "  return a * b;\n"
    "}\n"
    "SHARED i64 size_floor(i64 a, i64 b, int *bad) {\n"
    "  if (b < 1) {\n"
    "    if (bad) *bad = 1;\n"
    "    return 0;\n"
    "  }\n"
    "  return a / b - (a % b < 0);\n"
    "}\n"
    "SHARED i64 size_ceil(i64 a, i64 b, int *bad) {\n"
    "  if (b < 1) {\n"
    "    if (bad) *bad = 1;\n"
    "    return 0;\n"
    "  }\n"
    "  return a / b + (a % b > 0);\n"
    "}\n\n";

static void put_string(const char *s, DhcText *to) {
  dhc_text_puts(to, "\"");
  int column = 0;
  for (; *s; s++, column++) {
    if (column > 100 && *s == ' ') dhc_text_puts(to, "\"\n    \""), column = 0;
    if (*s == '"' || *s == '\\') dhc_text_printf(to, "\\%c", *s);
    else if ((unsigned char)*s < 0x20 || *s == '?') dhc_text_printf(to, "\\%03o", (unsigned)(unsigned char)*s);
    else dhc_text_printf(to, "%c", *s);
  }
  dhc_text_puts(to, "\"");
}

/* A compiler of C99 need not take strings of more than 4,095 characters; an array of them it does. */
static void write_describe(const DhcObject *o, DhcText *to) {
  dhc_text_printf(to, "const char *%s_describe(void) {\n", o->name);
  if (strlen(o->describe) <= 4095) {
    dhc_text_puts(to, "  return ");
    put_string(o->describe, to);
  } else {
    dhc_text_puts(to, "  static const char text[] = {");
    int column = 0;
    for (const char *s = o->describe; *s; s++) {
      bool plain = (unsigned char)*s >= 0x20 && (unsigned char)*s < 0x7f && *s != '\'' && *s != '\\';
      dhc_text_printf(to, plain ? "%s'%c'," : "%s'\\%03o',", column++ % 30 ? "" : "\n    ", (unsigned)(unsigned char)*s);
    }
    dhc_text_puts(to, "0\n  };\n  return text");
  }
  dhc_text_puts(to, ";\n}\n\n");
}

static void write_check(Fn f) {
  const DhcObjEntry *e = f.e;
  const char *sizes = sizes_of(e, "i64 ", "", f.arena);
  dhc_text_printf(f.to, "/* 0, or the number of a message */\nstatic int %s_check(%s) {\n  int bad = 0;\n", e->c_name, *sizes ? sizes : "void");
  for (int i = 0; i < e->n_symbols; i++)
    if (!e->bound[i]) dhc_text_printf(f.to, "  if (%s < 1 || %s > %d) return %d;\n", e->symbol[i], e->symbol[i], DHC_OBJ_MAX_DIM, i + 2);
  for (int i = 0; i < e->x.n; i++)
    if (e->x.at[i]->checked) dhc_text_printf(f.to, "  (void)%s;\n", value_in(&f, e->x.at[i], true));
  dhc_text_puts(f.to, "  if (bad) return 1;\n");
  for (int i = 0; i < e->guards.n; i++) {
    const char *cond = value(&f, e->guards.at[i].cond);
    dhc_text_printf(f.to, "  if (%s == 0) return %d;\n", cond, 2 + e->n_symbols + i);
  }
  dhc_text_puts(f.to, "  return 0;\n}\n\n");
}

static void write_sizes(const DhcObject *o, const DhcObjEntry *e, DhcText *to) {
  DhcArena *a = to->arena;
  const char *names = sizes_of(e, "", "", a), *sizes = sizes_of(e, "int64_t ", "", a);
  dhc_text_printf(to, "const char *%s_why(%s) {\n  switch (%s_check(%s)) {\n    case 0: return 0;\n    case 1: return ", e->c_name,
                  *sizes ? sizes : "void", e->c_name, names);
  put_string("at these sizes a number of bytes does not fit in 63 bits", to);
  dhc_text_puts(to, ";\n");
  for (int i = 0; i < e->n_symbols; i++) {
    if (e->bound[i]) continue;
    dhc_text_printf(to, "    case %d: return ", i + 2);
    put_string(dhc_arena_printf(a, "'%s' must be from 1 to %d", e->image->plan.symbols[i], DHC_OBJ_MAX_DIM), to);
    dhc_text_puts(to, ";\n");
  }
  for (int i = 0; i < e->guards.n; i++) {
    dhc_text_printf(to, "    case %d: return ", 2 + e->n_symbols + i);
    put_string(e->guards.at[i].message, to);
    dhc_text_puts(to, ";\n");
  }
  dhc_text_puts(to, "    default: return 0;\n  }\n}\n\n");
  Fn f = begin(o, e, to);
  dhc_text_printf(to, "int64_t %s_workspace_bytes(%sint workers) {\n  if (%s_check(%s) != 0) return -1;\n", e->c_name,
                  sizes_of(e, "int64_t ", ", ", a), e->c_name, names);
  const char *work = value(&f, e->work_bytes), *shared = value(&f, e->shared_bytes), *each = value(&f, e->scratch_bytes);
  dhc_text_printf(to, "  return %s + %s + %s * (i64)(workers < 1 ? 1 : workers);\n}\n\n", work, shared, each);
  if (!e->state_bytes) return;
  f = begin(o, e, to);
  dhc_text_printf(to, "int64_t %s_state_bytes(%s) {\n  if (%s_check(%s) != 0) return -1;\n", e->c_name, *sizes ? sizes : "void", e->c_name, names);
  const char *state = value(&f, e->state_bytes);
  dhc_text_printf(to, "  return %s;\n}\n\n", state);
}

/* ---- statements ------------------------------------------------------------------------------------------ */

static const char tasks_text[] =
    "typedef void (*kernel_fn)(void *const *ptr, const i64 *dim, i64 task0, i64 task1, void *scratch);\n"
    "typedef struct job { kernel_fn fn; void *const *ptr; const i64 *dim; i64 first; char *scratch; i64 each; } job;\n"
    "SHARED void tasks(void *arg, int64_t t0, int64_t t1, int worker) {\n"
    "  const job *j = (const job *)arg;\n"
    "  j->fn(j->ptr, j->dim, j->first + t0, j->first + t1, j->scratch + j->each * (i64)worker);\n"
    "}\n"
    "/* tasks [first, end) of a kernel */\n"
    "SHARED void launch(const dhc_object_exec *exec, job j, i64 end) {\n"
    "  if (end <= j.first) return;\n"
    "  if (exec == 0 || end - j.first == 1) j.fn(j.ptr, j.dim, j.first, end, j.scratch);\n"
    "  else exec->parallel_for(exec->ctx, end - j.first, tasks, &j);\n"
    "}\n"
    "SHARED void fill(void *to, u32 pattern, i64 bytes) {\n"
    "  for (i64 i = 0; i < bytes / 4; i++) ((m_u32 *)to)[i] = pattern;\n"
    "}\n"
    "SHARED int misaligned(const void *p) { return ((uintptr_t)p & 63u) != 0; }\n\n";

static const char *address(Fn *f, const DhcObjRef *r, int depth) {
  const char *at = value(f, r->at);
  DhcText t = {.arena = f->arena};
  const char *const own[] = {[DHC_OBJ_WEIGHTS] = "constants", [DHC_OBJ_STATE] = "(char *)state", [DHC_OBJ_WORK] = "work",
                             [DHC_OBJ_SCALARS] = f->e->numbers_at ? "numbers" : "(char *)(uintptr_t)scalars", [DHC_OBJ_PARAM] = NULL};
  const char *base = own[r->base];
  if (base) dhc_text_printf(&t, "%s + %s", base, at);
  else dhc_text_printf(&t, "(char *)(uintptr_t)%s + %s", f->e->param[r->param].name, at);
  for (int d = 0; d < depth; d++)
    if (r->step[d]) dhc_text_printf(&t, " + %s * i%d", value(f, r->step[d]), d);
  return dhc_text_str(&t);
}

static void prepare(Fn *f, const DhcObjStmt *s, int n) {
  for (int i = 0; i < n; i++) {
    for (int r = 0; r < s[i].n_refs; r++) {
      value(f, s[i].refs[r].at);
      for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
        if (s[i].refs[r].step[d]) value(f, s[i].refs[r].step[d]);
    }
    for (int k = 0; k < s[i].n_dims; k++) value(f, s[i].dims[k]);
    for (int c = 0; c < s[i].n_classes; c++) {
      if (s[i].class[c].guard) value(f, s[i].class[c].guard);
      if (s[i].class[c].first_tasks) value(f, s[i].class[c].first_tasks);
      for (int p = 0; p < DHC_MAX_PHASES - 2; p++)
        if (s[i].class[c].later_tasks[p]) value(f, s[i].class[c].later_tasks[p]);
      value(f, s[i].class[c].n_tasks);
    }
    if (s[i].bytes) value(f, s[i].bytes);
    if (s[i].count) value(f, s[i].count);
  }
}

static void write_call(Fn *f, const DhcObjStmt *s, int depth) {
  int in = 2 * depth + 2;
  for (int i = 0; i < s->n_refs; i++) dhc_text_printf(f->to, "%*sp[%d] = %s;\n", in, "", i, address(f, &s->refs[i], depth));
  dhc_text_printf(f->to, "%*sp[%d] = shared;\n", in, "", s->n_refs);
  for (int i = 0; i < s->n_dims; i++) dhc_text_printf(f->to, "%*sd[%d] = %s;\n", in, "", i, value(f, s->dims[i]));
  for (int c = 0; c < s->n_classes; c++) {
    const DhcObjClass *k = &s->class[c];
    if (c) dhc_text_puts(f->to, k->guard ? " else " : " else {\n");
    else dhc_text_printf(f->to, "%*s%s", in, "", k->guard ? "" : "{\n");
    if (k->guard) dhc_text_printf(f->to, "if (%s != 0) {\n", value(f, k->guard));
    const char *fn = f->o->functions.at[k->function].name, *all = value(f, k->n_tasks);
    dhc_text_printf(f->to, "%*sjob j = {%s, p, d, 0, scratch, each};\n", in + 2, "", fn);
    dhc_text_printf(f->to, "%*slaunch(exec, j, %s);\n", in + 2, "", k->first_tasks ? value(f, k->first_tasks) : all);
    if (k->first_tasks) dhc_text_printf(f->to, "%*sj.first = %s;\n%*slaunch(exec, j, %s);\n", in + 2, "", value(f, k->first_tasks), in + 2, "", all);
    dhc_text_printf(f->to, "%*s}", in, "");
  }
  dhc_text_puts(f->to, "\n");
}

static void write_move(Fn *f, const DhcObjStmt *s, int depth) {
  int in = 2 * depth + 2;
  if (dhc_obj_is(s->bytes, 0)) return;
  const char *to = address(f, &s->refs[s->kind == DHC_ITEM_COPY], depth), *n = value(f, s->bytes);
  if (s->kind == DHC_ITEM_COPY) dhc_text_printf(f->to, "%*smemcpy(%s, %s, (size_t)%s);\n", in, "", to, address(f, &s->refs[0], depth), n);
  else dhc_text_printf(f->to, "%*sfill(%s, 0x%08xu, %s);\n", in, "", to, s->pattern, n);
}

static void write_range(Fn *f, const DhcC99Forms *forms, int first, int end, int depth) {
  for (int i = first; i < end; i++) {
    const DhcObjStmt *s = &f->e->stmts.at[i];
    int body = s->kind == DHC_ITEM_LOOP ? s->n_body : 0;
    if (depth == 0) prepare(f, s, 1 + body);
    if (s->kind == DHC_ITEM_LOOP) {
      dhc_text_printf(f->to, "%*sfor (i64 i%d = 0; i%d < %s; i%d++) {\n", 2 * depth + 2, "", depth, depth, value(f, s->count), depth);
      write_range(f, forms, i + 1, i + 1 + body, depth + 1);
      dhc_text_printf(f->to, "%*s}\n", 2 * depth + 2, "");
    } else if (s->kind == DHC_ITEM_CALL) {
      forms->call(f, s, depth);
    } else {
      forms->move(f, s, depth);
    }
    i += body;
  }
}

void dhc_c99_statements(DhcC99Fn *f, const DhcC99Forms *forms) { write_range(f, forms, 0, f->e->stmts.n, 0); }

/* ---- entries ------------------------------------------------------------------------------------------------ */

static void write_index_checks(Fn *f) {
  for (int i = 0; i < f->e->index_checks.n; i++) {
    const DhcObjIndexCheck *c = &f->e->index_checks.at[i];
    const DhcObjParam *p = &f->e->param[c->param];
    DhcText at = {.arena = f->arena};
    dhc_text_printf(&at, "%s", value(f, c->at));
    value(f, c->extent);
    for (int d = 0; d < c->rank; d++) {
      value(f, c->count[d]);
      dhc_text_printf(&at, " + %s * k%d", value(f, c->step[d]), d);
    }
    for (int d = 0; d < c->rank; d++) dhc_text_printf(f->to, "  for (i64 k%d = 0; k%d < %s; k%d++)\n", d, d, value(f, c->count[d]), d);
    dhc_text_printf(f->to, "    if ((u64)(i64)%s[%s] >= (u64)%s", p->name, dhc_text_str(&at), value(f, c->extent));
    if (c->exempt) dhc_text_printf(f->to, " && (i64)%s[%s] != %lld", p->name, dhc_text_str(&at), (long long)c->exempted);
    dhc_text_puts(f->to, ") return DHC_OBJECT_INDEX;\n");
  }
}

static void write_checks(Fn *f) {
  const DhcObjEntry *e = f->e;
  bool works = !dhc_object_needs_no_workspace(e), passed = e->reads_weights && !f->o->blob;
  DhcText null = {.arena = f->arena};
  for (int i = 0; i < e->n_params; i++) dhc_text_printf(&null, " || %s == 0", e->param[i].name);
  if (e->train) dhc_text_puts(&null, " || scalars == 0");
  dhc_text_puts(&null, " || (exec != 0 && exec->parallel_for == 0)");
  dhc_text_printf(f->to, "  if (%s%s%s%s) return DHC_OBJECT_NULL;\n", works ? "workspace == 0" : "0", e->state_bytes ? " || state == 0" : "",
                  passed ? " || weights == 0" : "", dhc_text_str(&null));
  dhc_text_printf(f->to, "  if (%s%s%s) return DHC_OBJECT_ALIGN;\n", works ? "misaligned(workspace)" : "0", e->state_bytes ? " || misaligned(state)" : "",
                  passed ? " || misaligned(weights)" : "");
  if (passed)
    dhc_text_printf(f->to, "  if (((const m_i64 *)weights)[1] != (i64)0x%016llxu) return DHC_OBJECT_WEIGHTS;\n", (unsigned long long)f->o->blob_id);
  dhc_text_printf(f->to, "  if (%s_check(%s) != 0) return DHC_OBJECT_DIMS;\n", e->c_name, sizes_of(e, "", "", f->arena));
  const char *work = value(f, e->work_bytes), *shared = value(f, e->shared_bytes), *each = value(f, e->scratch_bytes);
  dhc_text_printf(f->to, "  if (workspace_bytes < %s + %s + %s * (i64)(exec == 0 ? 1 : exec->workers)) return DHC_OBJECT_WORKSPACE;\n", work, shared, each);
  write_index_checks(f);
  bool calls = e->most_refs > 0;
  if (e->reads_weights) dhc_text_printf(f->to, "  char *const constants = (char *)(uintptr_t)%s;\n", passed ? "weights" : "embedded");
  dhc_text_puts(f->to, "  char *const work = (char *)workspace;\n  (void)work;\n");
  if (!calls) return;
  dhc_text_printf(f->to, "  char *const shared = work + %s, *const scratch = shared + %s;\n  const i64 each = %s;\n", work, shared, each);
  dhc_text_printf(f->to, "  void *p[%d];\n  i64 d[%d];\n", e->most_refs + 1, e->most_dims + 1);
}

static void write_entry(const DhcObject *o, const DhcObjEntry *e, DhcText *to) {
  write_check(begin(o, e, to));
  write_sizes(o, e, to);
  Fn f = begin(o, e, to);
  dhc_text_printf(to, "%s {\n", dhc_object_prototype(o, e, to->arena));
  write_checks(&f);
  dhc_c99_statements(&f, &(DhcC99Forms){write_call, write_move});
  for (int i = 0; i < e->required.n; i++) {
    const char *at = address(&f, &e->required.at[i], 0);
    dhc_text_printf(to, "  if (*(const m_u8 *)(%s) == 0) return DHC_OBJECT_REQUIRE;\n", at);
  }
  dhc_text_puts(to, "  return DHC_OBJECT_OK;\n}\n\n");
}

/* ---- constants ------------------------------------------------------------------------------------------------ */

static void put_words(const char *name, const uint8_t *bytes, int64_t n, DhcText *to) {
  dhc_text_printf(to, "static const u64 %s[] = {", name);
  for (int64_t i = 0; i < n; i += 8) {
    uint64_t word = 0;
    for (int k = 0; k < 8 && i + k < n; k++) word |= (uint64_t)bytes[i + k] << 8 * k;
    dhc_text_printf(to, "%s0x%llxu", i % 64 ? ", " : i ? ",\n  " : "\n  ", (unsigned long long)word);
  }
  dhc_text_puts(to, "};\n");
}

static void write_weights(const DhcObject *o, DhcText *to) {
  if (o->blob) {
    put_words("embedded", o->blob, o->blob_bytes, to);
    return;
  }
  if (!o->blob_bytes) return;
  long long bytes = (long long)o->blob_bytes;
  const char *look = "  if (weights == 0) return DHC_OBJECT_NULL;\n  if (misaligned(weights)) return DHC_OBJECT_ALIGN;\n";
  dhc_text_printf(to, "dhc_object_status %s_weights_check(const void *weights, int64_t bytes) {\n  const m_i64 *const word = (const m_i64 *)weights;\n%s"
                      "  if (bytes < INT64_C(%lld)) return DHC_OBJECT_WEIGHTS;\n", o->name, look, bytes);
  for (int i = 0; i < 3; i++)
    dhc_text_printf(to, "  if ((u64)word[%d] != 0x%llxu) return DHC_OBJECT_WEIGHTS;\n", i, (unsigned long long)dhc_object_header_word(o, i));
  dhc_text_printf(to, "  if (word[3] == 0) return DHC_OBJECT_OK;\n  u64 sum = 0x%llxu;\n"
                      "  for (i64 i = %d; i < INT64_C(%lld); i++) sum = (sum ^ (u64)word[i]) * 0x%llxu;\n"
                      "  return sum == (u64)word[3] ? DHC_OBJECT_OK : DHC_OBJECT_WEIGHTS;\n}\n\n",
                  (unsigned long long)DHC_OBJ_SUM_BEGIN, DHC_OBJ_BLOB_HEADER / 8, bytes / 8, (unsigned long long)DHC_OBJ_SUM_FACTOR);
  if (!dhc_object_sets_weights(o)) return;
  put_words("header", o->fixed, DHC_OBJ_BLOB_HEADER, to);
  for (int i = 0; i < o->pieces.n; i++)
    if (dhc_object_piece_is_fixed(o, &o->pieces.at[i]))
      put_words(dhc_arena_printf(to->arena, "fixed%d", i), o->fixed + o->pieces.at[i].at, o->pieces.at[i].bytes, to);
  dhc_text_printf(to, "dhc_object_status %s_weights_begin(void *weights, int64_t bytes) {\n%s  if (bytes < INT64_C(%lld)) return DHC_OBJECT_WEIGHTS;\n"
                      "  memcpy(weights, header, sizeof header);\n", o->name, look, bytes);
  for (int i = 0; i < o->pieces.n; i++)
    if (dhc_object_piece_is_fixed(o, &o->pieces.at[i]))
      dhc_text_printf(to, "  memcpy((char *)weights + %lld, fixed%d, %lld);\n", (long long)o->pieces.at[i].at, i, (long long)o->pieces.at[i].bytes);
  dhc_text_puts(to, "  return DHC_OBJECT_OK;\n}\n\n"
                    "/* matrices in panels of `width` rows, all rows of one column side by side */\n"
                    "SHARED void pack(char *at, const void *data, i64 matrices, i64 rows, i64 cols, i64 width) {\n"
                    "  m_u32 *to = (m_u32 *)(void *)at;\n  const m_u32 *from = (const m_u32 *)data;\n"
                    "  for (i64 k = 0; k < matrices; k++, from += rows * cols)\n    for (i64 r = 0; r < rows; r += width)\n"
                    "      for (i64 c = 0; c < cols; c++)\n        for (i64 i = 0; i < width; i++, to++) *to = r + i < rows ? from[(r + i) * cols + c] : 0u;\n}\n\n");
  dhc_text_printf(to, "dhc_object_status %s_weights_set(void *weights, int tensor, const void *data, int64_t bytes) {\n%s"
                      "  if (data == 0) return DHC_OBJECT_NULL;\n  switch (tensor) {\n", o->name, look);
  for (int t = 0; t < o->n_tensors; t++) {
    dhc_text_printf(to, "    case %d:\n      if (bytes != INT64_C(%lld)) return DHC_OBJECT_WEIGHTS;\n", t, (long long)dhc_object_tensor_bytes(o, t));
    for (int i = 0; i < o->pieces.n; i++) {
      const DhcObjPiece *p = &o->pieces.at[i];
      if (p->kind == DHC_OBJ_SCALAR || p->slot != o->tensor[t]) continue;
      if (p->kind == DHC_OBJ_SLOT) dhc_text_printf(to, "      memcpy((char *)weights + %lld, data, (size_t)bytes);\n", (long long)p->at);
      else
        dhc_text_printf(to, "      pack((char *)weights + %lld, data, %lld, %lld, %lld, %d);\n", (long long)p->at, (long long)p->matrices,
                        (long long)p->rows, (long long)p->cols, p->width);
    }
    dhc_text_puts(to, "      return DHC_OBJECT_OK;\n");
  }
  dhc_text_puts(to, "    default: return DHC_OBJECT_WEIGHTS;\n  }\n}\n\n");
}

static void write_prefault(const DhcObject *o, DhcText *to) {
  dhc_text_puts(to, "/* the first byte of every page, and the last of all */\n"
                    "SHARED void touch(const void *at, i64 bytes) {\n  const volatile m_u8 *const p = (const volatile m_u8 *)at;\n"
                    "  for (i64 i = 0; i < bytes; i += 4096) (void)(p[i] + p[bytes - 1]);\n}\n\n");
  dhc_text_printf(to, "void %s_prefault(const void *weights, int64_t weights_bytes, void *memory, int64_t memory_bytes) {\n"
                      "  volatile m_u8 *const p = (volatile m_u8 *)memory;\n", o->name);
  if (o->blob) dhc_text_printf(to, "  touch(embedded, INT64_C(%lld));\n", (long long)o->blob_bytes);
  dhc_text_puts(to, "  touch(weights, weights_bytes);\n  for (i64 i = 0; i < memory_bytes; i += 4096) {\n    const m_u8 first = p[i], last = p[memory_bytes - 1];\n"
                    "    p[i] = first;\n    if (i + 4096 >= memory_bytes && i < memory_bytes - 1) p[memory_bytes - 1] = last;\n  }\n}\n\n");
}

static void write_selftest(const DhcObject *o, DhcText *to) {
  bool passed = false;
  for (int i = 0; i < o->tests.n; i++) {
    const DhcObjTest *t = &o->tests.at[i];
    passed = passed || (o->entry[t->entry]->reads_weights && !o->blob);
    for (int k = 0; k < o->entry[t->entry]->n_params; k++) put_words(dhc_arena_printf(to->arena, "test%d_%d", i, k), t->data[k], t->bytes[k], to);
  }
  dhc_text_printf(to, "SHARED int differs(const void *a, const void *b, i64 n) {\n"
                      "  for (i64 i = 0; i < n; i++)\n    if (((const m_u8 *)a)[i] != ((const m_u8 *)b)[i]) return 1;\n  return 0;\n}\n\n"
                      "dhc_object_status %s_selftest(%svoid *workspace, int64_t workspace_bytes) {\n  char *const work = (char *)workspace;\n"
                      "  dhc_object_status got;\n  if (work == 0) return DHC_OBJECT_NULL;\n  if (misaligned(work)) return DHC_OBJECT_ALIGN;\n"
                      "  if (workspace_bytes < %lld) return DHC_OBJECT_WORKSPACE;\n",
                  o->name, passed ? "const void *weights, " : "", (long long)dhc_object_selftest_bytes(o));
  for (int i = 0; i < o->tests.n; i++) {
    const DhcObjTest *t = &o->tests.at[i];
    const DhcObjEntry *e = o->entry[t->entry];
    DhcText looks = {.arena = to->arena};
    int64_t at = dhc_object_test_workspace(e);
    dhc_text_printf(to, "  got = %s(%s", e->c_name, e->reads_weights && !o->blob ? "weights, " : "");
    for (int k = 0; k < e->n_params; k++) {
      if (!e->param[k].out) {
        dhc_text_printf(to, "(const void *)test%d_%d, ", i, k);
        continue;
      }
      dhc_text_printf(to, "(void *)(work + %lld), ", (long long)at);
      dhc_text_printf(&looks, "  if (differs(work + %lld, test%d_%d, %lld)) return DHC_OBJECT_SELFTEST;\n", (long long)at, i, k, (long long)t->bytes[k]);
      at += (t->bytes[k] + 63) / 64 * 64;
    }
    dhc_text_printf(to, "workspace, %lld, 0);\n  if (got != DHC_OBJECT_OK) return got;\n%s", (long long)dhc_object_test_workspace(e), dhc_text_str(&looks));
  }
  dhc_text_puts(to, "  return DHC_OBJECT_OK;\n}\n");
}

/* ---- variants ------------------------------------------------------------------------------------------------- */

static const char *argument(const DhcObject *o, const DhcObjEntry *e, const DhcObjArg *a) {
  if (a->kind == DHC_OBJ_ARG_EXEC && o->cuda) return "gpu";
  static const char *const name[] = {[DHC_OBJ_ARG_WEIGHTS] = "weights", [DHC_OBJ_ARG_STATE] = "state", [DHC_OBJ_ARG_WORKSPACE] = "workspace", [DHC_OBJ_ARG_SCALARS] = "scalars",
                                     [DHC_OBJ_ARG_BYTES] = "workspace_bytes", [DHC_OBJ_ARG_EXEC] = "exec", [DHC_OBJ_ARG_WORKERS] = "workers"};
  return a->kind == DHC_OBJ_ARG_TENSOR ? e->param[a->i].name : a->kind == DHC_OBJ_ARG_SIZE ? e->symbol[a->i] : name[a->kind];
}

static void write_call_of(const DhcObject *o, const DhcObjChoice *c, DhcObjCall call, DhcText *to) {
  static const char *const none[] = {[DHC_OBJ_RUN] = "DHC_OBJECT_VARIANT", [DHC_OBJ_WORKSPACE_BYTES] = "-1", [DHC_OBJ_WHY] = "\"there is no such variant\"",
                                     [DHC_OBJ_STATE_BYTES] = "-1"};
  dhc_text_printf(to, "%s {\n  switch (variant) {\n", dhc_object_call_prototype(o, c, call, DHC_OBJ_BY_NUMBER, to->arena));
  for (int v = 0; v < o->n_variants; v++) {
    const DhcObjEntry *e = o->entry[c->entry[v]];
    DhcObjArgs args = dhc_object_call_args(o, c, call, v, to->arena);
    if (call == DHC_OBJ_STATE_BYTES && !e->state_bytes) {
      dhc_text_printf(to, "    case %d: return 0;\n", v);
      continue;
    }
    dhc_text_printf(to, "    case %d: return %s%s(", v, e->c_name, dhc_object_call_suffix[call]);
    for (int i = 0; i < args.all.n; i++) dhc_text_printf(to, "%s%s", i ? ", " : "", argument(o, o->entry[c->entry[0]], &args.all.at[i]));
    dhc_text_puts(to, ");\n");
  }
  dhc_text_printf(to, "    default: return %s;\n  }\n}\n\n", none[call]);
}

static void write_variants(const DhcObject *o, DhcText *to) {
  dhc_text_printf(to, "int %s_variant(const char *name) {\n", o->name);
  for (int v = 0; v < o->n_variants; v++) {
    const char *n = o->variant[v].name;
    dhc_text_puts(to, "  if (");
    for (size_t i = 0; i <= strlen(n); i++) dhc_text_printf(to, n[i] ? "name[%zu] == '%c' && " : "name[%zu] == 0", i, n[i]);
    dhc_text_printf(to, ") return %d;\n", v);
  }
  dhc_text_puts(to, "  return -1;\n}\n\n");
  for (int i = 0; i < o->choices.n; i++)
    for (int k = 0; k < DHC_OBJ_N_CALLS; k++)
      if (dhc_object_has_call(&o->choices.at[i], (DhcObjCall)k)) write_call_of(o, &o->choices.at[i], (DhcObjCall)k, to);
}

const char *dhc_object_write_c99(const DhcObject *o, const char *header, DhcText *to) {
  DhcText kernels = {.arena = to->arena};
  for (int i = 0; i < o->functions.n; i++) {
    const char *why = dhc_c99_kernel(o->functions.at[i].program, o->functions.at[i].name, &kernels);
    if (why) return why;
  }
  dhc_text_printf(to, "/* Model %s as freestanding C99, written by dhcc %s. Model hash %s.\n"
                      " * Needs memcpy and nothing else; compile with -ffp-contract=off. */\n"
                      "#include \"%s\"\n\n#include <stdbool.h>\n#include <stddef.h>\n\n", o->model, o->build, o->hash, header);
  dhc_c99_prelude(dhc_text_str(&kernels), to);
  dhc_text_puts(to, sizes_text);
  dhc_text_puts(to, tasks_text);
  dhc_text_puts(to, dhc_text_str(&kernels));
  write_describe(o, to);
  write_weights(o, to);
  write_prefault(o, to);
  for (int i = 0; i < o->n_entries; i++) {
    write_entry(o, o->entry[i], to);
    if (dhc_object_handles_state(o, o->entry[i])) dhc_c99_training(o->entry[i]->train, &dhc_c99_moves, to);
  }
  if (o->n_variants) write_variants(o, to);
  if (o->tests.n) write_selftest(o, to);
  return NULL;
}

/* ---- for GPUs (cuda_host.c) -------------------------------------------------------------------------------------- */

DhcC99Fn dhc_c99_begin(const DhcObject *o, const DhcObjEntry *e, DhcText *to) { return begin(o, e, to); }
const char *dhc_c99_value(DhcC99Fn *f, const DhcObjX *x) { return value(f, x); }
const char *dhc_c99_address(DhcC99Fn *f, const DhcObjRef *r, int depth) { return address(f, r, depth); }
const char *dhc_c99_sizes_text(void) { return sizes_text; }
void dhc_c99_describe(const DhcObject *o, DhcText *to) { write_describe(o, to); }
void dhc_c99_words(const char *name, const void *bytes, int64_t n, DhcText *to) { put_words(name, bytes, n, to); }
void dhc_c99_weights(const DhcObject *o, DhcText *to) { write_weights(o, to); }
void dhc_c99_variants(const DhcObject *o, DhcText *to) { write_variants(o, to); }

void dhc_c99_sizes(const DhcObject *o, const DhcObjEntry *e, DhcText *to) {
  write_check(begin(o, e, to));
  write_sizes(o, e, to);
}
