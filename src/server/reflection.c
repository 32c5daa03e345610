#include "server/reflection.h"

#include "base/qv_assert.h"
#include "core/vector.h"
#include "net/grpc.h"
#include "server/descriptors.h"
#include "server/rpc.h"
#include "wire/pb_answer.h"

#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX 512u

/* ServerReflectionRequest */
enum ask {
    ASK_NOTHING = 0,
    ASK_FILE = 3,
    ASK_SYMBOL = 4,
    ASK_EXTENSION = 5,
    ASK_EXTENSION_NUMBERS = 6,
    ASK_SERVICES = 7
};

/* ServerReflectionResponse */
enum answer { ANSWER_REQUEST = 2, ANSWER_FILES = 4, ANSWER_SERVICES = 6, ANSWER_ERROR = 7 };

#define WIRE_LEN 2u

/* ---- reading -------------------------------------------------------------------------------- */

/* The next field: its number, and its bytes where it has a length. False at the end and on what
 * is no message (then rd->failed). */
static bool next_field(struct qv_rd *rd, uint32_t *number, struct qv_bytes *bytes)
{
    if (qv_rd_left(rd) == 0)
        return false;
    uint64_t tag = qv_rd_varint(rd);
    *number = (uint32_t)(tag >> 3);
    *bytes = (struct qv_bytes){NULL, 0};
    switch (tag & 7) {
    case 0:
        (void)qv_rd_varint(rd);
        break;
    case 1:
        (void)qv_rd_u64(rd);
        break;
    case WIRE_LEN:
        bytes->n = (size_t)qv_rd_varint(rd);
        bytes->p = qv_rd_take(rd, bytes->n);
        break;
    case 5:
        (void)qv_rd_u32(rd);
        break;
    default:
        rd->failed = true;
    }
    if (tag >> 3 == 0 || tag >> 32 != 0)
        rd->failed = true;
    return !rd->failed;
}

/* The last of the questions counts, as of a oneof. False when the message is none. */
static bool read_request(struct qv_bytes message, enum ask *ask, struct qv_bytes *name)
{
    struct qv_rd rd;
    struct qv_bytes bytes;
    uint32_t number;
    *ask = ASK_NOTHING;
    *name = (struct qv_bytes){NULL, 0};
    qv_rd_init(&rd, message.p, message.n);
    while (next_field(&rd, &number, &bytes)) {
        if (number < ASK_FILE || number > ASK_SERVICES)
            continue;
        if (bytes.p == NULL && bytes.n > 0)
            return false;
        *ask = (enum ask)number;
        *name = bytes;
    }
    return !rd.failed;
}

/* ---- looking up ----------------------------------------------------------------------------- */

static int compare_symbol(const void *key, const void *row)
{
    return strcmp(key, ((const struct qv_descriptor_symbol *)row)->name);
}

static int compare_file(const void *key, const void *row)
{
    return strcmp(key, ((const struct qv_descriptor_file *)row)->name);
}

static const struct qv_descriptor_file *find_file(enum ask ask, struct qv_bytes name)
{
    char text[NAME_BYTES_MAX];
    if (name.n == 0 || name.n >= sizeof text || memchr(name.p, 0, name.n) != NULL)
        return NULL;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    if (ask == ASK_FILE)
        return bsearch(text, qv_descriptor_files, qv_descriptor_file_count,
                       sizeof qv_descriptor_files[0], compare_file);
    const struct qv_descriptor_symbol *s =
        bsearch(text[0] == '.' ? text + 1 : text, qv_descriptor_symbols, qv_descriptor_symbol_count,
                sizeof qv_descriptor_symbols[0], compare_symbol);
    return s == NULL ? NULL : &qv_descriptor_files[s->file];
}

/* ---- answers -------------------------------------------------------------------------------- */

