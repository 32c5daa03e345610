/* POST /collections/aliases: its actions; and the lists of aliases. */
#include "wire/json_answer.h"
#include "wire/json_parts.h"
#include "wire/json_request.h"
#include "wire/json_write.h"

struct alias_field {
    const char *key;
    struct qv_str *out;
    bool found;
};

/* {"collection_name": .., "alias_name": ..}: both must be there. */
static void read_fields(struct qv_json *j, struct alias_field *fields, size_t n)
{
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        size_t i = 0;
        while (i < n && !qv_str_is(key, fields[i].key))
            i++;
        if (i == n) {
            qv_json_skip(j);
            continue;
        }
        *fields[i].out = qv_json_string(j);
        fields[i].found = true;
    }
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].found)
            qv_json_fail_missing(j, fields[i].key);
    }
}

static bool read_action(struct qv_json *j, struct qv_str key, struct qv_alias_action *out)
{
    if (qv_str_is(key, "create_alias")) {
        struct alias_field f[] = {{.key = "collection_name", .out = &out->target},
                                  {.key = "alias_name", .out = &out->name}};
        out->type = QV_ALIAS_CREATE;
        read_fields(j, f, 2);
    } else if (qv_str_is(key, "delete_alias")) {
        struct alias_field f[] = {{.key = "alias_name", .out = &out->name}};
        out->type = QV_ALIAS_DELETE;
        read_fields(j, f, 1);
    } else if (qv_str_is(key, "rename_alias")) {
        struct alias_field f[] = {{.key = "old_alias_name", .out = &out->name},
                                  {.key = "new_alias_name", .out = &out->target}};
        out->type = QV_ALIAS_RENAME;
        read_fields(j, f, 2);
    } else {
        qv_json_skip(j);
        return false;
    }
    return true;
}

static const struct qv_alias_action *read_actions(struct qv_json *j, uint32_t *count)
{
    struct qv_alias_action *list = NULL;
    struct qv_str key;
    uint32_t cap = 0;
    *count = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        bool found = false;
        list =
            qv_json_grow(j, list, *count, &cap, QV_JSON_LIST(*list, QV_BATCH_OPS_MAX, "actions"));
        if (list == NULL)
            return NULL;
        qv_json_begin_object(j);
        while (qv_json_next_key(j, &key))
            found = read_action(j, key, &list[*count]) || found;
        if (!found)
            qv_json_fail_at(j, j->p - 1,
                            "data did not match any variant of untagged enum AliasOperations");
        (*count)++;
    }
    return list;
}

int qv_json_read_aliases(struct qv_bytes body, struct qv_arena *a, struct qv_alias_req *out,
                         struct qv_errmsg *msg)
{
    struct qv_json j;
    struct qv_str key;
    bool found = false;
    *out = (struct qv_alias_req){0};
    qv_json_init(&j, body, a, msg);
    qv_json_begin_object(&j);
    while (qv_json_next_key(&j, &key)) {
        if (qv_str_is(key, "actions")) {
            out->actions = read_actions(&j, &out->count);
            found = true;
        } else {
            qv_json_skip(&j);
        }
    }
    if (!found)
        qv_json_fail_missing(&j, "actions");
    return qv_json_finish(&j);
}

void qv_json_write_aliases(struct qv_buf *b, const struct qv_aliases_out *aliases)
{
    qv_buf_str(b, "{\"aliases\":[");
    for (uint32_t i = 0; i < aliases->count; i++) {
        qv_buf_str(b, i == 0 ? "{\"alias_name\":" : ",{\"alias_name\":");
        qv_json_write_str(b, aliases->list[i].name);
        qv_buf_str(b, ",\"collection_name\":");
        qv_json_write_str(b, aliases->list[i].collection);
        qv_buf_append(b, "}", 1);
    }
    qv_buf_str(b, "]}");
}
