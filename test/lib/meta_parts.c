#include "meta_parts.h"

#include "suite.h"

static void put_text(struct mp_answer *a, const struct qv_meta_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t n = strlen(a->text);
        snprintf(a->text + n, sizeof a->text - n, "%s%s%.*s@%llu;", entries[i].key,
                 entries[i].value.p == NULL ? "-" : "=", (int)entries[i].value.n,
                 entries[i].value.p == NULL ? "" : (const char *)entries[i].value.p,
                 (unsigned long long)entries[i].mod_revision);
    }
}

void mp_list_done(struct qv_meta_listing *l, int err)
{
    struct mp_answer *a = l->arg;
    *a = (struct mp_answer){.done = true, .err = err, .revision = l->revision, .count = l->count};
    if (err == 0)
        put_text(a, l->entries, l->count);
}

void mp_txn_done(struct qv_meta_txn *t, int err)
{
    struct mp_answer *a = t->arg;
    *a = (struct mp_answer){.done = true, .err = err, .revision = t->revision};
    if (err != 0)
        assert_true(t->msg.text[0] != '\0');
}

void mp_run_until(struct mp *w, const bool *done)
{
    for (unsigned i = 0; !*done && i < 100000; i++)
        w->run(w, 1);
    assert_true(*done);
}

struct mp_answer mp_list(struct mp *w, unsigned node, const char *prefix)
{
    struct mp_answer a = {0};
    struct qv_meta_listing l = {.prefix = prefix, .done = mp_list_done, .arg = &a};
    qv_meta_list(w->metas[node], &l);
    assert_false(a.done); /* never from inside */
    mp_run_until(w, &a.done);
    return a;
}

struct mp_answer mp_txn(struct mp *w, unsigned node, struct qv_meta_txn t)
{
    struct mp_answer a = {0};
    t.done = mp_txn_done;
    t.arg = &a;
    qv_meta_txn(w->metas[node], &t);
    assert_false(a.done);
    mp_run_until(w, &a.done);
    return a;
}

struct qv_meta_change mp_change(const char *key, const char *value, uint64_t lease)
{
    return (struct qv_meta_change){
        key, {(const uint8_t *)value, value == NULL ? 0 : strlen(value)}, lease};
}

struct mp_answer mp_put(struct mp *w, unsigned node, const char *key, const char *value,
                        uint64_t lease)
{
    struct qv_meta_change c = mp_change(key, value, lease);
    return mp_txn(w, node, (struct qv_meta_txn){.changes = &c, .change_count = 1});
}

void mp_on_events(struct qv_meta_watch *w, const struct qv_meta_entry *events, uint32_t count,
                  uint64_t revision)
{
    struct mp_seen *s = w->arg;
    struct mp_answer a = {0};
    put_text(&a, events, count);
    strncat(s->text, a.text, sizeof s->text - strlen(s->text) - 1);
    s->revision = revision;
    if (count > 0)
        s->at_ns = qv_env_mono_ns(s->w->metas[0]->env);
}

void mp_on_ended(struct qv_meta_watch *w, int err)
{
    struct mp_seen *s = w->arg;
    s->ended = true;
    s->err = err;
}

static void on_granted(struct qv_meta_lease *l, int err)
{
    struct mp_leased *s = l->arg;
    s->granted = true;
    s->err = err;
}

static void on_lost(struct qv_meta_lease *l, int err)
{
    struct mp_leased *s = l->arg;
    s->lost = true;
    s->lost_err = err;
    s->lost_ns = qv_env_mono_ns(s->w->metas[0]->env);
}

void mp_grant(struct mp *w, unsigned node, uint32_t ttl_ms, struct qv_meta_lease *l,
              struct mp_leased *s)
{
    *s = (struct mp_leased){.w = w};
    *l = (struct qv_meta_lease){.ttl_ms = ttl_ms, .granted = on_granted, .lost = on_lost, .arg = s};
    qv_meta_lease_grant(w->metas[node], l);
    mp_run_until(w, &s->granted);
}

/* ---- what every implementation does ---- */

