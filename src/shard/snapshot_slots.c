#include "shard/snapshot_private.h"

#include "base/mem.h"
#include "base/qv_assert.h"

static int pass(struct qv_slot_stream *st, void *p, size_t n, struct qv_errmsg *msg)
{
    if (n > st->bytes - st->at)
        return QV_CORRUPT(msg, "the slot columns end too early");
    int err = st->read(st->arg, p, n, msg);
    st->at += n;
    return err != 0 ? err : st->write(st->arg, p, n, msg);
}

static int begin(struct qv_slot_stream *st, struct qv_errmsg *msg)
{
    uint32_t head[4] = {0};
    int err = pass(st, head, sizeof head, msg);
    if (err != 0)
        return err;
    st->high = head[1];
    st->stride = (st->vectors + 7) / 8;
    if (head[0] != st->vectors || (uint64_t)st->high * 5 > st->bytes - st->at || head[2] > st->high)
        return QV_CORRUPT(msg, "slot columns of %u vectors, %u slots in %llu bytes", head[0],
                          st->high, (unsigned long long)st->bytes);
    st->present = qv_mem_try_calloc((size_t)st->high + 1, st->stride + 1);
    return st->present == NULL ? QV_ENOMEM : 0;
}

/* flags, generation; a live one: id, version, presence, a CRC a vector (shard_checkpoint.c). */
static int pass_slot(struct qv_slot_stream *st, struct qv_errmsg *msg)
{
    uint8_t head[5];
    uint8_t body[8 + 8 + 12 + QV_SHARD_VECTORS_MAX / 8];
    uint8_t crc[4 * QV_SHARD_VECTORS_MAX];
    int err = pass(st, head, sizeof head, msg);
    if (err != 0 || (head[0] & 1) == 0)
        return err;
    size_t fixed = (head[0] & 2 ? 16u : 8u) + 12u;
    err = pass(st, body, fixed + st->stride, msg);
    if (err != 0)
        return err;
    const uint8_t *present = body + fixed;
    size_t vectors = 0;
    memcpy(st->present + st->next * st->stride, present, st->stride);
    for (size_t i = 0; i < st->stride; i++)
        vectors += (size_t)__builtin_popcount(present[i]);
    if (vectors > st->vectors)
        return QV_CORRUPT(msg, "slot %u has %zu vectors of %u", st->next, vectors, st->vectors);
    st->live++;
    return vectors > 0 ? pass(st, crc, vectors * 4, msg) : 0;
}

int qv_slot_stream_step(struct qv_slot_stream *st, uint64_t bytes_max, bool *done,
                        struct qv_errmsg *msg)
{
    uint64_t to = bytes_max < st->bytes - st->at ? st->at + bytes_max : st->bytes;
    int err = st->begun ? 0 : begin(st, msg);
    st->begun = true;
    for (; err == 0 && st->next < st->high && st->at < to; st->next++)
        err = pass_slot(st, msg);
    while (err == 0 && st->next == st->high && st->at < to) { /* tombstones: as they are */
        uint8_t copy[4096];
        uint64_t left = st->bytes - st->at;
        err = pass(st, copy, left < sizeof copy ? (size_t)left : sizeof copy, msg);
    }
    *done = err == 0 && st->next == st->high && st->at == st->bytes;
    if (err == 0 && st->at == st->bytes && !*done)
        return QV_CORRUPT(msg, "the slot columns end after slot %u of %u", st->next, st->high);
    return err;
}

void qv_slot_stream_close(struct qv_slot_stream *st)
{
    qv_mem_free(st->present);
    st->present = NULL;
}
