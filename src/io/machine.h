/* How much of the machine this node uses. Any thread; reads a few small files. */
#ifndef QV_IO_MACHINE_H
#define QV_IO_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

struct qv_machine_usage { /* percent; false: the system does not say */
    bool has_memory;
    uint32_t memory; /* as io/memory_use.h has it */
    bool has_disk;
    uint32_t disk; /* used space of the file system that holds dir, as df counts */
};

void qv_machine_usage(const char *dir, struct qv_machine_usage *out);

#endif
