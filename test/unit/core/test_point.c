/* Random histories of one point: however its changes arrive, in whatever order, repeated, or as
 * states of other copies, the copy is the same, and what it shows is what replaying the changes in
 * version order shows. The same run with rules that are known to be wrong must find fault with
 * them. */
#include "suite.h"

#include "base/rng.h"
#include "core/point.h"
#include "core/vector.h"

#include <stdlib.h>

#define SEED 20250101u
#define HISTORIES 30000
#define KEYS 3
#define VECS 2
#define PARTS (KEYS + VECS)
#define CHANGES_MAX 7
#define ARENA_BYTES ((size_t)1 << 20)

static const char *const key_names[KEYS] = {"k0", "k1", "k2"};

/* What a change does to a part, for the replay; NOTHING where the change doesn't name it. */
enum { NOTHING = -1, REMOVED = -2 };

struct event {
    struct qv_version version;
    struct qv_change change;
    struct qv_copy copy; /* of the change alone */
    int set[PARTS];      /* values, keys first, then vectors */
};

struct history {
    struct qv_arena arena;
    struct qv_rng *rng;
    struct event events[CHANGES_MAX];
    int count;
};

typedef int (*join_f)(struct qv_arena *a, const struct qv_copy *x, const struct qv_copy *y,
                      struct qv_copy *out);
typedef uint64_t (*digest_f)(const struct qv_copy *c);

struct rules {
    join_f join;
    digest_f digest;
    bool drop_unknown; /* a set on a point that is not alive here is dropped */
};

struct faults {
    int order, replay, digest, codec, join_law;
};

/* ---- making changes ---- */

static struct qv_bytes value_bytes(struct qv_arena *a, uint8_t kind, int value)
{
    struct qv_buf b;
    const float f = (float)value;
    const struct qv_vec v = {.kind = QV_VEC_DENSE, .dim = 1, .rows = 1, .values = &f};
    qv_buf_init(&b, 0);
    if (kind == QV_PART_VECTOR)
        qv_vec_encode(&b, &v, QV_DTYPE_F32);
    else
        qv_doc_put_int(&b, value);
    struct qv_bytes out = {qv_arena_dup(a, b.data, b.len), b.len};
    qv_buf_close(&b);
    return out;
}

static void add_part(struct history *h, struct event *e, int part, int value)
{
    struct qv_part *p = &e->change.parts[e->change.part_count++];
    e->set[part] = value;
    *p = (struct qv_part){.kind = part < KEYS ? QV_PART_PAYLOAD : QV_PART_VECTOR};
    if (part < KEYS)
        p->key = qv_str_of(key_names[part]);
    else
        p->number = (uint32_t)(part - KEYS) * 1000;
    p->state = value == REMOVED ? QV_PART_ABSENT : QV_PART_INLINE;
    if (value != REMOVED)
        p->value = value_bytes(&h->arena, p->kind, value);
}

static int any_value(struct history *h)
{
    return (int)qv_rng_below(h->rng, 1000);
}

static void random_event(struct history *h, struct event *e)
{
    const uint64_t what = qv_rng_below(h->rng, 8);
    const int key = (int)qv_rng_below(h->rng, KEYS);
    const int vec = KEYS + (int)qv_rng_below(h->rng, VECS);
    static const uint8_t types[8] = {QV_CHANGE_PUT,   QV_CHANGE_DELETE, QV_CHANGE_SET,
                                     QV_CHANGE_SET,   QV_CHANGE_SET,    QV_CHANGE_SET,
                                     QV_CHANGE_CLEAR, QV_CHANGE_REPLACE};
    e->change = (struct qv_change){.type = types[what], .id = qv_id_num(42)};
    e->change.parts = QV_ARENA_ARRAY(&h->arena, struct qv_part, PARTS);
    for (int i = 0; i < PARTS; i++)
        e->set[i] = NOTHING;
    if (what == 2)
        add_part(h, e, key, any_value(h));
    else if (what == 3)
        add_part(h, e, key, REMOVED);
    else if (what == 4)
        add_part(h, e, vec, any_value(h));
    else if (what == 5)
        add_part(h, e, vec, REMOVED);
    for (int i = 0; i < PARTS; i++) {
        const bool wanted = what == 0   ? qv_rng_below(h->rng, 5) < 3
                            : what == 7 ? i < KEYS && qv_rng_below(h->rng, 2) == 0
                            : what == 2 ? i < KEYS && i != key && qv_rng_below(h->rng, 3) == 0
                                        : false;
        if (wanted)
            add_part(h, e, i, any_value(h));
    }
    assert_true(qv_parts_sort(e->change.parts, e->change.part_count));
}

