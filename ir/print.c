/* The text form, written.
 *
 *   module "dhc_ssm"
 *   tensor "fc.weight" param f32[10, 64] init @init.fc.weight
 *   scalar "dropout" = 0x1.3333333333333p-2
 *   spec …                                     kernel specs in order; #0 is the first
 *   func @loss<B>(%0: f32[B, 64] input "x", %1: f32[10, 64] param "fc.weight" #0) -> (%3 "y") entry require B >= 2 "two at least" {
 *     %2 = dot_general(%0, %1) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} : f32[B, 10]
 *     %3 = neg(%2) : f32[B, 10]
 *   }
 *
 * After the results: the kind of function, then kernel "NAME", vjp @f and facts where there
 * are any. A parameter's #n is its declaration. `//` begins a comment. */
#include "ir/ir_internal.h"
#include "ir/spec.h"

void dhc_print_string(const char *s, DhcText *to) {
  dhc_text_puts(to, "\"");
  for (const unsigned char *c = (const unsigned char *)s; *c; c++) {
    if (*c == '"' || *c == '\\')
      dhc_text_printf(to, "\\%c", *c);
    else if (*c < 0x20 || *c == 0x7f)
      dhc_text_printf(to, "\\x%02x", *c);
    else
      dhc_text_printf(to, "%c", *c);
  }
  dhc_text_puts(to, "\"");
}

void dhc_print_func_name(const char *name, DhcText *to) {
  static const char plain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$";
  dhc_text_puts(to, "@");
  if (*name && name[strspn(name, plain)] == '\0')
    dhc_text_puts(to, name);
  else
    dhc_print_string(name, to);
}

DhcPrinter dhc_printer_make(DhcFunc *f, DhcText *to, DhcArena *scratch) {
  DhcPrinter p = {.m = f->module, .to = to};
  p.number = DHC_NEW_N(scratch, int, f->next_value_id + 1);
  int next = 0;
  for (const DhcNode *n = f->first; n; n = n->next)
    for (int i = 0; i < n->n_results; i++) p.number[n->results[i]->id] = next++;
  return p;
}

/* ---- types and attributes ---------------------------------------------------------------- */

static void print_dim(DhcPrinter *p, const DhcDim *d) {
  if (p->rename) d = dhc_dim_subst(p->m->dims, d, p->rename->n, p->rename->from, p->rename->to);
  dhc_dim_print(d, p->to);
}

void dhc_print_type(DhcPrinter *p, const DhcType *t) {
  DhcType renamed = *t;
  if (p->rename) dhc_type_subst(p->m->dims, &renamed, p->rename);
  dhc_type_print(&renamed, p->to);
}

static int spec_index(const DhcModule *m, const struct DhcSpec *s) {
  for (int i = 0; i < m->specs.n; i++)
    if (m->specs.at[i] == s) return i;
  return -1;
}

static void print_attr(DhcPrinter *p, const DhcAttr *a) {
  DhcText *to = p->to;
  switch (a->kind) {
    case DHC_ATTR_INT: dhc_text_int(to, a->i); break;
    case DHC_ATTR_FLOAT: dhc_print_double(a->f, to); break;
    case DHC_ATTR_BOOL:
    case DHC_ATTR_FLAG: dhc_text_puts(to, a->b ? "true" : "false"); break;
    case DHC_ATTR_STRING: dhc_print_string(a->s, to); break;
    case DHC_ATTR_DIM: print_dim(p, a->dim); break;
    case DHC_ATTR_DTYPE: dhc_text_puts(to, dhc_dtype_name(a->dtype)); break;
    case DHC_ATTR_SPEC: dhc_text_printf(to, "#%d", spec_index(p->m, a->spec)); break;
    case DHC_ATTR_INTS:
      dhc_text_puts(to, "[");
      for (int i = 0; i < a->ints.n; i++) {
        if (i) dhc_text_puts(to, ", ");
        dhc_text_int(to, a->ints.at[i]);
      }
      dhc_text_puts(to, "]");
      break;
    case DHC_ATTR_DIMS:
      dhc_text_puts(to, "[");
      for (int i = 0; i < a->dims.n; i++) {
        if (i) dhc_text_puts(to, ", ");
        print_dim(p, a->dims.at[i]);
      }
      dhc_text_puts(to, "]");
      break;
    case DHC_ATTR_FUNC:
      if (p->callee)
        dhc_text_puts(to, p->callee(p, a->func));
      else
        dhc_print_func_name(a->func->name, to);
      break;
  }
}

/* ---- nodes and functions -------------------------------------------------------------------- */

static void print_value(DhcPrinter *p, const DhcValue *v) {
  dhc_text_puts(p->to, "%");
  dhc_text_int(p->to, p->number[v->id]);
}

void dhc_print_node(DhcPrinter *p, const DhcNode *n) {
  const DhcOpInfo *info = dhc_op_info(n->op);
  DhcText *to = p->to;
  dhc_text_puts(to, "  ");
  for (int i = 0; i < n->n_results; i++) {
    if (i) dhc_text_puts(to, ", ");
    print_value(p, n->results[i]);
  }
  if (n->n_results) dhc_text_puts(to, " = ");
  dhc_text_puts(to, info->name);
  dhc_text_puts(to, "(");
  for (int i = 0; i < n->n_args; i++) {
    if (i) dhc_text_puts(to, ", ");
    print_value(p, n->args[i]);
  }
  dhc_text_puts(to, ")");
  for (int i = 0; i < info->n_attrs; i++) {
    if (info->attrs[i].kind == DHC_ATTR_FLAG && !n->attrs[i].b) continue;
    dhc_text_puts(to, i ? ", " : " {");
    dhc_text_puts(to, info->attrs[i].name);
    dhc_text_puts(to, " = ");
    print_attr(p, &n->attrs[i]);
  }
  if (info->n_attrs) dhc_text_puts(to, "}");
  for (int i = 0; i < n->n_results; i++) {
    dhc_text_puts(to, i ? ", " : " : ");
    dhc_print_type(p, &n->results[i]->type);
  }
  dhc_text_puts(to, "\n");
}

