/* Files of vectors, mapped for reading. The type is told by the name:
 *
 *   .fbin .ibin .u8bin   big-ann: u32 rows, u32 dim, then rows of f32, i32, u8
 *   .fvecs .ivecs .bvecs TEXMEX: every row i32 dim (the same in all), then dim f32, i32, u8
 *   .npy                 NumPy, version 1 to 3: <f4, <f2, |u1 (<i4 too), C order, 2 axes or more;
 *                        a row is all but the first
 *   .idx *-ubyte         IDX of unsigned bytes, big-endian sizes; likewise; either also .gz
 *
 * Everything a header says is checked against the size of the file before a row is touched, and
 * every row's length in the TEXMEX forms. A file that shrinks while it is mapped ends the process
 * (SIGBUS): these are a user's own inputs. */
#ifndef QV_CLI_VECFILE_H
#define QV_CLI_VECFILE_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum qv_vecfile_type { QV_VECFILE_F32, QV_VECFILE_I32, QV_VECFILE_U8, QV_VECFILE_F16 };

struct qv_vecfile {
    enum qv_vecfile_type type;
    uint32_t rows;       /* >= 1 */
    uint32_t dim;        /* >= 1 */
    size_t stride_bytes; /* from a row to the next */
    const uint8_t *data; /* the first row's elements; borrowed until close, any alignment */
    uint64_t offset;     /* of data in the (unpacked) file, for messages */
    struct qv_bytes map; /* of the whole file, or nothing */
    uint8_t *owned;      /* where the file had to be unpacked, or NULL */
};

/* QV_EINVAL: not a name of a known type, or not what it says; QV_ENOTFOUND, QV_EIO, QV_ENOMEM. msg
 * names the file and what is wrong. */
QV_MUST_USE int qv_vecfile_open(const char *path, struct qv_vecfile *out, struct qv_errmsg *msg);
/* The same from memory that the caller keeps until close; name tells the type. */
QV_MUST_USE int qv_vecfile_parse(const char *name, struct qv_bytes file, struct qv_vecfile *out,
                                 struct qv_errmsg *msg);
void qv_vecfile_close(struct qv_vecfile *f); /* may be called twice */

/* Is it a name of a type listed above? */
bool qv_vecfile_knows(const char *path);

static inline size_t qv_vecfile_element_bytes(enum qv_vecfile_type type)
{
    return type == QV_VECFILE_U8 ? 1 : type == QV_VECFILE_F16 ? 2 : 4;
}
/* row < rows */
static inline const uint8_t *qv_vecfile_row(const struct qv_vecfile *f, uint32_t row)
{
    return f->data + (size_t)row * f->stride_bytes;
}
/* The row as floats, not i32. QV_EINVAL names the place of a NaN or infinity. */
QV_MUST_USE int qv_vecfile_read_f32(const struct qv_vecfile *f, const char *path, uint32_t row,
                                    float *out, struct qv_errmsg *msg);

#endif