static void random_history(struct history *h)
{
    uint64_t taken = 0;
    h->count = 2 + (int)qv_rng_below(h->rng, CHANGES_MAX - 1);
    for (int i = 0; i < h->count; i++) {
        struct event *e = &h->events[i];
        uint64_t v = qv_rng_below(h->rng, 36);
        while (taken >> v & 1)
            v = (v + 1) % 36;
        taken |= UINT64_C(1) << v;
        e->version = (struct qv_version){1 + v / 3, (uint32_t)(v % 3)};
        random_event(h, e);
        qv_copy_of_change(&e->change, e->version, &e->copy);
    }
}

/* ---- comparing ---- */

static bool parts_equal(const struct qv_part *a, const struct qv_part *b)
{
    return qv_part_compare(a, b) == 0 && a->state == b->state &&
           qv_version_compare(a->version, b->version) == 0 && a->value.n == b->value.n &&
           (a->value.n == 0 || memcmp(a->value.p, b->value.p, a->value.n) == 0);
}

static bool copies_equal(const struct qv_copy *a, const struct qv_copy *b)
{
    if (qv_version_compare(a->base, b->base) != 0 || a->alive != b->alive ||
        qv_version_compare(a->floor, b->floor) != 0 || a->part_count != b->part_count)
        return false;
    for (uint32_t i = 0; i < a->part_count; i++) {
        if (!parts_equal(&a->parts[i], &b->parts[i]))
            return false;
    }
    return true;
}

/* What a client sees: NOTHING or a value for each part; false for a dead point. */
static bool visible(const struct qv_copy *c, int out[PARTS])
{
    for (int i = 0; i < PARTS; i++) {
        const struct qv_part *p =
            i < KEYS ? qv_copy_find(c, QV_PART_PAYLOAD, 0, qv_str_of(key_names[i]))
                     : qv_copy_find(c, QV_PART_VECTOR, (uint32_t)(i - KEYS) * 1000, qv_str_of(""));
        out[i] = NOTHING;
        if (p != NULL && i < KEYS) {
            out[i] = (int)qv_doc_int((struct qv_doc){p->value.p, p->value.n});
        } else if (p != NULL) {
            float f;
            memcpy(&f, p->value.p + QV_VEC_DENSE_HEAD_BYTES, sizeof f);
            out[i] = (int)f;
        }
    }
    return qv_copy_visible(c);
}

static int by_version(const void *a, const void *b)
{
    return qv_version_compare((*(struct event *const *)a)->version,
                              (*(struct event *const *)b)->version);
}

/* The meaning: one change after the other in version order, on a plain array. */
static bool replay(struct history *h, int out[PARTS])
{
    struct event *order[CHANGES_MAX];
    bool alive = false;
    for (int i = 0; i < h->count; i++)
        order[i] = &h->events[i];
    qsort(order, (size_t)h->count, sizeof *order, by_version);
    for (int i = 0; i < PARTS; i++)
        out[i] = NOTHING;
    for (int i = 0; i < h->count; i++) {
        const uint8_t type = order[i]->change.type;
        if (type == QV_CHANGE_PUT || type == QV_CHANGE_DELETE)
            alive = type == QV_CHANGE_PUT;
        else if (!alive)
            continue;
        for (int p = 0; p < PARTS; p++) {
            const bool forgets = type == QV_CHANGE_PUT || type == QV_CHANGE_DELETE ||
                                 (p < KEYS && type != QV_CHANGE_SET);
            const int value = order[i]->set[p];
            if (forgets || value == REMOVED)
                out[p] = NOTHING;
            if (value >= 0)
                out[p] = value;
        }
    }
    return alive;
}

/* ---- the run ---- */

static void apply(struct history *h, const struct rules *rules, struct qv_copy *state,
                  const struct event *e)
{
    const bool partial = e->change.type != QV_CHANGE_PUT && e->change.type != QV_CHANGE_DELETE;
    if (rules->drop_unknown && partial && !state->alive)
        return;
    assert_int_equal(rules->join(&h->arena, state, &e->copy, state), 0);
}

