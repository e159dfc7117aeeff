#include "runtime/budget.h"

#include <stdio.h>
#include <string.h>

#include "runtime/tensor.h"

static const char *const use_names[DHC_N_USES] = {
    [DHC_USE_WEIGHTS] = "weights",     [DHC_USE_PANELS] = "packed weights", [DHC_USE_GRADIENTS] = "gradients",
    [DHC_USE_OPTIMISER] = "optimiser", [DHC_USE_STATE] = "state",           [DHC_USE_WORK] = "workspace",
    [DHC_USE_IO] = "inputs and results", [DHC_USE_SCRATCH] = "scratch",     [DHC_USE_DATA] = "data",
    [DHC_USE_COPY] = "copies"};

void dhc_budget_init(DhcBudget *b, int64_t limit) {
  *b = (DhcBudget){.limit = limit > 0 ? limit : dhc_machine_memory(""), .given = limit > 0};
}

/* Sizes are not negative; a sum that does not fit is the largest there is. */
static int64_t sum(int64_t a, int64_t b) {
  int64_t s;
  return dhc_size_add(a, b, &s) ? s : INT64_MAX;
}

static int64_t total(const DhcCharge *c) {
  int64_t all = 0;
  for (int i = 0; i < DHC_N_USES; i++) {
    all = sum(all, c->bytes[i]);
  }
  return all;
}

static bool is_hosts(int use) {
  return use == DHC_USE_DATA || use == DHC_USE_COPY;
}

/* What of a charge lies in a device's own memory, or in the host's. */
static DhcCharge part(const DhcCharge *c, bool hosts) {
  DhcCharge out = {{0}};
  for (int i = 0; i < DHC_N_USES; i++) {
    out.bytes[i] = is_hosts(i) == hosts ? c->bytes[i] : 0;
  }
  return out;
}

/* What the limit holds for. */
static DhcCharge limited(const DhcBudget *b, const DhcCharge *c) {
  return b->apart > 0 && !b->given ? part(c, true) : *c;
}

/* The three largest parts, as far as they matter. */
static void say_parts(const DhcCharge *c, char *text, size_t size) {
  bool said[DHC_N_USES] = {false};
  size_t at = 0;
  text[0] = '\0';
  for (int k = 0; k < 3; k++) {
    int most = -1;
    for (int i = 0; i < DHC_N_USES; i++) {
      if (!said[i] && c->bytes[i] > 0 && (most < 0 || c->bytes[i] > c->bytes[most])) {
        most = i;
      }
    }
    if (most < 0 || c->bytes[most] < total(c) / 100) {
      return;
    }
    char bytes[32];
    said[most] = true;
    int n = snprintf(text + at, size - at, "%s%s %s", k > 0 ? ", " : "", use_names[most],
                     dhc_size_text(c->bytes[most], bytes, sizeof bytes));
    if (n < 0 || (size_t)n >= size - at) {
      return;
    }
    at += (size_t)n;
  }
}

dhc_status dhc_budget_charge(DhcBudget *b, DhcCharge *owner, const DhcCharge *want, const char *what) {
  DhcCharge after = b->used;
  for (int i = 0; i < DHC_N_USES; i++) {
    after.bytes[i] = sum(after.bytes[i] - owner->bytes[i], want->bytes[i]);
  }
  char needs[32], limit[32], parts[160];
  const DhcCharge all = limited(b, &after), wanted = limited(b, want), had = limited(b, owner);
  if (total(&all) > b->limit && total(&wanted) > total(&had)) {
    say_parts(&all, parts, sizeof parts);
    return dhc_status_make(DHC_E_INPUT, "%s needs %s (%s), limit is %s (%s)", what,
                           dhc_size_text(total(&all), needs, sizeof needs), parts,
                           dhc_size_text(b->limit, limit, sizeof limit),
                           b->given ? "--max-memory" : "what this machine has; --max-memory sets another");
  }
  const DhcCharge there = part(&after, false), more = part(want, false), less = part(owner, false);
  if (b->apart > 0 && total(&there) > b->apart && total(&more) > total(&less)) {
    say_parts(&there, parts, sizeof parts);
    return dhc_status_make(DHC_E_ENVIRONMENT, "GPU memory: %s needs %s (%s), %s are free; try a smaller --batch", what,
                           dhc_size_text(total(&there), needs, sizeof needs), parts, dhc_size_text(b->apart, limit, sizeof limit));
  }
  b->used = after;
  *owner = *want;
  return dhc_status_ok();
}

void dhc_budget_release(DhcBudget *b, DhcCharge *owner) {
  for (int i = 0; i < DHC_N_USES; i++) {
    b->used.bytes[i] -= owner->bytes[i];
    owner->bytes[i] = 0;
  }
}

int64_t dhc_budget_left(const DhcBudget *b) {
  const DhcCharge all = limited(b, &b->used);
  int64_t used = total(&all);
  return used < b->limit ? b->limit - used : 0;
}
