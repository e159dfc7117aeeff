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

/* A file being written: a locked temporary in the same folder, named
 * ".NAME.dhc-tmp-PID-N", which commit renames onto the path. */
typedef struct DhcFileWriter {
  int fd, dir_fd;
  char *path;       /* as given, for messages */
  const char *name; /* last component, into path */
  char *temp_name;  /* within the folder */
  int64_t n_written;
} DhcFileWriter;
/* On failure nothing is left to close. Overwriting something that is no regular
 * file is refused. */
dhc_status dhc_file_begin(const char *path, DhcFileWriter *out) DHC_MUST_USE;
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
 * writer holds is kept (it is locked). Returns how many were removed; a folder
 * that cannot be read has none. */
int dhc_file_sweep(const char *folder);
/* Makes a folder and its missing parents (mode 0777 less the umask). */
dhc_status dhc_file_make_folder(const char *path) DHC_MUST_USE;

#endif
