/* Folders of pictures, decoded when they are asked for: DIR/{train,val,test}/CLASS/NAME.png, .jpg or .jpeg, or without the splits DIR/CLASS/NAME, which is
 * all for training. Classes are the folders of training in order of their names; all pictures are of one size. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/data/data_internal.h"
#include "runtime/formats/picture.h"

static dhc_status no_memory(size_t bytes) {
  return dhc_status_memory((long long)bytes, "a list of pictures");
}

static char *join(const char *folder, const char *name) {
  size_t room = strlen(folder) + strlen(name) + 2;
  char *path = malloc(room);
  if (path != NULL) {
    snprintf(path, room, "%s/%s", folder, name);
  }
  return path;
}

static bool is_folder(const char *path) {
  struct stat st;
  return path != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- names ----------------------------------------------------------------------------- */

typedef struct Names {
  char **at;
  int64_t n, cap;
} Names;

static void names_free(Names *l) {
  for (int64_t i = 0; i < l->n; i++) {
    free(l->at[i]);
  }
  free(l->at);
  *l = (Names){NULL, 0, 0};
}

static bool names_add(Names *l, char *name) {
  if (l->n == l->cap) {
    int64_t cap = l->cap > 0 ? 2 * l->cap : 64;
    char **at = realloc(l->at, (size_t)cap * sizeof *at);
    if (at == NULL) {
      return false;
    }
    l->at = at;
    l->cap = cap;
  }
  l->at[l->n++] = name;
  return true;
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in a folder, sorted: its folders, or its pictures. */
static dhc_status list(const char *folder, bool folders, Names *out) {
  DIR *dir = folder != NULL ? opendir(folder) : NULL;
  if (dir == NULL) {
    dhc_status s = folder != NULL ? dhc_status_errno(errno, "%s", folder) : no_memory(64);
    s.code = folder != NULL && (errno == ENOENT || errno == ENOTDIR) ? DHC_E_INPUT : s.code;
    return s;
  }
  dhc_status st = dhc_status_ok();
  for (struct dirent *e; st.code == DHC_OK && (e = readdir(dir)) != NULL;) {
    if (e->d_name[0] == '.' || (!folders && !dhc_picture_named(e->d_name))) {
      continue;
    }
    char *path = join(folder, e->d_name), *name = strdup(e->d_name);
    bool wanted = is_folder(path) == folders;
    free(path);
    if (path == NULL || name == NULL || (wanted && !names_add(out, name))) {
      st = no_memory(64);
    }
    if (st.code != DHC_OK || !wanted) {
      free(name);
    }
  }
  closedir(dir);
  if (out->n > 1) {
    qsort(out->at, (size_t)out->n, sizeof *out->at, by_text);
  }
  return st;
}

/* ---- which pictures -------------------------------------------------------------------- */

typedef struct Pictures {
  Names paths;
  int64_t *label; /* of each */
  Names classes;
  DhcPictureSize size;
  int64_t *chosen; /* which picture an example is */
} Pictures;

static void pictures_free(void *pictures) {
  Pictures *p = pictures;
  names_free(&p->paths);
  names_free(&p->classes);
  free(p->label);
  free(p->chosen);
  free(p);
}

static int64_t class_of(const Names *classes, const char *name) {
  for (int64_t i = 0; i < classes->n; i++) {
    if (strcmp(classes->at[i], name) == 0) {
      return i;
    }
  }
  return -1;
}

static dhc_status add_class(Pictures *p, const char *folder, int64_t label) {
  Names names = {NULL, 0, 0};
  dhc_status st = list(folder, false, &names);
  if (st.code == DHC_OK && names.n == 0) {
    st = dhc_status_make(DHC_E_INPUT, "%s: has no .png, .jpg or .jpeg files", folder);
  }
  int64_t first = p->paths.n, *labels = NULL;
  if (st.code == DHC_OK && (labels = realloc(p->label, (size_t)(first + names.n) * sizeof *labels)) == NULL) {
    st = no_memory((size_t)names.n * sizeof *labels);
  }
  p->label = labels != NULL ? labels : p->label;
  for (int64_t i = 0; st.code == DHC_OK && i < names.n; i++) {
    char *path = join(folder, names.at[i]);
    if (path == NULL || !names_add(&p->paths, path)) {
      free(path);
      st = no_memory(64);
    } else {
      p->label[first + i] = label;
    }
  }
  names_free(&names);
  return st;
}

static dhc_status add_all(Pictures *p, const char *folder) {
  Names here = {NULL, 0, 0};
  dhc_status st = list(folder, true, &here);
  for (int64_t i = 0; st.code == DHC_OK && i < here.n; i++) {
    int64_t label = class_of(&p->classes, here.at[i]);
    char *path = join(folder, here.at[i]);
    st = path == NULL ? no_memory(64)
         : label < 0 ? dhc_status_make(DHC_E_INPUT, "%s: is a class that the training pictures lack", path)
                     : add_class(p, path, label);
    free(path);
  }
  names_free(&here);
  return st;
}

/* The headers of all pictures, looked at by several threads. */
typedef struct Measuring {
  const Pictures *p;
  pthread_mutex_t lock;
  int64_t channels;
  int64_t bad; /* the first that does not fit; n: none */
  dhc_status st;
} Measuring;

static dhc_status measure_one(const Pictures *p, int64_t i, int64_t *channels) {
  DhcPictureSize s;
  DHC_TRY(dhc_picture_size(p->paths.at[i], &s));
  *channels = s.channels > *channels ? s.channels : *channels;
  if (s.height != p->size.height || s.width != p->size.width) {
    return dhc_status_file(p->paths.at[i], "is %lldx%lld pixels, %s is %lldx%lld; all must be of one size", (long long)s.width,
                           (long long)s.height, p->paths.at[0], (long long)p->size.width, (long long)p->size.height);
  }
  return dhc_status_ok();
}

/* Up to the first that does not fit: so the first of all is among those that the parts find. */
static void measure_some(void *arg, int64_t begin, int64_t end, int worker) {
  Measuring *m = arg;
  int64_t channels = 0, bad = end;
  dhc_status st = dhc_status_ok();
  (void)worker;
  for (int64_t i = begin; i < end && st.code == DHC_OK; i++) {
    st = dhc_data_stopped();
    st = st.code == DHC_OK ? measure_one(m->p, i, &channels) : st;
    bad = st.code == DHC_OK ? end : i;
  }
  pthread_mutex_lock(&m->lock);
  m->channels = channels > m->channels ? channels : m->channels;
  if (st.code != DHC_OK && bad < m->bad) {
    m->bad = bad;
    m->st = st;
  }
  pthread_mutex_unlock(&m->lock);
}

/* Channels: 3 as soon as one has colours. */
static dhc_status measure(Pictures *p, const dhc_exec *exec) {
  DHC_TRY(dhc_picture_size(p->paths.at[0], &p->size));
  Measuring m = {.p = p, .bad = p->paths.n, .st = dhc_status_ok()};
  pthread_mutex_init(&m.lock, NULL);
  if (exec != NULL) {
    exec->parallel_for(exec->ctx, p->paths.n, measure_some, &m);
  } else {
    measure_some(&m, 0, p->paths.n, 0);
  }
  pthread_mutex_destroy(&m.lock);
  p->size.channels = m.channels;
  return m.st;
}

/* ---- reading --------------------------------------------------------------------------- */

static dhc_status read_one(const void *pictures, int64_t i, void *const *to) {
  const Pictures *p = pictures;
  return dhc_picture_read(p->paths.at[p->chosen[i]], p->size, to[0]);
}

/* Training pictures lie by class: they are mixed by an order that is always the same, so that what is held out of them
 * comes from all. */
static dhc_status take(DhcDataOwner *o, Pictures *p, const char *spec, DataRange range, bool mixed, const DhcDataOptions *options) {
  const int64_t shape[3] = {p->size.channels, p->size.height, p->size.width};
  void *labels = NULL;
  p->chosen = malloc((size_t)p->paths.n * sizeof *p->chosen);
  if (p->chosen == NULL) {
    return no_memory((size_t)p->paths.n * sizeof *p->chosen);
  }
  o->n_examples = range.end - range.begin;
  DHC_TRY(dhc_data_block(spec, options, o->n_examples, (int64_t)sizeof(int64_t), &labels));
  if (mixed) {
    dhc_data_permute(0, 0, p->paths.n, p->chosen);
  }
  for (int64_t i = 0; i < o->n_examples; i++) {
    p->chosen[i] = mixed ? p->chosen[range.begin + i] : range.begin + i;
    ((int64_t *)labels)[i] = p->label[p->chosen[i]];
  }
  dhc_data_add_read(o, "image", DHC_U8, 3, shape);
  dhc_data_add(o, "target", DHC_I64, 0, NULL, labels);
  o->reader = (DataReader){.ctx = p, .read = read_one, .close = pictures_free, .dear = true};
  return dhc_status_ok();
}

static dhc_status open_split(DhcDataOwner *o, Pictures *p, const char *spec, const char *folder, const char *train, bool own_val,
                             DhcSplit split, const DhcDataOptions *options) {
  DataRange range = {0, 0};
  DHC_TRY(list(train, true, &p->classes));
  if (p->classes.n == 0) {
    return dhc_status_make(DHC_E_INPUT, "%s: has no folders, one for each class", train);
  }
  DHC_TRY(add_all(p, folder));
  if (p->paths.n > 0) {
    DHC_TRY(measure(p, options->exec));
  }
  DHC_TRY(dhc_data_range(spec, split, own_val, options->n_val, p->paths.n, &range));
  DHC_TRY(take(o, p, spec, range, split == DHC_SPLIT_TRAIN || (split == DHC_SPLIT_VAL && !own_val), options));
  o->n_classes = p->classes.n;
  o->classes = p->classes.at; /* the data set's now */
  p->classes = (Names){NULL, 0, 0};
  return dhc_status_ok();
}

dhc_status dhc_data_open_images(DhcDataOwner *o, const char *spec, const char *path, DhcSplit split, const DhcDataOptions *options) {
  Pictures *p = calloc(1, sizeof *p);
  char *train = join(path, "train"), *val = join(path, "val"), *test = join(path, "test");
  bool own_val = is_folder(val), split_up = is_folder(train);
  const char *base = split_up ? train : path;
  const char *folder = split == DHC_SPLIT_TEST ? test : split == DHC_SPLIT_VAL && own_val ? val : base;
  dhc_status st = p == NULL || train == NULL || val == NULL || test == NULL ? no_memory(64) : dhc_status_ok();
  if (st.code == DHC_OK && split == DHC_SPLIT_TEST && !is_folder(test)) {
    st = dhc_status_make(DHC_E_INPUT, "%s: has no test pictures (a folder %s/test)", spec, path);
  }
  if (st.code == DHC_OK && (own_val || is_folder(test)) && !split_up) {
    st = dhc_status_make(DHC_E_INPUT, "%s: has no folder %s/train beside the others", spec, path);
  }
  if (st.code == DHC_OK) {
    st = open_split(o, p, spec, folder, base, own_val, split, options);
  }
  if (p != NULL && o->reader.ctx != p) {
    pictures_free(p);
  }
  free(train);
  free(val);
  free(test);
  return st;
}
