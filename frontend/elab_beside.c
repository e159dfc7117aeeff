/* What a file says beside a setting: the comment that ends its line. */
#include "frontend/elab_internal.h"

const char *dhc_comment_beside(DhcElab *e, DhcSpan of) {
  const DhcSource *source = of.file ? dhc_sources_get(e->diags->sources, of.file) : NULL;
  if (!source) return "";
  const char *at = source->text + of.end;
  at += strspn(at, " \t,){");
  if (*at != '#') return "";
  at += strspn(at, "# ");
  return dhc_arena_strndup(e->arena, at, strcspn(at, "\r\n"));
}
