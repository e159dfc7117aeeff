/* Pictures of robots by MuJoCo's renderer, off screen: OpenGL through EGL, else through OSMesa, whichever is there. Nothing is
 * kept between two pictures. */
#include "runtime/env/mujoco.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- OpenGL without a screen ---------------------------------------------------------------- */

typedef struct Gl {
  void *library, *display, *context;
  unsigned char *buffer; /* OSMesa draws into it */
  unsigned (*egl_terminate)(void *display);
  unsigned (*egl_current)(void *display, void *draw, void *read, void *context);
  unsigned (*egl_destroy)(void *display, void *context);
  void (*mesa_destroy)(void *context);
} Gl;

enum { /* of EGL 1.5 and EGL_MESA_platform_surfaceless */
  EGL_NONE = 0x3038,
  EGL_SURFACE_TYPE = 0x3033,
  EGL_PBUFFER_BIT = 1,
  EGL_RENDERABLE_TYPE = 0x3040,
  EGL_OPENGL_BIT = 8,
  EGL_DEPTH_SIZE = 0x3025,
  EGL_STENCIL_SIZE = 0x3026,
  EGL_OPENGL_API = 0x30A2,
  EGL_PLATFORM_DEVICE = 0x313F,
  EGL_PLATFORM_SURFACELESS = 0x31DD
};

static bool find(void *library, const char *name, void *to) {
  *(void **)to = dlsym(library, name);
  return *(void **)to;
}

static void *initialised(Gl *g) {
  void *(*platform)(unsigned kind, void *native, const intptr_t *attributes);
  unsigned (*initialise)(void *display, int *major, int *minor);
  void *(*address)(const char *name);
  if (!find(g->library, "eglGetPlatformDisplay", &platform) || !find(g->library, "eglInitialize", &initialise) ||
      !find(g->library, "eglGetProcAddress", &address) || !find(g->library, "eglTerminate", &g->egl_terminate))
    return NULL;
  unsigned (*devices)(int most, void **device, int *n);
  *(void **)&devices = address("eglQueryDevicesEXT");
  void *device[8];
  int n = 0;
  if (devices && !devices(8, device, &n)) n = 0;
  for (int i = 0; i <= n; i++) {
    void *d = i < n ? platform(EGL_PLATFORM_DEVICE, device[i], NULL) : platform(EGL_PLATFORM_SURFACELESS, NULL, NULL);
    if (d && initialise(d, NULL, NULL)) return d;
  }
  return NULL;
}

static bool open_egl(Gl *g) {
  unsigned (*bind)(unsigned api), (*choose)(void *display, const int *attributes, void **config, int room, int *n);
  void *(*create)(void *display, void *config, void *share, const int *attributes);
  const int wanted[] = {EGL_SURFACE_TYPE, EGL_PBUFFER_BIT, EGL_RENDERABLE_TYPE, EGL_OPENGL_BIT, EGL_DEPTH_SIZE, 24, EGL_STENCIL_SIZE, 8, EGL_NONE};
  void *config;
  int n = 0;
  if (!(g->library = dlopen("libEGL.so.1", RTLD_NOW | RTLD_LOCAL)) || !(g->display = initialised(g))) return false;
  if (!find(g->library, "eglBindAPI", &bind) || !find(g->library, "eglChooseConfig", &choose) || !find(g->library, "eglCreateContext", &create) ||
      !find(g->library, "eglMakeCurrent", &g->egl_current) || !find(g->library, "eglDestroyContext", &g->egl_destroy))
    return false;
  if (!choose(g->display, wanted, &config, 1, &n) || n < 1 || !bind(EGL_OPENGL_API)) return false;
  g->context = create(g->display, config, NULL, NULL);
  return g->context && g->egl_current(g->display, NULL, NULL, g->context);
}