static void print_params(DhcPrinter *p, const DhcFunc *f) {
  DhcText *to = p->to;
  bool lines = f->params.n > 4;
  dhc_text_puts(to, "(");
  for (int i = 0; i < f->params.n; i++) {
    const DhcParamInfo *info = &f->param_info.at[i];
    dhc_text_puts(to, lines ? (i ? ",\n    " : "\n    ") : i ? ", " : "");
    print_value(p, f->params.at[i]);
    dhc_text_puts(to, ": ");
    dhc_print_type(p, &f->params.at[i]->type);
    dhc_text_printf(to, " %s", dhc_role_name(info->role));
    if (info->name) {
      dhc_text_puts(to, " ");
      dhc_print_string(info->name, to);
    }
    if (info->decl >= 0) dhc_text_printf(to, " #%d", info->decl);
  }
  dhc_text_puts(to, ")");
}

static void print_header(DhcPrinter *p, DhcFunc *f) {
  DhcText *to = p->to;
  dhc_text_puts(to, "func ");
  dhc_print_func_name(f->name, to);
  for (int i = 0; i < f->symbols.n; i++)
    dhc_text_printf(to, "%s%s", i ? ", " : "<", f->symbols.at[i]);
  if (f->symbols.n) dhc_text_puts(to, ">");
  print_params(p, f);
  dhc_text_puts(to, " -> (");
  for (int i = 0; i < f->results.n; i++) {
    if (i) dhc_text_puts(to, ", ");
    print_value(p, f->results.at[i]);
    if (!f->result_names.at[i]) continue;
    dhc_text_puts(to, " ");
    dhc_print_string(f->result_names.at[i], to);
  }
  dhc_text_printf(to, ") %s", dhc_func_kind_name(f->kind));
  if (f->kernel) {
    dhc_text_puts(to, " kernel ");
    dhc_print_string(f->kernel, to);
  }
  if (f->vjp) {
    dhc_text_puts(to, " vjp ");
    dhc_print_func_name(f->vjp->name, to);
  }
  for (int i = 0; i < f->facts.nonneg.n; i++) {
    dhc_text_puts(to, " require ");
    dhc_dim_print_fact(p->m->dims, f->facts.nonneg.at[i], to);
    if (i >= f->fact_messages.n || !f->fact_messages.at[i].text) continue;
    dhc_text_puts(to, " ");
    dhc_print_string(f->fact_messages.at[i].text, to);
  }
  dhc_text_puts(to, " {\n");
}

void dhc_func_print(DhcFunc *f, DhcText *to) {
  DhcPrinter p = dhc_printer_make(f, to, f->module->arena);
  print_header(&p, f);
  for (const DhcNode *n = f->first; n; n = n->next)
    if (n->op != DHC_OP_PARAM) dhc_print_node(&p, n);
  dhc_text_puts(to, "}\n");
}

/* ---- modules ----------------------------------------------------------------------------------- */

static void print_tensor(const DhcTensorDecl *t, DhcText *to) {
  dhc_text_puts(to, "tensor ");
  dhc_print_string(t->path, to);
  dhc_text_printf(to, " %s ", dhc_role_name(t->role));
  dhc_type_print(&t->type, to);
  if (t->no_decay) dhc_text_puts(to, " no_decay");
  if (t->frozen) dhc_text_puts(to, " frozen");
  if (t->as) {
    dhc_text_puts(to, " as ");
    dhc_print_string(t->as, to);
  }
  if (t->init) {
    dhc_text_puts(to, " init ");
    dhc_print_func_name(t->init->name, to);
  }
  dhc_text_puts(to, "\n");
}

static void print_specs(DhcModule *m, DhcText *to) {
  for (int i = 0; i < m->specs.n; i++) {
    dhc_spec_print(m->specs.at[i], to);
    if (to->n && to->at[to->n - 1] != '\n') dhc_text_puts(to, "\n");
  }
}

void dhc_module_print(DhcModule *m, DhcText *to) {
  if (m->model_name) {
    dhc_text_puts(to, "module ");
    dhc_print_string(m->model_name, to);
    dhc_text_puts(to, "\n");
  }
  for (int i = 0; i < m->tensors.n; i++) print_tensor(&m->tensors.at[i], to);
  for (int i = 0; i < m->scalars.n; i++) {
    dhc_text_puts(to, "scalar ");
    dhc_print_string(m->scalars.at[i].name, to);
    dhc_text_puts(to, " = ");
    dhc_print_double(m->scalars.at[i].value, to);
    dhc_text_puts(to, "\n");
  }
  print_specs(m, to);
  for (int i = 0; i < m->funcs.n; i++) {
    if (to->n) dhc_text_puts(to, "\n");
    dhc_func_print(m->funcs.at[i], to);
  }
}
