/* What a training run leaves in its folder and takes up again: checkpoints, weights, settings. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "api/json.h"
#include "api/trainer.h"

dhc_status trainer_write_config(Trainer *t) {
  if (!t->o->out) return dhc_status_ok();
  JsonDoc d;
  json_begin(&d);
  json_text(&d, d.root, "dhcc", dhc_version());
  json_text(&d, d.root, "model", t->m->name);
  json_text(&d, d.root, "model_hash", t->m->hash);
  json_text(&d, d.root, "data", t->o->data);
  json_number(&d, d.root, "batch", (double)t->set.batch);
  json_number(&d, d.root, "epochs", (double)t->epochs);
  json_number(&d, d.root, "steps", (double)t->steps);
  json_number(&d, d.root, "seed", (double)t->seed);
  json_text(&d, d.root, "optimizer", t->set.recipe->optimizer);
  cJSON *hypers = json_object(&d, d.root, "hyperparameters");
  DhcHyperInfos infos = dhc_model_hypers(t->m->m);
  for (int i = 0; i < infos.n; i++) json_text(&d, hypers, infos.at[i].name, infos.at[i].value);
  const char *path = dhc_arena_printf(&t->arena, "%s/config.json", t->o->out);
  char *text;
  dhc_status st = json_end(&d, dhc_status_ok(), true, &text);
  if (st.code == DHC_OK) st = dhc_file_replace(path, text, strlen(text));
  free(text);
  return st;
}

dhc_status trainer_save(Trainer *t) {
  if (!t->o->out) return dhc_status_ok();
  dhc_program *p = t->p;
  DhcArena a;
  dhc_arena_init(&a);
  int n = weights_views(p, "", p->mem.weights, true, &a, NULL, 0);
  int each = weights_views(p, "", p->mem.weights, false, &a, NULL, 0);
  int max = n + each * p->mem.n_states + 1, k = n;
  DhcTensorView *v = DHC_NEW_N(&a, DhcTensorView, max + 1);
  weights_views(p, "", p->mem.weights, true, &a, v, n);
  for (int i = 0; i < p->mem.n_states; i++) {
    const char *prefix = dhc_arena_printf(&a, "opt.%s.", p->mem.state_names[i] + 1);
    k += weights_views(p, prefix, memory_state_at(&p->mem, i), false, &a, v + k, max - k);
  }
  k += weights_begun(p, &v[k]);
  JsonDoc d;
  json_begin(&d);
  if (isfinite(t->best)) json_number(&d, d.root, "best", t->best);
  json_number(&d, d.root, "epoch_loss", t->epoch_loss);
  if (isfinite(t->epoch_metric)) json_number(&d, d.root, "epoch_metric", t->epoch_metric);
  json_number(&d, d.root, "epoch_n", (double)t->epoch_n);
  char *json;
  dhc_status st = json_end(&d, dhc_status_ok(), false, &json);
  DhcCheckpointMeta meta = {.step = t->step, .data = dhc_batcher_position(t->batcher), .rng_seed = (uint32_t)t->seed,
                            .model_hash = t->m->hash, .config_json = json};
  if (st.code == DHC_OK) st = dhc_checkpoint_save(t->o->out, &meta, v, k, 2);
  free(json);
  dhc_arena_fini(&a);
  return st;
}

dhc_status trainer_save_weights(Trainer *t, const char *name) {
  if (!t->o->out) return dhc_status_ok();
  return dhc_program_save(t->p, dhc_arena_printf(&t->arena, "%s/%s", t->o->out, name), t->set.recipe->ema > 0);
}

dhc_status trainer_resume(Trainer *t) {
  DhcCheckpoint ck;
  DHC_TRY(dhc_checkpoint_open_latest(t->o->out, t->m->hash, &t->m->s->warn, &ck));
  dhc_program *p = t->p;
  dhc_status st = weights_read(p, ck.file, "", p->mem.weights, false, true);
  for (int i = 0; i < p->mem.n_states && st.code == DHC_OK; i++) {
    char prefix[80];
    snprintf(prefix, sizeof prefix, "opt.%s.", p->mem.state_names[i] + 1);
    st = weights_read(p, ck.file, prefix, memory_state_at(&p->mem, i), false, false);
  }
  DhcTensorView begun;
  if (st.code == DHC_OK && weights_begun(p, &begun)) {
    const DhcTensorView *v;
    st = dhc_safetensors_need(ck.file, begun.name, -1, 1, begun.shape, &v);
    if (st.code == DHC_OK) dhc_tensor_convert(p->mem.opt, begun.dtype, v->data, v->dtype, begun.shape[0]);
  }
  if (st.code == DHC_OK) st = dhc_batcher_seek(t->batcher, ck.meta.data);
  t->step = ck.meta.step;
  t->seed = ck.meta.rng_seed;
  cJSON *doc = ck.meta.config_json ? cJSON_Parse(ck.meta.config_json) : NULL;
  if (ck.meta.config_json && !doc && st.code == DHC_OK)
    st = dhc_status_make(DHC_E_ENVIRONMENT, "out of memory (for a checkpoint's settings)");
  const cJSON *v;
  if ((v = cJSON_GetObjectItem(doc, "best")) && cJSON_IsNumber(v)) t->best = v->valuedouble;
  if ((v = cJSON_GetObjectItem(doc, "epoch_loss")) && cJSON_IsNumber(v)) t->epoch_loss = v->valuedouble;
  if ((v = cJSON_GetObjectItem(doc, "epoch_metric")) && cJSON_IsNumber(v)) t->epoch_metric = v->valuedouble;
  if ((v = cJSON_GetObjectItem(doc, "epoch_n")) && cJSON_IsNumber(v)) t->epoch_n = (int64_t)v->valuedouble;
  cJSON_Delete(doc);
  dhc_checkpoint_close(&ck);
  return st;
}
