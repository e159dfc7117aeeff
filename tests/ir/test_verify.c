/* Graphs broken by hand, one way each: the verifier refuses every one in its own words. */
#include "tests/ir/support.h"

static const char whole[] =
    "tensor \"w\" param f32[4, 4] as \"e.*.w\" init @init.w\n"
    "tensor \"s\" state f32[4]\n"
    "scalar \"p\" = 0.5\n"
    "scalar \"q\" = 1\n"
    "func @init.w(%0: f32[] scalar \"p\" #0) -> (%1) init {\n"
    "  %1 = fill() {value = 1, dtype = f32, shape = [4, 4]} : f32[4, 4]\n"
    "}\n"
    "func @unit<N>(%0: f32[N, 4] plain) -> (%1) unit {\n"
    "  %1 = neg(%0) : f32[N, 4]\n"
    "}\n"
    "func @comp<N>(%0: f32[N, 4] plain) -> (%1) composite kernel \"k\" vjp @comp.vjp {\n"
    "  %1 = exp(%0) : f32[N, 4]\n"
    "}\n"
    "func @comp.vjp<N>(%0: f32[N, 4] plain, %1: f32[N, 4] plain, %2: f32[N, 4] plain) -> (%3) unit {\n"
    "  %3 = mul(%1, %2) : f32[N, 4]\n"
    "}\n"
    "func @main<B>(%0: f32[B, 4] input \"x\", %1: f32[4, 4] param \"w\" #0, %2: f32[] scalar \"p\" #0, %3: f32[4] state \"s\" #1,\n"
    "    %4: f32[16] flat \"g\") -> (%7 \"y\", %6 \"z\") entry require B >= 2 \"two\" {\n"
    "  %5 = dot_general(%0, %1) {batch_a = [], batch_b = [], contract_a = [1], contract_b = [1]} : f32[B, 4]\n"
    "  %6 = call(%5) {callee = @unit, dims = [B]} : f32[B, 4]\n"
    "  %7 = call(%6) {callee = @comp, dims = [B]} : f32[B, 4]\n"
    "  %8 = fill() {value = 0, dtype = f32, shape = [4]} : f32[4]\n"
    "  %9 = update(%3, %8) : f32[4]\n"
    "  %10 = dim() {dim = B} : i64[]\n"
    "}\n";

static Bench b;
static DhcModule *m;
static DhcFunc *f; /* @main */

static DhcFunc *func(const char *name) { return dhc_module_func(m, name); }
/* Node of @main by its place, parameters included. */
static DhcNode *node(int k) {
  DhcNode *n = f->first;
  while (k-- > 0) n = n->next;
  return n;
}
enum { DOT = 5, CALL_UNIT, CALL_COMP, FILL, UPDATE, DIM };
static const DhcDim *foreign(void) { return dhc_dim_symbol(m->dims, "Z"); }
static const DhcDim *number(int64_t v) { return dhc_dim_const(m->dims, v); }
static DhcAttr dims1(const DhcDim *d) { return dhc_attr_dims(m, &d, 1); }
static DhcModule *other(void) {
  DhcModule *o = dhc_module_new(&b.arena, &b.strings, &b.diags);
  dhc_func_new(o, "elsewhere", DHC_FUNC_UNIT, (DhcSpan){0});
  return o;
}

