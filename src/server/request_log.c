#include "server/request_log.h"

#include "base/logger.h"
#include "server/api_status.h"
#include "server/metrics.h"

#include <stdio.h>
#include <string.h>

#define LINES_A_SECOND 10u
#define BODY_SHOWN 200u

void qv_request_log_init(struct qv_request_log *log, uint64_t slow_ms)
{
    log->slow_ns = slow_ms * 1000000u;
    atomic_init(&log->second, 0);
    atomic_init(&log->told, 0);
    atomic_init(&log->left_out, 0);
}

/* May this line be written? Threads that meet at the turn of a second may write one more. */
static bool take_line(struct qv_request_log *log, uint64_t now_ns)
{
    uint64_t second = now_ns / 1000000000u + 1;
    if (atomic_exchange(&log->second, second) != second)
        atomic_store(&log->told, 0);
    if (atomic_fetch_add(&log->told, 1) < LINES_A_SECOND)
        return true;
    atomic_fetch_add(&log->left_out, 1);
    return false;
}

/* Text as it may stand between quotes in a log line: one line, nothing but printable ASCII. */
static void shorten(char *out, size_t max, const void *p, size_t n)
{
    const unsigned char *in = p;
    size_t o = 0;
    for (size_t i = 0; i < n && o + 5 < max && i < BODY_SHOWN; i++) {
        unsigned char c = in[i];
        if (c == '"' || c == '\\')
            out[o++] = '\\';
        out[o++] = c >= ' ' && c < 0x7F ? (char)c : '.';
    }
    if (n > BODY_SHOWN)
        o += (size_t)snprintf(out + o, max - o, "...");
    out[o] = '\0';
}

static const char *short_source(const char *filter_by)
{
    return strcmp(filter_by, "index and payloads") == 0 ? "index+payloads" : filter_by;
}

/* The plan of a search, as " plan=bridges>scan filter_by=index passing=9 distances=300"; of a batch
 * that of its first. Of walks that took turns nobody counted the distances. */
static void name_plan(char *out, size_t max, const struct qv_op *op)
{
    const bool search = op->kind == QV_OP_QUERY || op->kind == QV_OP_SEARCH ||
                        op->kind == QV_OP_QUERY_BATCH || op->kind == QV_OP_SEARCH_BATCH;
    char filter[64] = "";
    char work[40] = "";
    out[0] = '\0';
    if (!search || op->req.query.query_count == 0 || op->out.lists[0].plan == NULL)
        return;
    const struct qv_plan_out *p = op->out.lists[0].plan;
    const bool given_up = strcmp(p->answered, p->way) != 0;
    if (p->filter_by != NULL)
        (void)snprintf(filter, sizeof filter, " filter_by=%s passing=%llu",
                       short_source(p->filter_by), (unsigned long long)p->passing);
    if (p->distances > 0)
        (void)snprintf(work, sizeof work, " distances=%llu", (unsigned long long)p->distances);
    (void)snprintf(out, max, " plan=%s%s%s%s%s", p->way, given_up ? ">" : "",
                   given_up ? p->answered : "", filter, work);
}

void qv_request_log_note(struct qv_request_log *log, const struct qv_op *op, int err, uint64_t ns)
{
    const struct qv_call *call = op->call;
    int status = err == 0 ? 200 : qv_api_status(err).http;
    bool slow = log->slow_ns != 0 && ns >= log->slow_ns;
    bool failed = status >= 500 && status != 501;
    if ((!slow && !failed) || !take_line(log, op->start_ns + ns))
        return;
    char collection[128];
    char body[2 * BODY_SHOWN + 8] = "";
    char why[2 * BODY_SHOWN + 8] = "";
    shorten(collection, sizeof collection, op->collection.p, op->collection.n);
    if (!op->grpc) /* a protobuf body is no text */
        shorten(body, sizeof body, call->body.p, call->body.n);
    if (err != 0)
        shorten(why, sizeof why, op->msg.text, strlen(op->msg.text));
    unsigned left_out = atomic_exchange(&log->left_out, 0);
    char more[48] = "";
    char plan[160] = "";
    if (err == 0)
        name_plan(plan, sizeof plan, op);
    if (left_out > 0)
        (void)snprintf(more, sizeof more, " left_out=%u", left_out);
    QV_WARN("request",
            "%s op=%s collection=\"%s\" ms=%.1f status=%d via=%s peer=%s id=%s bytes=%zu"
            "%s%s body=\"%s\" error=\"%s\"",
            slow ? "slow" : "failed", qv_metrics_op_name(op->kind), collection, (double)ns * 1e-6,
            status, op->grpc ? "grpc" : "rest", call->peer,
            call->request_id[0] != '\0' ? call->request_id : "-", call->body.n, plan, more, body,
            why);
}
