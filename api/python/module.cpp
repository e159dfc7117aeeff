/* dhc.h for Python. Tensors come in through DLPack or the buffer protocol and are read where they lie; results are NumPy
 * arrays that kernels write themselves. No lock of the interpreter is held while a model is compiled or run. */
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>

#include "dhc/dhc.h"

namespace nb = nanobind;
using Text = std::optional<std::string>;

namespace {

/* ---- errors ------------------------------------------------------------------------ */

/* Whoever closes a handle may wait for a call that wants the interpreter: never with its lock. */
template <typename F> void unlocked(F f) {
  if (!PyGILState_Check()) return f();
  nb::gil_scoped_release free_;
  f();
}

const char *text(const Text &t) { return t ? t->c_str() : nullptr; }

struct Session {
  dhc_session *s = nullptr;
  std::mutex lock; /* of what is asked beside calls: diagnostics */
  ~Session() {
    unlocked([&] { dhc_session_close(s); });
  }

  std::string said_since(int first) {
    char *buffer = nullptr;
    size_t n = 0;
    FILE *to = open_memstream(&buffer, &n);
    if (!to) return "";
    dhc_session_print_diagnostics_from(s, first, to, false);
    fclose(to);
    std::string all(buffer, n);
    free(buffer);
    return all;
  }
};

/* dhcc.errors has a class for each code; what the compiler said about the model stands in front. */
[[noreturn]] void raise(const dhc_status &st, const std::string &said = "") {
  static const char *const names[] = {"Error", "InputError", "UsageError", "EnvironmentFailure", "NumericError", "Interrupted"};
  std::string all = said.empty() ? st.message : said;
  while (!all.empty() && all.back() == '\n') all.pop_back();
  nb::object type = nb::module_::import_("dhcc.errors").attr(names[st.code <= DHC_E_INTERRUPTED ? st.code : 0]);
  PyErr_SetString(type.ptr(), all.c_str());
  throw nb::python_error();
}

/* Runs f without the interpreter's lock; raises what it returns. */
template <typename F> void call(Session &s, F f) {
  dhc_status st;
  int before;
  std::string said;
  {
    nb::gil_scoped_release free_;
    before = dhc_session_diagnostics(s.s);
    st = f();
    if (st.code != DHC_OK) {
      std::lock_guard<std::mutex> hold(s.lock);
      if (dhc_session_errors(s.s) > 0) said = s.said_since(before);
    }
  }
  if (st.code != DHC_OK) raise(st, said.find("error") == std::string::npos ? "" : said);
}

std::string take(char *t) {
  std::string s(t ? t : "");
  free(t);
  return s;
}

/* ---- tensors ------------------------------------------------------------------------ */

struct Kind {
  uint8_t code, bits;
  dhc_dtype dtype;
};
const Kind kinds[] = {{2, 64, DHC_F64}, {2, 32, DHC_F32}, {4, 16, DHC_BF16}, {0, 64, DHC_I64}, {0, 32, DHC_I32}, {0, 16, DHC_I16},
                      {0, 8, DHC_I8},   {1, 32, DHC_U32}, {1, 16, DHC_U16},  {1, 8, DHC_U8},   {6, 8, DHC_BOOL}};

size_t bytes_of(dhc_dtype t) {
  for (const Kind &k : kinds)
    if (k.dtype == t) return k.bits / 8;
  return 0;
}

nb::dlpack::dtype dl_of(dhc_dtype t) {
  for (const Kind &k : kinds)
    if (k.dtype == t) return {k.code, k.bits, 1};
  return {};
}

using Array = nb::ndarray<nb::ro>;

[[noreturn]] void refuse(const std::string &what) {
  dhc_status st = {DHC_E_USAGE, ""};
  snprintf(st.message, sizeof st.message, "%s", what.c_str());
  raise(st);
}

/* What a caller gives, dense: its own memory, or a copy where its strides are others. */
struct Given {
  dhc_tensor t{};
  Array keep;
  std::vector<char> copy;
};

void copy_strided(const char *from, char *to, const Array &a, size_t size) {
  size_t n = a.size(), rank = a.ndim();
  std::vector<size_t> at(rank, 0);
  const char *p = from;
  for (size_t i = 0; i < n; i++, to += size) {
    memcpy(to, p, size);
    for (size_t d = rank; d-- > 0;) {
      p += a.stride(d) * (int64_t)size;
      if (++at[d] < a.shape(d)) break;
      p -= a.stride(d) * (int64_t)size * (int64_t)a.shape(d);
      at[d] = 0;
    }
  }
}

bool dense(const Array &a) {
  int64_t step = 1;
  for (size_t d = a.ndim(); d-- > 0;) {
    if (a.shape(d) != 1 && a.stride(d) != step) return a.size() == 0;
    step *= (int64_t)a.shape(d);
  }
  return true;
}

void take_array(const std::string &name, const Array &a, Given &g) {
  if (a.device_type() != nb::device::cpu::value)
    refuse("input '" + name + "' is on another device: models take arrays in the host's memory (of torch: x.cpu())");
  nb::dlpack::dtype t = a.dtype();
  g.t.dtype = DHC_N_DTYPES;
  for (const Kind &k : kinds)
    if (k.code == t.code && k.bits == t.bits && t.lanes == 1) g.t.dtype = k.dtype;
  if (g.t.dtype == DHC_N_DTYPES)
    refuse("input '" + name + "': numbers of " + std::to_string(t.bits) + " bits of this kind are none that models take (float16: x.astype('float32'))");
  if (a.ndim() > 8) refuse("input '" + name + "' has " + std::to_string(a.ndim()) + " dimensions: at most 8");
  g.t.name = name.c_str();
  g.t.rank = (int)a.ndim();
  for (size_t d = 0; d < a.ndim(); d++) g.t.dim[d] = (int64_t)a.shape(d);
  g.keep = a;
  g.t.data = const_cast<void *>(a.data());
  if (dense(a)) return;
  g.copy.resize(a.size() * bytes_of(g.t.dtype) + 1);
  copy_strided((const char *)a.data(), g.copy.data(), a, bytes_of(g.t.dtype));
  g.t.data = g.copy.data();
}

nb::object wrap(void *data, const dhc_tensor &t, nb::handle owner, bool read_only) {
  size_t shape[8];
  for (int d = 0; d < t.rank; d++) shape[d] = (size_t)t.dim[d];
  if (t.dtype == DHC_BF16) refuse(std::string("'") + t.name + "' is bf16, which NumPy has not");
  if (read_only) return nb::cast(nb::ndarray<nb::numpy, nb::ro>(data, (size_t)t.rank, shape, owner, nullptr, dl_of(t.dtype)));
  return nb::cast(nb::ndarray<nb::numpy>(data, (size_t)t.rank, shape, owner, nullptr, dl_of(t.dtype)));
}

void *allocate(const dhc_tensor &t) {
  size_t bytes = ((size_t)dhc_tensor_bytes(&t) + 64) / 64 * 64;
  void *p = aligned_alloc(64, bytes);
  if (!p) throw std::bad_alloc();
  return p;
}

nb::object own(void *data, const dhc_tensor &t) {
  nb::capsule owner(data, [](void *p) noexcept { free(p); });
  return wrap(data, t, owner, false);
}

/* ---- models -------------------------------------------------------------------------- */

struct Model {
  std::shared_ptr<Session> session;
  dhc_model *m = nullptr;
  std::string name;
  ~Model() {
    unlocked([&] { dhc_model_close(m); });
  }
};

/* A prepared call for inputs of these names, types and shapes. */
struct Prepared {
  int index;
  std::vector<std::string> names;
  std::vector<dhc_tensor> forms;
  dhc_call *c;
};

bool same_form(const dhc_tensor &a, const dhc_tensor &b) {
  return a.dtype == b.dtype && a.rank == b.rank && !memcmp(a.dim, b.dim, sizeof(int64_t) * (size_t)a.rank);
}

enum { MAX_PREPARED = 32 };

struct Program {
  std::shared_ptr<Model> model;
  std::shared_ptr<Program> of; /* whose weights it shares */
  dhc_program *p = nullptr;
  std::mutex lock; /* one call at a time */
  std::list<Prepared> prepared; /* newest first */
  ~Program() {
    unlocked([&] {
      forget();
      dhc_program_close(p);
    });
  }
  void forget() {
    for (Prepared &x : prepared) dhc_call_close(x.c);
    prepared.clear();
  }