/* X(name, message, code) */
#define BROKEN(X) \
  /* the list of functions */ \
  X(func_missing, "function 1 is missing", m->funcs.at[1] = NULL;) \
  X(func_nameless, "function 1 has no name", m->funcs.at[1]->name = "";) \
  X(func_foreign, "@unit: belongs to another module", func("unit")->module = other();) \
  X(func_id, "@unit: its id 0 is not its own", func("unit")->id = 0;) \
  X(func_twice, "@unit: its name is taken by another function", m->funcs.at[0]->name = "unit";) \
  X(func_kind, "@main: no valid kind of function", f->kind = (DhcFuncKind)9;) \
  /* declarations */ \
  X(tensor_nameless, "tensor 0 has no path", m->tensors.at[0].path = NULL;) \
  X(tensor_twice, "tensor 'w' is declared twice", m->tensors.at[1].path = "w";) \
  X(tensor_role, "tensor 's' has role input", m->tensors.at[1].role = DHC_ROLE_INPUT;) \
  X(tensor_dtype, "tensor 'w' has no valid dtype", m->tensors.at[0].type.dtype = (dhc_dtype)77;) \
  X(tensor_rank, "tensor 'w' has rank 9, the largest is 8", m->tensors.at[0].type.rank = 9;) \
  X(tensor_hole, "tensor 'w' has a missing dim", m->tensors.at[0].type.dim[1] = NULL;) \
  X(tensor_negative, "tensor 'w' has extent -1", m->tensors.at[0].type.dim[1] = number(-1);) \
  X(tensor_symbolic, "tensor 'w' has the symbolic extent Z", m->tensors.at[0].type.dim[1] = foreign();) \
  X(tensor_huge, "tensor 'w': number of elements does not fit in 63 bits", \
    m->tensors.at[0].type.dim[1] = number(INT64_MAX / 8);) \
  X(tensor_as, "tensor 'w': a name on disk has at most one '*', and all have it or none", m->tensors.at[0].as = "a.*.*";) \
  X(tensor_init_gone, "tensor 'w': its initialiser is not in the module", \
    DhcFunc *gone = m->funcs.at[0]; gone->id = m->next_func_id++; m->funcs.at++; m->funcs.n--;) \
  X(tensor_init_kind, "tensor 'w': @unit is no initialiser", m->tensors.at[0].init = func("unit");) \
  X(tensor_init_type, "tensor 'w': initialiser @init.w does not give f32[4, 5]", \
    m->tensors.at[0].type.dim[1] = number(5);) \
  X(scalar_nameless, "scalar 0 has no name", m->scalars.at[0].name = NULL;) \
  X(scalar_twice, "scalar 'p' is declared twice", m->scalars.at[1].name = "p";) \
  /* signatures */ \
  X(symbol_nameless, "@main: symbol 0 has no name", f->symbols.at[0] = "";) \
  X(symbol_twice, "@main: symbol B is bound twice", DHC_PUSH(m->arena, &f->symbols, f->symbols.at[0]);) \
  X(symbol_free, "@main: symbol B in a fact is not bound", f->symbols.n = 0;) \
  X(param_symbol, "@main: symbol Z in parameter 0 is not bound", f->params.at[0]->type.dim[0] = foreign();) \
  X(param_infos, "@main: 5 parameters, but 4 parameter infos", f->param_info.n--;) \
  X(param_missing, "@main: parameter 2 is not the result of a param node", f->params.at[2] = NULL;) \
  X(param_twice, "@main: parameter 2 is in the list twice", f->params.at[2] = f->params.at[1];) \
  X(param_type, "@main: parameter 1 has a missing dim", f->params.at[1]->type.dim[0] = NULL;) \
  X(param_role, "@main: parameter 0 has no valid role", f->param_info.at[0].role = (DhcRole)50;) \
  X(param_tensor, "@main: parameter 1: there is no tensor #7", f->param_info.at[1].decl = 7;) \
  X(param_tensor_role, "@main: parameter 1 is a param, tensor 's' a state", f->param_info.at[1].decl = 1;) \
  X(param_tensor_type, "@main: parameter 1 is f32[4, 4], tensor 'w' f32[5, 4]", \
    m->tensors.at[0].init = NULL; m->tensors.at[0].type.dim[0] = number(5);) \
  X(param_decl, "@main: parameter 0: role input has no declaration", f->param_info.at[0].decl = 0;) \
  X(param_scalar, "@main: parameter 2: there is no scalar #2", f->param_info.at[2].decl = 2;) \
  X(param_scalar_rank, "@main: scalar parameter 0 has rank 2", f->param_info.at[0].role = DHC_ROLE_SCALAR;) \
  X(param_arena_rank, "@main: flat parameter 0 has rank 2", f->param_info.at[0].role = DHC_ROLE_FLAT;) \
  X(param_nameless, "@main: parameter 0 of an entry has no name", f->param_info.at[0].name = NULL;) \
  X(param_names, "@main: two param parameters are named 'w'", \
    f->param_info.at[0] = f->param_info.at[1]; f->param_info.at[0].decl = -1;) \
  X(composite_bare, "@comp: a composite needs a kernel or a vjp", func("comp")->kernel = NULL; func("comp")->vjp = NULL;) \
  X(unit_kernel, "@unit: only a composite has a kernel or a vjp", func("unit")->kernel = "k";) \
  X(vjp_foreign, "@comp: its vjp is not in the module", func("comp")->vjp = other()->funcs.at[0];) \
  X(vjp_signature, "@comp: the signature of its vjp @unit does not fit", func("comp")->vjp = func("unit");) \
  X(init_input, "@init.w: parameter 0 of an initialiser is no scalar", func("init.w")->param_info.at[0].role = DHC_ROLE_PLAIN;\
    func("init.w")->param_info.at[0].decl = -1;) \
  X(init_results, "@init.w: an initialiser has one result, not 2", m->tensors.at[0].init = NULL; \
    dhc_func_result(func("init.w"), func("init.w")->results.at[0], NULL);) \
  X(fact_messages, "@main: 1 facts, but 0 messages", f->fact_messages.n = 0;) \
  X(fact_missing, "@main: a fact has a missing dim", f->facts.nonneg.at[0] = NULL;) \
  X(fact_symbol, "@main: symbol Z in a fact is not bound", f->facts.nonneg.at[0] = foreign();) \
  X(fact_false, "@main: a fact can never hold", f->facts.nonneg.at[0] = number(-1);) \
  X(result_names, "@main: 2 results, but 1 names", f->result_names.n--;) \
  X(result_twice, "@main: two results are named 'y'", f->result_names.at[1] = f->result_names.at[0];) \
  X(result_missing, "@main: result 1 is missing", f->results.at[1] = NULL;) \
  X(result_foreign, "@main: result 1 comes from another function", f->results.at[1] = func("unit")->results.at[0];) \
  X(result_removed, "@main: result 0 comes from a node that was taken out", dhc_node_remove(node(CALL_COMP));) \
  /* the list of nodes */ \
  X(list_links, "@main: the links between nodes are broken at node 7", node(CALL_COMP)->prev = node(DOT);) \
  X(list_owner, "@main: node 6 belongs to another function", node(CALL_UNIT)->func = func("unit");) \
  X(list_id, "@main: node id 999 is out of range", node(CALL_UNIT)->id = 999;) \
  X(list_ids, "@main: two nodes have id 5", node(CALL_UNIT)->id = node(DOT)->id;) \
  X(list_last, "@main: its last node is not the end of the list", f->last = node(FILL);) \
  X(list_count, "@main: it counts 10 nodes, the list has 11", f->n_nodes--;) \
  X(param_late, "@main: node 4: a param node stands behind other nodes", DhcNode *late = node(4); \
    dhc_node_remove(late); late->func = f; late->prev = f->last; f->last->next = late; f->last = late; f->n_nodes++;) \
  X(param_stray, "@main: node 4: a param node is not among the parameters", f->params.n--; f->param_info.n--;) \
  X(param_shape, "@main: node 0: a param node has one result and no operands", node(0)->n_results = 2;) \
  X(param_removed, "@main: the node of parameter 4 was taken out", dhc_node_remove(node(4));) \
  /* one node */ \
  X(op_invalid, "@main: node 5 has no valid op", node(DOT)->op = (DhcOp)4000;) \
  X(operands_gone, "@main: node 5 lacks its operands or results", node(DOT)->args = NULL;) \
  X(operand_missing, "@main: node 5 (dot_general): operand 1 is missing", node(DOT)->args[1] = NULL;) \
  X(operand_foreign, "@main: node 5 (dot_general): operand 0 comes from another function", \
    node(DOT)->args[0] = func("unit")->params.at[0];) \
  X(operand_early, "@main: node 5 (dot_general): operand 0 is used before it is defined", \
    node(DOT)->args[0] = node(CALL_UNIT)->results[0];) \
  X(operand_removed, "@main: node 7 (call): operand 0 comes from a node that was taken out", \
    dhc_node_remove(node(CALL_UNIT));) \
  X(operand_count, "@main: dot_general: takes 2 operands, got 1", node(DOT)->n_args = 1;) \
  X(value_missing, "@main: node 0: result 0 is missing", node(0)->results[0] = NULL;) \
  X(value_source, "@main: node 8: result 0 names another node as its source", node(FILL)->results[0]->index = 1;) \
  X(value_id, "@main: node 10: value id -4 is out of range", node(DIM)->results[0]->id = -4;) \
  X(value_ids, "@main: node 10: two values have id 8", node(DIM)->results[0]->id = node(FILL)->results[0]->id;) \
  X(attr_kind, "@main: node 6 (call): attribute 'dims' has the wrong kind", node(CALL_UNIT)->attrs[1] = dhc_attr_int(1);) \
  X(attr_symbol, "@main: symbol Z in dims is not bound", node(CALL_UNIT)->attrs[1] = dims1(foreign());) \
  X(attr_dim_missing, "@main: dim: attribute 'dim' has no value", node(DIM)->attrs[0].dim = NULL;) \
  X(attr_dims_missing, "@main: dims has a missing dim", node(CALL_UNIT)->attrs[1] = dims1(NULL);) \
  X(attr_dim_symbol, "@main: symbol Z in dim is not bound", node(DIM)->attrs[0].dim = foreign();) \
  X(callee_missing, "@main: node 6 (call) names no function", node(CALL_UNIT)->attrs[0].func = NULL;) \
  X(callee_foreign, "@main: node 6 (call) names a function outside the module", \
    node(CALL_UNIT)->attrs[0].func = other()->funcs.at[0];) \
  X(callee_itself, "@main: it calls itself", node(CALL_UNIT)->attrs[0].func = f;) \
  X(callee_order, "@main: it calls @unit, which must stand before it", \
    DhcFunc *u = func("unit"); m->funcs.at[1] = f; m->funcs.at[m->funcs.n - 1] = u;) \
  X(callee_cycle, "@unit: it calls @main, which calls it", DhcFunc *u = func("unit"); \
    u->last->op = DHC_OP_CALL; u->last->attrs[0] = dhc_attr_func(f); u->last->attrs[1] = dims1(u->params.at[0]->type.dim[0]);) \
  X(callee_type, "@main: call: parameter 0 of @unit is f32[B + 1, 4], got f32[B, 4]", \
    node(CALL_UNIT)->attrs[1] = dims1(dhc_dim_addc(m->dims, f->params.at[0]->type.dim[0], 1));) \
  X(type_rule, "@main: node 5 (dot_general): result 0 is f32[B, 5], its rule gives f32[B, 4]", \
    node(DOT)->results[0]->type.dim[1] = number(5);) \
  X(type_dtype, "@main: node 10 (dim): result 0 is i32[], its rule gives i64[]", node(DIM)->results[0]->type.dtype = DHC_I32;) \
  X(type_rank, "@main: node 10: result 0 has rank 12", node(DIM)->results[0]->type.rank = 12;) \
  X(type_count, "@main: node 6 (call) has 0 results, its rule gives 1", node(CALL_UNIT)->n_results = 0;) \
  X(axis_range, "@main: dot_general: axis 5 is outside 0..1", \
    node(DOT)->attrs[2] = dhc_attr_ints(m, (int64_t[]){5}, 1);) \
  X(update_role, "@main: update: a parameter of role table cannot be updated", \
    f->param_info.at[3].role = DHC_ROLE_TABLE; m->tensors.at[1].role = DHC_ROLE_TABLE;) \
  X(update_target, "@main: update: its target is not a parameter of the function", node(UPDATE)->args[0] = node(FILL)->results[0];) \
  X(update_type, "@main: update: the target is f32[4], its new value f32[]", node(UPDATE)->args[1] = f->params.at[2];) \
  X(update_twice, "@main: node 10: parameter 3 is updated twice", DhcNode *n = node(DIM); DhcNode *u = node(UPDATE); \
    n->op = DHC_OP_UPDATE; n->args = u->args; n->n_args = 2; n->results[0]->type = u->results[0]->type;) \
  X(kernel_early, "@main: node 10: a kernel before fusion", node(DIM)->op = DHC_OP_KERNEL; \
    for (int i = 0; i < dhc_op_info(DHC_OP_KERNEL)->n_attrs; i++) \
      node(DIM)->attrs[i] = (DhcAttr){.kind = dhc_op_info(DHC_OP_KERNEL)->attrs[i].kind};) \
  X(spec_foreign, "@main: node 10 runs a spec outside the module", node(DIM)->op = DHC_OP_KERNEL; \
    for (int i = 0; i < dhc_op_info(DHC_OP_KERNEL)->n_attrs; i++) \
      node(DIM)->attrs[i] = (DhcAttr){.kind = dhc_op_info(DHC_OP_KERNEL)->attrs[i].kind}; \
    node(DIM)->attrs[0].spec = (const struct DhcSpec *)m;)

