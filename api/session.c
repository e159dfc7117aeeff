/* Sessions: settings, diagnostics, pool, kernel store, compiler. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "api/tuning.h"
#include "dhc/version.h"
#include "ir/errors.h"
#include "runtime/io.h"
#include "runtime/number.h"

const char *dhc_version(void) {
  return DHC_VERSION;
}

bool session_whole(const dhc_session *s) { return s->traits & DHC_BACKEND_WHOLE; }

int64_t session_pass_limit(const dhc_session *s) {
  const int n = s->o.pass_limit;
  return n > 0 ? n : n < 0 ? 0 : -1;
}

double session_now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void emit_warning(void *ctx, DhcWarnLevel level, const char *line) {
  dhc_session *s = ctx;
  if (!s->o.warn) return;
  char text[600];
  snprintf(text, sizeof text, "%s: %s", level == DHC_WARN_NOTE ? "note" : "warning", line);
  s->o.warn(s->o.warn_ctx, text);
}

static void add_root(dhc_session *s, const char *dir, size_t n) {
  if (!n || s->n_roots == API_MAX_ROOTS) return;
  const char *path = dhc_arena_strndup(&s->arena, dir, n);
  struct stat st;
  if (!stat(path, &st) && S_ISDIR(st.st_mode)) s->roots[s->n_roots++] = path;
}

static void add_roots(dhc_session *s, const char *list) {
  while (list && *list) {
    size_t n = strcspn(list, ":");
    add_root(s, list, n);
    list += n + (list[n] == ':');
  }
}

/* The models installed with this library, found from where the library lies. */
static void add_installed(dhc_session *s) {
  static const char anchor;
  Dl_info lib;
  if (!dladdr(&anchor, &lib) || !lib.dli_fname) return;
  const char *slash = strrchr(lib.dli_fname, '/');
  int n = slash ? (int)(slash - lib.dli_fname) : 0;
  const char *dir = dhc_arena_printf(&s->arena, "%.*s/" DHC_MODELS_FROM_LIB, n, lib.dli_fname);
  if (slash) add_root(s, dir, strlen(dir));
}

/* Shipped models: what the caller says, $DHC_MODEL_PATH, the installed folder, and, for a
 * build that was never installed, the source tree's. */
static void find_roots(dhc_session *s) {
  add_roots(s, s->o.model_path);
  add_roots(s, getenv("DHC_MODEL_PATH"));
  if (!s->n_roots) add_installed(s);
  if (!s->n_roots) add_roots(s, DHC_SOURCE_MODELS);
}

/* "cuda:2" is the backend "cuda" and its GPU 2, of backends whose machines are numbered; "cuda:+2" the one that process 2 of
 * several takes where they go round all GPUs. */
static dhc_status choose_number(dhc_session *s) {
  const char *colon = strchr(s->backend, ':');
  if (!colon) return dhc_status_ok();
  const char *name = dhc_arena_strndup(&s->arena, s->backend, (size_t)(colon - s->backend)), *digits = colon + 1;
  const DhcBackendInfo *b = dhc_backend_info(name);
  if (!b || !(b->traits & DHC_BACKEND_NUMBERED)) return dhc_status_ok(); /* no backend's name */
  bool round = *digits == '+';
  digits += round;
  size_t n = strspn(digits, "0123456789");
  if (!n || n > 4 || digits[n])
    return dhc_status_make(DHC_E_USAGE, "--backend: needs a GPU's number behind %s:, got \"%.32s\"", name, s->backend);
  s->gpu = round ? -1 - atoi(digits) : atoi(digits);
  s->backend = name;
  return dhc_status_ok();
}

static dhc_status unknown_backend(const char *name) {
  char all[200];
  size_t n = 0;
  all[0] = 0;
  for (int i = 0; dhc_backend_known(i) && n < sizeof all; i++)
    n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", !i ? "" : dhc_backend_known(i + 1) ? ", " : " or ", dhc_backend_known(i)->name);
  return dhc_status_make(DHC_E_USAGE, "--backend: needs %s, got \"%s\"", all, name);
}

static dhc_status choose_backend(dhc_session *s) {
  s->backend = s->o.backend ? s->o.backend : dhc_backend_name(0);
  DHC_TRY(choose_number(s));
  const DhcBackendInfo *b = dhc_backend_info(s->backend);
  if (!b) return unknown_backend(s->backend);
  if (!b->in_build)
    return dhc_status_make(DHC_E_ENVIRONMENT, "--backend %s: %s; use --backend %s", b->name, b->lacks, dhc_backend_name(0));
  s->backend = b->name;
  s->traits = b->traits;
  return dhc_status_ok();
}

