/* The check of documents that come from disk or network: one pass, recursion bounded by
 * QV_DOC_DEPTH_MAX, no memory unless an object has many keys. */
#include "core/doc.h"

#include "core/doc_index.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>

#define KEYS_ON_STACK 16u

struct check {
    struct qv_rd r;
    struct qv_errmsg *msg;
};

static int bad(struct check *c, const char *why)
{
    return qv_fail(c->msg, QV_ECORRUPT, "document: %s", why);
}

static int check_value(struct check *c, uint32_t depth);

static int check_text(struct check *c, struct qv_str *out)
{
    uint32_t n = qv_rd_u32(&c->r);
    const uint8_t *p = qv_rd_take(&c->r, n);
    if (p == NULL)
        return bad(c, "text runs past the end");
    if (!qv_utf8_valid(p, n))
        return bad(c, "text is not UTF-8");
    *out = (struct qv_str){(const char *)p, n};
    return 0;
}

static int check_array(struct check *c, uint32_t count, uint32_t depth)
{
    for (uint32_t i = 0; i < count; i++) {
        int err = check_value(c, depth + 1);
        if (err != 0)
            return err;
    }
    return 0;
}

/* Are the keys of the object at p distinct, everything else about it being in order? */
static int check_distinct(struct check *c, const uint8_t *p, uint32_t count)
{
    struct qv_str few[KEYS_ON_STACK] = {{NULL, 0}};
    struct qv_str *keys = few;
    struct qv_doc_iter it;
    struct qv_doc value;
    uint32_t n = 0;

    if (count > KEYS_ON_STACK) {
        keys = qv_mem_try_calloc(count, sizeof *keys);
        if (keys == NULL)
            return qv_fail(c->msg, QV_ENOMEM, "document: no memory to check %u keys", count);
    }
    it = (struct qv_doc_iter){.p = p, .left = count, .is_object = true};
    while (qv_doc_next(&it, &keys[n], &value))
        n++;
    bool distinct = qv_doc_keys_distinct(keys, n);
    if (keys != few)
        qv_mem_free(keys);
    return distinct ? 0 : bad(c, "a key stands twice");
}

static int check_object(struct check *c, uint32_t count, uint32_t depth)
{
    const uint8_t *start = c->r.p;
    struct qv_str last = {NULL, 0};
    struct qv_str key = {NULL, 0};
    bool ascending = true; /* then they are distinct for sure */

    for (uint32_t i = 0; i < count; i++) {
        int err = check_text(c, &key);
        if (err == 0)
            err = check_value(c, depth + 1);
        if (err != 0)
            return err;
        if (i > 0 && qv_str_compare(last, key) >= 0)
            ascending = false;
        last = key;
    }
    return ascending ? 0 : check_distinct(c, start, count);
}

static int check_container(struct check *c, uint8_t tag, uint32_t depth)
{
    uint32_t bytes = qv_rd_u32(&c->r);
    const uint8_t *start = c->r.p;
    uint32_t count = qv_rd_u32(&c->r);
    if (c->r.failed)
        return bad(c, "container is cut");
    if (depth >= QV_DOC_DEPTH_MAX)
        return bad(c, "nested too deep");
    int err = tag == QV_DOC_ARRAY ? check_array(c, count, depth) : check_object(c, count, depth);
    if (err == 0 && (size_t)(c->r.p - start) != bytes)
        err = bad(c, "container's size is wrong");
    return err;
}

static int check_value(struct check *c, uint32_t depth)
{
    struct qv_str text;
    double number;
    const uint8_t *p;
    uint8_t tag = qv_rd_u8(&c->r);

    if (c->r.failed)
        return bad(c, "value is missing");
    switch (tag) {
    case QV_DOC_NULL:
    case QV_DOC_FALSE:
    case QV_DOC_TRUE:
        return 0;
    case QV_DOC_INT:
        (void)qv_rd_u64(&c->r);
        return c->r.failed ? bad(c, "number is cut") : 0;
    case QV_DOC_DOUBLE:
        p = qv_rd_take(&c->r, sizeof number);
        if (p == NULL)
            return bad(c, "number is cut");
        memcpy(&number, p, sizeof number);
        return isfinite(number) ? 0 : bad(c, "number is not finite");
    case QV_DOC_STRING:
        return check_text(c, &text);
    case QV_DOC_ARRAY:
    case QV_DOC_OBJECT:
        return check_container(c, tag, depth);
    default:
        return bad(c, "unknown tag");
    }
}

static int check_at(const void *p, size_t n, uint32_t depth, struct qv_errmsg *msg)
{
    struct check c = {.msg = msg};
    qv_rd_init(&c.r, p, n);
    int err = check_value(&c, depth);
    if (err == 0 && qv_rd_left(&c.r) != 0)
        err = bad(&c, "bytes follow the value");
    return err;
}

int qv_doc_check(const void *p, size_t n, struct qv_errmsg *msg)
{
    return check_at(p, n, 0, msg);
}

int qv_doc_check_member(const void *p, size_t n, struct qv_errmsg *msg)
{
    return check_at(p, n, 1, msg);
}
