/* quiver search: one query over REST, its hits as a table or as the server's JSON. */
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/target.h"
#include "cli/vecfile.h"

#include "base/mem.h"
#include "core/limits.h"
#include "wire/json_doc.h"
#include "wire/json_parts.h"
#include "wire/json_write.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_BYTES ((size_t)64 << 20)
#define PAYLOAD_SHOWN 100 /* bytes, in the table */

struct options {
    struct qv_target_access access;
    const char *target, *vector, *id, *file, *filter, *using_;
    uint64_t row, limit, offset, ef;
    bool has_row, has_ef, exact, with_payload, with_vector, json;
};

struct search {
    struct options o;
    struct qv_target target;
    struct qv_arena arena;
    struct qv_errmsg msg;
};

static const char help[] =
    "usage: quiver search URL/COLLECTION --vector '[..]' | --id ID | --file FILE --row N "
    "[options]\n"
    "\n"
    "  --vector JSON    the query\n"
    "  --id ID          the stored point of this id (a number or a UUID), itself left out\n"
    "  --file FILE --row N  row N (from 0) of a file of vectors, see quiver import --help\n"
    "  --using NAME     which named vector\n"
    "  --limit N        (default 10)\n"
    "  --offset N       hits to leave out (default 0)\n"
    "  --filter JSON    as the API has it: '{\"must\": [{\"key\": \"a\", \"match\": {\"value\": "
    "1}}]}'\n"
    "  --ef N           effort of the search (params.hnsw_ef)\n"
    "  --exact          look at every point\n"
    "  --with-payload, --with-vector  (vectors are in the --json answer only)\n" QV_TARGET_HELP
    "  --json           the server's answer instead of a table\n"
    "  --help\n"
    "\n"
    "Exit code: 0 answered (hits or none), 1 failed, 2 wrong usage or input.\n"
    "\n"
    "examples:\n"
    "  quiver search localhost:6333/docs --vector '[0.1, 0.2, 0.3, 0.4]' --with-payload\n"
    "  quiver search localhost:6333/docs --id 42 --limit 5 --json\n"
    "  quiver search localhost:6333/sift --file query.fvecs --row 7 --exact\n";

enum option_id {
    OPT_VECTOR = 256,
    OPT_ID,
    OPT_FILE,
    OPT_ROW,
    OPT_USING,
    OPT_LIMIT,
    OPT_OFFSET,
    OPT_FILTER,
    OPT_EF,
    OPT_EXACT,
    OPT_PAYLOAD,
    OPT_WITH_VECTOR,
    OPT_JSON
};

static const struct option options[] = {{"vector", required_argument, NULL, OPT_VECTOR},
                                        {"id", required_argument, NULL, OPT_ID},
                                        {"file", required_argument, NULL, OPT_FILE},
                                        {"row", required_argument, NULL, OPT_ROW},
                                        {"using", required_argument, NULL, OPT_USING},
                                        {"limit", required_argument, NULL, OPT_LIMIT},
                                        {"offset", required_argument, NULL, OPT_OFFSET},
                                        {"filter", required_argument, NULL, OPT_FILTER},
                                        {"ef", required_argument, NULL, OPT_EF},
                                        {"exact", no_argument, NULL, OPT_EXACT},
                                        {"with-payload", no_argument, NULL, OPT_PAYLOAD},
                                        {"with-vector", no_argument, NULL, OPT_WITH_VECTOR},
                                        QV_TARGET_OPTIONS,
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"help", no_argument, NULL, QV_CLI_HELP},
                                        {NULL, 0, NULL, 0}};

static int take_option(void *arg, int option, const char *value, struct qv_errmsg *msg)
{
    struct options *o = &((struct search *)arg)->o;
    if (qv_target_take_option(&o->access, option, value))
        return 0;
    switch (option) {
    case OPT_VECTOR:
        o->vector = value;
        return 0;
    case OPT_ID:
        o->id = value;
        return 0;
    case OPT_FILE:
        o->file = value;
        return 0;
    case OPT_USING:
        o->using_ = value;
        return 0;
    case OPT_FILTER:
        o->filter = value;
        return 0;
    case OPT_ROW:
        o->has_row = true;
        return qv_cli_take_number("--row", value, 0, UINT32_MAX, &o->row, msg);
    case OPT_LIMIT:
        return qv_cli_take_number("--limit", value, 1, QV_LIMIT_MAX, &o->limit, msg);
    case OPT_OFFSET:
        return qv_cli_take_number("--offset", value, 0, QV_LIMIT_MAX, &o->offset, msg);
    case OPT_EF:
        o->has_ef = true;
        return qv_cli_take_number("--ef", value, 1, QV_EF_MAX, &o->ef, msg);
    default:
        o->exact |= option == OPT_EXACT;
        o->with_payload |= option == OPT_PAYLOAD;
        o->with_vector |= option == OPT_WITH_VECTOR;
        o->json |= option == OPT_JSON;
        return 0;
    }
}

