#include "net/unpack.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/grpc.h"
#include "net/gzip.h"

#define UNPACK_INLINE_BYTES ((size_t)1024) /* a megabyte at most, in a millisecond */

static void unpack_free(struct qv_unpack *unpack)
{
    qv_buf_close(&unpack->body);
    qv_buf_close(&unpack->plain);
    qv_mem_free(unpack);
}

static void unpack_run(struct qv_net_job *job)
{
    struct qv_unpack *unpack = job->arg;
    unpack->err = qv_gzip_unpack(unpack->packed, unpack->limit, &unpack->plain);
}

/* The plain form takes the place of the body. */
static void unpack_done(struct qv_net_job *job)
{
    struct qv_unpack *unpack = job->arg;
    struct qv_call_priv *call = unpack->call;
    int err = unpack->err;
    if (call != NULL) {
        QV_ASSERT(call->unpack == unpack);
        call->unpack = NULL;
        if (err == 0 && !qv_call_charge(call, unpack->plain.len))
            err = QV_EBUSY;
        qv_buf_close(&call->body);
        call->body = unpack->plain;
        qv_buf_init(&unpack->plain, 0);
    }
    unpack_free(unpack);
    if (call != NULL)
        qv_conn_unpacked(call, err);
}

int qv_unpack_begin(struct qv_call_priv *call, struct qv_bytes packed, size_t limit)
{
    static const uint8_t prefix[QV_GRPC_PREFIX_BYTES] = {0};
    struct qv_unpack *unpack = qv_mem_try_calloc(1, sizeof *unpack);
    if (unpack == NULL)
        return QV_ENOMEM;
    unpack->job = (struct qv_net_job){.run = unpack_run, .done = unpack_done, .arg = unpack};
    unpack->call = call;
    unpack->packed = packed;
    unpack->limit = limit;
    unpack->body = call->body;
    qv_buf_init(&call->body, 0);
    qv_buf_init(&unpack->plain, 0);
    if (call->pub.is_grpc) /* framed like any other */
        qv_buf_append(&unpack->plain, prefix, sizeof prefix);
    call->unpack = unpack;
    if (packed.n <= UNPACK_INLINE_BYTES) {
        unpack_run(&unpack->job);
        unpack_done(&unpack->job);
    } else {
        qv_net_core_offload(call->core, &unpack->job);
    }
    return 0;
}

void qv_unpack_release(struct qv_unpack **punpack)
{
    if (*punpack != NULL)
        (*punpack)->call = NULL;
    *punpack = NULL;
}
