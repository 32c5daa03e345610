/* multipart/form-data from anywhere: what is found lies inside and ends at a boundary; and what was
 * put together properly is found to the byte. The first byte chooses.
 * covers: src/wire/multipart.c
 * options: -max_len=4096 */
#include "wire/multipart.h"

#include "base/buf.h"
#include "base/qv_assert.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_memory(void *arg, uint64_t offset, void *p, size_t n, struct qv_errmsg *msg)
{
    const struct qv_bytes *b = arg;
    (void)msg;
    QV_ASSERT(offset <= b->n && n <= b->n - offset); /* never asked for more than there is */
    memcpy(p, b->p + offset, n);
    return 0;
}

static int find(struct qv_bytes *body, const char *type, struct qv_multipart_part *part)
{
    struct qv_errmsg msg = {""};
    const struct qv_multipart_source src = {.read = read_memory, .arg = body, .bytes = body->n};
    int err = qv_multipart_find(&src, type, "snapshot", part, &msg);
    QV_ASSERT(err == 0 || (err == QV_EBADREQ && msg.text[0] != '\0'));
    return err;
}

/* The body as it came. */
static void as_it_is(struct qv_bytes body)
{
    static const char end[] = "\r\n--bb";
    struct qv_multipart_part part;
    if (find(&body, "multipart/form-data; boundary=\"bb\"", &part) != 0)
        return;
    QV_ASSERT(part.offset <= body.n && part.bytes <= body.n - part.offset);
    QV_ASSERT(body.n - part.offset - part.bytes >= sizeof end - 1);
    QV_ASSERT(memcmp(body.p + part.offset + part.bytes, end, sizeof end - 1) == 0);
    QV_ASSERT(part.bytes == 0 ||
              memmem(body.p + part.offset, (size_t)part.bytes, end, sizeof end - 1) == NULL);
}

/* The body as the content of the field, between others, cut into a header line in front. */
static void inside(struct qv_bytes content, uint8_t how)
{
    static const char boundary[] = "----8f2a";
    struct qv_multipart_part part;
    struct qv_buf b;
    if (content.n > 0 && memmem(content.p, content.n, boundary, sizeof boundary - 1) != NULL)
        return;
    qv_buf_init(&b, 0);
    if ((how & 2) != 0)
        qv_buf_str(&b, "preamble\r\n");
    qv_buf_printf(&b,
                  "--%s%s\r\nContent-Disposition: form-data; name=other\r\n\r\nx\r\n--%s\r\n"
                  "content-DISPOSITION: form-data; filename=\"a\\\"; name=\"; name=\"snapshot\""
                  "%s\r\n\r\n",
                  boundary, (how & 4) != 0 ? " \t" : "", boundary,
                  (how & 8) != 0 ? "\r\nContent-Type: application/octet-stream" : "");
    size_t at = b.len;
    qv_buf_append(&b, content.p, content.n);
    qv_buf_printf(&b, "\r\n--%s--", boundary);
    QV_ASSERT(!b.failed);
    struct qv_bytes body = {b.data, b.len};
    int err = find(&body, "Multipart/Form-Data; x=y; boundary=----8f2a", &part);
    QV_ASSERT(err == 0 && part.offset == at && part.bytes == content.n);
    qv_buf_close(&b);
}

/* The input as the header that names the boundary. */
static void as_type(struct qv_bytes text)
{
    char type[300] = "multipart/form-data";
    struct qv_multipart_part part;
    struct qv_bytes body = {(const uint8_t *)"--a\r\n\r\n", 7};
    size_t n = text.n < 200 ? text.n : 200;
    memcpy(type + strlen(type), text.p, n);
    (void)find(&body, type, &part);
    (void)find(&body, NULL, &part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct qv_bytes rest = {data + 1, size - 1};
    if ((data[0] & 1) != 0)
        inside(rest, data[0]);
    else
        as_it_is(rest);
    as_type(rest);
    return 0;
}
