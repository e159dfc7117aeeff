#include "frontend/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Places ----------------------------------------------------------------------- */

static const char *canonical(DhcArena *arena, const char *folder) {
  char real[PATH_MAX];
  return dhc_arena_strdup(arena, realpath(folder, real) ? real : folder);
}

static const char *join(DhcArena *arena, const char *folder, const char *rel) {
  size_t n = strlen(folder);
  if (n == 0 || strcmp(folder, ".") == 0) return dhc_arena_strdup(arena, rel);
  return dhc_arena_printf(arena, folder[n - 1] == '/' ? "%s%s" : "%s/%s", folder, rel);
}

static DhcPlace place_in(DhcArena *arena, const char *folder, const char *canonical_folder,
                         const char *rel, bool is_shipped) {
  DhcPlace p = {.folder = folder,
                .canonical_folder = canonical_folder,
                .rel = rel,
                .name = join(arena, folder, rel),
                .path = join(arena, canonical_folder, rel),
                .is_shipped = is_shipped};
  return p;
}

DhcPlace dhc_place_of_model(DhcArena *arena, const char *path) {
  const char *slash = strrchr(path, '/');
  const char *folder = !slash           ? "."
                       : slash == path ? "/"
                                        : dhc_arena_strndup(arena, path, (size_t)(slash - path));
  const char *rel = dhc_arena_strdup(arena, slash ? slash + 1 : path);
  DhcPlace p = place_in(arena, folder, canonical(arena, folder), rel, false);
  p.name = dhc_arena_strdup(arena, path);
  return p;
}

DhcPlace dhc_place_of_shipped(DhcArena *arena, const char *root, const char *name) {
  return place_in(arena, dhc_arena_strdup(arena, root), canonical(arena, root),
                  dhc_arena_printf(arena, "%s.dhc", name), true);
}

bool dhc_place_of_import(DhcArena *arena, const DhcPlace *from, const char *text, DhcPlace *out) {
  if (text[0] == '/' || text[0] == 0) return false;
  DhcText rel = {.arena = arena};
  const char *slash = strrchr(from->rel, '/');
  if (slash) dhc_text_puts(&rel, dhc_arena_strndup(arena, from->rel, (size_t)(slash - from->rel)));
  for (const char *s = text; *s;) {
    size_t n = strcspn(s, "/");
    if (n == 2 && s[0] == '.' && s[1] == '.') return false;
    if (n > 0 && !(n == 1 && s[0] == '.')) {
      if (rel.n > 0) dhc_text_puts(&rel, "/");
      dhc_text_puts(&rel, dhc_arena_strndup(arena, s, n));
    }
    s += n;
    while (*s == '/') s++;
  }
  *out = place_in(arena, from->folder, from->canonical_folder, dhc_text_str(&rel),
                  from->is_shipped);
  return true;
}

/* ---- Reading ------------------------------------------------------------------------ */

/* Opens rel below the folder, one component at a time, so that a link anywhere on the
 * way is seen. Returns a descriptor or -1. */
static int open_without_links(DhcArena *arena, const DhcPlace *place, DhcReadError *error) {
  char *rest = dhc_arena_strdup(arena, place->rel);
  int dir = open(place->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  while (dir >= 0) {
    char *slash = strchr(rest, '/');
    if (slash) *slash = 0;
    struct stat st;
    bool is_link = fstatat(dir, rest, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (slash ? O_DIRECTORY : 0);
    int next = is_link ? -1 : openat(dir, rest, flags);
    int saved = errno;
    close(dir);
    errno = saved;
    if (next < 0 && (is_link || saved == ELOOP)) *error = DHC_READ_LINK;
    if (next < 0 || !slash) return next;
    dir = next;
    rest = slash + 1;
  }
  return -1;
}

static DhcReadError read_all(int fd, char *buffer, size_t n_bytes, size_t *n_read) {
  *n_read = 0;
  while (*n_read < n_bytes) {
    ssize_t n = read(fd, buffer + *n_read, n_bytes - *n_read);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DHC_READ_SYSTEM;
    *n_read += (size_t)n;
  }
  return DHC_READ_OK;
}

static void close_file(void *fd) { close(*(int *)fd); }

static const struct DhcPackedText *packed(const DhcPlace *place, const DhcTexts *texts) {
  size_t n = texts ? strlen(texts->prefix) : 0;
  if (!n || strncmp(place->name, texts->prefix, n) || place->name[n] != '/') return NULL;
  for (int i = 0; i < texts->n; i++)
    if (!strcmp(texts->at[i].name, place->name + n + 1)) return &texts->at[i];
  return NULL;
}

DhcReadError dhc_place_read(DhcArena *arena, const DhcPlace *place, const DhcTexts *texts, bool refuse_links,
                            const char **text, size_t *n_bytes) {
  const struct DhcPackedText *in = packed(place, texts);
  if (in) {
    *text = in->text;
    *n_bytes = in->n_bytes;
    return in->n_bytes > DHC_AST_MAX_SOURCE_BYTES ? DHC_READ_SIZE : DHC_READ_OK;
  }
  DhcReadError error = DHC_READ_SYSTEM;
  int fd = refuse_links ? open_without_links(arena, place, &error)
                        : open(place->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return error;
  struct stat st;
  if (fstat(fd, &st) != 0)
    error = DHC_READ_SYSTEM;
  else if (!S_ISREG(st.st_mode))
    error = DHC_READ_KIND;
  else if (refuse_links && st.st_nlink > 1)
    error = DHC_READ_LINK;
  else if (st.st_size > (off_t)DHC_AST_MAX_SOURCE_BYTES)
    error = DHC_READ_SIZE;
  else {
    DhcHeld held;
    dhc_hold(&held, close_file, &fd);
    char *buffer = dhc_arena_alloc(arena, (size_t)st.st_size + 1);
    dhc_release(&held);
    error = read_all(fd, buffer, (size_t)st.st_size, n_bytes);
    *text = buffer;
  }
  int saved = errno;
  close(fd);
  errno = saved;
  return error;
}

bool dhc_place_exists(const DhcPlace *place, const DhcTexts *texts) {
  struct stat st;
  return packed(place, texts) || (stat(place->name, &st) == 0 && S_ISREG(st.st_mode));
}
