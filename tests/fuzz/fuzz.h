/* Shared by the fuzz targets: a folder of files for readers that take paths, texts as token
 * streams for the mutator, a place for output that nobody reads. */
#ifndef DHC_TESTS_FUZZ_H
#define DHC_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Writes a file into this process' own folder (in memory where /dev/shm is); its path lasts. */
const char *fuzz_file(const char *name, const void *bytes, size_t n);
const char *fuzz_folder(void);
FILE *fuzz_sink(void);
/* Fails the run, as a crash would, with what was expected. */
void fuzz_check(bool ok, const char *what);

/* Changes a text by whole words and lines, with words of its own and of `words` (NULL at the end);
 * returns the new length. Half of the time it leaves the work to libFuzzer's own mutations. */
size_t fuzz_mutate_text(uint8_t *data, size_t n, size_t max, unsigned seed, const char *const *words);

#endif
