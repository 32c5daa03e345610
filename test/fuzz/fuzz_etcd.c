/* What etcd answers: the first byte is the kind of the answer, then for judge a status and a text,
 * for the others a message. What decodes is in order, within limits, and under the prefix that was
 * asked for; the keys of it go into requests, which must be encodable. etcd_seeds.py writes seeds.
 * covers: src/meta/etcd_wire.c
 * options: -max_len=4096 */
#include "meta/etcd_wire.h"

#include "base/qv_assert.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOT "/q/"
#define PREFIX "a"

static void ask_for(const struct qv_etcd_answer *a)
{
    struct qv_meta_compare compares[4];
    struct qv_meta_change changes[4];
    struct qv_meta_txn t = {.compares = compares, .changes = changes};
    struct qv_buf b;
    for (uint32_t i = 0; i < a->count && i < 4; i++) {
        const struct qv_meta_entry *e = &a->entries[i];
        compares[t.compare_count++] = (struct qv_meta_compare){(enum qv_meta_compare_kind)(i % 3),
                                                               e->key, e->mod_revision, e->value};
        changes[t.change_count++] = (struct qv_meta_change){e->key, e->value, e->lease};
    }
    t.change_count = a->more ? 0 : t.change_count;
    qv_buf_init(&b, 0);
    qv_etcd_put_txn(&b, ROOT, &t);
    qv_etcd_put_range(&b, &(struct qv_etcd_range){.root = ROOT,
                                                  .prefix = PREFIX,
                                                  .after = a->count > 0 ? a->entries[0].key : NULL,
                                                  .revision = a->revision,
                                                  .limit = 1});
    qv_etcd_put_range(&b, &(struct qv_etcd_range){.root = "", .prefix = "\xff"});
    qv_etcd_put_watch(&b, "", "", a->revision);
    qv_etcd_put_grant(&b, a->ttl_s);
    qv_etcd_put_lease(&b, a->lease);
    qv_etcd_put_login(&b, a->token, a->reason);
    QV_ASSERT(!b.failed && b.len > 0);
    qv_buf_close(&b);
}

static void check(enum qv_etcd_kind kind, const struct qv_etcd_answer *a)
{
    QV_ASSERT(kind == QV_ETCD_IS_LOGIN || a->cluster_id != 0);
    QV_ASSERT(a->revision <= INT64_MAX && a->lease <= INT64_MAX);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct qv_meta_entry *e = &a->entries[i];
        size_t n = strlen(e->key);
        QV_ASSERT(n > 0 && n <= QV_META_KEY_BYTES_MAX && e->mod_revision > 0);
        QV_ASSERT(strncmp(e->key, PREFIX, strlen(PREFIX)) == 0);
        QV_ASSERT(e->value.n <= QV_META_VALUE_BYTES_MAX);
        QV_ASSERT(kind == QV_ETCD_IS_WATCH || e->value.p != NULL);
        if (i > 0 && kind == QV_ETCD_IS_RANGE)
            QV_ASSERT(strcmp(e[-1].key, e->key) < 0);
        else if (i > 0)
            QV_ASSERT(e[-1].mod_revision <= e->mod_revision);
    }
    QV_ASSERT(strlen(a->token) <= QV_ETCD_TOKEN_BYTES_MAX);
}

static void judge(const uint8_t *data, size_t size)
{
    char text[256];
    int err;
    size_t n = size - 1 < sizeof text - 1 ? size - 1 : sizeof text - 1;
    memcpy(text, data + 1, n);
    text[n] = '\0';
    enum qv_etcd_verdict v = qv_etcd_judge(data[0] % 20, text, &err);
    QV_ASSERT((v == QV_ETCD_REFUSED) == (err != 0));
    QV_ASSERT((v == QV_ETCD_DONE) == (data[0] % 20 == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qv_arena arena;
    struct qv_etcd_answer a;
    struct qv_errmsg msg = {""};
    if (size < 2)
        return 0;
    unsigned kind = data[0] % (QV_ETCD_KINDS + 1u);
    if (kind == QV_ETCD_KINDS) {
        judge(data + 1, size - 1);
        return 0;
    }
    qv_arena_init(&arena, 1u << 20);
    const struct qv_etcd_asked asked = {(enum qv_etcd_kind)kind, ROOT, PREFIX};
    int err = qv_etcd_get(&asked, (struct qv_bytes){data + 1, size - 1}, &arena, &a, &msg);
    QV_ASSERT(err == 0 || err == QV_EPROTO || err == QV_ENOMEM);
    QV_ASSERT(err == 0 || msg.text[0] != '\0');
    if (err == 0) {
        check((enum qv_etcd_kind)kind, &a);
        ask_for(&a);
    }
    qv_arena_close(&arena);
    return 0;
}
