#include "runtime/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char temp_mark[] = ".dhc-tmp-";

/* ---- reading --------------------------------------------------------------- */

/* What stands at a path instead of a regular file. */
static const char *kind_of(mode_t mode) {
  return S_ISDIR(mode)    ? "is a folder"
         : S_ISFIFO(mode) ? "is a named pipe"
         : S_ISSOCK(mode) ? "is a socket"
         : S_ISCHR(mode) || S_ISBLK(mode) ? "is a device"
                                           : "is no regular file";
}

/* The failure to open a file that is to be read. */
static dhc_status unopened(int err, const char *path) {
  struct stat st;
  bool link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
  if (err == ENOENT && link) {
    return dhc_status_make(DHC_E_INPUT, "%s: is a link to nothing", path);
  }
  if (err == ENXIO) { /* a socket, a device that is not there */
    return dhc_status_make(DHC_E_INPUT, "%s: %s", path,
                           stat(path, &st) == 0 ? kind_of(st.st_mode) : "is no regular file");
  }
  dhc_status s = dhc_status_errno(err, "%s", path);
  s.code = err == ENOENT || err == ENOTDIR || err == ELOOP ? DHC_E_INPUT : s.code;
  return s;
}

int dhc_fd_above_standard(int fd) {
  if (fd < 0 || fd > 2) {
    return fd;
  }
  int above = fcntl(fd, F_DUPFD_CLOEXEC, 3), err = errno;
  close(fd);
  errno = err;
  return above;
}

/* *fd is open where the status is ok. */
static dhc_status open_regular(const char *path, int *out, size_t *n_bytes) {
  int fd;
  do { /* O_NONBLOCK: opening a FIFO must not wait for a writer */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    return unopened(errno, path);
  }
  struct stat st;
  dhc_status status = dhc_status_ok();
  if (fstat(fd, &st) != 0) {
    status = dhc_status_errno(errno, "%s", path);
  } else if (!S_ISREG(st.st_mode)) {
    status = dhc_status_make(DHC_E_INPUT, "%s: %s, no regular file", path, kind_of(st.st_mode));
  }
  if (status.code != DHC_OK) {
    close(fd);
  } else {
    *n_bytes = (size_t)st.st_size;
    *out = fd;
  }
  return status;
}

dhc_status dhc_file_read(const char *path, size_t most, uint8_t **bytes, size_t *n_bytes) {
  int fd = -1;
  size_t size = 0, got = 0;
  DHC_TRY(open_regular(path, &fd, &size));
  size = size < most ? size : most;
  dhc_status status = dhc_status_ok();
  uint8_t *to = malloc(size + 1);
  if (to == NULL) {
    status = dhc_status_memory((long long)size, path);
  }
  while (status.code == DHC_OK && got < size) {
    ssize_t n = read(fd, to + got, size - got);
    if (n < 0 && errno != EINTR) {
      status = dhc_status_errno(errno, "%s", path);
    } else if (n == 0) {
      break; /* somebody cuts the file meanwhile */
    }
    got += n > 0 ? (size_t)n : 0;
  }
  close(fd);
  if (status.code != DHC_OK) {
    free(to);
    return status;
  }
  *bytes = to;
  *n_bytes = got;
  return status;
}

/* ---- mappings whose file gets shorter ------------------------------------------ */

/* Files that are mapped, for a signal's handler: so of fixed size, and never freed. What has no place here ends without its name. */
static struct {
  _Atomic(const uint8_t *) bytes; /* NULL: free, or being written */
  size_t n_bytes;
  char path[512];
} mapped[64];
static pthread_mutex_t mapped_lock = PTHREAD_MUTEX_INITIALIZER;
enum { N_MAPPED = sizeof mapped / sizeof mapped[0] };

static void map_enter(const char *path, const DhcMapping *map) {
  pthread_mutex_lock(&mapped_lock);
  for (int i = 0; i < N_MAPPED; i++) {
    if (atomic_load(&mapped[i].bytes) == NULL) {
      mapped[i].n_bytes = map->n_bytes;
      snprintf(mapped[i].path, sizeof mapped[i].path, "%s", path);
      atomic_store(&mapped[i].bytes, map->bytes);
      break;
    }
  }
  pthread_mutex_unlock(&mapped_lock);
}

static void map_leave(const DhcMapping *map) {
  pthread_mutex_lock(&mapped_lock);
  for (int i = 0; i < N_MAPPED; i++) {
    if (atomic_load(&mapped[i].bytes) == map->bytes) {
      atomic_store(&mapped[i].bytes, NULL);
    }
  }
  pthread_mutex_unlock(&mapped_lock);
}

static void say(const char *text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) {
    _exit(DHC_E_ENVIRONMENT);
  }
}

