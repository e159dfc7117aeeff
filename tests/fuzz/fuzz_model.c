/* Fuzz target: any bytes to IR, through every entry of every model of the text; what elaborates
 * verifies, and its IR text parses back to itself. Messages print as text and as JSON. */
#include <stdlib.h>

#include "frontend/elab.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/words.h"

static const char *const roots[] = {DHC_FUZZ_MODELS};

static void round_trip(DhcArena *arena, DhcModule *m) {
  DhcText once = {.arena = arena}, twice = {.arena = arena};
  DhcSources sources = {.arena = arena};
  DhcDiags diags = {.arena = arena, .sources = &sources};
  DhcStrings strings = {.arena = arena};
  dhc_module_print(m, &once);
  const char *text = dhc_text_str(&once);
  uint32_t file = dhc_sources_add(&sources, "printed", NULL, text, strlen(text));
  DhcModule *again = dhc_module_parse(arena, &strings, &diags, file);
  if (!again) dhc_diags_print(&diags, stderr, false);
  fuzz_check(again != NULL, "printed IR parses");
  dhc_module_print(again, &twice);
  fuzz_check(!strcmp(text, dhc_text_str(&twice)), "IR text is the same after a round trip");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  DhcArena arena;
  dhc_arena_init(&arena);
  DhcSources sources = {.arena = &arena};
  DhcDiags diags = {.arena = &arena, .sources = &sources};
  DhcStrings strings = {.arena = &arena};
  DhcElabConfig config = {.shipped_roots = roots, .n_shipped_roots = 1, .max_memory_bytes = (int64_t)1 << 40};
  DhcElab *e = dhc_elab_open_text(&arena, &strings, &diags, &config, "fuzz", (const char *)data, n);
  fuzz_check(e || diags.n_errors, "what is refused has a message");
  if (e && dhc_elab_check(e)) {
    DhcModelRequest request = {0};
    DhcDeclNames models = dhc_elab_list(e, DHC_LIST_MODELS, NULL);
    DhcModel *m = models.n ? dhc_elab_model(e, &request) : NULL;
    DhcEntryInfos entries = m ? dhc_model_entries(m) : (DhcEntryInfos){0};
    for (int i = 0; i < entries.n; i++) {
      DhcEntryRequest q = {.name = entries.at[i].name, .all_inputs = true};
      fuzz_check(dhc_model_entry(m, &q) != NULL, "an entry that was checked elaborates");
    }
    if (m) round_trip(&arena, dhc_model_module(m));
  }
  dhc_diags_print(&diags, fuzz_sink(), true);
  dhc_diags_print_json(&diags, fuzz_sink());
  dhc_arena_fini(&arena);
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  return fuzz_mutate_text(data, n, max, seed, model_words);
}