void mp_basics(struct mp *w)
{
    struct qv_meta_change two[] = {mp_change("a/1", "x", 0), mp_change("a/2", "y", 0)};
    struct mp_answer a = mp_txn(w, 0, (struct qv_meta_txn){.changes = two, .change_count = 2});
    assert_int_equal(a.err, 0);
    uint64_t r = a.revision;
    assert_int_equal(mp_put(w, 0, "b", "", 0).revision, r + 1);
    a = mp_list(w, 0, "a/");
    assert_int_equal(a.revision, r + 1);
    assert_int_equal(a.count, 2);
    assert_int_equal(mp_list(w, 0, "").count, 3);
    assert_int_equal(mp_list(w, 0, "a/1x").count, 0);
    struct qv_meta_compare c = {.kind = QV_META_MOD, .key = "a/1", .mod_revision = r + 1};
    two[0] = mp_change("a/1", NULL, 0);
    two[1] = mp_change("c", NULL, 0);
    struct qv_meta_txn t = {.compares = &c, .compare_count = 1, .changes = two, .change_count = 2};
    a = mp_txn(w, 0, t);
    assert_int_equal(a.err, QV_ESTALE);
    assert_int_equal(a.revision, r + 1);
    c.mod_revision = r;
    a = mp_txn(w, 0, t);
    assert_int_equal(a.err, 0);
    assert_int_equal(a.revision, r + 2);
    two[0] = mp_change("a/1", NULL, 0); /* nothing there any more: no new revision */
    a = mp_txn(w, 0, (struct qv_meta_txn){.changes = two, .change_count = 2});
    assert_int_equal(a.err, 0);
    assert_int_equal(a.revision, r + 2);
}