#define X(name, text, ...) \
  static void break_##name(void) { __VA_ARGS__ }
BROKEN(X)
#undef X

static const struct {
  const char *name, *message;
  void (*break_it)(void);
} broken[] = {
#define X(name, text, ...) {#name, text, break_##name},
    BROKEN(X)
#undef X
};
enum { N_BROKEN = sizeof broken / sizeof *broken };

static void open_whole(void) {
  bench_open(&b);
  m = bench_parse(&b, whole);
  if (!m) fail_msg("%s", bench_messages(&b));
  f = func("main");
}

static void accepts_whole(void **state) {
  (void)state;
  open_whole();
  bool ok = dhc_verify(m, DHC_STAGE_GRAPH, NULL);
  if (!ok) fail_msg("%s", bench_messages(&b));
  bench_close(&b);
}

static void refuses_broken(void **state) {
  (void)state;
  int bad = 0;
  for (int i = 0; i < N_BROKEN; i++) {
    open_whole();
    broken[i].break_it();
    bool ok = dhc_verify(m, DHC_STAGE_GRAPH, "t");
    const char *want = dhc_arena_printf(&b.arena, "after t: %s", broken[i].message);
    const char *got = b.diags.all.n ? b.diags.all.at[0]->text : "";
    if (ok || strcmp(got, want) != 0) {
      print_error("%s\n  wanted: %s\n  got:    %s%s\n", broken[i].name, want, ok ? "accepted " : "", got);
      bad++;
    }
    bench_close(&b);
  }
  assert_int_equal(bad, 0);
  assert_true(N_BROKEN >= 60);
}

static void own_messages(void **state) {
  (void)state;
  for (int i = 0; i < N_BROKEN; i++)
    for (int k = 0; k < i; k++)
      if (strcmp(broken[i].message, broken[k].message) == 0)
        fail_msg("%s and %s are refused alike", broken[i].name, broken[k].name);
}

static void fused_stage(void **state) {
  (void)state;
  open_whole();
  assert_false(dhc_verify(m, DHC_STAGE_FUSED, "fuse"));
  assert_string_equal(b.diags.all.at[0]->text, "after fuse: @unit: node 1: op neg was left by fusion");
  bench_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accepts_whole),
      cmocka_unit_test(refuses_broken),
      cmocka_unit_test(own_messages),
      cmocka_unit_test(fused_stage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
