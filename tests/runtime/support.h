/* What the runtime's tests share: cmocka, temporary folders, whole files, and
 * the treatment of small files that damages every byte. */
#ifndef DHC_TESTS_RUNTIME_SUPPORT_H
#define DHC_TESTS_RUNTIME_SUPPORT_H

/* clang-format off: cmocka needs these first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* clang-format on */
#include <cmocka.h>

#include "runtime/runtime.h"

/* A fresh folder below $TMPDIR; removed with everything in it by drop. */
void support_folder(char path[256]);
void support_drop(const char *path);
/* folder/name into path; returns path. */
char *support_join(char path[512], const char *folder, const char *name);
void support_write(const char *path, const void *bytes, size_t n);
/* The examples of a field one after the other, malloc'd; read one by one, from the last to the first. */
void *support_column(const DhcDataset *d, const char *name);
/* malloc'd contents. */
uint8_t *support_read(const char *path, size_t *n);

/* Calls try(ctx, bytes, n) on every truncation of the bytes and with every byte
 * replaced by up to 16 other values, one for each bit among them; returns how many calls said it was accepted.
 * The bytes handed over are a block of their own, so sanitizers see every stray
 * read. */
typedef int (*SupportTry)(void *ctx, const uint8_t *bytes, size_t n);
long support_damage(const uint8_t *bytes, size_t n, SupportTry try, void *ctx);

#define assert_ok(expr)                                       \
  do {                                                        \
    dhc_status status_ = (expr);                              \
    if (status_.code != DHC_OK) {                             \
      print_error("%s\n", status_.message);                   \
    }                                                         \
    assert_int_equal(status_.code, DHC_OK);                   \
  } while (0)
#define assert_fails(expr, wanted_code, wanted_message)       \
  do {                                                        \
    dhc_status status_ = (expr);                              \
    assert_string_equal(status_.message, wanted_message);     \
    assert_int_equal(status_.code, wanted_code);              \
  } while (0)

#endif
