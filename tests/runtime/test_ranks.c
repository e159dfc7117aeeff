/* Ranks without a device: what they exchange, and what is said where one goes wrong. Ranks are processes of this test, which
 * leave by _exit. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/ranks.h"
#include "tests/runtime/support.h"

/* ---- calls that fail ------------------------------------------------------------------------ */

static int fail_socketpair, fail_thread; /* the call of this number, from 1; 0: none */

int __real_socketpair(int domain, int type, int protocol, int fd[2]);
int __wrap_socketpair(int domain, int type, int protocol, int fd[2]);
int __wrap_socketpair(int domain, int type, int protocol, int fd[2]) {
  if (fail_socketpair && !--fail_socketpair) return errno = EMFILE, -1;
  return __real_socketpair(domain, type, protocol, fd);
}

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg) {
  return fail_thread && !--fail_thread ? EAGAIN : __real_pthread_create(t, a, f, arg);
}

/* ---- processes of this one -------------------------------------------------------------------- */

typedef void Work(DhcRanks *r, int rank);

/* What n ranks that do `work` end with. */
static dhc_status run(int n, int timeout, Work *work, int *rc) {
  DhcRanks *r = NULL;
  pid_t me = getpid();
  dhc_status st = dhc_ranks_fork(n, timeout, &r, rc);
  if (r) {
    work(r, dhc_ranks_number(r));
    dhc_ranks_close(r, NULL);
    _exit(0);
  }
  if (getpid() != me) _exit(strstr(st.message, "a rank's thread: ") ? 9 : 8);
  assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* none is left */
  return st;
}

static void sums(DhcRanks *r, int rank) {
  for (int k = 0; k < 200; k++) {
    int mine = rank * 1000 + k, all[4], sum = 0;
    if (dhc_ranks_exchange(r, &mine, sizeof mine, all).code) _exit(1);
    for (int i = 0; i < dhc_ranks_count(r); i++) sum += all[i];
    if (sum != 6000 + 4 * k) _exit(2);
  }
}

static void test_exchange(void **state) {
  (void)state;
  int rc;
  assert_int_equal(run(4, 60, sums, &rc).code, DHC_OK);
  assert_int_equal(rc, 0);
}

static void other_size(DhcRanks *r, int rank) {
  char mine[16] = "", all[64];
  dhc_status st = dhc_ranks_exchange(r, mine, rank ? 16 : 8, all);
  _exit(st.code == DHC_E_ENVIRONMENT ? 3 : 1);
}

static void leaves(DhcRanks *r, int rank) {
  char mine = 0, all[2];
  if (rank) _exit(7);
  _exit(dhc_ranks_exchange(r, &mine, 1, all).code ? 3 : 1);
}

static void stays_behind(DhcRanks *r, int rank) {
  char mine = 0, all[2];
  if (rank) sleep(60);
  _exit(dhc_ranks_exchange(r, &mine, 1, all).code ? 3 : 1);
}

static void fails(DhcRanks *r, int rank) {
  dhc_status st = dhc_status_make(DHC_E_ENVIRONMENT, "rank %d: out of something", rank);
  char mine = 0, all[2];
  if (rank) dhc_ranks_close(r, &st);
  else if (dhc_ranks_exchange(r, &mine, 1, all).code && dhc_ranks_ended(r)) dhc_ranks_close(r, &st);
  _exit(3);
}

static void test_ends(void **state) {
  (void)state;
  int rc;
  assert_string_equal(run(2, 60, other_size, &rc).message, "ranks that do different things: are they of one version of dhcc?");
  assert_int_equal(rc, 3);
  assert_string_equal(run(2, 60, leaves, &rc).message, "rank 1 ended by itself with status 7");
  assert_string_equal(run(2, 1, stays_behind, &rc).message, "the others have waited for rank 1 for 1 s");
  assert_string_equal(run(2, 60, fails, &rc).message, "rank 1: out of something");
  fail_socketpair = 2;
  assert_string_equal(run(2, 60, sums, &rc).message, "a socket for rank 1: too many open files");
  fail_thread = 1; /* in each of them: the line is that of the first to go */
  dhc_status st = run(2, 60, sums, &rc);
  fail_thread = 0;
  assert_non_null(strstr(st.message, "ended by itself with status 9"));
}