/* A page of a mapping is no longer there. Elsewhere the access that is done again ends the process, as without a handler. */
static void on_lost_page(int signal_number, siginfo_t *info, void *context) {
  static atomic_flag said = ATOMIC_FLAG_INIT;
  (void)context;
  for (int i = 0; i < N_MAPPED; i++) {
    const uint8_t *from = atomic_load(&mapped[i].bytes);
    if (from != NULL && (uintptr_t)info->si_addr - (uintptr_t)from < mapped[i].n_bytes) {
      while (atomic_flag_test_and_set(&said)) {
        pause(); /* another thread met it, too, and ends the process */
      }
      say(mapped[i].path);
      say(": error: was cut short, or its disk failed, while it was read\n");
      _exit(DHC_E_ENVIRONMENT);
    }
  }
  signal(signal_number, SIG_DFL);
}

void dhc_map_watch(void) {
  struct sigaction action = {.sa_flags = SA_SIGINFO};
  action.sa_sigaction = on_lost_page;
  sigemptyset(&action.sa_mask);
  (void)sigaction(SIGBUS, &action, NULL);
}

dhc_status dhc_map_open(const char *path, DhcMapping *out) {
  int fd = -1;
  DhcMapping map = {.bytes = NULL, .n_bytes = 0};
  dhc_status status = open_regular(path, &fd, &map.n_bytes);
  if (status.code != DHC_OK) {
    return status;
  }
  if (map.n_bytes > 0) {
    void *p = mmap(NULL, map.n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
      status = dhc_status_errno(errno, "%s", path);
    } else {
      map.bytes = p;
      map_enter(path, &map);
    }
  }
  close(fd);
  if (status.code == DHC_OK) {
    *out = map;
  }
  return status;
}

void dhc_map_close(DhcMapping *map) {
  if (map->bytes != NULL) {
    map_leave(map);
    munmap((void *)(uintptr_t)map->bytes, map->n_bytes);
  }
  map->bytes = NULL;
  map->n_bytes = 0;
}

/* ---- writing --------------------------------------------------------------- */

static void writer_free(DhcFileWriter *w) {
  if (w->fd >= 0) {
    close(w->fd);
  }
  if (w->dir_fd >= 0) {
    close(w->dir_fd);
  }
  free(w->path);
  free(w->name);
  free(w->temp_name);
  *w = (DhcFileWriter){.fd = -1, .dir_fd = -1};
}

/* A fresh temporary, locked for as long as its writer lives. */
static int create_temporary(DhcFileWriter *w, unsigned mode) {
  size_t room = strlen(w->name) + sizeof temp_mark + 40;
  w->temp_name = malloc(room);
  if (w->temp_name == NULL) {
    errno = ENOMEM;
    return -1;
  }
  for (int attempt = 0; attempt < 1000; attempt++) {
    snprintf(w->temp_name, room, ".%s%s%ld-%d", w->name, temp_mark, (long)getpid(), attempt);
    int fd = openat(w->dir_fd, w->temp_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                    (mode_t)mode);
    fd = dhc_fd_above_standard(fd);
    if (fd >= 0) {
      /* A file system without locks loses only the sweep's protection. */
      (void)flock(fd, LOCK_EX | LOCK_NB);
      return fd;
    }
    if (errno != EEXIST && errno != EINTR) {
      return -1;
    }
  }
  errno = EEXIST;
  return -1;
}

dhc_status dhc_file_begin_at(int dir_fd, const char *name, const char *path, unsigned mode,
                             DhcFileWriter *out) {
  /* A descriptor of its own serves every later step, so a folder that is moved
   * meanwhile cannot split them. */
  DhcFileWriter w = {.fd = -1, .dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0)};
  struct stat st;
  dhc_status status = dhc_status_ok();
  w.path = strdup(path);
  w.name = strdup(name);
  if (w.path == NULL || w.name == NULL) {
    status = dhc_status_memory((long long)strlen(path) + 1, "a path");
  } else if (w.dir_fd < 0) {
    status = dhc_status_errno(errno, "%s", path);
  } else if (fstatat(w.dir_fd, name, &st, 0) == 0 && !S_ISREG(st.st_mode)) {
    status = dhc_status_make(DHC_E_ENVIRONMENT, "%s: exists and is no regular file", path);
  } else if ((w.fd = create_temporary(&w, mode)) < 0) {
    status = dhc_status_errno(errno, "%s", path);
  }
  if (status.code != DHC_OK) {
    writer_free(&w);
    return status;
  }
  *out = w;
  return status;
}

dhc_status dhc_file_begin(const char *path, DhcFileWriter *out) {
  const char *slash = strrchr(path, '/');
  const char *name = slash != NULL ? slash + 1 : path;
  if (*name == '\0') {
    return dhc_status_make(DHC_E_USAGE, "'%s' names no file", path);
  }
  char *folder = slash != NULL ? strndup(path, (size_t)(name - path)) : strdup(".");
  if (folder == NULL) {
    return dhc_status_memory((long long)strlen(path) + 1, "a path");
  }
  int dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  dhc_status status = dir_fd < 0 ? dhc_status_errno(errno, "%s", path)
                                 : dhc_file_begin_at(dir_fd, name, path, 0666, out);
  if (dir_fd >= 0) {
    close(dir_fd);
  }
  free(folder);
  return status;
}