  dhc_status find(int index, const std::vector<Given> &in, dhc_call **out) {
    for (auto x = prepared.begin(); x != prepared.end(); ++x) {
      bool same = x->index == index && x->forms.size() == in.size();
      for (size_t i = 0; same && i < in.size(); i++) same = same_form(x->forms[i], in[i].t) && x->names[i] == in[i].t.name;
      if (!same) continue;
      prepared.splice(prepared.begin(), prepared, x);
      *out = x->c;
      return {DHC_OK, ""};
    }
    Prepared n{index, {}, {}, nullptr};
    for (const Given &g : in) {
      n.names.push_back(g.t.name);
      n.forms.push_back(g.t);
    }
    dhc_status st = dhc_call_open(p, index, n.forms.data(), (int)n.forms.size(), &n.c);
    if (st.code != DHC_OK) return st;
    *out = n.c;
    prepared.push_front(std::move(n));
    if (prepared.size() > MAX_PREPARED) {
      dhc_call_close(prepared.back().c);
      prepared.pop_back();
    }
    return st;
  }

  dhc_status run(int index, const std::vector<Given> &in, std::vector<dhc_tensor> &form, std::vector<void *> &out) {
    std::lock_guard<std::mutex> hold(lock);
    dhc_call *c;
    dhc_status st = find(index, in, &c);
    if (st.code != DHC_OK) return st;
    int n;
    const dhc_tensor *r = dhc_call_results(c, &n);
    form.assign(r, r + n);
    for (const dhc_tensor &t : form) out.push_back(allocate(t));
    std::vector<const void *> data;
    for (const Given &g : in) data.push_back(g.t.data);
    return dhc_call_run(c, data.data(), out.data());
  }
};

std::shared_ptr<Session> open_session(const Text &backend, int threads, const Text &cache_dir, const std::string &models) {
  auto s = std::make_shared<Session>();
  dhc_session_options o{};
  o.backend = text(backend);
  o.threads = threads;
  o.cache_dir = text(cache_dir);
  o.model_path = models.empty() ? nullptr : models.c_str();
  dhc_status st;
  {
    nb::gil_scoped_release free_;
    st = dhc_session_open(&o, &s->s);
  }
  if (st.code != DHC_OK) raise(st);
  return s;
}

std::shared_ptr<Model> open_model(std::shared_ptr<Session> s, const std::string &name, const Text &root, const Text &preset, const Text &variant,
                                  const Text &recipe, const std::vector<std::string> &sets) {
  auto m = std::make_shared<Model>();
  m->session = s;
  std::vector<const char *> list;
  for (const std::string &x : sets) list.push_back(x.c_str());
  dhc_model_options o{};
  o.name = name.c_str();
  o.root = text(root);
  o.preset = text(preset);
  o.variant = text(variant);
  o.recipe = text(recipe);
  o.sets = list.data();
  o.n_sets = (int)list.size();
  call(*s, [&] { return dhc_model_open(s->s, &o, &m->m); });
  m->name = name;
  return m;
}

nb::list tensors_of(const dhc_entry_tensor *t, int n) {
  nb::list all;
  for (int i = 0; i < n; i++) {
    nb::list dims;
    for (int d = 0; d < t[i].rank; d++) dims.append(t[i].size[d] >= 0 ? nb::object(nb::int_(t[i].size[d])) : nb::object(nb::str(t[i].dim[d])));
    all.append(nb::make_tuple(nb::str(t[i].name), nb::str(dhc_dtype_text(t[i].dtype)), nb::tuple(dims), t[i].optional));
  }
  return all;
}

nb::tuple signature(Model &m, const std::string &entry) {
  const dhc_entry_info *e;
  call(*m.session, [&] { return dhc_model_signature(m.m, entry.c_str(), &e); });
  return nb::make_tuple(tensors_of(e->inputs, e->n_inputs), tensors_of(e->results, e->n_results));
}

std::shared_ptr<Program> open_program(std::shared_ptr<Model> m, const std::string &entry, int mode) {
  auto p = std::make_shared<Program>();
  p->model = m;
  call(*m->session, [&] { return dhc_program_open(m->m, entry.c_str(), (dhc_mode)mode, &p->p); });
  return p;
}

std::shared_ptr<Program> share(std::shared_ptr<Program> of, int threads) {
  auto p = std::make_shared<Program>();
  p->model = of->model;
  p->of = of;
  call(*of->model->session, [&] { return dhc_program_share(of->p, threads, &p->p); });
  return p;
}


nb::list run_list(Program &p, int index, nb::list names, nb::list arrays) {
  size_t n = nb::len(names);
  std::vector<std::string> held(n);
  std::vector<Given> in(n);
  for (size_t i = 0; i < n; i++) {
    held[i] = nb::cast<std::string>(names[i]);
    take_array(held[i], nb::cast<Array>(arrays[i]), in[i]);
  }
  std::vector<dhc_tensor> form;
  std::vector<void *> out;
  struct Drop {
    std::vector<void *> &out;
    ~Drop() {
      for (void *p : out) free(p);
    }
  } drop{out};
  call(*p.model->session, [&] { return p.run(index, in, form, out); });
  nb::list all;
  for (size_t i = 0; i < form.size(); i++) {
    void *data = out[i];
    out[i] = nullptr;
    all.append(nb::make_tuple(nb::str(form[i].name), own(data, form[i])));
  }
  return all;
}

nb::object get(std::shared_ptr<Program> p, const std::string &path) {
  dhc_tensor t{};
  call(*p->model->session, [&] {
    std::lock_guard<std::mutex> hold(p->lock);
    return dhc_program_get(p->p, path.c_str(), &t);
  });
  t.name = path.c_str();
  return wrap(t.data, t, nb::cast(p), true);
}

void set(Program &p, const std::string &path, const Array &a) {
  Given g;
  take_array(path, a, g);
  call(*p.model->session, [&] {
    std::lock_guard<std::mutex> hold(p.lock);
    return dhc_program_set(p.p, &g.t);
  });
}

/* Training: what a step says, as a dict, to a callable that may return False to stop. */
bool on_progress(void *ctx, const dhc_train_progress *p) {
  nb::gil_scoped_acquire hold;
  nb::object &f = *(nb::object *)ctx;
  if (f.is_none()) return PyErr_CheckSignals() == 0;
  nb::dict d;
  d["step"] = p->step, d["steps"] = p->steps, d["epoch"] = p->epoch, d["epochs"] = p->epochs;
  d["loss"] = p->loss, d["accuracy"] = p->accuracy, d["epoch_loss"] = p->epoch_loss, d["epoch_accuracy"] = p->epoch_accuracy;
  d["lr"] = p->lr, d["grad_norm"] = p->grad_norm, d["samples_per_s"] = p->samples_per_s, d["seconds"] = p->seconds;
  d["val_loss"] = p->val_loss, d["val_accuracy"] = p->val_accuracy, d["epoch_end"] = p->epoch_end, d["best"] = p->best;
  try {
    nb::object r = f(d);
    return !(nb::isinstance<bool>(r) && !nb::cast<bool>(r)) && PyErr_CheckSignals() == 0;
  } catch (nb::python_error &e) {
    e.restore();
    return false;
  }
}

nb::dict train(Model &m, const std::string &data, const Text &out, int64_t batch, int64_t epochs, int64_t steps, double lr, int64_t limit,
               uint64_t seed, bool resume, bool overwrite, nb::object progress) {
  dhc_train_options o{};
  dhc_train_result r{};
  o.data = data.c_str();
  o.out = text(out);
  o.batch = batch, o.epochs = epochs, o.steps = steps, o.lr = lr, o.limit = limit, o.seed = seed;
  o.clip = -1;
  o.resume = resume, o.overwrite = overwrite;
  o.progress = on_progress, o.ctx = &progress;
  dhc_status st;
  int before = dhc_session_diagnostics(m.session->s);
  {
    nb::gil_scoped_release free_;
    st = dhc_train(m.m, &o, &r);
  }
  if (PyErr_Occurred()) throw nb::python_error(); /* the callable's */
  if (st.code != DHC_OK) raise(st, dhc_session_errors(m.session->s) ? m.session->said_since(before) : "");
  nb::dict d;
  d["steps"] = r.steps, d["epochs"] = r.epochs, d["loss"] = r.loss, d["accuracy"] = r.accuracy, d["val_loss"] = r.val_loss;
  d["val_accuracy"] = r.val_accuracy, d["best_val_accuracy"] = r.best_val_accuracy, d["seconds"] = r.seconds;
  d["samples_per_s"] = r.samples_per_s, d["run_id"] = r.run_id;
  return d;
}

nb::dict evaluate(Model &m, const std::string &data, const Text &weights, const Text &split, int64_t batch, int64_t limit) {
  dhc_eval_options o{};
  dhc_eval_result r{};
  o.data = data.c_str();
  o.weights = text(weights);
  o.split = text(split);
  o.batch = batch, o.limit = limit;
  call(*m.session, [&] { return dhc_evaluate(m.m, &o, &r); });
  nb::dict d;
  d["n_examples"] = r.n_examples, d["loss"] = r.loss, d["accuracy"] = r.accuracy, d["seconds"] = r.seconds;
  return d;
}

std::vector<int64_t> generate(Model &m, const std::vector<int64_t> &prompt, int64_t n, const Text &weights, double temperature, int64_t top_k,
                              uint64_t seed) {
  dhc_generate_options o{};
  dhc_generate_result r{};
  std::vector<int64_t> made;
  o.weights = text(weights);
  o.prompt = prompt.data(), o.n_prompt = (int64_t)prompt.size(), o.n_tokens = n;
  o.temperature = temperature, o.top_k = top_k, o.seed = seed;
  o.token = [](void *ctx, int64_t t) {
    ((std::vector<int64_t> *)ctx)->push_back(t);
    return true;
  };
  o.ctx = &made;
  call(*m.session, [&] { return dhc_generate(m.m, &o, &r); });
  return made;
}

} // namespace