/* The first backend with a trait, to be named where another is asked for it. */
static const char *backend_with(unsigned trait) {
  const DhcBackendInfo *b = NULL;
  for (int i = 0; (b = dhc_backend_known(i)) && !(b->traits & trait); i++) continue;
  return b ? b->name : "(none)";
}

static const struct {
  const char *name;
  double output, gradient;
} computes[] = {
#define COMPUTE(id, ...) {__VA_ARGS__},
#include "ir/computes.def"
};

double session_tolerance(const dhc_session *s, bool gradient) {
  return gradient ? computes[s->compute].gradient : computes[s->compute].output;
}

const char *session_backend_text(const dhc_session *s, DhcArena *arena) {
  return s->compute ? dhc_arena_printf(arena, "%s %s", s->backend, computes[s->compute].name) : s->backend;
}

static dhc_status only_exact(const dhc_session *s, const char *backend) {
  return dhc_status_make(DHC_E_USAGE, "--compute %s: needs --backend %s; %s computes as it is defined", computes[s->compute].name,
                         backend_with(DHC_BACKEND_COMPUTE), backend);
}

/* How contractions compute. Texts may be of another backend than the session's: session_compiler knows. */
static dhc_status choose_compute(dhc_session *s) {
  const char *c = s->o.compute;
  int i = 0;
  while (c && i < DHC_N_COMPUTES && strcmp(c, computes[i].name)) i++;
  if (i == DHC_N_COMPUTES) return dhc_status_make(DHC_E_USAGE, "--compute: needs f32, tf32 or bf16, got \"%.32s\"", c);
  s->compute = (DhcCompute)i;
  return !s->compute || s->o.print_only || (s->traits & DHC_BACKEND_COMPUTE) ? dhc_status_ok() : only_exact(s, s->backend);
}

static dhc_status choose_tuning(dhc_session *s) {
  if (!s->o.tuning) return dhc_status_ok();
  if (session_whole(s)) return dhc_status_make(DHC_E_USAGE, "--tuning: --backend %s has no kernels, so no schedules", s->backend);
  return tuning_read(s->o.tuning, &s->arena, &s->tuning);
}

static dhc_status choose_bounds(const dhc_session *s) {
  if (!s->o.check_bounds || (s->traits & DHC_BACKEND_BOUNDS)) return dhc_status_ok();
  return dhc_status_make(DHC_E_USAGE, "--check-bounds: needs --backend %s, whose kernels can be checked", backend_with(DHC_BACKEND_BOUNDS));
}

dhc_status session_makes_objects(const DhcBackendInfo *b, const char *asked) {
  if (!b) return unknown_backend(asked);
  if (b->traits & (DHC_BACKEND_OBJECTS | DHC_BACKEND_SOURCES)) return dhc_status_ok();
  return dhc_status_make(DHC_E_USAGE, "build: objects are made by --backend %s, not %s", backend_with(DHC_BACKEND_OBJECTS), b->name);
}

/* A machine that is not there, or cannot be compiled for, is said before anything is read. */
static dhc_status open_apart(dhc_session *s) {
  DhcDevice *device;
  DhcCompiler *compiler;
  DHC_TRY(session_device(s, &device));
  return session_compiler(s, &compiler);
}

void session_lock(dhc_session *s) {
  if (s && s->lock) pthread_mutex_lock(s->lock);
}

void session_unlock(dhc_session *s) {
  if (s && s->lock) pthread_mutex_unlock(s->lock);
}

static dhc_status make_lock(dhc_session *s) {
  pthread_mutexattr_t a;
  s->lock = malloc(sizeof *s->lock);
  if (!s->lock) return dhc_status_memory((long long)sizeof *s->lock, "a session");
  pthread_mutexattr_init(&a);
  pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(s->lock, &a);
  pthread_mutexattr_destroy(&a);
  return dhc_status_ok();
}

static void close_session(void *s) {
  dhc_session_close(s);
}

