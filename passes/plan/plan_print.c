/* Text of a plan: one line a buffer and an item, loops indented. */
#include <inttypes.h>

#include "passes/plan/plan_internal.h"

static const char *const segment_name[DHC_N_SEGMENTS] = {
    [DHC_SEGMENT_WEIGHTS] = "weights", [DHC_SEGMENT_MOMENTS] = "moments",
    [DHC_SEGMENT_BUFFERS] = "buffers", [DHC_SEGMENT_WORK] = "work",   [DHC_SEGMENT_IO] = "io",
    [DHC_SEGMENT_SCALARS] = "scalars", [DHC_SEGMENT_PANELS] = "panels",
    [DHC_SEGMENT_STATES] = "states"};

static const char *const kind_name[DHC_N_KINDS] = {
#define KIND(id, name, ...) [DHC_KIND_##id] = name,
#include "ir/kinds.def"
};

/* ---- programs --------------------------------------------------------------------- */

static const char *in_brackets(DhcArena *a, const char *s) {
  return strchr(s, ' ') ? dhc_arena_printf(a, "(%s)", s) : s;
}

static const char *binary(DhcArena *a, int64_t op, const char *x, const char *y) {
  switch (op) {
    case DHC_DIM_ADD:
      if (y[0] == '-' && !strchr(y, ' ')) return dhc_arena_printf(a, "%s - %s", x, y + 1);
      return dhc_arena_printf(a, "%s + %s", x, y);
    case DHC_DIM_SUB: return dhc_arena_printf(a, "%s - %s", x, in_brackets(a, y));
    case DHC_DIM_MUL: return dhc_arena_printf(a, "%s*%s", in_brackets(a, x), in_brackets(a, y));
    case DHC_DIM_FLOORDIV: return dhc_arena_printf(a, "%s//%s", in_brackets(a, x), in_brackets(a, y));
    case DHC_DIM_CEILDIV: return dhc_arena_printf(a, "ceil_div(%s, %s)", x, y);
    case DHC_DIM_MIN: return dhc_arena_printf(a, "min(%s, %s)", x, y);
    case DHC_DIM_MAX: return dhc_arena_printf(a, "max(%s, %s)", x, y);
    case DHC_DIM_LE: return dhc_arena_printf(a, "%s <= %s", x, y);
    case DHC_DIM_AND: return dhc_arena_printf(a, "%s and %s", x, y);
    default: return "?";
  }
}

static const char *text_of(DhcArena *a, const dhc_plan *plan, dhc_dimprog x) {
  const char *stack[64];
  int n = 0;
  for (int32_t i = 0; i < x.n_code; i++) {
    int64_t op = x.code[i];
    if (op == DHC_DIM_CONST || op == DHC_DIM_SYM) {
      int64_t word = x.code[++i];
      if (n == 64) return "?";
      stack[n++] = op == DHC_DIM_SYM ? plan->symbols[word] : dhc_arena_printf(a, "%" PRId64, word);
    } else {
      if (n < 2) return "?";
      stack[n - 2] = binary(a, op, stack[n - 2], stack[n - 1]);
      n--;
    }
  }
  return n == 1 ? stack[0] : n == 0 ? "0" : "?";
}

/* ---- lines ----------------------------------------------------------------------------- */

static void print_buffer(const DhcPlanned *p, int i, DhcText *to) {
  const dhc_plan *plan = &p->plan;
  const dhc_buffer *b = &plan->buffers[i];
  dhc_text_printf(to, "  %%%d = %s %s [%s bytes]", i, segment_name[b->segment], dhc_dtype_name(p->dtypes[i]),
                  text_of(to->arena, plan, b->bytes));
  if (p->names[i]) dhc_text_printf(to, " \"%s\"", p->names[i]);
  if (b->alias >= 0) {
    dhc_text_printf(to, " in %%%d", b->alias);
    if (b->at.n_code) dhc_text_printf(to, " at %s", text_of(to->arena, plan, b->at));
  }
  for (int k = 0; k < b->n_below; k++) dhc_text_printf(to, "%s%%%d", k ? ", " : " above ", b->below[k]);
  dhc_text_puts(to, "\n");
}

static void print_ref(const dhc_plan *plan, const dhc_ref *r, DhcText *to) {
  dhc_text_printf(to, "%%%d", r->buffer);
  if (r->offset.n_code) dhc_text_printf(to, "+%s", in_brackets(to->arena, text_of(to->arena, plan, r->offset)));
  for (int d = 0; d < DHC_MAX_LOOP_DEPTH; d++)
    if (r->step[d].n_code)
      dhc_text_printf(to, "+%s*i%d", in_brackets(to->arena, text_of(to->arena, plan, r->step[d])), d);
}