NB_MODULE(_dhcc, mod) {
  mod.doc() = "dhc.h: sessions, models, programs. The package dhcc is what to use.";
  mod.attr("version") = dhc_version();
  nb::class_<Session>(mod, "Session").def_prop_ro("kernels_compiled", [](Session &s) { return dhc_session_stats(s.s).kernels_compiled; });
  mod.def("open_session", open_session, nb::arg("backend").none(), nb::arg("threads"), nb::arg("cache_dir").none(), nb::arg("models"));
  nb::class_<Model>(mod, "Model")
      .def_prop_ro("name", [](Model &m) { return std::string(dhc_model_name(m.m)); })
      .def_prop_ro("hash", [](Model &m) { return std::string(dhc_model_hash(m.m)); })
      .def_prop_ro("n_params", [](Model &m) { return dhc_model_n_params(m.m); })
      .def_prop_ro("entries", [](Model &m) {
        std::vector<std::string> all;
        for (int i = 0; i < dhc_model_n_entries(m.m); i++) all.push_back(dhc_model_entry_name(m.m, i));
        return all;
      })
      .def_prop_ro("tensors", [](Model &m) {
        std::vector<std::string> all;
        for (int i = 0; i < dhc_model_n_tensors(m.m); i++) {
          dhc_tensor_info t = dhc_model_tensor(m.m, i);
          if (!strcmp(t.role, "param") || !strcmp(t.role, "buffer")) all.push_back(t.path);
        }
        return all;
      })
      .def("signature", signature, nb::arg("entry"))
      .def("info", [](Model &m, const Text &entry, const Text &sizes) {
        char *out = nullptr;
        call(*m.session, [&] { return dhc_model_info_json(m.m, text(entry), text(sizes), &out); });
        return take(out);
      }, nb::arg("entry").none(), nb::arg("sizes").none())
      .def("print", [](Model &m, const std::string &entry, const std::string &stage) {
        char *out = nullptr;
        call(*m.session, [&] { return dhc_model_print(m.m, entry.c_str(), stage.c_str(), &out); });
        return take(out);
      }, nb::arg("entry"), nb::arg("stage"))
      .def("pack", [](Model &m, const Text &weights, const std::string &path) {
        call(*m.session, [&] { return dhc_model_pack(m.m, text(weights), path.c_str()); });
      }, nb::arg("weights").none(), nb::arg("path"))
      .def("train", train, nb::arg("data"), nb::arg("out").none(), nb::arg("batch"), nb::arg("epochs"), nb::arg("steps"), nb::arg("lr"), nb::arg("limit"),
           nb::arg("seed"), nb::arg("resume"), nb::arg("overwrite"), nb::arg("progress").none())
      .def("evaluate", evaluate, nb::arg("data"), nb::arg("weights").none(), nb::arg("split").none(), nb::arg("batch"), nb::arg("limit"))
      .def("generate", generate, nb::arg("prompt"), nb::arg("n"), nb::arg("weights").none(), nb::arg("temperature"), nb::arg("top_k"), nb::arg("seed"));
  mod.def("open_model", open_model, nb::arg("session"), nb::arg("name"), nb::arg("root").none(), nb::arg("preset").none(), nb::arg("variant").none(),
          nb::arg("recipe").none(), nb::arg("sets"));
  nb::class_<Program>(mod, "Program")
      .def("add", [](Program &p, const std::string &entry, int mode) {
        int index = -1;
        call(*p.model->session, [&] { return dhc_program_add(p.p, entry.c_str(), (dhc_mode)mode, &index); });
        return index;
      }, nb::arg("entry"), nb::arg("mode"))
      .def("run", run_list, nb::arg("index"), nb::arg("names"), nb::arg("arrays"))
      .def("init", [](Program &p, uint64_t seed) { call(*p.model->session, [&] { return dhc_program_init(p.p, seed); }); }, nb::arg("seed"))
      .def("load", [](Program &p, const std::string &path, bool partial) {
        call(*p.model->session, [&] { return dhc_program_load(p.p, path.c_str(), partial); });
      }, nb::arg("path"), nb::arg("partial"))
      .def("save", [](Program &p, const std::string &path, bool ema) {
        call(*p.model->session, [&] { return dhc_program_save(p.p, path.c_str(), ema); });
      }, nb::arg("path"), nb::arg("ema"))
      .def("reset", [](Program &p) {
        nb::gil_scoped_release free_;
        std::lock_guard<std::mutex> hold(p.lock);
        dhc_program_reset(p.p);
      })
      .def("set_scalar", [](Program &p, const std::string &name, double v) {
        call(*p.model->session, [&] { return dhc_program_set_scalar(p.p, name.c_str(), v); });
      }, nb::arg("name"), nb::arg("value"))
      .def("get", get, nb::arg("path"))
      .def("set", set, nb::arg("path"), nb::arg("array"));
  mod.def("open_program", open_program, nb::arg("model"), nb::arg("entry"), nb::arg("mode"));
  mod.def("share", share, nb::arg("program"), nb::arg("threads"));
  mod.def("package_find", [](const std::string &path) {
    bool weights = false, found = dhc_package_find(path.c_str(), &weights);
    return nb::make_tuple(found, weights);
  }, nb::arg("path"));
  mod.def("sweep_json", [](const std::string &folder, const Text &metric) {
    char *out = nullptr;
    dhc_status st;
    {
      nb::gil_scoped_release free_;
      st = dhc_sweep_json(folder.c_str(), text(metric), &out);
    }
    if (st.code != DHC_OK) raise(st);
    return take(out);
  }, nb::arg("folder"), nb::arg("metric").none());
}