/* 1: --help was printed. */
static int read_options(struct search *x, int argc, char **argv)
{
    const struct qv_cli_options table = {help, options, take_option};
    x->o = (struct options){.limit = 10};
    int err = qv_cli_read_options(&table, argc, argv, x, &x->msg);
    if (err != 0)
        return err;
    if (argc - optind != 1)
        return qv_fail(&x->msg, QV_EINVAL,
                       "URL/COLLECTION is needed, and nothing else; see --help");
    x->o.target = argv[optind];
    const struct options *o = &x->o;
    if ((o->vector != NULL) + (o->id != NULL) + (o->file != NULL) != 1)
        return qv_fail(&x->msg, QV_EINVAL, "one of --vector, --id, --file is needed; see --help");
    if ((o->file != NULL) != o->has_row)
        return qv_fail(&x->msg, QV_EINVAL, "--file and --row go together");
    return 0;
}

/* ---- the request ---- */

/* What the user typed must be one JSON value of that type before it is put into a body. */
static int put_json(struct search *x, struct qv_buf *b, const char *name, const char *text,
                    enum qv_json_type type)
{
    struct qv_json j;
    struct qv_errmsg why;
    struct qv_bytes bytes = {(const uint8_t *)text, strlen(text)};
    qv_json_init(&j, bytes, &x->arena, &why);
    if (qv_json_peek(&j) != type)
        qv_json_fail_type(&j, type == QV_JSON_ARRAY ? "a list" : "an object");
    else
        qv_json_skip(&j);
    int err = qv_json_finish(&j);
    if (err != 0)
        return qv_fail(&x->msg, QV_EINVAL, "%s: %.300s", name, why.text);
    qv_buf_append(b, text, bytes.n);
    return 0;
}

static int put_row(struct search *x, struct qv_buf *b)
{
    struct qv_vecfile f;
    int err = qv_vecfile_open(x->o.file, &f, &x->msg);
    if (err != 0)
        return QV_EINVAL;
    float *row = qv_mem_alloc(f.dim * sizeof *row);
    if (f.type == QV_VECFILE_I32)
        err = qv_fail(&x->msg, QV_EINVAL, "%s: rows of i32; allowed: f32, f16, u8", x->o.file);
    else if (x->o.row >= f.rows)
        err = qv_fail(&x->msg, QV_EINVAL, "--row: '%llu' is not allowed: 0 to %u is (%s)",
                      (unsigned long long)x->o.row, f.rows - 1, x->o.file);
    else
        err = qv_vecfile_read_f32(&f, x->o.file, (uint32_t)x->o.row, row, &x->msg);
    if (err == 0)
        qv_json_write_floats(b, row, f.dim);
    qv_mem_free(row);
    qv_vecfile_close(&f);
    return err;
}

static int put_id(struct search *x, struct qv_buf *b)
{
    struct qv_id id;
    char text[QV_ID_TEXT_MAX];
    const char *s = x->o.id;
    char *end = NULL;
    errno = 0;
    unsigned long long n = s[0] >= '0' && s[0] <= '9' ? strtoull(s, &end, 10) : 0;
    if (end != NULL && *end == '\0' && errno == 0) {
        qv_buf_printf(b, "%llu", n);
        return 0;
    }
    if (qv_id_parse_uuid(s, strlen(s), &id) != 0)
        return qv_fail(&x->msg, QV_EINVAL, "--id: '%.100s' is not allowed: a number or a UUID is",
                       s);
    (void)qv_id_format(&id, text);
    qv_json_write_text(b, text);
    return 0;
}

