#include "runtime/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/checkpoint.h"
#include "runtime/io.h"

static dhc_status lock(int fd, const char *path, const DhcWarn *warn) {
  int r;
  do {
    r = flock(fd, LOCK_EX | LOCK_NB);
  } while (r != 0 && errno == EINTR);
  if (r == 0) {
    return dhc_status_ok();
  }
  if (errno == EWOULDBLOCK) {
    return dhc_status_make(DHC_E_ENVIRONMENT, "%s: another process writes there", path);
  }
  dhc_warn(warn, DHC_WARN_WARNING, "%s: cannot be locked (%s): no other training may write there", path,
           strerror(errno));
  return dhc_status_ok();
}

dhc_status dhc_run_folder_open(const char *path, bool make, const DhcWarn *warn,
                               DhcRunFolder *out) {
  *out = (DhcRunFolder){.fd = -1};
  bool there = !make || access(path, F_OK) == 0;
  if (make) {
    DHC_TRY(dhc_file_make_folder(path));
  }
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    dhc_status s = dhc_status_errno(errno, "%s", path);
    s.code = errno == ENOENT || errno == ENOTDIR ? DHC_E_INPUT : s.code;
    return s;
  }
  dhc_status status = lock(fd, path, warn);
  char *copy = status.code == DHC_OK ? strdup(path) : NULL;
  if (status.code == DHC_OK && copy == NULL) {
    status = dhc_status_memory((long long)strlen(path) + 1, "a path");
  }
  if (status.code == DHC_OK && dhc_file_sweep_at(fd) < 0) {
    status = dhc_status_errno(errno, "%s", path);
  }
  if (status.code != DHC_OK) {
    free(copy);
    close(fd);
    return status;
  }
  *out = (DhcRunFolder){.path = copy, .fd = fd, .made = !there};
  return status;
}

void dhc_run_folder_close(DhcRunFolder *f) {
  if (f->made) {
    (void)rmdir(f->path); /* fails where something lies there */
  }
  if (f->fd >= 0) {
    close(f->fd);
  }
  free(f->path);
  *f = (DhcRunFolder){.fd = -1};
}

dhc_status dhc_run_id_draw(char id[DHC_RUN_ID_CHARS]) {
  unsigned char raw[(DHC_RUN_ID_CHARS - 1) / 2];
  size_t n = 0;
  while (n < sizeof raw) {
    ssize_t k = getrandom(raw + n, sizeof raw - n, 0);
    if (k < 0 && errno != EINTR) {
      return dhc_status_errno(errno, "no random bits for the run's id");
    }
    n += k > 0 ? (size_t)k : 0;
  }
  for (size_t i = 0; i < sizeof raw; i++) {
    snprintf(id + 2 * i, 3, "%02x", raw[i]);
  }
  return dhc_status_ok();
}

dhc_status dhc_run_folder_used(const char *path, bool *used, char name[DHC_RUN_FILE_CHARS]) {
  static const char *const files[] = {"config.json", "metrics.csv", "metrics.jsonl", "best.safetensors",
                                      "last.safetensors"};
  int64_t newest;
  *used = true;
  DHC_TRY(dhc_checkpoint_newest(path, &newest));
  if (newest >= 0) {
    snprintf(name, DHC_RUN_FILE_CHARS, "checkpoint-%09lld.safetensors", (long long)newest);
    return dhc_status_ok();
  }
  *used = false;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return errno == ENOENT || errno == ENOTDIR ? dhc_status_ok() : dhc_status_errno(errno, "%s", path);
  }
  for (size_t i = 0; !*used && i < sizeof files / sizeof files[0]; i++) {
    struct stat st;
    *used = fstatat(fd, files[i], &st, AT_SYMLINK_NOFOLLOW) == 0;
    snprintf(name, DHC_RUN_FILE_CHARS, "%s", files[i]);
  }
  close(fd);
  return dhc_status_ok();
}

dhc_status dhc_run_folder_of_run(const char *path) {
  char name[4096];
  int n = snprintf(name, sizeof name, "%s/sweep.json", path);
  if (n < 0 || (size_t)n >= sizeof name || access(name, F_OK) != 0) {
    return dhc_status_ok();
  }
  return dhc_status_make(DHC_E_INPUT, "%s: holds a sweep (sweep.json); a run needs a folder of its own", path);
}

dhc_status dhc_run_folder_of_sweep(const char *path) {
  char name[DHC_RUN_FILE_CHARS];
  bool used;
  DHC_TRY(dhc_run_folder_used(path, &used, name));
  return used ? dhc_status_make(DHC_E_INPUT, "%s: holds a run (%s); a sweep needs a folder of its own", path, name) : dhc_status_ok();
}