/* ---- as launchers say it ------------------------------------------------------------------------ */

static const char *const names[] = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "DHC_PORT", "TORCHELASTIC_USE_AGENT_STORE", "SLURM_PROCID", "SLURM_NTASKS",
                                    "SLURM_STEP_NODELIST", "SLURM_JOB_ID", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE"};

/* "NAME=VALUE NAME=VALUE": these and no others. */
static void set(const char *text) {
  char copy[300], *at = copy;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
  snprintf(copy, sizeof copy, "%s", text);
  for (char *word; (word = strsep(&at, " "));) {
    char *value = strchr(word, '=');
    *value = 0;
    setenv(word, value + 1, 1);
  }
}

static int free_port(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr at = {.sa_family = AF_INET};
  socklen_t n = sizeof at;
  unsigned char port[2];
  assert_int_equal(bind(fd, &at, n), 0);
  assert_int_equal(getsockname(fd, &at, &n), 0);
  memcpy(port, at.sa_data, 2);
  close(fd);
  return port[0] << 8 | port[1];
}

static void refused(const char *environment, const char *want) {
  DhcRanks *r;
  set(environment);
  dhc_status st = dhc_ranks_from_environment(1, &r);
  if (strncmp(st.message, want, strlen(want))) fail_msg("%s: \"%s\", not \"%s\"", environment, st.message, want);
  assert_null(r);
}

static void test_environment(void **state) {
  (void)state;
  DhcRanks *r;
  int port = free_port();
  char text[200], want[200];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
  refused("MASTER_PORT=1", "--distributed: neither torchrun (RANK, WORLD_SIZE) nor MPI (OMPI_COMM_WORLD_RANK, PMI_RANK) nor Slurm (SLURM_PROCID) has started this process");
  refused("RANK=2 WORLD_SIZE=2", "RANK: needs a whole number from 0 to 1, is '2'");
  refused("RANK=0 WORLD_SIZE=x", "WORLD_SIZE: needs a whole number from 1 to 1024, is 'x'");
  refused("PMI_RANK=0 PMI_SIZE=2", "--distributed: PMI says nothing of where rank 0 is: set MASTER_ADDR");
  refused("PMI_RANK=0 PMI_SIZE=2 MASTER_ADDR=127.0.0.1", "--distributed: PMI says nothing of a port: set MASTER_PORT");
  refused("RANK=1 WORLD_SIZE=2 MASTER_ADDR=no.such.host.invalid MASTER_PORT=1", "rank 1: no.such.host.invalid, port 1: ");
  snprintf(text, sizeof text, "RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=%d", port);
  snprintf(want, sizeof want, "rank 1: rank 0 does not answer at 127.0.0.1, port %d, for 1 s", port);
  refused(text, want);
  /* torchrun's store has its port, who names one means that */
  snprintf(text, sizeof text, "RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 TORCHELASTIC_USE_AGENT_STORE=True MASTER_PORT=%d", port - 1);
  refused(text, want);
  snprintf(text, sizeof text, "RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 TORCHELASTIC_USE_AGENT_STORE=True MASTER_PORT=1 DHC_PORT=%d", port);
  refused(text, want);
  refused("RANK=1 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 DHC_PORT=no", "DHC_PORT: needs a whole number from 1 to 65535, is 'no'");
  snprintf(text, sizeof text, "SLURM_PROCID=0 SLURM_NTASKS=3 SLURM_STEP_NODELIST=n[01-02] MASTER_PORT=%d", port);
  snprintf(want, sizeof want, "rank 1 has not come to port %d of rank 0 within 1 s", port);
  refused(text, want);
  fail_socketpair = 1;
  snprintf(text, sizeof text, "RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=%d", port);
  refused(text, "a socket for rank 0: too many open files");
  set("RANK=0 WORLD_SIZE=1");
  assert_int_equal(dhc_ranks_from_environment(1, &r).code, DHC_OK);
  assert_null(r);
}

