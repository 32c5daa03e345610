/* Copies of points: what changes make of them, their join and digest.
 *
 * A copy is an element of a join-semilattice. Each of base, floor and the parts is a register whose
 * newest version wins, so joining registers is idempotent, commutative and associative; dropping
 * what base and floor hide keeps it so, because a join never lowers them: what one side dropped
 * stays hidden in every join that side takes part in.
 *
 * Invariants (qv_copy_check): normal form as point.h says; one version names one change of one
 * point, so two copies that hold a part at one version hold the same value.
 *
 * Pure functions; any thread. */
#include "core/point.h"

#include "base/hash.h"
#include "base/qv_assert.h"

#include <stdlib.h>

int qv_part_compare(const struct qv_part *a, const struct qv_part *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == QV_PART_VECTOR)
        return a->number < b->number ? -1 : a->number > b->number;
    return qv_str_compare(a->key, b->key);
}

static int compare_parts(const void *a, const void *b)
{
    return qv_part_compare(a, b);
}

static bool parts_ascend(const struct qv_part *parts, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        if (qv_part_compare(&parts[i - 1], &parts[i]) >= 0)
            return false;
    }
    return true;
}

bool qv_parts_sort(struct qv_part *parts, uint32_t count)
{
    if (parts_ascend(parts, count))
        return true;
    qsort(parts, count, sizeof *parts, compare_parts);
    return parts_ascend(parts, count);
}

/* ---- changes ---- */

void qv_copy_of_change(const struct qv_change *c, struct qv_version version, struct qv_copy *out)
{
    QV_ASSERT(c->type >= QV_CHANGE_PUT && c->type <= QV_CHANGE_CLEAR);
    QV_ASSERT(qv_version_compare(version, QV_VERSION_NONE) > 0);
    *out = (struct qv_copy){.part_count = c->part_count, .parts = c->parts};
    switch ((enum qv_change_type)c->type) {
    case QV_CHANGE_PUT:
    case QV_CHANGE_DELETE:
        out->alive = c->type == QV_CHANGE_PUT;
        out->base = version;
        out->floor = version;
        break;
    case QV_CHANGE_REPLACE:
    case QV_CHANGE_CLEAR:
        out->floor = version;
        break;
    case QV_CHANGE_SET:
        break;
    }
    for (uint32_t i = 0; i < out->part_count; i++)
        out->parts[i].version = version;
}

/* ---- join ---- */

static bool part_hidden(const struct qv_part *p, struct qv_version base, struct qv_version floor)
{
    return qv_version_compare(p->version, p->kind == QV_PART_VECTOR ? base : floor) < 0;
}

struct qv_version qv_copy_newest(const struct qv_copy *c)
{
    struct qv_version newest = qv_version_max(c->base, c->floor);
    for (uint32_t i = 0; i < c->part_count; i++)
        newest = qv_version_max(newest, c->parts[i].version);
    return newest;
}

/* Does a's put or delete hide everything in b? */
static bool hides_all(const struct qv_copy *a, const struct qv_copy *b)
{
    return qv_version_compare(a->base, b->base) > 0 &&
           qv_version_compare(a->base, qv_copy_newest(b)) > 0;
}

static const struct qv_part *newer_part(const struct qv_part *a, const struct qv_part *b)
{
    int c = qv_version_compare(a->version, b->version);
    if (c != 0)
        return c > 0 ? a : b;
    return b->state == QV_PART_IN_ROW ? b : a;
}

/* Merges the sorted parts of both into `to`, without what base and floor hide; returns how many. */
static uint32_t merge_parts(const struct qv_copy *a, const struct qv_copy *b,
                            const struct qv_copy *head, struct qv_part *to)
{
    uint32_t i = 0;
    uint32_t j = 0;
    uint32_t n = 0;

    while (i < a->part_count || j < b->part_count) {
        const struct qv_part *pick;
        int c = i == a->part_count   ? 1
                : j == b->part_count ? -1
                                     : qv_part_compare(&a->parts[i], &b->parts[j]);
        if (c < 0)
            pick = &a->parts[i++];
        else if (c > 0)
            pick = &b->parts[j++];
        else
            pick = newer_part(&a->parts[i++], &b->parts[j++]);
        if (!part_hidden(pick, head->base, head->floor))
            to[n++] = *pick;
    }
    return n;
}

