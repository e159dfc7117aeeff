/* Elaboration: from syntax trees to a module of functions (ir/ir.h).
 *
 *   DhcElab   one main file with all it imports, and the shipped std functions
 *   DhcModel  one layer or model of it with every hyperparameter bound: the tensors
 *             it owns (DhcModule.tensors, .scalars) and the tree of its layers
 *   DhcFunc   an entry of the model, elaborated for given inputs when first asked for
 *
 * What shapes a program is fixed when the DhcModel is made; float hyperparameters are
 * scalars of the module (DHC_ROLE_SCALAR) and may be changed at any time.
 *
 * An `if` on dims that the facts do not decide makes versions of an entry: the extents
 * of the request pick the branch, and the condition becomes a fact (a run-time guard)
 * of the function. dhc_model_entry returns an existing version if its facts hold for
 * the request's extents, else elaborates one more (16 at most).
 *
 * Everything lives in the arena given to dhc_elab_open. What is wrong with the user's
 * text goes to `diags`; functions then return NULL (false). */
#ifndef DHC_FRONTEND_ELAB_H
#define DHC_FRONTEND_ELAB_H

#include "frontend/ast.h"
#include "frontend/parse.h"
#include "ir/ir.h"

enum { DHC_MAX_VERSIONS = DHC_LIMIT_VERSIONS };

typedef struct DhcElab DhcElab;
typedef struct DhcModel DhcModel;

/* ---- the file (elab_open.c) ------------------------------------------------------ */

typedef struct DhcElabConfig {
  const char *const *shipped_roots; /* folders that hold std/nn.dhc, layers/, models */
  int n_shipped_roots;
  const DhcTexts *texts; /* that the file and what it imports lie in, or NULL; the arena's or older */
  DhcParsed *parsed; /* files that were parsed before, of the same strings and sources; NULL: nothing is shared */
  void (*assigned)(void *ctx, DhcSpan name, const DhcType *type); /* told of every name that gets a tensor, or NULL */
  void *assigned_ctx;
  DhcFunc *(*grad)(DhcModule *m, DhcFunc *f, const char *const *wrt, int n); /* dhc_grad_unit of passes.h */
  int64_t max_memory_bytes; /* parameters and buffers may not need more; 0: no limit */
} DhcElabConfig;

/* `file`: a path, or the name of something shipped ("dhc_ssm", "layers/norm"); a name
 * without '/' and ".dhc" that is no file is looked up as shipped. NULL after errors. */
DhcElab *dhc_elab_open(DhcArena *arena, DhcStrings *strings, DhcDiags *diags, const DhcElabConfig *config,
                       const char *file);
DhcElab *dhc_elab_open_text(DhcArena *arena, DhcStrings *strings, DhcDiags *diags,
                            const DhcElabConfig *config, const char *name, const char *text, size_t n_bytes);
const DhcAstProgram *dhc_elab_program(const DhcElab *e);
/* Every text that it has read, each once: what it imports, std, the main file. */
typedef DHC_VEC(uint32_t) DhcFileNumbers;
DhcFileNumbers dhc_elab_files(const DhcElab *e);

typedef struct DhcDeclName {
  const char *name;
  const char *target; /* model a preset, recipe or variant is for; else NULL */
  const char *group;  /* of a variant: the name of its `variants` block */
  DhcSpan span;
} DhcDeclName;
typedef DHC_VEC(DhcDeclName) DhcDeclNames;
typedef enum DhcListKind {
  DHC_LIST_MODELS, /* of the main file */
  DHC_LIST_LAYERS, /* usable as a root: of the main file and its imports */
  DHC_LIST_PRESETS,
  DHC_LIST_VARIANTS,
  DHC_LIST_RECIPES
} DhcListKind;
/* In order of writing. `target` keeps those for one model; NULL: all. */
DhcDeclNames dhc_elab_list(DhcElab *e, DhcListKind kind, const char *target);
/* Elaborates every model of the file with its defaults and every entry of it in both
 * modes: what `check` does. */
bool dhc_elab_check(DhcElab *e);
/* The same of one model, as it is bound. */
bool dhc_elab_check_model(DhcElab *e, DhcModel *m);
/* Ops of the module without machine code, where they are written (E0919). */
void dhc_elab_say_uncompiled(DhcDiags *d, const DhcModule *m, DhcSeverity severity);

/* Corners in the user's text that have no derivative (E0322), each place once: before something is differentiated. */
void dhc_warn_ties(DhcElab *e, const DhcModule *m);

/* ---- the model (elab_model.c, elab_bind.c) --------------------------------------- */

typedef struct DhcSetting {
  const char *key;   /* hyperparameter; "mixer.num_heads" reaches into a layer value */
  const char *value; /* text of an expression; enum and string values also unquoted */
} DhcSetting;

