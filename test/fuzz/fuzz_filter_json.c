/* Filters in JSON from anywhere: what is read can be evaluated.
 * covers: src/wire/json_filter.c
 * options: -max_len=4096 */
#include "wire/json_doc.h"
#include "wire/json_request.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_vector(void *ctx, struct qv_str name)
{
    (void)ctx;
    return name.n == 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char payload[] = "{\"a\":[1,\"x\",null,{\"b\":2.5}],\"b\":\"x\",\"c\":{\"d\":[]}}";
    struct qv_filter_point point = {.id = qv_id_num(1), .has_vector = has_vector};
    struct qv_arena a;
    struct qv_errmsg msg;
    const struct qv_filter *f;
    qv_arena_init(&a, 16 << 20);
    int err = qv_json_read_doc((struct qv_bytes){(const uint8_t *)payload, sizeof payload - 1}, &a,
                               &point.payload, &msg);
    QV_ASSERT(err == 0);
    if (qv_json_read_filter((struct qv_bytes){data, size}, &a, &f, &msg) == 0) {
        (void)qv_filter_match(f, &point);
        if (f != NULL)
            (void)qv_filter_needs_payload(f);
    } else {
        QV_ASSERT(f == NULL && msg.text[0] != '\0');
    }
    qv_arena_close(&a);
    return 0;
}