/* All changes in a random order, `again` of them repeated. */
static struct qv_copy arrive(struct history *h, const struct rules *rules, int again)
{
    struct qv_copy state = {0};
    int order[CHANGES_MAX + 3];
    int n = h->count + again;
    for (int i = 0; i < n; i++)
        order[i] = i < h->count ? i : (int)qv_rng_below(h->rng, (uint64_t)h->count);
    for (int i = n - 1; i > 0; i--) {
        int j = (int)qv_rng_below(h->rng, (uint64_t)i + 1);
        int k = order[i];
        order[i] = order[j];
        order[j] = k;
    }
    for (int i = 0; i < n; i++)
        apply(h, rules, &state, &h->events[order[i]]);
    return state;
}

/* What a copy holds that got each change with this chance (of ten). */
static struct qv_copy some(struct history *h, const struct rules *rules, unsigned chance)
{
    struct qv_copy state = {0};
    for (int i = 0; i < h->count; i++) {
        if (qv_rng_below(h->rng, 10) < chance)
            apply(h, rules, &state, &h->events[i]);
    }
    return state;
}

static bool codec_holds(struct history *h, const struct qv_copy *c)
{
    struct qv_buf b;
    struct qv_buf again;
    struct qv_rd r;
    struct qv_copy back;
    struct qv_errmsg msg = {""};
    qv_buf_init(&b, 0);
    qv_buf_init(&again, 0);
    qv_copy_encode(&b, c);
    qv_rd_init(&r, b.data, b.len);
    bool good = qv_copy_decode(&r, &h->arena, &back, &msg) == 0 && qv_rd_left(&r) == 0 &&
                copies_equal(c, &back) && qv_copy_digest(c) == qv_copy_digest(&back);
    if (good)
        qv_copy_encode(&again, &back);
    good = good && again.len == b.len && memcmp(again.data, b.data, b.len) == 0;
    qv_buf_close(&b);
    qv_buf_close(&again);
    return good;
}

static bool change_codec_holds(struct history *h, const struct event *e)
{
    struct qv_buf b;
    struct qv_rd r;
    struct qv_change back;
    struct qv_copy copy;
    struct qv_errmsg msg;
    qv_buf_init(&b, 0);
    qv_change_encode(&b, &e->change);
    qv_rd_init(&r, b.data, b.len);
    bool good = qv_change_decode(&r, &h->arena, &back, &msg) == 0 && qv_rd_left(&r) == 0 &&
                back.type == e->change.type && qv_id_equal(&back.id, &e->change.id);
    if (good)
        qv_copy_of_change(&back, e->version, &copy);
    good = good && copies_equal(&copy, &e->copy);
    qv_buf_close(&b);
    return good;
}

static void check_laws(struct history *h, const struct rules *rules, struct faults *f)
{
    struct qv_copy x = some(h, rules, 6);
    struct qv_copy y = some(h, rules, 6);
    struct qv_copy z = some(h, rules, 6);
    struct qv_copy xy, yx, yz, left, right, xx, absorbed;
    int err = 0;
    err |= rules->join(&h->arena, &x, &y, &xy) | rules->join(&h->arena, &y, &x, &yx);
    err |= rules->join(&h->arena, &y, &z, &yz) | rules->join(&h->arena, &xy, &z, &left);
    err |= rules->join(&h->arena, &x, &yz, &right) | rules->join(&h->arena, &x, &x, &xx);
    err |= rules->join(&h->arena, &xy, &x, &absorbed);
    assert_int_equal(err, 0);
    if (!copies_equal(&xy, &yx) || !copies_equal(&left, &right) || !copies_equal(&xx, &x) ||
        !copies_equal(&absorbed, &xy))
        f->join_law++;
    if ((rules->digest(&x) == rules->digest(&y)) != copies_equal(&x, &y))
        f->digest++;
}

static void check_history(struct history *h, const struct rules *rules, struct faults *f)
{
    struct qv_copy a = arrive(h, rules, 0);
    struct qv_copy b = arrive(h, rules, 3);
    struct qv_copy m = {0};
    int shown[PARTS];
    int meant[PARTS];
    const uint64_t turn = qv_rng_below(h->rng, 4);
    for (uint64_t i = 0; i < 4; i++) { /* states of other copies, the whole one among them */
        struct qv_copy sub = i == turn ? a : some(h, rules, 5);
        assert_int_equal(rules->join(&h->arena, &m, &sub, &m), 0);
    }
    if (!copies_equal(&a, &b) || !copies_equal(&a, &m))
        f->order++;
    if (visible(&a, shown) != replay(h, meant) ||
        (qv_copy_visible(&a) && memcmp(shown, meant, sizeof shown) != 0))
        f->replay++;
    check_laws(h, rules, f);
    if (!qv_copy_check(&a, NULL) || !codec_holds(h, &a))
        f->codec++;
    for (int i = 0; i < h->count; i++) {
        if (!change_codec_holds(h, &h->events[i]) || !codec_holds(h, &h->events[i].copy))
            f->codec++;
    }
}

