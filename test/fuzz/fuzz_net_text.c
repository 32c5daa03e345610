/* URLs, percent escapes, gRPC frames, timeouts and messages from anywhere.
 * covers: src/net/url.c src/net/grpc.c
 * options: -max_len=1300 */
#include "net/grpc.h"
#include "net/url.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void urls(const char *text, size_t n, char *out)
{
    struct qv_url url;
    struct qv_errmsg msg;
    struct qv_buf b;
    size_t got;
    if (qv_url_parse(text, &url, &msg) == 0)
        QV_ASSERT(url.port > 0 && url.path[0] == '/' && url.host[0] != '\0');
    else
        QV_ASSERT(msg.text[0] != '\0');
    qv_buf_init(&b, 0);
    if (qv_url_decode(text, n, true, out, &got) == 0) {
        QV_ASSERT(got <= n && out[got] == '\0');
        qv_url_encode(&b, out, got);
        char *again = qv_mem_alloc(b.len + 1);
        size_t len;
        int err = qv_url_decode((const char *)b.data, b.len, true, again, &len);
        QV_ASSERT(err == 0 && len == got && memcmp(again, out, got) == 0);
        qv_mem_free(again);
    }
    qv_buf_close(&b);
}

static void grpc(const char *text, size_t n, char *out)
{
    uint64_t ns;
    char short_text[16];
    struct qv_bytes message;
    struct qv_buf b;
    if (qv_grpc_parse_timeout(text, &ns) == 0) {
        uint64_t again;
        qv_grpc_format_timeout(ns, short_text);
        int err = qv_grpc_parse_timeout(short_text, &again);
        QV_ASSERT(err == 0 && again >= ns);
    }
    qv_grpc_decode_message(text, n, out);
    qv_buf_init(&b, 0);
    qv_grpc_encode_message(&b, text, n);
    char *again = qv_mem_alloc(b.len + 1);
    qv_grpc_decode_message((const char *)b.data, b.len, again);
    QV_ASSERT(memcmp(again, text, n) == 0);
    qv_mem_free(again);
    qv_buf_close(&b);
    struct qv_bytes body = {(const uint8_t *)text, n};
    if (qv_grpc_unframe(body, 100, &message) == 0) {
        uint8_t prefix[QV_GRPC_PREFIX_BYTES];
        qv_grpc_put_prefix(prefix, message.n, false);
        QV_ASSERT(message.n + 5 == n && memcmp(prefix, text, 5) == 0);
    }
    (void)qv_grpc_is_content_type(text);
    if (n > 0) {
        (void)qv_grpc_from_http(text[0] * 4 + (int)n);
        QV_ASSERT(qv_grpc_status_name(text[0])[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = qv_mem_alloc(size + 1); /* exact: a read past the end shows */
    char *out = qv_mem_alloc(size + 1);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    urls(text, strlen(text), out);
    grpc(text, size, out);
    qv_mem_free(text);
    qv_mem_free(out);
    return 0;
}