dhc_status api_session_open(const dhc_session_options *o, dhc_session **out) {
  NEED_OUT(out);
  dhc_session *s = calloc(1, sizeof *s);
  if (!s) return dhc_status_memory((long long)sizeof *s, "a session");
  if (o) s->o = *o;
  s->offline = s->o.print_only;
  s->blocks = dhc_blocks_new();
  dhc_budget_init(&s->budget, s->o.max_memory);
  dhc_arena_init(&s->arena);
  DhcHeld held;
  dhc_hold(&held, close_session, s);
  s->strings.arena = &s->arena;
  s->sources.arena = &s->arena;
  s->diags.arena = &s->arena;
  s->diags.sources = &s->sources;
  s->warn = (DhcWarn){s, emit_warning};
  find_roots(s);
  dhc_status st = make_lock(s);
  if (st.code == DHC_OK) st = choose_backend(s);
  if (st.code == DHC_OK) st = choose_compute(s);
  if (st.code == DHC_OK) st = choose_bounds(s);
  char why[400];
  if (st.code == DHC_OK && !dhc_pass_list_check(s->o.disable_passes, true, why, sizeof why))
    st = dhc_status_make(DHC_E_USAGE, "--disable-pass: %s", why);
  if (st.code == DHC_OK) st = choose_tuning(s);
  if (st.code == DHC_OK) st = seen_open(&s->seen);
  if (st.code == DHC_OK) st = dhc_pool_new(s->o.threads, &s->pool);
  if (st.code == DHC_OK && !s->o.print_only && (s->traits & DHC_BACKEND_APART)) st = open_apart(s);
  dhc_release(&held);
  if (st.code != DHC_OK) {
    dhc_session_close(s);
    return st;
  }
  *out = s;
  return st;
}

dhc_status session_child(dhc_session *parent, dhc_session **out) {
  DhcDevice *device;
  DhcCompiler *compiler;
  DHC_TRY(session_device(parent, &device));
  if (!session_whole(parent)) DHC_TRY(session_compiler(parent, &compiler));
  dhc_session *s = malloc(sizeof *s);
  if (!s) return dhc_status_memory((long long)sizeof *s, "a session");
  *s = *parent;
  s->lent = true;
  s->arena = (DhcArena){0};
  /* Files that the parent has parsed: their trees hold its strings, and spans in its sources. What comes to these lists
   * lies in this session's memory. */
  s->strings = (DhcStrings){.arena = &s->arena, .lender = &parent->strings};
  s->sources.arena = &s->arena;
  s->sources.files.cap = s->sources.files.n;
  s->parsed.cap = s->parsed.n;
  s->diags = (DhcDiags){.arena = &s->arena, .sources = &s->sources};
  s->stats = (dhc_compile_stats){0};
  s->warn = (DhcWarn){s, emit_warning};
  dhc_arena_init(&s->arena);
  *out = s;
  return dhc_status_ok();
}

static dhc_status open_store(dhc_session *s) {
  if (s->store) return dhc_status_ok();
  DhcStoreOptions o = {.warn = s->warn};
  o.memory_only = s->o.cache_dir && !*s->o.cache_dir;
  o.dir = o.memory_only ? NULL : s->o.cache_dir;
  o.features = dhc_compiler_host_features(&s->arena, s->o.cpu_features);
  return dhc_store_open(&o, &s->store);
}

static dhc_status open_device(dhc_session *s) {
  const DhcDeviceOptions o = {.exec = dhc_pool_exec(s->pool), .number = s->gpu};
  DhcDeviceInfo info;
  DHC_TRY(dhc_backend_device(s->backend, &o, &s->device));
  s->device->ops->describe(s->device, &info);
  s->budget.apart = info.own_memory ? info.memory_free : 0;
  return dhc_status_ok();
}

dhc_status session_device(dhc_session *s, DhcDevice **out) {
  if (!s->device) DHC_TRY(open_device(s));
  s->device->checked = s->o.check_bounds;
  *out = s->device;
  return dhc_status_ok();
}

dhc_status session_compiler(dhc_session *s, DhcCompiler **out) {
  *out = s->compiler;
  if (s->compiler) return dhc_status_ok();
  const char *backend = session_whole(s) ? dhc_backend_name(0) : s->backend;
  DhcCompileOptions o = {.backend = backend, .features = s->o.cpu_features, .gpu_arch = s->o.gpu_arch, .compute = s->compute, .check_bounds = s->o.check_bounds,
                         .offline = s->offline, .workers = dhc_pool_threads(s->pool)};
  if (dhc_backend_info(backend)->traits & DHC_BACKEND_WHOLE)
    return dhc_status_make(DHC_E_ENVIRONMENT, "%s; use --backend %s", dhc_backend_known(0)->lacks, dhc_backend_name(0));
  if (s->compute && !(dhc_backend_info(backend)->traits & DHC_BACKEND_COMPUTE)) return only_exact(s, backend);
  DHC_TRY(open_store(s));
  o.store = s->store;
  if (!session_whole(s) && !s->offline) DHC_TRY(session_device(s, &o.device));
  DHC_TRY(dhc_compiler_open(&s->arena, &o, &s->compiler));
  *out = s->compiler;
  return dhc_status_ok();
}