dhc_status dhc_file_write(DhcFileWriter *w, const void *bytes, size_t n_bytes) {
  const char *p = bytes;
  while (n_bytes > 0) {
    ssize_t n = write(w->fd, p, n_bytes);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return dhc_status_errno(n < 0 ? errno : EIO, "%s", w->path);
    }
    p += n;
    n_bytes -= (size_t)n;
    w->n_written += n;
  }
  return dhc_status_ok();
}

dhc_status dhc_file_patch(DhcFileWriter *w, int64_t offset, const void *bytes, size_t n_bytes) {
  const char *p = bytes;
  while (n_bytes > 0) {
    ssize_t n = pwrite(w->fd, p, n_bytes, (off_t)offset);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return dhc_status_errno(n < 0 ? errno : EIO, "%s", w->path);
    }
    p += n;
    offset += n;
    n_bytes -= (size_t)n;
  }
  return dhc_status_ok();
}

static int sync_fd(int fd) {
  int r;
  do {
    r = fsync(fd);
  } while (r != 0 && errno == EINTR);
  return r;
}

dhc_status dhc_file_commit(DhcFileWriter *w) {
  if ((!w->fast && sync_fd(w->fd) != 0) ||
      renameat(w->dir_fd, w->temp_name, w->dir_fd, w->name) != 0) {
    dhc_status status = dhc_status_errno(errno, "%s", w->path);
    dhc_file_abort(w);
    return status;
  }
  /* The new file is in place; that a folder cannot be synced (some network file
   * systems) is an error only where it says that data was lost. */
  dhc_status status = dhc_status_ok();
  if (!w->fast && sync_fd(w->dir_fd) != 0 && errno != EINVAL && errno != ENOTSUP) {
    status = dhc_status_errno(errno, "%s", w->path);
  }
  writer_free(w);
  return status;
}

void dhc_file_abort(DhcFileWriter *w) {
  if (w->fd >= 0) {
    unlinkat(w->dir_fd, w->temp_name, 0);
  }
  writer_free(w);
}

dhc_status dhc_file_replace(const char *path, const void *bytes, size_t n_bytes) {
  DhcFileWriter w;
  DHC_TRY(dhc_file_begin(path, &w));
  dhc_status status = dhc_file_write(&w, bytes, n_bytes);
  if (status.code != DHC_OK) {
    dhc_file_abort(&w);
    return status;
  }
  return dhc_file_commit(&w);
}

/* ---- folders --------------------------------------------------------------- */

int dhc_file_sweep(const char *folder) {
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int n = fd >= 0 ? dhc_file_sweep_at(fd) : 0;
  if (fd >= 0) {
    close(fd);
  }
  return n;
}

int dhc_file_sweep_at(int dir_fd) {
  /* A descriptor of its own: reading a folder moves its offset. */
  int own = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = own >= 0 ? fdopendir(own) : NULL;
  if (dir == NULL) {
    int err = errno;
    if (own >= 0) {
      close(own);
    }
    errno = err;
    return -1;
  }
  int n_removed = 0;
  for (struct dirent *e; (e = readdir(dir)) != NULL;) {
    if (e->d_name[0] != '.' || strstr(e->d_name, temp_mark) == NULL) {
      continue;
    }
    int fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
      continue;
    }
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
        unlinkat(dirfd(dir), e->d_name, 0) == 0) {
      n_removed++;
    }
    close(fd);
  }
  closedir(dir);
  return n_removed;
}

/* The folder in which `path` has just been made keeps its name through a crash. */
static dhc_status sync_parent(const char *path) {
  const char *slash = strrchr(path, '/');
  char *parent = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
  if (parent == NULL) {
    return dhc_status_memory((long long)strlen(path) + 1, "a path");
  }
  int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  free(parent);
  if (fd < 0) {
    return dhc_status_ok(); /* may be entered, not read: nothing to be done about it */
  }
  bool lost = sync_fd(fd) != 0 && errno != EINVAL && errno != ENOTSUP;
  dhc_status status = lost ? dhc_status_errno(errno, "%s", path) : dhc_status_ok();
  close(fd);
  return status;
}

dhc_status dhc_file_make_folder(const char *path) {
  char copy[PATH_MAX];
  size_t n = strlen(path);
  if (n >= sizeof copy) {
    return dhc_status_errno(ENAMETOOLONG, "%s", path);
  }
  memcpy(copy, path, n + 1);
  dhc_status status = dhc_status_ok();
  for (size_t i = 1; i <= n && status.code == DHC_OK; i++) {
    if (copy[i] != '/' && copy[i] != '\0') {
      continue;
    }
    char saved = copy[i];
    struct stat st;
    copy[i] = '\0';
    if (mkdir(copy, 0777) != 0) { /* what mkdir says is the cause, whatever stat says after it */
      int err = errno == EEXIST ? ENOTDIR : errno;
      if (stat(copy, &st) != 0 || !S_ISDIR(st.st_mode)) {
        status = dhc_status_errno(err, "%s", path);
      }
    } else {
      status = sync_parent(copy);
    }
    copy[i] = saved;
  }
  return status;
}
