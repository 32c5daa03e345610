/* gzip from anywhere, what we pack ourselves, and who asks for it. The first byte bounds the
 * output. covers: src/net/gzip.c options: -max_len=4096 */
#include "net/gzip.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

#define STEP_BYTES ((size_t)64 * 1024) /* what may come beyond the limit */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void unpack(struct qv_bytes in, size_t limit)
{
    struct qv_buf out;
    qv_buf_init(&out, 0);
    int err = qv_gzip_unpack(in, limit, &out);
    QV_ASSERT(err == 0 ? out.len <= limit : out.len <= limit + STEP_BYTES);
    qv_buf_close(&out);
}

static void pack(struct qv_bytes in)
{
    struct qv_buf packed, again;
    qv_buf_init(&packed, 0);
    qv_buf_init(&again, 0);
    int err = qv_gzip_pack(in, &packed);
    QV_ASSERT(err == 0 ? packed.len < in.n : err == QV_ETOOBIG && packed.len == 0);
    if (err == 0) {
        err = qv_gzip_unpack((struct qv_bytes){packed.data, packed.len}, in.n, &again);
        QV_ASSERT(err == 0 && again.len == in.n && memcmp(again.data, in.p, in.n) == 0);
    }
    qv_buf_close(&packed);
    qv_buf_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct qv_bytes in = {data + 1, size - 1};
    char *text = qv_mem_strndup((const char *)data + 1, size - 1);
    unpack(in, (size_t)data[0] * data[0]);
    pack(in);
    (void)qv_gzip_is_accepted(text);
    QV_ASSERT(qv_gzip_content_encoding(text) <= 1);
    qv_mem_free(text);
    return 0;
}
