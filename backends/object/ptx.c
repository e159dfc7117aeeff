/* The version of PTX that a text says it is of. NVRTC writes its own toolkit's; the driver's compiler takes none newer than itself, though
 * what stands behind may be years older. */
#include <ctype.h>

#include "backends/object/ptx.h"

/* "sm_80": the version in which that architecture came, times 10; 0: not known. */
static int version_of_arch(const char *arch) {
  static const struct {
    const char *arch;
    int version;
  } of[] = {{"sm_70", 60}, {"sm_72", 61}, {"sm_75", 63}, {"sm_80", 70}, {"sm_86", 71}, {"sm_87", 74}, {"sm_89", 78},
            {"sm_90", 78}, {"sm_100", 86}, {"sm_101", 86}, {"sm_103", 88}, {"sm_120", 87}, {"sm_121", 88}};
  for (size_t i = 0; i < sizeof of / sizeof *of; i++)
    if (!strcmp(of[i].arch, arch)) return of[i].version;
  return 0;
}

static bool in_list(const char *list, const char *word, size_t n) {
  for (const char *at = list; (at = strstr(at, word)); at++)
    if (at[-1] == ' ' && at[n] == ' ') return true;
  return false;
}

/* What version 7.0 has: words of directives, operations and their modifiers. None was taken away since. */
enum { KNOWN_VERSION = 70 };
static const char directives[] = " version target address_size visible extern entry param maxntid minnctapersm pragma reg local shared global const align "
                                 "func b8 b16 b32 b64 pred u16 u32 u64 s16 s32 s64 f32 f64 v2 v4 ";
static const char operations[] = " abs add and atom bar bfe bfi bra brev call clz copysign cos cp cvt cvta div ex2 exit fma ld lg2 lop3 mad max membar min "
                                 "mov mul neg not or popc prmt rcp red rem ret rsqrt selp set setp shf shfl shl shr sin slct sqrt st sub trap xor ";
static const char modifiers[] = " 1d a add aligned all and approx async b16 b32 b64 bar bfly ca cas cg commit_group cta div down eq equ exch f16 f32 f64 ftz "
                                "ge geu global gt gtu hi idx l le leu lo local lt ltu max min nan nc ne neu num or param pred r read relaxed rm rn rni rp rz rmi "
                                "rpi rzi s16 s32 s64 s8 sat shared sync to u16 u32 u64 u8 uni up v2 v4 volatile wait_all wait_group warp wide wrap xor ";

/* A word and those behind points: "ld.global.v4.f32". */
static bool known_word(const char *at, size_t n) {
  char part[32];
  bool first = true, directive = n && *at == '.';
  for (const char *end = at + n; at < end; first = false) {
    at += *at == '.';
    size_t k = 0;
    while (at + k < end && at[k] != '.') k++;
    if (k + 1 > sizeof part) return false;
    memcpy(part, at, k);
    part[k] = 0;
    if (!in_list(directive ? directives : first ? operations : modifiers, part, k)) return false;
    at += k;
  }
  return true;
}

/* The first word of a statement, behind its predicate and its label; of a directive all that begin with a point. Names end with what is none of a word. */
static bool known_line(const char *at, const char *end) {
  while (at < end && isspace((unsigned char)*at)) at++;
  if (at == end || *at == '/' || strchr("{}()", *at)) {
    const char *open = at;
    while (open < end && strchr("{} \t", *open)) open++;
    return at == end || *at == '/' || open == end || *at != '{' || known_line(open, end);
  }
  if (*at == '@')
    while (at < end && !isspace((unsigned char)*at)) at++;
  while (at < end && isspace((unsigned char)*at)) at++;
  if (at < end && (*at == '$' || *at == '_')) { /* a label, or what a list of names goes on with */
    while (at < end && *at != ':') at++;
    return at == end || known_line(at + 1, end);
  }
  bool directive = at < end && *at == '.';
  do {
    size_t n = 0;
    while (at + n < end && (isalnum((unsigned char)at[n]) || strchr("._", at[n]))) n++;
    if (!known_word(at, n)) return false;
    at += n;
    while (directive && at < end && *at != '.') { /* what it is about; in quotes as well */
      at++;
      if (at < end && *at == '.' && isdigit((unsigned char)at[1])) at++;
    }
  } while (directive && at < end);
  const char *sink = memchr(at, '_', (size_t)(end - at)); /* "{_, %r1}": of 7.1 */
  while (sink && (isalnum((unsigned char)sink[-1]) || strchr("_%$", sink[-1]) || (sink + 1 < end && (isalnum((unsigned char)sink[1]) || sink[1] == '_'))))
    sink = sink + 1 < end ? memchr(sink + 1, '_', (size_t)(end - sink - 1)) : NULL;
  return !sink;
}

void dhc_ptx_lower(char *text, size_t n, const char *arch) {
  int want = version_of_arch(arch), major = 0, minor = 0;
  static const char directive[] = ".version ";
  char *at = NULL;
  const char *end = text + n;
  for (const char *line = text; line < end;) {
    const char *next = memchr(line, '\n', (size_t)(end - line)), *stop = next ? next : end;
    while (stop > line && (!stop[-1] || stop[-1] == '\r')) stop--;
    if (!strncmp(line, directive, sizeof directive - 1)) at = text + (line - text) + sizeof directive - 1;
    else if (!known_line(line, stop)) return;
    line = next ? next + 1 : end;
  }
  if (!want || !at || sscanf(at, "%d.%d", &major, &minor) != 2) return;
  want = want > KNOWN_VERSION ? want : KNOWN_VERSION;
  if (major > 9 || minor > 9 || want >= 10 * major + minor) return;
  at[0] = (char)('0' + want / 10);
  at[2] = (char)('0' + want % 10);
}
