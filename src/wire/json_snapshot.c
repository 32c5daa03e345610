/* Snapshots: the body of a recovery, and their descriptions. */
#include "wire/json_answer.h"
#include "wire/json_parts.h"
#include "wire/json_request.h"
#include "wire/json_write.h"

#include <time.h>

bool qv_json_is_priority(struct qv_str s)
{
    return qv_str_is(s, "no_sync") || qv_str_is(s, "snapshot") || qv_str_is(s, "replica");
}

static struct qv_str optional_string(struct qv_json *j)
{
    return qv_json_null(j) ? (struct qv_str){NULL, 0} : qv_json_string(j);
}

int qv_json_read_recover(struct qv_bytes body, struct qv_arena *a, struct qv_snapshot_req *out,
                         struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    bool found = false;
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "location")) {
            out->location = qv_json_string(&j);
            found = true;
        } else if (qv_str_is(key, "checksum")) {
            out->checksum = optional_string(&j);
        } else if (qv_str_is(key, "api_key")) {
            out->api_key = optional_string(&j);
        } else if (qv_str_is(key, "priority")) {
            struct qv_str s = optional_string(&j);
            if (s.p != NULL && !qv_json_is_priority(s))
                qv_json_fail_at(&j, NULL,
                                "unknown variant `%.*s`, expected one of `no_sync`, `snapshot`, "
                                "`replica`",
                                (int)(s.n < 60 ? s.n : 60), s.p);
        } else {
            qv_json_skip(&j);
        }
    }
    if (!found)
        qv_json_fail_missing(&j, "location");
    return qv_json_finish(&j);
}

void qv_json_write_snapshot(struct qv_buf *b, const struct qv_snapshot_desc *d)
{
    struct tm tm;
    char when[40];
    time_t seconds = (time_t)(d->created_ms / 1000);
    qv_buf_str(b, "{\"name\":");
    qv_json_write_str(b, qv_str_of(d->name));
    if (d->created_ms > 0 && gmtime_r(&seconds, &tm) != NULL &&
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm) > 0) {
        qv_buf_str(b, ",\"creation_time\":");
        qv_json_write_str(b, qv_str_of(when));
    }
    qv_buf_printf(b, ",\"size\":%llu", (unsigned long long)d->size);
    if (d->checksum[0] != '\0') {
        qv_buf_str(b, ",\"checksum\":");
        qv_json_write_str(b, qv_str_of(d->checksum));
    }
    qv_buf_str(b, "}");
}

void qv_json_write_snapshots(struct qv_buf *b, const struct qv_snapshots_out *out)
{
    qv_buf_str(b, "[");
    for (uint32_t i = 0; i < out->count; i++) {
        if (i > 0)
            qv_buf_str(b, ",");
        qv_json_write_snapshot(b, &out->list[i]);
    }
    qv_buf_str(b, "]");
}
