/* From reset to main: vectors, the floating-point unit, memory; and the three functions that an object needs. */
#include <stddef.h>
#include <stdint.h>

#include "board.h"

int main(void);

extern uint32_t data_begin[], data_end[], data_load[], bss_begin[], bss_end[], stack_top[];

/* Arm's semihosting: the debugger, here QEMU, does what register 0 asks for with what register 1 says. */
enum { WRITE_TEXT = 0x04, EXIT_WITH_STATUS = 0x20, STOPPED_BY_APPLICATION = 0x20026 };
static uintptr_t ask(uintptr_t what, const void *with) {
  register uintptr_t r0 __asm__("r0") = what;
  register const void *r1 __asm__("r1") = with;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void print(const char *text) { ask(WRITE_TEXT, text); }

static _Noreturn void stop(int status) {
  const uintptr_t why[2] = {STOPPED_BY_APPLICATION, (uintptr_t)status};
  ask(EXIT_WITH_STATUS, why);
  for (;;) {}
}

static void fault(void) {
  print("fault\n");
  stop(100);
}

_Noreturn void reset(void) {
  *(volatile uint32_t *)(uintptr_t)0xe000ed88 |= UINT32_C(0xf) << 20; /* CPACR: the floating-point unit for everybody */
  __asm__ volatile("dsb\nisb" ::: "memory");
  for (uint32_t *to = data_begin, *from = data_load; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_begin; to < bss_end;) *to++ = 0;
  stop(main());
}

typedef void (*Handler)(void);
__attribute__((used, section(".vectors"))) static const Handler vectors[16] = {
    (Handler)(uintptr_t)stack_top, (Handler)reset, fault, fault, fault, fault, fault};

void *memcpy(void *to, const void *from, size_t n) {
  for (size_t i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  if ((uintptr_t)to < (uintptr_t)from) return memcpy(to, from, n);
  while (n--) ((char *)to)[n] = ((const char *)from)[n];
  return to;
}

void *memset(void *to, int value, size_t n) {
  for (size_t i = 0; i < n; i++) ((char *)to)[i] = (char)value;
  return to;
}

/* The same under the names of Arm's run-time interface, whose memset has its last two parameters the other way round. */
void __aeabi_memcpy(void *to, const void *from, size_t n);
void __aeabi_memcpy4(void *to, const void *from, size_t n);
void __aeabi_memcpy8(void *to, const void *from, size_t n);
void __aeabi_memclr(void *to, size_t n);
void __aeabi_memclr4(void *to, size_t n);
void __aeabi_memclr8(void *to, size_t n);
void __aeabi_memcpy(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memcpy4(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memcpy8(void *to, const void *from, size_t n) { memcpy(to, from, n); }
void __aeabi_memclr(void *to, size_t n) { memset(to, 0, n); }
void __aeabi_memclr4(void *to, size_t n) { memset(to, 0, n); }
void __aeabi_memclr8(void *to, size_t n) { memset(to, 0, n); }
