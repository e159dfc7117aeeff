/* What a cubin says of its kernels: registers and stack of a thread. A cubin is a 64-bit ELF file; section .text.NAME names
 * the kernel's symbol in the low 24 bits of sh_info, and section .nv.info is a list of attributes, each a format, a kind, a
 * length of two bytes and so many bytes: of a symbol and a number where it is about a kernel. */
#include <stdint.h>
#include <string.h>

#include "backends/cuda/object.h"

enum {
  FORMAT_SIZED = 4, ATTRIBUTE_REGISTERS = 0x2f, ATTRIBUTE_STACK = 0x12,
  AT_SECTIONS = 0x28, AT_SECTION_SIZE = 0x3a, AT_SECTION_COUNT = 0x3c, AT_NAMES = 0x3e, /* of the file's header */
  AT_NAME = 0, AT_OFFSET = 24, AT_SIZE = 32, AT_INFO = 44                               /* of a section's */
};

typedef struct Elf {
  const char *at;
  size_t n;
} Elf;

static uint64_t number(const Elf *e, uint64_t at, int bytes) {
  uint64_t v = 0;
  if (at > e->n || e->n - at < (size_t)bytes) return 0;
  for (int i = bytes - 1; i >= 0; i--) v = v << 8 | (unsigned char)e->at[at + (uint64_t)i];
  return v;
}

static uint64_t section(const Elf *e, uint64_t i) { return number(e, AT_SECTIONS, 8) + i * number(e, AT_SECTION_SIZE, 2); }

/* Where its header lies; 0: there is none. */
static uint64_t find_section(const Elf *e, const char *prefix, const char *name) {
  uint64_t names = number(e, section(e, number(e, AT_NAMES, 2)) + AT_OFFSET, 8);
  size_t before = strlen(prefix), length = before + strlen(name) + 1;
  for (uint64_t i = 0; i < number(e, AT_SECTION_COUNT, 2); i++) {
    uint64_t at = names + number(e, section(e, i) + AT_NAME, 4);
    if (at > e->n || e->n - at < length) continue;
    if (!memcmp(e->at + at, prefix, before) && !strcmp(e->at + at + before, name)) return section(e, i);
  }
  return 0;
}

bool dhc_cuda_cubin_use(const char *cubin, size_t n, const char *kernel, int *registers, int *stack) {
  Elf e = {cubin, n};
  uint64_t text = find_section(&e, ".text.", kernel), info = find_section(&e, ".nv.info", "");
  if (!text || !info) return false;
  uint64_t symbol = number(&e, text + AT_INFO, 4) & 0xffffff;
  uint64_t at = number(&e, info + AT_OFFSET, 8), end = at + number(&e, info + AT_SIZE, 8);
  *registers = *stack = -1;
  while (at + 4 <= end && end <= n) {
    uint64_t format = number(&e, at, 1), kind = number(&e, at + 1, 1), size = number(&e, at + 2, 2);
    if (format == FORMAT_SIZED && size == 8 && number(&e, at + 4, 4) == symbol) {
      if (kind == ATTRIBUTE_REGISTERS) *registers = (int)number(&e, at + 8, 4);
      if (kind == ATTRIBUTE_STACK) *stack = (int)number(&e, at + 8, 4);
    }
    at += 4 + (format == FORMAT_SIZED ? size : 0);
  }
  return *registers >= 0 && *stack >= 0;
}
