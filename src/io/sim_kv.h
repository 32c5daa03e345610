/* core/kv.h's twin for the simulator, over any qv_disk: contents in memory, a flush writes them
 * whole to one checksummed file (tmp, sync, rename, sync of the directory). Loses what was not
 * flushed, detects every flipped bit at open. */
#ifndef QV_IO_SIM_KV_H
#define QV_IO_SIM_KV_H

#include "core/disk.h"
#include "core/kv.h"

struct qv_kv_driver *qv_sim_kv_create(struct qv_disk *disk); /* gives; disk is borrowed */
void qv_sim_kv_destroy(struct qv_kv_driver **d);

#endif