/* Ranks over TCP: both sum; then rank 1 is gone, which rank 0 says, or rank 0, which rank 1 says. */
static int meet_and(int port, int gone) {
  char text[200], said[2][100] = {"", ""};
  int down[2], met[2];
  char one = 0;
  pid_t pid[2];
  assert_int_equal(pipe(down), 0);
  assert_int_equal(pipe(met), 0);
  for (int rank = 0; rank < 2; rank++) {
    pid[rank] = fork();
    if (pid[rank]) continue;
    DhcRanks *r;
    snprintf(text, sizeof text, "RANK=%d WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=%d", rank, port);
    set(text);
    int mine = 3 + rank, all[2] = {0, 0};
    if (dhc_ranks_from_environment(20, &r).code || dhc_ranks_exchange(r, &mine, sizeof mine, all).code || all[0] + all[1] != 7) _exit(1);
    if (rank == gone) _exit(read(met[0], &one, 1) == 1 ? 7 : 1); /* with rank 0 the hub goes: not before the other has the sum */
    if (write(met[1], &one, 1) != 1) _exit(1);
    if (gone >= 0) {
      dhc_status st = dhc_ranks_exchange(r, &mine, sizeof mine, all);
      snprintf(said[0], sizeof said[0], "%d %.90s", dhc_ranks_speaks(r), st.message);
      if (write(down[1], said[0], sizeof said[0]) < 0) _exit(1);
    }
    dhc_ranks_close(r, NULL);
    _exit(0);
  }
  int rc = 0;
  for (int rank = 0; rank < 2; rank++) {
    int status;
    waitpid(pid[rank], &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != (rank == gone ? 7 : 0)) {
      print_error("rank %d, gone %d: status %x\n", rank, gone, (unsigned)status);
      rc = 1;
    }
  }
  if (gone >= 0 && !rc) {
    assert_int_equal(read(down[0], said[1], sizeof said[1]), sizeof said[1]);
    assert_string_equal(said[1], gone ? "1 rank 1 is gone" : "1 rank 0 is gone");
  }
  close(down[0]);
  close(down[1]);
  close(met[0]);
  close(met[1]);
  return rc;
}

static void test_tcp(void **state) {
  (void)state;
  for (int gone = -1; gone < 2; gone++) assert_int_equal(meet_and(free_port(), gone), 0);
}

/* Somebody else is there. */
static void test_port_taken(void **state) {
  (void)state;
  char text[200], want[100];
  int fd = socket(AF_INET6, SOCK_STREAM, 0), port = free_port();
  struct {
    unsigned short family, port;
    char rest[24];
  } at = {.family = AF_INET6, .port = (unsigned short)(port >> 8 | port << 8)};
  if (fd < 0 || bind(fd, (struct sockaddr *)(void *)&at, 28) || listen(fd, 1)) skip(); /* no IPv6 here */
  snprintf(text, sizeof text, "RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=%d", port);
  snprintf(want, sizeof want, "rank %d", 1); /* IPv4 may be free all the same */
  set(text);
  DhcRanks *r;
  dhc_status st = dhc_ranks_from_environment(1, &r);
  snprintf(want, sizeof want, "rank 0 cannot listen on port %d", port);
  assert_true(!strncmp(st.message, want, strlen(want)) || !strncmp(st.message, "rank 1 has not come to port", 27));
  close(fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_exchange), cmocka_unit_test(test_ends), cmocka_unit_test(test_environment),
                                     cmocka_unit_test(test_tcp), cmocka_unit_test(test_port_taken)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