void dhc_session_close(dhc_session *s) {
  if (!s) return;
  if (!s->lent) {
    dhc_compiler_close(s->compiler);
    dhc_device_close(s->device);
    if (s->store) dhc_store_close(s->store);
    if (s->pool) dhc_pool_free(s->pool);
    seen_close(s->seen);
    if (s->lock) pthread_mutex_destroy(s->lock);
    free(s->lock);
  }
  dhc_arena_fini(&s->arena);
  if (!s->lent) dhc_blocks_free(s->blocks);
  free(s);
}

dhc_status session_errors(const dhc_session *s) {
  if (!s->diags.n_errors) DHC_BUG("a step failed and nobody said why");
  return session_errors_since(s, 0);
}

dhc_status session_errors_since(const dhc_session *s, int before) {
  int n = s->diags.n_errors - before;
  if (!n) return dhc_status_ok();
  return dhc_status_make(DHC_E_INPUT, "%d error%s", n, n == 1 ? "" : "s");
}

int dhc_session_errors(const dhc_session *s) {
  return !s ? 0 : s->diags.n_errors;
}

int dhc_session_warnings(const dhc_session *s) {
  return !s ? 0 : s->diags.n_warnings;
}

int dhc_session_diagnostics(const dhc_session *s) {
  return !s ? 0 : s->diags.all.n;
}

void dhc_session_print_diagnostics(const dhc_session *s, FILE *to, bool color) {
  if (s && to) dhc_diags_print(&s->diags, to, color);
}

void dhc_session_print_diagnostics_from(const dhc_session *s, int first, FILE *to, bool color) {
  if (s && to) dhc_diags_print_from(&s->diags, first < 0 ? 0 : first, to, color);
}

void dhc_session_print_diagnostics_json(const dhc_session *s, FILE *to) {
  if (s && to) dhc_diags_print_json(&s->diags, to);
}

int dhc_session_threads(const dhc_session *s) {
  return s ? dhc_pool_threads(s->pool) : 0;
}

dhc_compile_stats dhc_session_stats(const dhc_session *s) {
  dhc_compile_stats st = s ? s->stats : (dhc_compile_stats){0};
  if (s && s->device && !s->lent) st.compile_ms += s->device->code_ms;
  return st;
}

const char *dhc_closest(const char *word, const char *const *names, int n) {
  if (!word || !names) return NULL;
  for (int i = 0; i < n; i++)
    if (!names[i]) return NULL;
  return dhc_suggest(word, names, n);
}

void dhc_format_number(double v, char text[DHC_NUMBER_TEXT]) {
  _Static_assert((int)DHC_NUMBER_TEXT >= (int)DHC_NUMBER_CHARS, "a number needs room");
  if (text) dhc_number_text(v, 9, 17, text);
}

bool dhc_explain(int i, dhc_error_info *out) {
  const DhcErrorInfo *e = dhc_error_row(i);
  if (e && out) *out = (dhc_error_info){e->code, e->title, e->text, e->command, e->example};
  return e != NULL;
}

void dhc_catch_signals(void) {
  dhc_stop_install();
  dhc_map_watch();
}

int dhc_signal_caught(void) {
  return dhc_stop_signal();
}

/* ---- the kernel store ---- */

dhc_status api_cache_inspect(dhc_session *s, bool verify, dhc_cache_info *out) {
  NEED(s);
  NEED(out);
  *out = (dhc_cache_info){0};
  DHC_TRY(open_store(s));
  out->path = dhc_store_path(s->store);
  if (!out->path) return dhc_status_ok();
  DhcStoreList list;
  DHC_TRY(verify ? dhc_store_verify(s->store, false, &list) : dhc_store_list(s->store, &list));
  out->entries = list.n_entries;
  out->bytes = list.total_bytes;
  for (int64_t i = 0; verify && i < list.n_entries; i++) out->damaged += !list.entries[i].ok;
  dhc_store_list_free(&list);
  return dhc_status_ok();
}

dhc_status api_cache_prune(dhc_session *s, int64_t max_bytes, int64_t *removed) {
  NEED(s);
  DHC_TRY(open_store(s));
  int64_t bytes;
  return dhc_store_prune(s->store, max_bytes, removed, &bytes);
}