typedef struct DhcModelRequest {
  const char *root;    /* layer or model; NULL: the model of the main file */
  const char *preset;  /* or NULL */
  const char *variant; /* or NULL: "r3" or "ratio.r3" */
  const char *recipe;  /* or NULL */
  const DhcSetting *sets;
  int n_sets; /* later ones win */
  const char *solved; /* key of the last one where --solve has made it; or NULL */
} DhcModelRequest;

/* What the text of setting i is called in messages: "--set hidden". */
const char *dhc_setting_source(DhcArena *a, const DhcModelRequest *r, int i);

/* Bound in the order default < preset < variant < recipe < sets. Settings that name a
 * key of the recipe go there. NULL after errors. */
DhcModel *dhc_elab_model(DhcElab *e, const DhcModelRequest *request);
/* Tensors, scalars, initialisers, and every function elaborated so far. */
DhcModule *dhc_model_module(const DhcModel *m);

typedef struct DhcHyperInfo {
  const char *name;
  const char *type;   /* "int", "float", "enum(pooled, grid)" … */
  const char *value;  /* as text of the language */
  const char *source; /* "default", "preset small", "recipe r", "--set" … */
  const char *beside; /* the comment that ends the line of its declaration, without '#'; "" */
  int scalar;         /* index into module->scalars of a float, or -1 */
} DhcHyperInfo;
typedef struct DhcLayerInfo {
  const char *path;  /* "" for the root */
  const char *layer; /* its declaration's name */
  int depth;
  int64_t n_params; /* elements of its own and its submodules' parameters */
} DhcLayerInfo;
typedef DHC_VEC(DhcHyperInfo) DhcHyperInfos;
typedef DHC_VEC(DhcLayerInfo) DhcLayerInfos;
DhcHyperInfos dhc_model_hypers(const DhcModel *m);
DhcLayerInfos dhc_model_layers(const DhcModel *m); /* depth first, in order of writing */

/* The letters of the first map of layers among the hyperparameters (of the model, else of
 * what is below it, depth first) in the map's order, with how many instances of each layer
 * the model has. */
typedef struct DhcKindInfo {
  const char *letter, *layer;
  int count;
} DhcKindInfo;
typedef DHC_VEC(DhcKindInfo) DhcKindInfos;
DhcKindInfos dhc_model_kinds(const DhcModel *m);
/* Those letters for each instance in turn, depth first: "MMMA". "": no such map, or no instance. */
const char *dhc_model_pattern(const DhcModel *m);

/* ---- forms of an entry (elab_state.c) ------------------------------------------------ */

typedef enum DhcForm {
  DHC_FORM_WHOLE,  /* "forward": states begin with their initialisers, nothing is kept */
  DHC_FORM_STREAM, /* "forward.stream": states are read at the start and written back */
  DHC_FORM_STEP,   /* "forward.step": streaming where the binder L, if any, is 1 */
  DHC_FORM_RESET   /* "forward.reset": no inputs; the states that .stream uses begin anew */
} DhcForm;
/* Splits "forward.step" into entry and form; "stream", "step" and "reset" alone are forms of
 * `forward` unless the model has an entry of that name. Other names are entries, whole. */
void dhc_model_form(const DhcModel *m, const char *name, const char **entry, DhcForm *form);
/* Declares PATH.2, PATH.3 … of a state PATH, those of a layer's further calls in a run, if `path`
 * is such a name; nothing otherwise. */
void dhc_state_of_call(DhcModule *m, const char *path);
extern const char *const dhc_form_names[4]; /* "whole", "stream", … */

/* ---- entries (elab_entry.c) -------------------------------------------------------- */

typedef struct DhcEntryInfo {
  const char *name;
  bool is_metric;
  int n_inputs, n_outputs;
  const char *const *inputs; /* names */
  const bool *optional;      /* by input: has a default and may be left out */
  const bool *tokens;        /* by input: written as two dims of integers, a batch of sequences */
  const char *const *outputs;
} DhcEntryInfo;
typedef DHC_VEC(DhcEntryInfo) DhcEntryInfos;
DhcEntryInfos dhc_model_entries(const DhcModel *m);
/* The setting that says how many classes there are: the last dim of an entry's "logits" is its name; NULL: none is. */
const char *dhc_model_classes_setting(const DhcModel *m);
/* Entry whose inputs are exactly these names (in any order; optional ones may be missing), or
 * NULL: how `verify` finds what an oracle file is about. If several: the first written. */
const char *dhc_model_entry_for(const DhcModel *m, const char *const *inputs, int n);

/* Shape of one input as it will be given. */
typedef struct DhcInputShape {
  const char *name;
  int rank; /* -1: it is given, in what shape is not known */
  const int64_t *dim;
} DhcInputShape;

