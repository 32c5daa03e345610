/* Files of vectors, mapped for reading: big-ann .fbin (f32), .ibin (i32), .u8bin, and IDX of
 * unsigned bytes (.idx, *-ubyte, either also .gz). The type is told by the name.
 *
 * Everything a header says is checked against the size of the file before a row is touched. A file
 * that shrinks while it is mapped ends the process (SIGBUS): these are a user's own inputs. */
#ifndef QV_CLI_VECFILE_H
#define QV_CLI_VECFILE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum qv_vecfile_type { QV_VECFILE_F32, QV_VECFILE_I32, QV_VECFILE_U8 };

struct qv_vecfile {
    enum qv_vecfile_type type;
    uint32_t rows;
    uint32_t dim;
    const uint8_t *data; /* rows * dim elements, one row after the other; borrowed until close */
    void *map;           /* the mapping, or NULL */
    size_t map_bytes;
    uint8_t *owned; /* where the file had to be unpacked, or NULL */
};

/* QV_EINVAL: not a name of a known type, or not what it says; QV_ENOTFOUND, QV_EIO, QV_ENOMEM. msg
 * names the file and what is wrong. */
int qv_vecfile_open(const char *path, struct qv_vecfile *out, struct qv_errmsg *msg) QV_MUST_USE;
void qv_vecfile_close(struct qv_vecfile *f); /* may be called twice */

static inline size_t qv_vecfile_element_bytes(enum qv_vecfile_type type)
{
    return type == QV_VECFILE_U8 ? 1 : 4;
}
static inline const uint8_t *qv_vecfile_row(const struct qv_vecfile *f, uint32_t row)
{
    return f->data + (size_t)row * f->dim * qv_vecfile_element_bytes(f->type);
}

#endif
