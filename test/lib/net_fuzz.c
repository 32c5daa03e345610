#include "net_fuzz.h"

#include "net_memory.h"

#include "base/qv_assert.h"
#include "net/grpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FUZZ_HELD_MAX 64u
#define FUZZ_SPOOL_DIR "/dev/shm"
#define FUZZ_SPOOL_BYTES 300u
#define FUZZ_FILE_BYTES 5000u

/* Bits of the first byte. */
enum {
    FUZZ_SMALL_PIECES = 1, /* 1 to 16 bytes at a time, as they say themselves, else 1,000 */
    FUZZ_LATE = 2,         /* every answer comes after all was fed */
    FUZZ_SMALL = 4,        /* low limits */
    FUZZ_GOAWAY = 8,       /* shutting down half way */
    FUZZ_REFUSE = 16,      /* on_headers refuses what has no x-key */
    FUZZ_UNREAD = 32,      /* the peer reads nothing before the end */
    FUZZ_TIME = 64,        /* a long time passes before the late answers */
    FUZZ_EOF = 128         /* the peer closes its sending side */
};

struct fuzz {
    struct memory_conn m;
    unsigned how;
    struct qv_call *held[FUZZ_HELD_MAX];
    unsigned n_held;
};

/* Reads every byte that a handler may read. */
static size_t touch(struct qv_call *call)
{
    const char *value;
    size_t sum = strlen(call->path) + strlen(call->query) + strlen(call->method_name);
    QV_ASSERT(strlen(call->path) == call->path_len && strlen(call->query) == call->query_len);
    for (size_t i = 0; i < call->n_headers; i++) {
        QV_ASSERT(call->headers[i].name[0] != '\0');
        QV_ASSERT(strpbrk(call->headers[i].name, " \t\r\n:ABCXYZ") == NULL);
        QV_ASSERT(strpbrk(call->headers[i].value, "\r\n") == NULL);
        sum += strlen(call->headers[i].name) + strlen(call->headers[i].value);
    }
    for (size_t i = 0; i < call->body.n; i++)
        sum += call->body.p[i];
    QV_ASSERT(!call->is_grpc || call->is_h2);
    QV_ASSERT(call->spool_fd < 0 ||
              (call->body.n == 0 && call->spool_bytes <= FUZZ_SPOOL_BYTES &&
               lseek(call->spool_fd, 0, SEEK_END) == (off_t)call->spool_bytes));
    QV_ASSERT(!call->is_grpc || call->body.n == 0 || call->message.n + 5 == call->body.n);
    if (qv_call_query_param(call, "x", &value) == 0)
        sum += strlen(value);
    return sum;
}

/* "/file?x=N": N bytes of a file that has FUZZ_FILE_BYTES. */
static void answer_file(struct qv_call *call)
{
    static const char zeros[FUZZ_FILE_BYTES];
    const char *x = NULL;
    uint64_t n = qv_call_query_param(call, "x", &x) == 0 ? strtoull(x, NULL, 10) : FUZZ_FILE_BYTES;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    QV_ASSERT(fd >= 0);
    ssize_t written = write(fd, zeros, sizeof zeros);
    QV_ASSERT(written == (ssize_t)sizeof zeros);
    const struct qv_net_file file = {fd, 0, n};
    qv_call_reply_file(call, 200, "application/octet-stream", NULL, 0, &file);
}

static void answer(struct qv_call *call)
{
    if (!call->is_grpc && strcmp(call->path, "/file") == 0) {
        answer_file(call);
        return;
    }
    struct qv_buf *out = qv_call_out(call);
    size_t sum = touch(call);
    struct qv_net_header extra = {"x-extra", "1"};
    qv_buf_append(out, call->body.p, call->body.n);
    if (strcmp(call->path, "/large") == 0) {
        for (int i = 0; i < 3000; i++)
            qv_buf_str(out, "0123456789");
    }
    if (call->is_grpc && strcmp(call->path, "/a.A/No") == 0)
        qv_call_reply_grpc(call, 5, "not \xC3\xA9 found", NULL);
    else if (call->is_grpc)
        qv_call_reply_grpc_extra(call, 0, NULL, &extra, 1, out);
    else if (strcmp(call->path, "/none") == 0)
        qv_call_reply(call, 204, NULL, NULL, 0, NULL);
    else
        qv_call_reply(call, sum % 7 == 0 ? 404 : 200, "text/plain", &extra, 1, out);
}

static void handler(void *ctx, struct qv_call *call)
{
    struct fuzz *f = ctx;
    bool late = (f->how & FUZZ_LATE) != 0 || strcmp(call->path, "/later") == 0;
    if (late && f->n_held < FUZZ_HELD_MAX)
        f->held[f->n_held++] = call;
    else
        answer(call);
}