typedef struct DhcEntryRequest {
  const char *name; /* "forward", "loss", … */
  bool training;    /* what `training` means in it; buffers are assigned only then */
  bool part;        /* its inputs are a part of a batch, "$rows" examples from number "$first" on: random draws are those of the whole */
  DhcForm form;
  /* Actual inputs, any subset. They fix the ranks of `...S` runs (2 if unknown) and
   * decide dims' `if`s (taken as true if unknown); extents stay symbolic. An optional input
   * that is not among them is left out. */
  const DhcInputShape *inputs;
  int n_inputs;
  bool all_inputs; /* optional ones are given even if they are not among `inputs` */
  /* Patterns of taps, NULL at the end, or NULL: each that matches becomes one more result,
   * "tap." and its path (and ".2", … where a path is tapped again). */
  const char *const *report;
  /* For dhc_elab_check: a form that the entry may lack (no error then), and the `if`s on dims that are to be taken
   * as false for once: the one of number flip - 1 in the order they are met, DHC_FLIP_ALL for all. */
  bool may_lack;
  int flip;
} DhcEntryRequest;
enum { DHC_FLIP_ALL = -1 };

/* Function of kind DHC_FUNC_ENTRY: inputs first (names as declared), then tensors by
 * path, scalars by name, "$seed" and "$step" (i64[], role SCALAR, decl -1) as they are
 * needed; results named as declared; buffers and states written by `update`. Units are merged.
 * A `require` on values (streaming forms only) is a further result, bool[], named
 * "$require: MESSAGE". NULL after errors. */
DhcFunc *dhc_model_entry(DhcModel *m, const DhcEntryRequest *request);
/* The same of a submodule, by its path: what the layer is by itself. The function belongs to no module's list, is
 * there to be looked at, and is made anew by every call. NULL also where there is no such layer or it has no such entry. */
const DhcFunc *dhc_model_layer_entry(DhcModel *m, const char *path, const DhcEntryRequest *request);
/* How many `if`s on dims the version that dhc_model_entry gave last left open. */
int dhc_model_open_ifs(const DhcModel *m);

/* A function `fn` of the file or of std as a function of the module, for example an
 * optimiser: polymorphic in its binders, compile-time parameters at their defaults
 * (run `...S` of rank 1), tensor and float parameters as parameters named as written
 * (floats as f32[]). NULL after errors. */
DhcFunc *dhc_model_function(DhcModel *m, const char *name);

/* ---- recipes (elab_recipe.c) ------------------------------------------------------- */

/* Where a setting comes from: "--set", "recipe pendulum: the comment that ends its line". */
typedef struct DhcRecipeSource {
  const char *key, *text;
} DhcRecipeSource;
typedef struct DhcRecipeArg {
  const char *name;
  double value;
} DhcRecipeArg;
typedef DHC_VEC(DhcRecipeArg) DhcRecipeArgs;

/* What collects experience, where a recipe is for that. */
typedef struct DhcRollout {
#define ROLLOUT(name, whole, usual, low, high, text) double name;
#include "frontend/rollout.def"
#undef ROLLOUT
} DhcRollout;

typedef struct DhcRecipe {
  const char *name;                     /* "default" if none was asked for and the file has none */
  const char *optimizer;                /* function of std/optim: "adamw" */
  DhcRecipeArgs optimizer_args; /* weight_decay = 0.05, …; the rest by default */
  int64_t batch, epochs;
  int64_t steps;          /* stop after so many; 0: by epochs */
  int64_t accumulate;     /* parts of a batch, seen one after the other */
  double clip;            /* global norm; 0: off */
  double ema;             /* decay; 0: off */
  double label_smoothing; /* also bound to the hyperparameter of that name, if there is one */
  const char *const *report; /* patterns of taps that training reports, NULL at the end; or NULL */
  bool report_asked;         /* by a setting, not by the model file's recipe */
  const char *groups;        /* of parameters, with what they set; NULL: none */
  DhcRollout rollout;
  double lr_constant;     /* where lr has no parameters */
  const struct DhcLr *lr; /* see dhc_recipe_lr; NULL: lr_constant */
  DHC_VEC(DhcRecipeSource) sources; /* of settings that are not the usual ones; the last of a key holds */
  DhcSpan span;
} DhcRecipe;
/* Never NULL: without a recipe adam, lr 1e-3, batch 64, 10 epochs, clip 1.0. */
const DhcRecipe *dhc_model_recipe(const DhcModel *m);
/* Learning rate of step 0 … steps-1. Plain arithmetic on doubles, cos, exp, min, max,
 * if-else; NaN if the expression fails (dhc_elab_model has tried it at both ends). */
double dhc_recipe_lr(const DhcRecipe *recipe, int64_t step, int64_t steps);
/* NULL: the key, or the optimiser's argument, is as usual. */
const char *dhc_recipe_source(const DhcRecipe *recipe, const char *key);
bool dhc_recipe_has_key(const char *key); /* "lr", "batch", …: a setting of recipes */
/* Where the schedule is written; file 0: lr is a constant. */
DhcSpan dhc_recipe_lr_span(const DhcRecipe *recipe);

#endif
