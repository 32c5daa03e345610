/* Quotas: the body of PUT /quotas, which is also the form they are stored and answered in. */
#include "wire/json_answer.h"
#include "wire/json_parts.h"
#include "wire/json_request.h"
#include "wire/json_write.h"

static void check_percent(struct qv_json *j, const char *field, struct qv_opt_u64 v, uint64_t min)
{
    if (v.has && (v.v < min || v.v > 100))
        qv_json_fail(j, QV_EVALIDATION, "%s: value %llu invalid, must be %llu to 100", field,
                     (unsigned long long)v.v, (unsigned long long)min);
}

int qv_json_read_quota(struct qv_bytes body, struct qv_arena *a, struct qv_quota *out,
                       struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    *out = (struct qv_quota){0};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "enabled"))
            out->enabled = qv_json_bool(&j);
        else if (qv_str_is(key, "max_resident_memory_percent"))
            qv_json_opt_u64(&j, &out->memory_percent);
        else if (qv_str_is(key, "max_disk_usage_percent"))
            qv_json_opt_u64(&j, &out->disk_percent);
        else if (qv_str_is(key, "release_margin_percent"))
            qv_json_opt_u64(&j, &out->margin_percent);
        else
            qv_json_skip(&j);
    }
    check_percent(&j, "max_resident_memory_percent", out->memory_percent, 1);
    check_percent(&j, "max_disk_usage_percent", out->disk_percent, 1);
    check_percent(&j, "release_margin_percent", out->margin_percent, 0);
    return qv_json_finish(&j);
}

static void put_percent(struct qv_buf *b, bool *first, const char *key, struct qv_opt_u64 v)
{
    qv_json_write_key(b, first, key);
    if (v.has)
        qv_json_write_u64(b, v.v);
    else
        qv_buf_str(b, "null");
}

void qv_json_write_quota(struct qv_buf *b, const struct qv_quota *q)
{
    bool in = true;
    qv_buf_append(b, "{", 1);
    qv_json_write_key(b, &in, "enabled");
    qv_json_write_bool(b, q->enabled);
    put_percent(b, &in, "max_resident_memory_percent", q->memory_percent);
    put_percent(b, &in, "max_disk_usage_percent", q->disk_percent);
    put_percent(b, &in, "release_margin_percent", q->margin_percent);
    qv_buf_append(b, "}", 1);
}

void qv_json_write_quota_status(struct qv_buf *b, const struct qv_quota *q,
                                const struct qv_quota_usage *usage)
{
    bool in = true;
    qv_buf_str(b, "{\"config\":");
    qv_json_write_quota(b, q);
    qv_buf_str(b, ",\"usage\":{");
    put_percent(b, &in, "resident_memory_percent", usage->memory_percent);
    put_percent(b, &in, "disk_usage_percent", usage->disk_percent);
    qv_buf_str(b, "}}");
}
