/* What stands between compiled kernels and the machine: status values, tensors
 * and checked sizes, random numbers, hashing, files, the thread pool, plans, the
 * kernel store, weights, data sets, checkpoints, metrics, stop signals. It knows
 * plans and kernels as plain structs (dhc/abi.h) and nothing of the compiler.
 *
 * Ownership: what a _new or _open function yields through its last argument
 * belongs to the caller, who ends it with the matching _free or _close (both
 * take NULL). On failure that argument is untouched and nothing is left open.
 * Threads: objects may be used by one thread at a time unless their header says
 * more; distinct objects are independent. */
#ifndef DHC_RUNTIME_RUNTIME_H
#define DHC_RUNTIME_RUNTIME_H

#include "dhc/abi.h"
#include "runtime/budget.h"
#include "runtime/checkpoint.h"
#include "runtime/data/data.h"
#include "runtime/io.h"
#include "runtime/metrics.h"
#include "runtime/formats/npy.h"
#include "runtime/plan.h"
#include "runtime/pool.h"
#include "runtime/rng.h"
#include "runtime/run_folder.h"
#include "runtime/formats/safetensors.h"
#include "runtime/sha256.h"
#include "runtime/status.h"
#include "runtime/stop.h"
#include "runtime/store.h"
#include "runtime/tensor.h"

#endif
