/* MuJoCo's C library as far as it is used: functions of one version, with declarations of our own, and pictures. */
#ifndef DHC_RUNTIME_ENV_MUJOCO_H
#define DHC_RUNTIME_ENV_MUJOCO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUJOCO_VERSION 4000000
#define MUJOCO_TEXT "4.0.0"

/* What pictures are taken with: of mjvisualize.h and mjrender.h of the version above, whole structs but for what is only passed
 * on, which is as large as there. */
typedef struct MujocoCamera {
  int type, fixed, tracked;
  double look_at[3], distance, azimuth, elevation;
  int orthographic;
} MujocoCamera;
typedef struct MujocoView {
  int left, bottom, width, height;
} MujocoView;
enum { MUJOCO_OPTION = 92, MUJOCO_SCENE = 11584, MUJOCO_CONTEXT = 61512 }; /* bytes of mjvOption, mjvScene, mjrContext */

#define MUJOCO_FUNCTIONS(F)                                                    \
  F(int, mj_version, (void))                                                   \
  F(const char *, mj_versionString, (void))                                    \
  F(void, mj_defaultVFS, (void *vfs))                                          \
  F(int, mj_addBufferVFS, (void *vfs, const char *name, const void *buffer, int bytes)) \
  F(void, mj_deleteVFS, (void *vfs))                                           \
  F(void *, mj_loadXML, (const char *file, const void *vfs, char *error, int room)) \
  F(void, mj_deleteModel, (void *model))                                       \
  F(void *, mj_makeData, (const void *model))                                  \
  F(void, mj_deleteData, (void *data))                                         \
  F(void, mj_resetData, (const void *model, void *data))                       \
  F(void, mj_step, (const void *model, void *data))                            \
  F(void, mj_forward, (const void *model, void *data))                         \
  F(int, mj_stateSize, (const void *model, int signature))                     \
  F(void, mj_getState, (const void *model, const void *data, double *state, int signature)) \
  F(void, mj_setState, (const void *model, void *data, const double *state, int signature)) \
  F(int, mj_name2id, (const void *model, int type, const char *name))          \
  F(void, mjv_defaultCamera, (MujocoCamera *camera))                           \
  F(void, mjv_defaultOption, (void *option))                                   \
  F(void, mjv_defaultScene, (void *scene))                                     \
  F(void, mjv_makeScene, (const void *model, void *scene, int most))           \
  F(void, mjv_freeScene, (void *scene))                                        \
  F(void, mjv_updateScene, (const void *model, void *data, const void *option, const void *perturb, MujocoCamera *camera, int kinds, void *scene)) \
  F(void, mjr_defaultContext, (void *context))                                 \
  F(void, mjr_makeContext, (const void *model, void *context, int font))       \
  F(void, mjr_freeContext, (void *context))                                    \
  F(void, mjr_setBuffer, (int buffer, void *context))                          \
  F(void, mjr_resizeOffscreen, (int width, int height, void *context))         \
  F(void, mjr_render, (MujocoView view, void *scene, const void *context))     \
  F(void, mjr_readPixels, (unsigned char *rgb, float *depth, MujocoView view, const void *context))

typedef struct Mujoco {
  void *handle;
#define F(result, name, parameters) result(*name) parameters;
  MUJOCO_FUNCTIONS(F)
#undef F
} Mujoco;

/* A picture of data, `height` rows of `width` pixels from the top; false: `error` says what is missing. */
bool mujoco_draw(const Mujoco *l, const void *model, void *data, int32_t width, int32_t height, unsigned char *rgb, char *error, size_t room);

#endif