void mp_limits(struct mp *w)
{
    static uint8_t big[QV_META_VALUE_BYTES_MAX + 1];
    char key[QV_META_KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = '\0';
    memset(big, 'v', sizeof big);
    assert_int_equal(mp_put(w, 0, key, "v", 0).err, QV_ELIMIT);
    key[QV_META_KEY_BYTES_MAX] = '\0';
    struct qv_meta_change c[QV_META_CHANGES_MAX + 1] = {{.key = key, .value = {big, sizeof big}}};
    struct qv_meta_txn t = {.changes = c, .change_count = 1};
    assert_int_equal(mp_txn(w, 0, t).err, QV_ETOOBIG);
    c[0].value.n--;
    assert_int_equal(mp_txn(w, 0, t).err, 0);
    c[1] = (struct qv_meta_change){.key = "other", .value = c[0].value};
    t.change_count = 2;
    assert_int_equal(mp_txn(w, 0, t).err, QV_ETOOBIG);
    c[0] = c[1] = mp_change("k", "v", 0);
    assert_int_equal(mp_txn(w, 0, t).err, QV_EINVAL);
    t.change_count = QV_META_CHANGES_MAX + 1;
    assert_int_equal(mp_txn(w, 0, t).err, QV_ELIMIT);
    assert_int_equal(mp_put(w, 0, "", "v", 0).err, QV_EINVAL);
    assert_int_equal(mp_put(w, 0, "k", "v", 77).err, QV_ENOTFOUND);
    struct qv_meta_watch watch = {
        .prefix = "", .from = 0, .events = mp_on_events, .ended = mp_on_ended};
    struct mp_seen s = {.w = w};
    watch.arg = &s;
    qv_meta_watch_start(w->metas[0], &watch);
    mp_run_until(w, &s.ended);
    assert_int_equal(s.err, QV_EINVAL);
    struct qv_meta_lease l;
    struct mp_leased ls;
    mp_grant(w, 0, 0, &l, &ls);
    assert_int_equal(ls.err, QV_EINVAL);
}

void mp_watches(struct mp *w)
{
    uint64_t r = mp_list(w, 0, "").revision;
    struct mp_seen all = {.w = w}, some = {.w = w}, later = {.w = w};
    struct qv_meta_watch a = {
        .prefix = "", .from = r + 1, .events = mp_on_events, .ended = mp_on_ended, .arg = &all};
    struct qv_meta_watch b = {
        .prefix = "x/", .from = r + 1, .events = mp_on_events, .ended = mp_on_ended, .arg = &some};
    struct qv_meta_watch c = {
        .prefix = "x/", .from = r + 2, .events = mp_on_events, .ended = mp_on_ended, .arg = &later};
    char want[128];
    qv_meta_watch_start(w->metas[0], &a);
    qv_meta_watch_start(w->metas[0], &b);
    assert_int_equal(mp_put(w, 0, "x/1", "one", 0).revision, r + 1);
    assert_int_equal(mp_put(w, 0, "y", "two", 0).revision, r + 2);
    qv_meta_watch_start(w->metas[0], &c);
    assert_int_equal(mp_put(w, 0, "x/1", NULL, 0).revision, r + 3);
    w->run(w, 2000);
    snprintf(want, sizeof want, "x/1=one@%llu;y=two@%llu;x/1-@%llu;", (unsigned long long)r + 1,
             (unsigned long long)r + 2, (unsigned long long)r + 3);
    assert_string_equal(all.text, want);
    snprintf(want, sizeof want, "x/1=one@%llu;x/1-@%llu;", (unsigned long long)r + 1,
             (unsigned long long)r + 3);
    assert_string_equal(some.text, want);
    snprintf(want, sizeof want, "x/1-@%llu;", (unsigned long long)r + 3);
    assert_string_equal(later.text, want);
    qv_meta_watch_stop(w->metas[0], &a);
    qv_meta_watch_stop(w->metas[0], &a);
    assert_int_equal(mp_put(w, 0, "x/2", "z", 0).err, 0);
    w->run(w, 2000);
    assert_int_equal(all.revision, r + 3);
    assert_true(some.revision == r + 4);
    qv_meta_watch_stop(w->metas[0], &b);
    qv_meta_watch_stop(w->metas[0], &c);
    assert_false(all.ended || some.ended || later.ended);
}

void mp_leases(struct mp *w)
{
    struct qv_meta_lease l;
    struct mp_leased s;
    mp_grant(w, 0, 3000, &l, &s);
    assert_int_equal(s.err, 0);
    assert_int_equal(mp_put(w, 0, "leased", "v", l.id).err, 0);
    for (unsigned i = 0; i < 40; i++) {
        w->run(w, w->slow ? 200 : 1000);
        assert_true(qv_meta_lease_holds(w->metas[0], &l));
    }
    assert_int_equal(mp_list(w, 0, "leased").count, 1);
    qv_meta_lease_revoke(w->metas[0], &l);
    assert_false(qv_meta_lease_holds(w->metas[0], &l));
    mp_run_until(w, &s.lost);
    assert_int_equal(s.lost_err, 0);
    assert_int_equal(mp_list(w, 0, "leased").count, 0);
}

void mp_close_with_requests(struct mp *w)
{
    struct mp_answer a = {0}, b = {0};
    struct mp_seen s = {.w = w};
    struct qv_meta_lease lease;
    struct mp_leased ls;
    mp_grant(w, 0, 3000, &lease, &ls);
    struct qv_meta_change c = mp_change("late", "v", 0);
    struct qv_meta_listing l = {.prefix = "", .done = mp_list_done, .arg = &a};
    struct qv_meta_txn t = {.changes = &c, .change_count = 1, .done = mp_txn_done, .arg = &b};
    struct qv_meta_watch watch = {
        .prefix = "", .from = 1, .events = mp_on_events, .ended = mp_on_ended, .arg = &s};
    qv_meta_watch_start(w->metas[0], &watch);
    qv_meta_txn(w->metas[0], &t);
    w->run(w, 0);
    qv_meta_list(w->metas[0], &l);
    strcpy(t.msg.text, "-");
    if (!s.ended)
        strcpy(watch.msg.text, "-");
    qv_meta_close(w->metas[0]);
    w->metas[0] = NULL;
    assert_true(a.done && b.done && s.ended && ls.lost);
    assert_int_equal(a.err, QV_ECANCELED);
    assert_true(b.err == QV_EUNKNOWN || b.err == QV_ECANCELED || b.err == 0);
    w->run(w, 3000);
}
