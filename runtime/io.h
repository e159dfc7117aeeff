/* Files: whole-file mapping that refuses what is no regular file, and writing
 * that leaves either the old file or the new one, whole, whatever happens. */
#ifndef DHC_RUNTIME_IO_H
#define DHC_RUNTIME_IO_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

/* A read-only view of a file's bytes. */
typedef struct DhcMapping {
  const uint8_t *bytes; /* NULL if n_bytes is 0 */
  size_t n_bytes;
} DhcMapping;
/* Never blocks on a FIFO or device: anything but a regular file is refused.
 * Links are followed (the user named the path). Errors: DHC_E_INPUT for a path
 * that is missing or no regular file, else DHC_E_ENVIRONMENT. */
dhc_status dhc_map_open(const char *path, DhcMapping *out) DHC_MUST_USE;
void dhc_map_close(DhcMapping *map);
/* From here on a file that gets shorter while it is mapped ends the process with a line that names it and DHC_E_ENVIRONMENT,
 * in place of a SIGBUS. For commands: a library leaves signals to its program. */
void dhc_map_watch(void);
/* Up to `most` bytes of the same files into memory that the caller frees: for small files that are read once. */
dhc_status dhc_file_read(const char *path, size_t most, uint8_t **bytes, size_t *n_bytes) DHC_MUST_USE;
/* A descriptor that is none of 0, 1 and 2, which belong to whoever prints: fd itself, or a
 * duplicate that takes its place; -1 and errno if there is none. */
int dhc_fd_above_standard(int fd);

/* A file being written: a locked temporary in the same folder, named
 * ".NAME.dhc-tmp-PID-N", which commit renames onto the path. */
typedef struct DhcFileWriter {
  int fd, dir_fd;
  char *path; /* as given, for messages */
  char *name; /* within the folder */
  char *temp_name;  /* within the folder */
  int64_t n_written;
  bool fast;        /* set after begin: commit without fsync, for what can be rebuilt */
} DhcFileWriter;
/* On failure nothing is left to close. Overwriting something that is no regular
 * file is refused. */
dhc_status dhc_file_begin(const char *path, DhcFileWriter *out) DHC_MUST_USE;
/* The same for a file of an open folder; path is what messages call it, mode the
 * new file's permissions before the umask. dir_fd stays the caller's. */
dhc_status dhc_file_begin_at(int dir_fd, const char *name, const char *path, unsigned mode,
                             DhcFileWriter *out) DHC_MUST_USE;
/* Writes all bytes (short writes and EINTR are handled). After an error call
 * dhc_file_abort. */
dhc_status dhc_file_write(DhcFileWriter *w, const void *bytes, size_t n_bytes) DHC_MUST_USE;
/* Overwrites bytes already written, at an offset. */
dhc_status dhc_file_patch(DhcFileWriter *w, int64_t offset, const void *bytes,
                          size_t n_bytes) DHC_MUST_USE;
/* fsync, rename, fsync of the folder. Frees w in either case; on failure the
 * temporary is gone and the old file as it was. */
dhc_status dhc_file_commit(DhcFileWriter *w) DHC_MUST_USE;
void dhc_file_abort(DhcFileWriter *w);
/* begin, write, commit. */
dhc_status dhc_file_replace(const char *path, const void *bytes, size_t n_bytes) DHC_MUST_USE;
/* Removes temporaries that a killed process left in a folder. One that a live
 * writer holds is kept (it is locked). Returns how many were removed; < 0 with errno: the
 * folder cannot be listed (0 where it cannot even be opened). */
int dhc_file_sweep(const char *folder);
int dhc_file_sweep_at(int dir_fd);
/* Makes a folder and its missing parents (mode 0777 less the umask). */
dhc_status dhc_file_make_folder(const char *path) DHC_MUST_USE;

#endif
