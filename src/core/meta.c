#include "core/meta.h"

#include "base/qv_assert.h"

static int check_key(const char *what, const char *key, struct qv_errmsg *msg)
{
    size_t n = key == NULL ? 0 : strlen(key);
    if (n == 0)
        return qv_fail(msg, QV_EINVAL, "a metadata %s is empty", what);
    if (n > QV_META_KEY_BYTES_MAX)
        return qv_fail(msg, QV_ELIMIT, "a metadata %s has %zu bytes, %u are allowed", what, n,
                       QV_META_KEY_BYTES_MAX);
    return 0;
}

static int check_prefix(const char *prefix, struct qv_errmsg *msg)
{
    if (prefix == NULL)
        return qv_fail(msg, QV_EINVAL, "a metadata prefix is missing");
    return prefix[0] == '\0' ? 0 : check_key("prefix", prefix, msg);
}

int qv_meta_check_listing(struct qv_meta_listing *l)
{
    return check_prefix(l->prefix, &l->msg);
}

int qv_meta_check_watch(struct qv_meta_watch *w)
{
    int err = check_prefix(w->prefix, &w->msg);
    if (err == 0 && (w->from == 0 || w->from > INT64_MAX))
        err = qv_fail(&w->msg, QV_EINVAL, "a watch begins at a revision, not at %llu",
                      (unsigned long long)w->from);
    return err;
}

int qv_meta_check_lease(struct qv_meta_lease *l)
{
    if (l->ttl_ms == 0 || l->ttl_ms > QV_META_LEASE_MS_MAX)
        return qv_fail(&l->msg, QV_EINVAL, "a lease of %u ms, 1 to %u are allowed", l->ttl_ms,
                       QV_META_LEASE_MS_MAX);
    return 0;
}

static int check_value(struct qv_bytes value, size_t *total, struct qv_errmsg *msg)
{
    if (value.n > QV_META_VALUE_BYTES_MAX)
        return qv_fail(msg, QV_ETOOBIG, "a metadata value has %zu bytes, %u are allowed", value.n,
                       QV_META_VALUE_BYTES_MAX);
    *total += value.n + 64;
    return 0;
}

static int check_changes(struct qv_meta_txn *t, size_t *total)
{
    for (uint32_t i = 0; i < t->change_count; i++) {
        const struct qv_meta_change *c = &t->changes[i];
        int err = check_key("key", c->key, &t->msg);
        if (err == 0)
            err = check_value(c->value, total, &t->msg);
        if (err == 0 && c->lease > INT64_MAX)
            err = qv_fail(&t->msg, QV_EINVAL, "there is no such lease");
        if (err != 0)
            return err;
        *total += strlen(c->key);
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(t->changes[k].key, c->key) == 0)
                return qv_fail(&t->msg, QV_EINVAL, "key %s twice in one transaction", c->key);
        }
    }
    return 0;
}

int qv_meta_check_txn(struct qv_meta_txn *t)
{
    size_t total = 0;
    if (t->compare_count > QV_META_COMPARES_MAX || t->change_count > QV_META_CHANGES_MAX)
        return qv_fail(&t->msg, QV_ELIMIT,
                       "a transaction of %u compares and %u changes, %u and %u are allowed",
                       t->compare_count, t->change_count, QV_META_COMPARES_MAX,
                       QV_META_CHANGES_MAX);
    for (uint32_t i = 0; i < t->compare_count; i++) {
        const struct qv_meta_compare *c = &t->compares[i];
        int err = check_key("key", c->key, &t->msg);
        if (err == 0 && c->kind == QV_META_VALUE)
            err = check_value(c->value, &total, &t->msg);
        if (err == 0 && c->mod_revision > INT64_MAX)
            err = qv_fail(&t->msg, QV_EINVAL, "there is no such revision");
        if (err != 0)
            return err;
        total += strlen(c->key) + 64;
    }
    int err = check_changes(t, &total);
    if (err == 0 && total > QV_META_TXN_BYTES_MAX)
        err = qv_fail(&t->msg, QV_ETOOBIG, "a transaction of %zu bytes, %u are allowed", total,
                      QV_META_TXN_BYTES_MAX);
    return err;
}

void qv_meta_calls_add(struct qv_meta_calls *list, struct qv_meta_call *c)
{
    c->next = NULL;
    c->prev = list->last;
    if (list->last != NULL)
        list->last->next = c;
    else
        list->first = c;
    list->last = c;
}

void qv_meta_calls_remove(struct qv_meta_calls *list, struct qv_meta_call *c)
{
    QV_ASSERT(c->prev != NULL || list->first == c);
    QV_ASSERT(c->next != NULL || list->last == c);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        list->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    else
        list->last = c->prev;
    c->prev = c->next = NULL;
}