static int put_body(struct search *x, struct qv_buf *b)
{
    const struct options *o = &x->o;
    qv_buf_str(b, "{\"query\":");
    int err = o->vector != NULL ? put_json(x, b, "--vector", o->vector, QV_JSON_ARRAY)
              : o->id != NULL   ? put_id(x, b)
                                : put_row(x, b);
    if (err != 0)
        return err;
    qv_buf_printf(b, ",\"limit\":%llu,\"offset\":%llu,\"with_payload\":%s,\"with_vector\":%s",
                  (unsigned long long)o->limit, (unsigned long long)o->offset,
                  o->with_payload ? "true" : "false", o->with_vector ? "true" : "false");
    qv_buf_printf(b, ",\"params\":{\"exact\":%s", o->exact ? "true" : "false");
    if (o->has_ef)
        qv_buf_printf(b, ",\"hnsw_ef\":%llu", (unsigned long long)o->ef);
    qv_buf_str(b, "}");
    if (o->using_ != NULL) {
        qv_buf_str(b, ",\"using\":");
        qv_json_write_text(b, o->using_);
    }
    if (o->filter != NULL) {
        qv_buf_str(b, ",\"filter\":");
        err = put_json(x, b, "--filter", o->filter, QV_JSON_OBJECT);
    }
    qv_buf_str(b, "}");
    return err != 0 ? err : b->failed ? QV_ENOMEM : 0;
}

/* ---- the answer ---- */

static void print_payload(struct qv_doc payload)
{
    struct qv_buf b;
    qv_buf_init(&b, 0);
    qv_json_write_doc(&b, payload);
    size_t n = b.len;
    if (n > PAYLOAD_SHOWN) {
        n = PAYLOAD_SHOWN;
        while (n > 0 && (b.data[n] & 0xC0) == 0x80) /* not within a character */
            n--;
    }
    printf("  %.*s%s", (int)n, (const char *)b.data, n < b.len ? "..." : "");
    qv_buf_close(&b);
}

static void print_hit(struct qv_json *j, uint64_t rank)
{
    struct qv_str key;
    struct qv_id id = {0};
    struct qv_doc payload = {NULL, 0};
    char text[QV_ID_TEXT_MAX];
    double score = 0;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "id"))
            id = qv_json_id(j);
        else if (qv_str_is(key, "score"))
            score = qv_json_f64(j);
        else if (qv_str_is(key, "payload") && !qv_json_null(j))
            payload = qv_json_doc_object(j, "an object");
        else if (!qv_str_is(key, "payload"))
            qv_json_skip(j);
    }
    if (j->err != 0)
        return;
    (void)qv_id_format(&id, text);
    printf("%5llu  %-36s  %12.6g", (unsigned long long)rank, text, score);
    if (payload.p != NULL)
        print_payload(payload);
    printf("\n");
}

static void print_points(struct qv_json *j, uint64_t first)
{
    uint64_t rank = first;
    printf("%5s  %-36s  %12s\n", "rank", "id", "score");
    qv_json_begin_array(j);
    while (qv_json_next_item(j))
        print_hit(j, ++rank);
    if (rank == first)
        printf("no hits\n");
}

static int print_table(struct search *x, struct qv_bytes body)
{
    struct qv_json j;
    qv_json_init(&j, body, &x->arena, &x->msg);
    qv_json_begin_object(&j);
    while (qv_json_find_key(&j, "result")) {
        qv_json_begin_object(&j);
        while (qv_json_find_key(&j, "points"))
            print_points(&j, x->o.offset);
    }
    return qv_json_finish(&j) != 0 ? QV_EPROTO : 0;
}

static int run(struct search *x)
{
    struct qv_buf body;
    struct qv_buf answer;
    (void)signal(SIGPIPE, SIG_IGN);
    int err = qv_target_open(x->o.target, &x->o.access, &x->target, &x->msg);
    if (err != 0)
        return err;
    qv_buf_init(&body, 0);
    err = put_body(x, &body);
    if (err == 0)
        err = qv_target_call(&x->target, "POST", "/points/query",
                             (struct qv_bytes){body.data, body.len}, &answer, &x->msg);
    qv_buf_close(&body);
    if (err != 0)
        return err;
    if (x->o.json)
        printf("%.*s\n", (int)answer.len, (const char *)answer.data);
    else
        err = print_table(x, (struct qv_bytes){answer.data, answer.len});
    qv_buf_close(&answer);
    return err;
}

int qv_cli_search(int argc, char **argv)
{
    struct search x = {0};
    qv_arena_init(&x.arena, ARENA_BYTES);
    int err = read_options(&x, argc, argv);
    if (err == 0)
        err = run(&x);
    qv_target_close(&x.target);
    qv_arena_close(&x.arena);
    return err > 0 ? 0 : qv_cli_end("search", err, &x.msg);
}