int qv_copy_join(struct qv_arena *arena, const struct qv_copy *a, const struct qv_copy *b,
                 struct qv_copy *out)
{
    if (hides_all(a, b)) {
        *out = *a;
        return 0;
    }
    if (hides_all(b, a)) {
        *out = *b;
        return 0;
    }
    struct qv_copy joined = {0};
    const int c = qv_version_compare(a->base, b->base);
    joined.base = c >= 0 ? a->base : b->base;
    joined.alive = c == 0 ? a->alive || b->alive : c > 0 ? a->alive : b->alive;
    joined.floor = qv_version_max(joined.base, qv_version_max(a->floor, b->floor));
    const size_t most = (size_t)a->part_count + b->part_count;
    if (most > 0) {
        joined.parts = qv_arena_alloc(arena, most * sizeof *joined.parts);
        if (joined.parts == NULL)
            return QV_ENOMEM;
        joined.part_count = merge_parts(a, b, &joined, joined.parts);
    }
    QV_ASSERT(qv_version_compare(joined.floor, joined.base) >= 0);
    *out = joined;
    return 0;
}

/* ---- digest ---- */

struct digest_head { /* hashed as it lies */
    uint64_t clock;
    uint32_t writer;
    uint32_t tag;
};
QV_STATIC_ASSERT(sizeof(struct digest_head) == 16, "no padding in what is hashed");

enum { DIGEST_DEAD, DIGEST_ALIVE, DIGEST_FLOOR, DIGEST_VECTOR, DIGEST_PAYLOAD };
#define DIGEST_ABSENT 0x80u

static uint64_t digest_add(uint64_t seed, struct qv_version v, uint32_t tag)
{
    const struct digest_head head = {v.clock, v.writer, tag};
    return qv_hash_64_seed(&head, sizeof head, seed);
}

uint64_t qv_copy_digest_of_base(struct qv_version base, bool alive)
{
    return digest_add(0, base, alive ? DIGEST_ALIVE : DIGEST_DEAD);
}

uint64_t qv_copy_digest(const struct qv_copy *c)
{
    uint64_t h = qv_copy_digest_of_base(c->base, c->alive);
    if (qv_version_compare(c->floor, c->base) > 0)
        h = digest_add(h, c->floor, DIGEST_FLOOR);
    for (uint32_t i = 0; i < c->part_count; i++) {
        const struct qv_part *p = &c->parts[i];
        if (qv_version_compare(p->version, c->base) == 0)
            continue;
        const uint32_t absent = p->state == QV_PART_ABSENT ? DIGEST_ABSENT : 0;
        if (p->kind == QV_PART_VECTOR)
            h = digest_add(qv_hash_64_seed(&p->number, sizeof p->number, h), p->version,
                           DIGEST_VECTOR | absent);
        else
            h = digest_add(qv_hash_64_seed(p->key.p, p->key.n, h), p->version,
                           DIGEST_PAYLOAD | absent);
    }
    return h;
}

/* ---- looking at a copy ---- */

bool qv_copy_visible(const struct qv_copy *c)
{
    return c->alive;
}

const struct qv_part *qv_copy_find(const struct qv_copy *c, uint8_t kind, uint32_t number,
                                   struct qv_str key)
{
    const struct qv_part want = {.kind = kind, .number = number, .key = key};
    uint32_t low = 0;
    uint32_t high = c->alive ? c->part_count : 0;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = qv_part_compare(&c->parts[mid], &want);
        if (order == 0)
            return c->parts[mid].state == QV_PART_ABSENT ? NULL : &c->parts[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static const char *part_fault(const struct qv_copy *c, uint32_t i)
{
    const struct qv_part *p = &c->parts[i];
    if (p->kind > QV_PART_PAYLOAD || p->state > QV_PART_IN_ROW)
        return "a part has an unknown kind or state";
    if (p->state == QV_PART_IN_ROW && p->kind != QV_PART_VECTOR)
        return "a payload key can't be in a row";
    if (i > 0 && qv_part_compare(p - 1, p) >= 0)
        return "parts do not ascend";
    if (part_hidden(p, c->base, c->floor))
        return "a part is older than what hides it";
    if (qv_version_compare(p->version, QV_VERSION_NONE) == 0)
        return "a part has no version";
    return NULL;
}

bool qv_copy_check(const struct qv_copy *c, const char **reason)
{
    const char *fault = NULL;
    if (c->alive && qv_version_compare(c->base, QV_VERSION_NONE) == 0)
        fault = "alive without a put";
    else if (qv_version_compare(c->floor, c->base) < 0)
        fault = "the floor is below the base";
    for (uint32_t i = 0; i < c->part_count && fault == NULL; i++)
        fault = part_fault(c, i);
    if (fault != NULL && reason != NULL)
        *reason = fault;
    return fault == NULL;
}

void qv_copy_payload(const struct qv_copy *c, struct qv_buf *out)
{
    uint32_t count = 0;
    size_t mark = qv_doc_begin_object(out);
    for (uint32_t i = 0; i < c->part_count && c->alive; i++) {
        const struct qv_part *p = &c->parts[i];
        if (p->kind != QV_PART_PAYLOAD || p->state == QV_PART_ABSENT)
            continue;
        qv_doc_put_key(out, p->key.p, p->key.n);
        qv_buf_append(out, p->value.p, p->value.n);
        count++;
    }
    qv_doc_end_object(out, mark, count);
}