static void print_call(const DhcPlanned *p, const dhc_item *it, DhcText *to) {
  int n_in = dhc_spec_n_inputs(p->specs[it->kernel]);
  dhc_text_printf(to, "call k%d(", it->kernel);
  for (int r = 0; r < n_in; r++) {
    dhc_text_puts(to, r ? ", " : "");
    print_ref(&p->plan, &it->refs[r], to);
  }
  dhc_text_puts(to, ") -> (");
  for (int r = n_in; r < it->n_refs; r++) {
    dhc_text_puts(to, r > n_in ? ", " : "");
    print_ref(&p->plan, &it->refs[r], to);
  }
  dhc_text_puts(to, ") dims(");
  for (int d = 0; d < it->n_dims; d++)
    dhc_text_printf(to, "%s%s", d ? ", " : "", text_of(to->arena, &p->plan, it->dims[d]));
  dhc_text_puts(to, ")");
}

static void print_move(const dhc_plan *plan, const dhc_item *it, DhcText *to) {
  bool copy = it->kind == DHC_ITEM_COPY;
  dhc_text_puts(to, copy ? "copy " : "fill ");
  print_ref(plan, &it->refs[it->n_refs - 1], to);
  dhc_text_puts(to, " <- ");
  if (copy)
    print_ref(plan, &it->refs[0], to);
  else
    dhc_text_printf(to, "0x%08" PRIx32, it->pattern);
  dhc_text_printf(to, " [%s bytes]", text_of(to->arena, plan, it->bytes));
}

static void print_ranks(const dhc_plan *plan, const dhc_item *it, DhcText *to) {
  static const char *const names[DHC_N_RANKS_OPS] = {[DHC_RANKS_SUM] = "sum", [DHC_RANKS_SPREAD] = "spread"};
  dhc_text_printf(to, "ranks %s ", names[it->pattern]);
  print_ref(plan, &it->refs[1], to);
  for (int d = 0; d < it->n_dims; d++) dhc_text_printf(to, "%s%s", d ? ", " : " (", text_of(to->arena, plan, it->dims[d]));
  dhc_text_printf(to, "%s [%s bytes]", it->n_dims ? ")" : "", text_of(to->arena, plan, it->bytes));
}

static void print_items(const DhcPlanned *p, int begin, int end, int depth, DhcText *to) {
  for (int i = begin; i < end; i++) {
    const dhc_item *it = &p->plan.items[i];
    for (int d = 0; d <= depth; d++) dhc_text_puts(to, "  ");
    switch (it->kind) {
      case DHC_ITEM_CALL: print_call(p, it, to); break;
      case DHC_ITEM_LOOP: dhc_text_printf(to, "loop i%d < %s", depth, text_of(to->arena, &p->plan, it->count)); break;
      case DHC_ITEM_RANKS: print_ranks(&p->plan, it, to); break;
      case DHC_ITEM_JOIN: dhc_text_puts(to, "join"); break;
      default: print_move(&p->plan, it, to); break;
    }
    if (it->label) dhc_text_printf(to, "  # %s", it->label);
    dhc_text_puts(to, "\n");
    if (it->kind != DHC_ITEM_LOOP) continue;
    print_items(p, i + 1, i + 1 + it->n_body, depth + 1, to);
    i += it->n_body;
  }
}

void dhc_plan_print(const DhcPlanned *p, DhcText *to) {
  const dhc_plan *plan = &p->plan;
  dhc_text_printf(to, "plan @%s<", plan->name);
  for (int i = 0; i < plan->n_symbols; i++) dhc_text_printf(to, "%s%s", i ? ", " : "", plan->symbols[i]);
  dhc_text_puts(to, ">\n");
  for (int i = 0; i < plan->n_guards; i++)
    dhc_text_printf(to, "  guard %s \"%s\"\n", text_of(to->arena, plan, plan->guards[i].cond), plan->guards[i].message);
  dhc_text_puts(to, "buffers\n");
  for (int i = 0; i < plan->n_buffers; i++) print_buffer(p, i, to);
  for (int i = 0; i < p->n_results; i++)
    dhc_text_printf(to, "  result \"%s\" is %%%d\n", p->results[i].name ? p->results[i].name : "", p->results[i].buffer);
  dhc_text_puts(to, "kernels\n");
  for (int k = 0; k < plan->n_kernels; k++) {
    const DhcSpec *s = p->specs[k];
    dhc_text_printf(to, "  k%d %s: %d axes, %d operands, %d nodes\n", k, kind_name[s->kind], s->n_axes, s->n_operands, s->n_nodes);
  }
  dhc_text_puts(to, "items\n");
  print_items(p, 0, plan->n_items, 0, to);
}