/* "/a.A/Stream": what was said comes back; 'N', no; 'L', more than anyone reads. */
static int on_message(void *ctx, struct qv_call *call, struct qv_bytes message, struct qv_buf *out)
{
    (void)ctx;
    size_t sum = touch(call);
    if (message.p == NULL || (message.n > 0 && message.p[0] == 'N'))
        return message.p == NULL ? 0 : 5;
    size_t n = message.n > 0 && message.p[0] == 'L' ? (size_t)300 << 10 : message.n + sum % 2;
    uint8_t *to = qv_buf_reserve(out, QV_GRPC_PREFIX_BYTES + n);
    QV_ASSERT(to != NULL);
    qv_grpc_put_prefix(to, n, false);
    memset(to + QV_GRPC_PREFIX_BYTES, 'a', n);
    out->len += QV_GRPC_PREFIX_BYTES + n;
    return QV_NET_STREAM_ON;
}

static void on_headers(void *ctx, struct qv_call *call)
{
    struct fuzz *f = ctx;
    touch(call);
    const char *id = qv_call_header(call, "x-request-id");
    if (id != NULL && strlen(id) < sizeof call->request_id)
        memcpy(call->request_id, id, strlen(id) + 1);
    if (strcmp(call->path, "/up") == 0 || strcmp(call->path, "/lost") == 0) {
        const char *dir = call->path[1] == 'u' ? FUZZ_SPOOL_DIR : "/no/such/directory";
        int err = qv_call_spool(call, dir, FUZZ_SPOOL_BYTES);
        QV_ASSERT(err == (call->is_grpc ? QV_EINVAL : call->path[1] == 'u' ? 0 : QV_ENOTFOUND));
    }
    if ((f->how & FUZZ_REFUSE) == 0 || qv_call_header(call, "x-key") != NULL) {
        if (call->is_grpc && strcmp(call->path, "/a.A/Stream") == 0)
            qv_call_stream(call, on_message);
        return;
    }
    if (call->is_grpc)
        qv_call_reply_grpc(call, 16, "no key", NULL);
    else
        qv_call_reply(call, 401, NULL, NULL, 0, NULL);
}

static void fuzz_open(struct fuzz *f)
{
    struct qv_net_server_config config;
    qv_net_server_config_init(&config);
    config.handler = handler;
    config.on_headers = on_headers;
    config.ctx = f;
    config.cors = true;
    if ((f->how & FUZZ_SMALL) != 0) {
        config.limits.body_bytes_max = 64;
        config.limits.header_bytes_max = 200;
        config.limits.header_count_max = 6;
        config.limits.streams_max = 3;
        config.limits.unsent_bytes_max = 100;
        config.limits.buffered_bytes_max = 150;
        config.limits.calls_max = 4;
    }
    memory_conn_open(&f->m, &config);
    (void)snprintf(f->m.core.date, sizeof f->m.core.date, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void fuzz_feed(struct fuzz *f, const void *p, size_t n)
{
    if ((f->how & FUZZ_UNREAD) == 0) {
        memory_conn_feed(&f->m, p, n);
        return;
    }
    if (qv_conn_wants_read(f->m.conn))
        qv_conn_feed(f->m.conn, p, n);
    qv_conn_fill(f->m.conn);
}

static void fuzz_time(struct fuzz *f, uint64_t ms)
{
    f->m.core.now_ns += ms * 1000000u;
    qv_net_core_tick_calls(&f->m.core);
    qv_net_core_tick_conns(&f->m.core);
    if (!f->m.conn->broken)
        memory_conn_pump(&f->m);
}

void net_fuzz_run(const char *preface, const uint8_t *data, size_t size)
{
    struct fuzz f = {0};
    if (size == 0)
        return;
    f.how = data[0];
    data++;
    size--;
    fuzz_open(&f);
    if (preface != NULL)
        fuzz_feed(&f, preface, strlen(preface));
    size_t piece = 0;
    for (size_t at = 0; at < size && !qv_conn_done(f.m.conn); at += piece) {
        piece = (f.how & FUZZ_SMALL_PIECES) != 0 ? 1u + (data[at] & 15u) : 1000u;
        if ((f.how & FUZZ_GOAWAY) != 0 && at >= size / 2)
            qv_conn_begin_goaway(f.m.conn);
        fuzz_feed(&f, data + at, size - at < piece ? size - at : piece);
    }
    if ((f.how & FUZZ_EOF) != 0 && !f.m.conn->broken)
        qv_conn_eof(f.m.conn);
    if ((f.how & FUZZ_TIME) != 0) {
        fuzz_time(&f, 12000);
        fuzz_time(&f, 70000);
    }
    f.m.core.thread = (pthread_t)0; /* these answers come from elsewhere: posted, and packed */
    for (unsigned i = 0; i < f.n_held; i++)
        answer(f.held[i]);
    f.m.core.thread = pthread_self();
    f.n_held = FUZZ_HELD_MAX; /* what comes from here on is answered at once */
    memory_conn_pump(&f.m);
    fuzz_time(&f, 100);
    fuzz_time(&f, 2000);
    memory_conn_close(&f.m);
}
