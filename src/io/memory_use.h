/* How much of the machine's memory this process holds. */
#ifndef QV_IO_MEMORY_USE_H
#define QV_IO_MEMORY_USE_H

#include <stdbool.h>
#include <stdint.h>

/* Resident memory in percent of what there is (of the control group's limit, where one holds);
 * 0: can't be told. Reads three small files of /proc and /sys: about 20 us. Any thread. */
uint32_t qv_memory_use_percent(void);

#endif
