#include "cluster/founding.h"

#include "cluster/tree_record.h"

#define WRITERS_MAX (1u << 24) /* the rest of the 32 bits is the region */

static void list(struct qv_founding *f);

static void finish(struct qv_founding *f, int err, const struct qv_errmsg *msg)
{
    if (msg != NULL)
        f->msg = *msg;
    f->done(f, err);
}

/* Done, or somebody was faster: look again. What is not known is looked at, too: a writer id that
 * was given to nobody is no loss. */
static void txn_done(struct qv_meta_txn *t, int err)
{
    struct qv_founding *f = t->arg;
    if (err == 0 && f->next != 0) {
        f->writer = f->next;
        finish(f, 0, NULL);
        return;
    }
    if (err == 0 || err == QV_ESTALE || err == QV_EUNKNOWN)
        list(f);
    else
        finish(f, err, &t->msg);
}

static void put(struct qv_founding *f, const char *key, const void *value, size_t n)
{
    f->change = (struct qv_meta_change){.key = key, .value = {value, n}};
    f->txn = (struct qv_meta_txn){.compares = &f->compare,
                                  .compare_count = 1,
                                  .changes = &f->change,
                                  .change_count = 1,
                                  .done = txn_done,
                                  .arg = f};
    qv_meta_txn(f->meta, &f->txn);
}

static void found_cluster(struct qv_founding *f)
{
    const uint64_t words[2] = {qv_env_random_u64(f->env), qv_env_random_u64(f->env)};
    memcpy(f->cluster, words, sizeof f->cluster);
    f->compare = (struct qv_meta_compare){.kind = QV_META_ABSENT, .key = QV_TREE_CLUSTER};
    put(f, QV_TREE_CLUSTER, f->cluster, sizeof f->cluster);
}

static void claim_writer(struct qv_founding *f)
{
    if (f->last >= WRITERS_MAX) {
        finish(f, qv_fail(&f->msg, QV_ELIMIT, "all %u writer ids were given", WRITERS_MAX), NULL);
        return;
    }
    f->next = f->last + 1;
    f->compare = (struct qv_meta_compare){
        .kind = f->last == 0 ? QV_META_ABSENT : QV_META_VALUE,
        .key = QV_TREE_WRITERS,
        .value = {(const uint8_t *)&f->last, sizeof f->last},
    };
    put(f, QV_TREE_WRITERS, &f->next, sizeof f->next);
}

static void listed(struct qv_meta_listing *l, int err)
{
    struct qv_founding *f = l->arg;
    bool found = false;
    if (err != 0) {
        finish(f, err, &l->msg);
        return;
    }
    f->last = 0;
    f->next = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        const struct qv_meta_entry *e = &l->entries[i];
        if (strcmp(e->key, QV_TREE_CLUSTER) == 0 && e->value.n == sizeof f->cluster) {
            memcpy(f->cluster, e->value.p, sizeof f->cluster);
            found = true;
        }
        if (strcmp(e->key, QV_TREE_WRITERS) == 0 && e->value.n == sizeof f->last)
            memcpy(&f->last, e->value.p, sizeof f->last);
    }
    if (!found && f->only_look)
        finish(f, qv_fail(&f->msg, QV_ENOTFOUND, "there is no cluster"), NULL);
    else if (!found)
        found_cluster(f);
    else if (f->want_writer)
        claim_writer(f);
    else
        finish(f, 0, NULL);
}

static void list(struct qv_founding *f)
{
    f->listing = (struct qv_meta_listing){.prefix = "", .done = listed, .arg = f};
    qv_meta_list(f->meta, &f->listing);
}

void qv_founding_start(struct qv_founding *f)
{
    list(f);
}
