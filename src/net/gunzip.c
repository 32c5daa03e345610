#include "net/gunzip.h"

#include <limits.h>
#include <zlib.h>

#define STEP_BYTES ((size_t)64 * 1024)
#define WINDOW_GZIP (16 + MAX_WBITS) /* zlib: a gzip header is wanted */

static int inflate_all(z_stream *z, size_t limit, struct qv_buf *out)
{
    size_t from = out->len;
    int code = Z_OK;
    while (code != Z_STREAM_END) {
        z->next_out = qv_buf_reserve(out, STEP_BYTES);
        z->avail_out = (uInt)STEP_BYTES;
        if (z->next_out == NULL)
            return QV_ENOMEM;
        code = inflate(z, Z_NO_FLUSH);
        if (code == Z_MEM_ERROR)
            return QV_ENOMEM;
        size_t got = STEP_BYTES - z->avail_out;
        if (code != Z_OK && code != Z_STREAM_END)
            return QV_EPROTO;
        if (code == Z_OK && got == 0 && z->avail_in == 0)
            return QV_EPROTO; /* cut short */
        out->len += got;
        if (out->len - from > limit)
            return QV_ETOOBIG;
    }
    return z->avail_in == 0 ? 0 : QV_EPROTO;
}

int qv_gunzip(struct qv_bytes in, size_t limit, struct qv_buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p};
    if (in.n > UINT_MAX)
        return QV_ETOOBIG;
    z.avail_in = (uInt)in.n;
    if (inflateInit2(&z, WINDOW_GZIP) != Z_OK)
        return QV_ENOMEM;
    int err = inflate_all(&z, limit, out);
    (void)inflateEnd(&z);
    return err;
}
