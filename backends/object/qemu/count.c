/* A plugin of QEMU that counts the instructions of a program and, at its end, prints them: "instructions 1234". Debian's qemu-user takes
 * plugins and has no header for them, so what it needs of QEMU's interface (version 1, QEMU 4.2 to 8) stands here. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
enum { ADD_U64 = 0 };
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*of)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *at, uint64_t by);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*of)(qemu_plugin_id_t id, void *ctx), void *ctx);
void qemu_plugin_outs(const char *text);

__attribute__((visibility("default"))) extern int qemu_plugin_version;
int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *about, int n, char **arguments);

static uint64_t instructions;

/* A block is run to its end, unless an instruction of it faults: then the program ends. */
static void on_block(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD_U64, &instructions, qemu_plugin_tb_n_insns(tb));
}

static void on_end(qemu_plugin_id_t id, void *ctx) {
  char text[64];
  (void)id;
  (void)ctx;
  snprintf(text, sizeof text, "instructions %" PRIu64 "\n", instructions);
  qemu_plugin_outs(text);
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *about, int n, char **arguments) {
  (void)about;
  (void)n;
  (void)arguments;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
  qemu_plugin_register_atexit_cb(id, on_end, NULL);
  return 0;
}
