/* Codes to statuses and texts, names of collections, what a read-only key may call: the parts of
 * the server that are pure. */
#include "suite.h"

#include "base/utf8.h"
#include "net/grpc.h"
#include "node/node.h"
#include "server/api_status.h"
#include "server/rest.h"
#include "server/rpc.h"
#include "wire/not_served.h"
#include "wire/pb_method.h"

#include <string.h>

static void every_code_has_a_status(void **state)
{
    (void)state;
    static const struct {
        int err, http, grpc;
        const char *prefix;
    } want[] = {
        {QV_EINVAL, 400, QV_GRPC_INVALID_ARGUMENT, "Wrong input: "},
        {QV_EBADREQ, 400, QV_GRPC_INVALID_ARGUMENT, "Bad request: "},
        {QV_EFORMAT, 400, QV_GRPC_INVALID_ARGUMENT, "Format error in JSON body: "},
        {QV_EVALIDATION, 422, QV_GRPC_INVALID_ARGUMENT, "Validation error in JSON body: ["},
        {QV_EAUTH, 401, QV_GRPC_UNAUTHENTICATED, ""},
        {QV_EFORBIDDEN, 403, QV_GRPC_PERMISSION_DENIED, "Forbidden: "},
        {QV_ENOTFOUND, 404, QV_GRPC_NOT_FOUND, "Not found: "},
        {QV_EMETHOD, 405, QV_GRPC_FAILED_PRECONDITION, ""},
        {QV_ETIMEOUT, 408, QV_GRPC_DEADLINE_EXCEEDED, "Timeout: "},
        {QV_EEXISTS, 409, QV_GRPC_ALREADY_EXISTS, "Wrong input: "},
        {QV_ETOOBIG, 413, QV_GRPC_RESOURCE_EXHAUSTED, "Payload too large: "},
        {QV_EBUSY, 429, QV_GRPC_RESOURCE_EXHAUSTED, "Rate limiting exceeded: "},
        {QV_EINTERNAL, 500, QV_GRPC_INTERNAL, "Service internal error: "},
        {QV_ECORRUPT, 500, QV_GRPC_DATA_LOSS, "Service internal error: "},
        {QV_ENOTIMPL, 501, QV_GRPC_UNIMPLEMENTED, ""},
        {QV_EUNAVAILABLE, 503, QV_GRPC_UNAVAILABLE, "Service unavailable: "},
        {QV_EUNKNOWN, 503, QV_GRPC_UNAVAILABLE, "Service unavailable: "},
        {QV_ENOSPC, 507, QV_GRPC_RESOURCE_EXHAUSTED, "Storage full: "},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        struct qv_api_status s = qv_api_status(want[i].err);
        assert_int_equal(s.http, want[i].http);
        assert_int_equal(s.grpc, want[i].grpc);
        assert_string_equal(s.prefix, want[i].prefix);
    }
    for (int err = QV_ERR_BASE + 1; err < QV_ERR_END; err++) {
        char text[600];
        struct qv_api_status s = qv_api_status(err);
        assert_true(s.http >= 400 && s.http < 600 && s.grpc > 0 && s.grpc <= 16);
        qv_api_status_text(err, NULL, text, sizeof text);
        assert_true(strlen(text) > strlen(s.prefix)); /* an error says something */
    }
}

static void texts_are_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *given, *want;
    } cases[] = {
        {"plain", "Bad request: plain"},
        {"caf\xc3\xa9", "Bad request: caf\xc3\xa9"},
        {"caf\xc3", "Bad request: caf?"},
        {"\xff\xc3\xa9\x80z", "Bad request: ?\xc3\xa9?z"},
        {"\xf0\x9f\x90\xad", "Bad request: \xf0\x9f\x90\xad"},
        {"\xf0\x9f\x90", "Bad request: ???"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct qv_errmsg msg;
        char text[1024];
        snprintf(msg.text, sizeof msg.text, "%s", cases[i].given);
        qv_api_status_text(QV_EBADREQ, &msg, text, sizeof text);
        assert_string_equal(text, cases[i].want);
        assert_true(qv_utf8_valid(text, strlen(text)));
    }
    struct qv_errmsg msg;
    char small[24]; /* the cut falls into the second character */
    snprintf(msg.text, sizeof msg.text, "1234567\xc3\xa9\xc3\xa9");
    qv_api_status_text(QV_EBADREQ, &msg, small, sizeof small);
    assert_string_equal(small, "Bad request: 1234567\xc3\xa9?");
}

