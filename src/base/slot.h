/* A slot: the place of a row in its shard's columns (vector file, graph, versions). Slots are
 * reused; a generation (counted by the owner of the slots) tells one use from the next. */
#ifndef QV_BASE_SLOT_H
#define QV_BASE_SLOT_H

#include <stdint.h>

typedef uint32_t qv_slot;

#define QV_SLOT_NONE UINT32_MAX
#define QV_SLOTS_MAX (1u << 31) /* slots are 0 .. QV_SLOTS_MAX - 1: the top bit stays free */

#endif
