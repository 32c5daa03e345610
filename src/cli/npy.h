/* The header of NumPy's .npy files (NEP 1): magic, version, length, a Python dict as text. Only
 * what numpy.save writes is read: the keys descr, fortran_order and shape, once each, in any order.
 * Pure function. */
#ifndef QV_CLI_NPY_H
#define QV_CLI_NPY_H

#include "base/buf.h"
#include "base/err.h"

#define QV_NPY_AXES_MAX 8u

struct qv_npy {
    char descr[8]; /* "<f4" */
    uint32_t axes;
    uint64_t shape[QV_NPY_AXES_MAX];
    size_t header_bytes; /* the data begins here; <= file.n */
};

/* QV_EINVAL; msg names path, offset and what is allowed. */
QV_MUST_USE int qv_npy_read_header(const char *path, struct qv_bytes file, struct qv_npy *out,
                                   struct qv_errmsg *msg);

#endif