static struct faults run(const struct rules *rules, int histories)
{
    struct faults f = {0};
    struct qv_rng rng;
    struct history h = {.rng = &rng};
    qv_rng_init(&rng, SEED);
    qv_arena_init(&h.arena, ARENA_BYTES);
    for (int i = 0; i < histories; i++) {
        qv_arena_reset(&h.arena);
        random_history(&h);
        check_history(&h, rules, &f);
        assert_false(h.arena.failed);
    }
    qv_arena_close(&h.arena);
    return f;
}

static void test_join_is_replay(void **state)
{
    (void)state;
    const struct rules rules = {qv_copy_join, qv_copy_digest, false};
    struct faults f = run(&rules, HISTORIES);
    print_message("seed %u: %d histories: order %d, replay %d, laws %d, digest %d, codec %d\n",
                  SEED, HISTORIES, f.order, f.replay, f.join_law, f.digest, f.codec);
    assert_int_equal(f.order + f.replay + f.join_law + f.digest + f.codec, 0);
}

/* ---- rules that are wrong ---- */

static int join_newest_point(struct qv_arena *a, const struct qv_copy *x, const struct qv_copy *y,
                             struct qv_copy *out)
{
    (void)a;
    *out = qv_version_compare(qv_copy_newest(x), qv_copy_newest(y)) >= 0 ? *x : *y;
    return 0;
}

static int join_without_floor(struct qv_arena *a, const struct qv_copy *x, const struct qv_copy *y,
                              struct qv_copy *out)
{
    struct qv_copy p = *x;
    struct qv_copy q = *y;
    p.floor = p.base;
    q.floor = q.base;
    return qv_copy_join(a, &p, &q, out);
}

static int join_first_part(struct qv_arena *a, const struct qv_copy *x, const struct qv_copy *y,
                           struct qv_copy *out)
{
    const struct qv_copy first = *x;
    int err = qv_copy_join(a, x, y, out);
    if (err == 0)
        out->parts = qv_arena_dup(a, out->parts, out->part_count * sizeof *out->parts);
    for (uint32_t i = 0; err == 0 && i < out->part_count; i++) {
        for (uint32_t j = 0; j < first.part_count; j++) {
            if (qv_part_compare(&out->parts[i], &first.parts[j]) == 0 &&
                qv_version_compare(first.parts[j].version, out->floor) >= 0)
                out->parts[i] = first.parts[j];
        }
    }
    return err;
}

static uint64_t digest_scalar(const struct qv_copy *c)
{
    struct qv_version v = qv_copy_newest(c);
    return v.clock << 8 | v.writer;
}

static void test_wrong_rules_are_found(void **state)
{
    (void)state;
    const struct {
        const char *name;
        struct rules rules;
        size_t must_fail; /* offset of the count in struct faults */
    } mutants[] = {
        {"newest point wins",
         {join_newest_point, qv_copy_digest, false},
         offsetof(struct faults, replay)},
        {"set dropped on an unknown id",
         {qv_copy_join, qv_copy_digest, true},
         offsetof(struct faults, order)},
        {"payload replacement forgotten",
         {join_without_floor, qv_copy_digest, false},
         offsetof(struct faults, replay)},
        {"first part wins",
         {join_first_part, qv_copy_digest, false},
         offsetof(struct faults, order)},
        {"scalar version as digest",
         {qv_copy_join, digest_scalar, false},
         offsetof(struct faults, digest)},
    };
    for (size_t i = 0; i < sizeof mutants / sizeof *mutants; i++) {
        struct faults f = run(&mutants[i].rules, 2000);
        print_message("%s: of 2000 histories: order %d, replay %d, laws %d, digest %d\n",
                      mutants[i].name, f.order, f.replay, f.join_law, f.digest);
        assert_true(*(int *)(void *)((char *)&f + mutants[i].must_fail) > 20);
    }
}

/* ---- examples ---- */

static struct qv_part in_row(uint32_t number, struct qv_version v)
{
    return (struct qv_part){
        .kind = QV_PART_VECTOR, .state = QV_PART_IN_ROW, .number = number, .version = v};
}

