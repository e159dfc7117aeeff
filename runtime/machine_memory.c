/* What the machine, or the part of it that this process was given, has in memory. Read without
 * allocating: it is asked where there may be none. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "runtime/budget.h"

enum { MAX_TEXT = 32768 };

/* As much of a file as there is room for, NUL-terminated; false where it cannot be read. */
static bool read_text(const char *root, const char *path, char *text, size_t size) {
  char full[PATH_MAX];
  int n = snprintf(full, sizeof full, "%s%s", root, path);
  int fd = n > 0 && (size_t)n < sizeof full ? open(full, O_RDONLY | O_CLOEXEC) : -1;
  size_t have = 0;
  while (fd >= 0 && have < size - 1) {
    ssize_t got = read(fd, text + have, size - 1 - have);
    if (got > 0) {
      have += (size_t)got;
    } else if (got == 0 || errno != EINTR) {
      break;
    }
  }
  if (fd >= 0) {
    close(fd);
  }
  text[have] = '\0';
  return fd >= 0;
}

/* A limit file's number; INT64_MAX for "max", nothing, and what is no limit (version 1 writes a
 * number that no machine has). */
static int64_t limit_in(const char *root, const char *folder, const char *name) {
  char path[PATH_MAX], text[64], *end;
  int n = snprintf(path, sizeof path, "%s/%s", folder, name);
  if (n < 0 || (size_t)n >= sizeof path || !read_text(root, path, text, sizeof text)) {
    return INT64_MAX;
  }
  errno = 0;
  long long bytes = strtoll(text, &end, 10);
  return end == text || errno != 0 || bytes < 1 ? INT64_MAX : (int64_t)bytes;
}

/* The least limit of a group and those above it. `mount`: where the hierarchy is; `group`: the
 * process's path in it, "/" or "/a/b". */
static int64_t least(const char *root, const char *mount, const char *group, const char *name) {
  char folder[PATH_MAX];
  int n = snprintf(folder, sizeof folder, "%s%s", mount, strcmp(group, "/") == 0 ? "" : group);
  if (n < 0 || (size_t)n >= sizeof folder) {
    return INT64_MAX;
  }
  int64_t bytes = INT64_MAX;
  for (size_t top = strlen(mount);;) {
    int64_t here = limit_in(root, folder, name);
    bytes = here < bytes ? here : bytes;
    char *slash = strrchr(folder, '/');
    if (strlen(folder) <= top || slash == NULL || (size_t)(slash - folder) < top) {
      return bytes;
    }
    *slash = '\0';
  }
}

/* Whether a comma-separated list has the word. */
static bool lists(const char *list, const char *word) {
  size_t n = strlen(word);
  for (const char *at = list; *at != '\0'; at += strcspn(at, ","), at += *at == ',') {
    if (strcspn(at, ",") == n && strncmp(at, word, n) == 0) {
      return true;
    }
  }
  return false;
}

/* The process's group in a hierarchy: lines "4:memory:/path", version 2 is "0::/path". */
static bool find_group(const char *cgroup, bool v2, char *group, size_t size) {
  for (const char *line = cgroup; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
    char names[256], path[PATH_MAX];
    names[0] = '\0';
    bool unnamed = sscanf(line, "0::%4095[^\n]", path) == 1;
    bool named = !unnamed && sscanf(line, "%*d:%255[^:]:%4095[^\n]", names, path) == 2;
    if (v2 ? !unnamed : !named || !lists(names, "memory")) {
      continue;
    }
    return snprintf(group, size, "%s", path) < (int)size;
  }
  return false;
}

/* Where a hierarchy is mounted, and which of its groups lies there:
 * "35 31 0:32 ROOT POINT rw … - cgroup cgroup rw,memory". */
static bool find_mount(const char *mounts, bool v2, char *point, char *top) {
  for (const char *line = mounts; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
    char type[32], options[512];
    size_t n = strcspn(line, "\n");
    const char *dash = memmem(line, n, " - ", 3);
    if (dash == NULL || sscanf(line, "%*d %*d %*s %4095s %4095s", top, point) != 2 ||
        sscanf(dash, " - %31s %*s %511s", type, options) != 2) {
      continue;
    }
    if (v2 ? strcmp(type, "cgroup2") == 0 : strcmp(type, "cgroup") == 0 && lists(options, "memory")) {
      return true;
    }
  }
  return false;
}

static int64_t group_limit(const char *root, const char *cgroup, const char *mounts, bool v2) {
  char group[PATH_MAX], point[PATH_MAX], top[PATH_MAX];
  if (!find_group(cgroup, v2, group, sizeof group) || !find_mount(mounts, v2, point, top)) {
    return INT64_MAX;
  }
  /* In a container the mount shows the subtree from `top` on, and the path may be the whole. */
  size_t n = strcmp(top, "/") == 0 ? 0 : strlen(top);
  bool below = n > 0 && strncmp(group, top, n) == 0 && (group[n] == '/' || group[n] == '\0');
  const char *inside = below ? group + n : group;
  return least(root, point, *inside != '\0' ? inside : "/", v2 ? "memory.max" : "memory.limit_in_bytes");
}

static int64_t physical(const char *root) {
  char text[4096];
  long long kib;
  if (read_text(root, "/proc/meminfo", text, sizeof text) && sscanf(text, "MemTotal: %lld kB", &kib) == 1 && kib > 0 &&
      kib < INT64_MAX / 1024) {
    return (int64_t)kib * 1024;
  }
  long pages = sysconf(_SC_PHYS_PAGES), each = sysconf(_SC_PAGESIZE);
  return pages > 0 && each > 0 ? (int64_t)pages * each : INT64_MAX;
}

int64_t dhc_machine_memory(const char *root) {
  char cgroup[MAX_TEXT], mounts[MAX_TEXT];
  int64_t bytes = physical(root);
  if (read_text(root, "/proc/self/cgroup", cgroup, sizeof cgroup) && read_text(root, "/proc/self/mountinfo", mounts, sizeof mounts)) {
    for (int v2 = 0; v2 < 2; v2++) {
      int64_t limit = group_limit(root, cgroup, mounts, v2 == 1);
      bytes = limit < bytes ? limit : bytes;
    }
  }
  static const int kinds[] = {RLIMIT_AS, RLIMIT_DATA};
  for (int i = 0; i < 2; i++) {
    struct rlimit r;
    if (getrlimit((__rlimit_resource_t)kinds[i], &r) == 0 && r.rlim_cur != RLIM_INFINITY && r.rlim_cur < (rlim_t)bytes) {
      bytes = (int64_t)r.rlim_cur;
    }
  }
  return bytes;
}