static bool open_mesa(Gl *g, int32_t width, int32_t height) {
  enum { RGBA = 0x1908, UNSIGNED_BYTE = 0x1401 };
  void *(*create)(unsigned format, int depth, int stencil, int accumulated, void *share);
  unsigned char (*current)(void *context, void *buffer, unsigned type, int width, int height);
  if (!(g->library = dlopen("libOSMesa.so.8", RTLD_NOW | RTLD_GLOBAL)) && !(g->library = dlopen("libOSMesa.so.6", RTLD_NOW | RTLD_GLOBAL))) return false;
  if (!find(g->library, "OSMesaCreateContextExt", &create) || !find(g->library, "OSMesaMakeCurrent", &current) ||
      !find(g->library, "OSMesaDestroyContext", &g->mesa_destroy))
    return false;
  g->buffer = malloc((size_t)width * (size_t)height * 4);
  g->context = g->buffer ? create(RGBA, 24, 8, 0, NULL) : NULL;
  return g->context && current(g->context, g->buffer, UNSIGNED_BYTE, width, height);
}

static void close_gl(Gl *g) {
  if (g->context && g->egl_current) (void)g->egl_current(g->display, NULL, NULL, NULL);
  if (g->context && g->egl_destroy) (void)g->egl_destroy(g->display, g->context);
  if (g->display && g->egl_terminate) (void)g->egl_terminate(g->display);
  if (g->context && g->mesa_destroy) g->mesa_destroy(g->context);
  free(g->buffer);
  *g = (Gl){0}; /* the library stays: drivers do not like to go */
}

static bool open_gl(Gl *g, int32_t width, int32_t height, char *error, size_t room) {
  *g = (Gl){0};
  if (open_egl(g)) return true;
  close_gl(g);
  if (open_mesa(g, width, height)) return true;
  close_gl(g);
  snprintf(error, room, "OpenGL without a screen needs libEGL.so.1 with a driver, or libOSMesa.so.8 (libegl1 and libgl1-mesa-dri, or libosmesa6)");
  return false;
}

/* ---- a picture ------------------------------------------------------------------------------- */

typedef union Room { /* aligned as the library's structs may want it */
  double number;
  void *pointer;
  unsigned char bytes[1];
} Room;

static void turn_over(unsigned char *rgb, int32_t width, int32_t height) {
  size_t row = (size_t)width * 3;
  for (int32_t i = 0; i < height / 2; i++) {
    unsigned char *a = rgb + row * (size_t)i, *b = rgb + row * (size_t)(height - 1 - i);
    for (size_t k = 0; k < row; k++) {
      unsigned char kept = a[k];
      a[k] = b[k];
      b[k] = kept;
    }
  }
}

static void take_picture(const Mujoco *l, const void *model, void *data, MujocoView view, Room *option, Room *scene, Room *context, unsigned char *rgb) {
  enum { CAMERA = 7, FIXED = 2, OFF_SCREEN = 1, ALL = 7, MOST = 2000 };
  MujocoCamera camera;
  l->mjv_defaultCamera(&camera);
  l->mjv_defaultOption(option);
  l->mjv_defaultScene(scene);
  l->mjr_defaultContext(context);
  int track = l->mj_name2id(model, CAMERA, "track"); /* each of Gymnasium's robots has one beside it */
  if (track >= 0) {
    camera.type = FIXED;
    camera.fixed = track;
  }
  l->mjv_makeScene(model, scene, MOST);
  l->mjr_makeContext(model, context, 100);
  l->mjr_setBuffer(OFF_SCREEN, context);
  l->mjr_resizeOffscreen(view.width, view.height, context);
  l->mjv_updateScene(model, data, option, NULL, &camera, ALL, scene);
  l->mjr_render(view, scene, context);
  l->mjr_readPixels(rgb, NULL, view, context);
  l->mjr_freeContext(context);
  l->mjv_freeScene(scene);
}

bool mujoco_draw(const Mujoco *l, const void *model, void *data, int32_t width, int32_t height, unsigned char *rgb, char *error, size_t room) {
  Gl g;
  Room *option = calloc(1, MUJOCO_OPTION + sizeof(Room)), *scene = calloc(1, MUJOCO_SCENE), *context = calloc(1, MUJOCO_CONTEXT);
  bool ok = option && scene && context;
  if (!ok) snprintf(error, room, "out of memory");
  ok = ok && open_gl(&g, width, height, error, room);
  if (ok) {
    take_picture(l, model, data, (MujocoView){0, 0, width, height}, option, scene, context, rgb);
    turn_over(rgb, width, height);
    close_gl(&g);
  }
  free(option);
  free(scene);
  free(context);
  return ok;
}