static void names_of_collections(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a b", "a.b", "...", "\xc3\xa9", "a%b", "a+b", "-"};
    static const char *const bad[] = {"",    ".",   "..",  "a/b", "a\\b", "a:b",  "a\"b", "a?b",
                                      "a*b", "a<b", "a>b", "a|b", "a\nb", "\x7f", "\xff", "\xc3"};
    struct qv_errmsg msg;
    char longest[QV_NAME_BYTES_MAX + 1];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(qv_node_check_name(qv_str_of(good[i]), &msg), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(qv_node_check_name(qv_str_of(bad[i]), &msg), QV_EVALIDATION);
    memset(longest, 'n', sizeof longest);
    struct qv_str name = {longest, QV_NAME_BYTES_MAX};
    assert_int_equal(qv_node_check_name(name, &msg), 0);
    name.n++;
    assert_int_equal(qv_node_check_name(name, &msg), QV_EVALIDATION);
}

static struct qv_call call_of(const char *method, const char *path)
{
    static const struct {
        const char *name;
        enum qv_net_method method;
    } methods[] = {{"GET", QV_NET_GET},           {"HEAD", QV_NET_HEAD},
                   {"POST", QV_NET_POST},         {"PUT", QV_NET_PUT},
                   {"PATCH", QV_NET_PATCH},       {"DELETE", QV_NET_DELETE},
                   {"OTHER", QV_NET_METHOD_OTHER}};
    struct qv_call call = {.method_name = method, .path = path, .path_len = strlen(path)};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(methods[i].name, method) == 0)
            call.method = methods[i].method;
    }
    return call;
}

static void what_reads(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        bool reads;
    } cases[] = {
        {"GET", "/", true},
        {"HEAD", "/collections", true},
        {"GET", "/collections/a/points/1", true},
        {"POST", "/collections/a/points", true},
        {"POST", "/collections/a/points/scroll", true},
        {"POST", "/collections/a/points/query/batch", true},
        {"POST", "//collections//a//points//query/", true},
        {"POST", "/collections/a/points/delete", false},
        {"POST", "//collections//a//points//delete/", false},
        {"POST", "/collections/a/points/batch", false},
        {"POST", "/collections/a/points/payload", false},
        {"PUT", "/collections/a/points", false},
        {"PUT", "/collections/a", false},
        {"DELETE", "/collections/a", false},
        {"PATCH", "/collections/a", false},
        {"POST", "/collections/aliases", false},
        {"DELETE", "/nowhere", false},
        {"OTHER", "/collections/a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct qv_call call = call_of(cases[i].method, cases[i].path);
        assert_int_equal(qv_rest_reads(&call), cases[i].reads);
    }
}

static void no_writing_method_reads(void **state)
{
    (void)state;
    static const char *const words[] = {"Upsert",    "Delete", "Update", "Set",
                                        "Overwrite", "Clear",  "Create"};
    unsigned writes = 0;
    for (int i = 0; i < QV_PB_CALL_COUNT; i++) {
        struct qv_call call = call_of("POST", qv_pb_method_path((enum qv_pb_call)i));
        const char *method = strrchr(call.path, '/') + 1;
        bool want = true;
        for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
            want = want && strncmp(method, words[w], strlen(words[w])) != 0;
        assert_int_equal(qv_rpc_reads(&call), want);
        writes += !want;
    }
    assert_true(writes >= 12);
}

static void see_route(void *arg, const char *method, const char *path)
{
    (void)arg;
    for (size_t i = 0; i < qv_not_served_operation_count; i++) {
        const struct qv_not_served_operation *op = &qv_not_served_operations[i];
        assert_false(strcmp(op->method, method) == 0 && strcmp(op->path, path) == 0);
    }
}

/* Nothing is both served and listed as not served. */
static void routes_are_told_apart(void **state)
{
    (void)state;
    qv_rest_each_route(see_route, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_status), cmocka_unit_test(texts_are_utf8),
        cmocka_unit_test(names_of_collections),    cmocka_unit_test(what_reads),
        cmocka_unit_test(no_writing_method_reads), cmocka_unit_test(routes_are_told_apart),
    };
    return RUN_SUITE(tests);
}