static size_t varint_bytes(uint64_t v)
{
    size_t n = 1;
    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

static size_t field_bytes(size_t n)
{
    return 1 + varint_bytes(n) + n; /* field numbers up to 15 */
}

static void put_field(struct qv_buf *b, unsigned number, size_t n)
{
    qv_buf_varint(b, (uint64_t)number << 3 | WIRE_LEN);
    qv_buf_varint(b, n);
}

static void put_text(struct qv_buf *b, unsigned number, const void *p, size_t n)
{
    put_field(b, number, n);
    qv_buf_append(b, p, n);
}

/* The 5 bytes before a message of n bytes, and the request that it answers. */
static void begin_answer(struct qv_buf *b, struct qv_bytes request, size_t n)
{
    uint8_t prefix[QV_GRPC_PREFIX_BYTES];
    qv_grpc_put_prefix(prefix, field_bytes(request.n) + n, false);
    qv_buf_append(b, prefix, sizeof prefix);
    put_text(b, ANSWER_REQUEST, request.p, request.n);
}

static void put_files(struct qv_buf *b, struct qv_bytes request,
                      const struct qv_descriptor_file *file)
{
    size_t n = 0;
    for (size_t i = 0; i < file->need_count; i++)
        n += field_bytes(qv_descriptor_files[file->needs[i]].n);
    begin_answer(b, request, field_bytes(n));
    put_field(b, ANSWER_FILES, n);
    for (size_t i = 0; i < file->need_count; i++) {
        const struct qv_descriptor_file *f = &qv_descriptor_files[file->needs[i]];
        put_text(b, 1, f->bytes, f->n);
    }
}

static void put_services(struct qv_buf *b, struct qv_bytes request)
{
    size_t n = 0;
    for (size_t i = 0; i < qv_descriptor_service_count; i++)
        n += field_bytes(field_bytes(strlen(qv_descriptor_services[i])));
    begin_answer(b, request, field_bytes(n));
    put_field(b, ANSWER_SERVICES, n);
    for (size_t i = 0; i < qv_descriptor_service_count; i++) {
        size_t len = strlen(qv_descriptor_services[i]);
        put_field(b, 1, field_bytes(len));
        put_text(b, 1, qv_descriptor_services[i], len);
    }
}

static void put_error(struct qv_buf *b, struct qv_bytes request, enum qv_grpc_status status,
                      const char *text)
{
    size_t n = 2 + field_bytes(strlen(text));
    begin_answer(b, request, field_bytes(n));
    put_field(b, ANSWER_ERROR, n);
    qv_buf_varint(b, 1u << 3);
    qv_buf_varint(b, (uint64_t)status);
    put_text(b, 2, text, strlen(text));
}

static int answer_reflection(void *ctx, struct qv_call *call, struct qv_bytes message,
                             struct qv_buf *out)
{
    enum ask ask;
    struct qv_bytes name;
    (void)ctx;
    (void)call;
    if (message.p == NULL)
        return QV_GRPC_OK;
    if (!read_request(message, &ask, &name))
        return QV_GRPC_INVALID_ARGUMENT;
    const struct qv_descriptor_file *file = NULL;
    switch (ask) {
    case ASK_SERVICES:
        put_services(out, message);
        break;
    case ASK_FILE:
    case ASK_SYMBOL:
        file = find_file(ask, name);
        if (file != NULL)
            put_files(out, message, file);
        else
            put_error(out, message, QV_GRPC_NOT_FOUND,
                      ask == ASK_FILE ? "no such file" : "no such symbol");
        break;
    case ASK_EXTENSION:
    case ASK_EXTENSION_NUMBERS:
        put_error(out, message, QV_GRPC_NOT_FOUND, "there are no extensions");
        break;
    default:
        put_error(out, message, QV_GRPC_INVALID_ARGUMENT, "nothing was asked");
        break;
    }
    return QV_NET_STREAM_ON;
}

/* ---- Health/Watch --------------------------------------------------------------------------- */

/* A node that answers is serving until it shuts down, and then its streams end: one message is all
 * there is to say. */
static int answer_watch(void *ctx, struct qv_call *call, struct qv_bytes message,
                        struct qv_buf *out)
{
    struct qv_rd rd;
    struct qv_bytes bytes;
    struct qv_bytes service = {NULL, 0};
    uint32_t number;
    (void)ctx;
    if (message.p == NULL) /* the client has asked, and waits */
        return call->user != NULL ? QV_NET_STREAM_ON : QV_GRPC_INVALID_ARGUMENT;
    if (call->user != NULL)
        return QV_GRPC_INVALID_ARGUMENT; /* a second question */
    qv_rd_init(&rd, message.p, message.n);
    while (next_field(&rd, &number, &bytes)) {
        if (number == 1)
            service = bytes;
    }
    if (rd.failed)
        return QV_GRPC_INVALID_ARGUMENT;
    uint8_t answer[QV_GRPC_PREFIX_BYTES + 2];
    qv_grpc_put_prefix(answer, 2, false);
    answer[QV_GRPC_PREFIX_BYTES] = 1u << 3;
    answer[QV_GRPC_PREFIX_BYTES + 1] =
        qv_rpc_has_service((const char *)service.p, service.n) ? 1 : 3; /* SERVING, UNKNOWN */
    qv_buf_append(out, answer, sizeof answer);
    call->user = call;
    return QV_NET_STREAM_ON;
}

qv_net_stream_f *qv_reflection_find(const struct qv_call *call)
{
    static const struct {
        const char *path;
        qv_net_stream_f *run;
    } table[] = {
        {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", answer_reflection},
        {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", answer_reflection},
        {"/grpc.health.v1.Health/Watch", answer_watch},
    };
    for (size_t i = 0; call->is_grpc && i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(call->path, table[i].path) == 0)
            return table[i].run;
    }
    return NULL;
}