static void test_row_and_inline_are_one_value(void **state)
{
    (void)state;
    struct qv_arena arena;
    struct qv_copy both;
    struct qv_copy other;
    const struct qv_version v = {5, 1};
    qv_arena_init(&arena, ARENA_BYTES);
    struct qv_part row[1] = {in_row(0, v)};
    struct qv_part given[1] = {in_row(0, v)};
    given[0].state = QV_PART_INLINE;
    given[0].value = value_bytes(&arena, QV_PART_VECTOR, 7);
    struct qv_copy x = {v, true, v, 1, row};
    struct qv_copy y = {v, true, v, 1, given};
    assert_true(qv_copy_digest(&x) == qv_copy_digest(&y));
    assert_int_equal(qv_copy_join(&arena, &x, &y, &both), 0);
    assert_int_equal(qv_copy_join(&arena, &y, &x, &other), 0);
    assert_true(copies_equal(&both, &other));
    assert_int_equal(both.parts[0].state, QV_PART_IN_ROW);
    assert_true(qv_copy_digest(&x) == qv_copy_digest_of_base(v, true));
    qv_arena_close(&arena);
}

static void test_payload_of_a_copy(void **state)
{
    (void)state;
    struct qv_arena arena;
    struct qv_buf b;
    const struct qv_version v = {5, 1};
    const struct qv_version w = {6, 1};
    qv_arena_init(&arena, ARENA_BYTES);
    qv_buf_init(&b, 0);
    struct qv_part parts[] = {
        in_row(0, v),
        {QV_PART_PAYLOAD, QV_PART_INLINE, 0, {"a", 1}, v, value_bytes(&arena, QV_PART_PAYLOAD, 1)},
        {QV_PART_PAYLOAD, QV_PART_ABSENT, 0, {"b", 1}, w, {NULL, 0}},
        {QV_PART_PAYLOAD, QV_PART_INLINE, 0, {"c", 1}, w, value_bytes(&arena, QV_PART_PAYLOAD, 3)},
    };
    struct qv_copy c = {v, true, v, 4, parts};
    struct qv_doc found;
    assert_true(qv_copy_check(&c, NULL));
    qv_copy_payload(&c, &b);
    struct qv_doc d = {b.data, b.len};
    assert_int_equal(qv_doc_check(d.p, d.n, NULL), 0);
    assert_int_equal(qv_doc_count(d), 2);
    assert_true(qv_doc_find(d, qv_str_of("c"), &found) && qv_doc_int(found) == 3);
    assert_true(qv_doc_find(d, qv_str_of("a"), &found) && qv_doc_int(found) == 1);
    qv_buf_clear(&b);
    c.alive = false;
    qv_copy_payload(&c, &b);
    assert_int_equal(b.len, QV_DOC_EMPTY_OBJECT_BYTES);
    assert_null(qv_copy_find(&c, QV_PART_PAYLOAD, 0, qv_str_of("a")));
    qv_buf_close(&b);
    qv_arena_close(&arena);
}

static void test_full_arena_is_an_error(void **state)
{
    (void)state;
    struct qv_arena arena;
    struct qv_copy out;
    qv_arena_init(&arena, 32);
    struct qv_part p[1] = {in_row(0, (struct qv_version){5, 1})};
    struct qv_copy x = {{0, 0}, false, {0, 0}, 1, p};
    assert_int_equal(qv_copy_join(&arena, &x, &x, &out), QV_ENOMEM);
    qv_arena_close(&arena);
}

static void test_faults_of_normal_form(void **state)
{
    (void)state;
    const char *reason = NULL;
    const struct qv_version v = {5, 1};
    const struct qv_version old = {4, 1};
    struct qv_part p[2] = {in_row(1, v), in_row(0, v)};
    struct qv_copy c = {v, true, v, 2, p};
    assert_false(qv_copy_check(&c, &reason));
    assert_string_equal(reason, "parts do not ascend");
    c.part_count = 1;
    assert_true(qv_copy_check(&c, &reason));
    c.floor = old;
    assert_false(qv_copy_check(&c, &reason));
    c.floor = v;
    p[0].version = old;
    assert_false(qv_copy_check(&c, &reason));
    c = (struct qv_copy){{0, 0}, true, v, 0, NULL};
    assert_false(qv_copy_check(&c, &reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_is_replay),
        cmocka_unit_test(test_wrong_rules_are_found),
        cmocka_unit_test(test_row_and_inline_are_one_value),
        cmocka_unit_test(test_payload_of_a_copy),
        cmocka_unit_test(test_full_arena_is_an_error),
        cmocka_unit_test(test_faults_of_normal_form),
    };
    return RUN_SUITE(tests);
}
