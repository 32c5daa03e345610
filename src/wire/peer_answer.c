/* Answers to asks. Points go by column: a hit without contents is 25 bytes (9 of a numeric id, 12
 * of its version, 4 of its score), against 34 as a message of its own. */
#include "wire/peer_codec.h"

#include "base/qv_assert.h"
#include "core/hits.h"
#include "core/limits.h"
#include "wire/peer_codec_private.h"

#include <stdlib.h>

#define TEXT_BYTES_MAX QV_REQUEST_BYTES_DEFAULT
#define VERSION_BYTES 12u
#define HAS_VECS 1u
#define VECS_UNNAMED 2u

/* ---- writing ---- */

static void put_text(struct qv_peer_out *o, uint32_t number, const char *text)
{
    if (text != NULL)
        qv_pb_put_bytes(o->b, number, text, strlen(text));
}

static void put_plan(struct qv_peer_out *o, const struct qv_plan_out *p)
{
    const size_t mark = qv_peer_begin(o, 7);
    put_text(o, 1, p->way);
    put_text(o, 2, p->answered);
    put_text(o, 3, p->why);
    put_text(o, 4, p->filter_by);
    qv_peer_put_u64(o, 5, p->points);
    qv_peer_put_u64(o, 6, p->passing);
    qv_peer_put_u64(o, 7, p->passing_min);
    qv_peer_put_u64(o, 8, p->passing_max);
    qv_peer_put_u64(o, 9, p->payloads_read);
    qv_peer_put_u64(o, 10, p->ef);
    qv_peer_put_u64(o, 11, p->ranked);
    qv_peer_put_u64(o, 12, p->distances);
    qv_peer_put_u64(o, 13, p->hops);
    qv_peer_put_u64(o, 14, p->bridges);
    qv_peer_put_u64(o, 15, p->waiting);
    if (p->planned)
        qv_pb_put_bytes(o->b, 16, p->cost_us, sizeof p->cost_us);
    qv_peer_end(o, mark);
}

/* Which columns there are. */
struct columns {
    bool scores, order_values, payloads, vecs;
};

static struct columns columns_of(const struct qv_points_out *out)
{
    struct columns c = {false, false, false, false};
    for (uint32_t i = 0; i < out->count; i++) {
        const struct qv_point_out *p = &out->points[i];
        uint32_t bits;
        memcpy(&bits, &p->score, sizeof bits);
        c.scores = c.scores || bits != 0;
        c.order_values = c.order_values || p->order_value.type != QV_ORDER_NONE;
        c.payloads = c.payloads || p->payload.p != NULL;
        c.vecs = c.vecs || p->has_vecs || p->vecs_unnamed || p->vec_count > 0;
    }
    return c;
}

static void put_heads(struct qv_peer_out *o, const struct qv_points_out *out, bool scores)
{
    size_t mark = qv_peer_begin(o, 1);
    for (uint32_t i = 0; i < out->count; i++) {
        uint8_t bytes[QV_ID_BYTES_MAX];
        qv_pb_put_raw(o->b, bytes, qv_id_encode(&out->points[i].id, bytes));
    }
    qv_peer_end(o, mark);
    mark = qv_peer_begin(o, 2);
    for (uint32_t i = 0; i < out->count; i++) {
        qv_pb_put_raw(o->b, &out->points[i].version.clock, 8);
        qv_pb_put_raw(o->b, &out->points[i].version.writer, 4);
    }
    qv_peer_end(o, mark);
    if (!scores)
        return;
    mark = qv_peer_begin(o, 3);
    for (uint32_t i = 0; i < out->count; i++)
        qv_pb_put_raw(o->b, &out->points[i].score, sizeof out->points[i].score);
    qv_peer_end(o, mark);
}

static void put_point_vectors(struct qv_peer_out *o, const struct qv_point_out *p)
{
    const size_t mark = qv_peer_begin(o, 6);
    qv_peer_put_u64(o, 1, (p->has_vecs ? HAS_VECS : 0) | (p->vecs_unnamed ? VECS_UNNAMED : 0));
    for (uint32_t i = 0; i < p->vec_count; i++)
        qv_peer_put_named(o, 2, &p->vecs[i]);
    qv_peer_end(o, mark);
}

static void put_points(struct qv_peer_out *o, uint32_t number, const struct qv_points_out *out)
{
    const size_t mark = qv_peer_begin(o, number);
    const struct columns c = columns_of(out);
    if (out->count > 0)
        put_heads(o, out, c.scores);
    for (uint32_t i = 0; i < out->count && c.order_values; i++)
        qv_peer_put_order_value(o, 4, &out->points[i].order_value);
    for (uint32_t i = 0; i < out->count && c.payloads; i++)
        qv_pb_put_bytes(o->b, 5, out->points[i].payload.p, out->points[i].payload.n);
    for (uint32_t i = 0; i < out->count && c.vecs; i++)
        put_point_vectors(o, &out->points[i]);
    if (out->plan != NULL)
        put_plan(o, out->plan);
    qv_peer_put_bool(o, 8, out->explain);
    qv_peer_put_bool(o, 9, out->more);
    qv_peer_end(o, mark);
}

static void put_list(struct qv_peer_out *o, uint32_t number, const struct qv_leg_list *list)
{
    const struct qv_bound *bound = &list->bound;
    const size_t mark = qv_peer_begin(o, number);
    put_points(o, 1, &list->points);
    const size_t inner = qv_pb_begin(o->b, 2);
    qv_peer_put_bool(o, 1, bound->all);
    qv_pb_put_f32(o->b, 2, bound->score);
    if (bound->order_value.type != QV_ORDER_NONE)
        qv_peer_put_order_value(o, 3, &bound->order_value);
    qv_peer_put_id(o, 4, &bound->id);
    qv_pb_end(o->b, inner);
    qv_peer_end(o, mark);
}

static void put_facet(struct qv_peer_out *o, const struct qv_facet_out *facet)
{
    for (uint32_t i = 0; i < facet->count; i++) {
        const size_t mark = qv_peer_begin(o, 10);
        qv_pb_put_bytes(o->b, 1, facet->hits[i].value.p, facet->hits[i].value.n);
        qv_peer_put_u64(o, 2, facet->hits[i].count);
        qv_peer_end(o, mark);
    }
}

static void put_result(struct qv_peer_out *o, const struct qv_ask *ask,
                       const struct qv_leg_answer *a)
{
    switch (ask->kind) {
    case QV_ASK_SEARCH:
        for (uint32_t i = 0; i < ask->req.query->query_count; i++)
            put_list(o, 6, &a->lists[i]);
        break;
    case QV_ASK_SCROLL:
        put_list(o, 7, &a->scroll);
        break;
    case QV_ASK_FETCH:
        put_points(o, 8, &a->fetch);
        break;
    case QV_ASK_COUNT:
        qv_peer_put_u64(o, 9, a->count);
        break;
    case QV_ASK_FACET:
        put_facet(o, &a->facet);
        qv_peer_put_bool(o, 11, a->facet_all);
        break;
    case QV_ASK_DIGESTS:
    case QV_ASK_KIND_COUNT:
        break;
    }
}

static void put_answer(struct qv_peer_out *o, const struct qv_ask *ask,
                       const struct qv_leg_answer *a, struct qv_bytes record)
{
    const size_t mark = qv_peer_begin(o, 2);
    if (a->err != 0) {
        qv_pb_put_u64(o->b, 1, qv_err_number(a->err));
        qv_pb_put_u64(o->b, 2, (uint64_t)qv_err_class(a->err));
        put_text(o, 3, a->msg.text);
    }
    qv_peer_put_u64(o, 4, a->epoch);
    qv_peer_put_cover(o, 5, &a->cover);
    if (a->err == 0)
        put_result(o, ask, a);
    if (a->digest_known)
        qv_peer_put_fixed64(o, 12, a->digest);
    if (record.p != NULL)
        qv_pb_put_bytes(o->b, 13, record.p, record.n);
    qv_peer_end(o, mark);
}

void qv_peer_encode_answers(struct qv_buf *b, const struct qv_ask *ask,
                            const struct qv_bytes *records)
{
    const struct qv_bytes none = {NULL, 0};
    struct qv_peer_out o = {b, b->len};
    qv_pb_put_u64(b, 1, QV_PEER_FEATURE_LEVEL);
    for (uint32_t i = 0; i < ask->leg_count; i++)
        put_answer(&o, ask, ask->answers[i], records != NULL ? records[i] : none);
}

/* ---- reading ---- */

/* A copy with its NUL, which it may not hold otherwise. */
static const char *read_cstr(struct qv_peer_in *m)
{
    const struct qv_str s = qv_peer_text(m, TEXT_BYTES_MAX);
    const char *copy = qv_arena_strndup(m->c->arena, s.p, s.n);
    if (copy == NULL)
        qv_peer_fail_full(m->c);
    else if (strlen(copy) != s.n)
        qv_peer_fail(m, "text holds a NUL");
    return copy;
}

static void read_plan_text(struct qv_peer_in *m, struct qv_plan_out *p)
{
    const char **const texts[] = {&p->way, &p->answered, &p->why, &p->filter_by};
    *texts[m->number - 1] = read_cstr(m);
}

static void read_costs(struct qv_peer_in *m, struct qv_plan_out *p)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    if (v.n % sizeof(double) != 0 || v.n == 0) {
        qv_peer_fail(m, "not costs");
        return;
    }
    p->planned = true; /* a newer node may know more ways, or fewer */
    memcpy(p->cost_us, v.p, v.n < sizeof p->cost_us ? v.n : sizeof p->cost_us);
}

static const struct qv_plan_out *read_plan(struct qv_peer_in *m)
{
    struct qv_peer_in in = qv_peer_sub(m, "Plan");
    struct qv_plan_out *p = QV_PEER_ARRAY(in.c, struct qv_plan_out, 1);
    if (p == NULL)
        return NULL;
    uint64_t *const counts[] = {&p->points,        &p->passing, &p->passing_min, &p->passing_max,
                                &p->payloads_read, &p->ef,      &p->ranked,      &p->distances,
                                &p->hops,          &p->bridges, &p->waiting};
    while (qv_peer_next(&in)) {
        if (in.number <= 4)
            read_plan_text(&in, p);
        else if (in.number <= 15)
            *counts[in.number - 5] = qv_peer_u64(&in);
        else if (in.number == 16)
            read_costs(&in, p);
    }
    if (p->way == NULL || p->answered == NULL || p->why == NULL)
        qv_peer_fail(&in, "a plan lacks its texts");
    return p;
}

/* Points under way: columns as they come. */
struct points_in {
    struct qv_point_out *points; /* made by the ids, which come first */
    uint32_t count;
    uint32_t order_values, payloads, vecs;
};

static void read_point_ids(struct qv_peer_in *m, struct points_in *x)
{
    const struct qv_id *ids;
    qv_peer_ids(m, QV_HITS_MAX, &ids, &x->count);
    x->points = QV_PEER_ARRAY(m->c, struct qv_point_out, x->count);
    for (uint32_t i = 0; x->points != NULL && i < x->count; i++)
        x->points[i].id = ids[i];
}

static void read_versions(struct qv_peer_in *m, struct points_in *x)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    if (v.n != (size_t)x->count * VERSION_BYTES) {
        qv_peer_fail(m, "not as many versions as ids");
        return;
    }
    for (uint32_t i = 0; i < x->count; i++) {
        const uint8_t *p = v.p + (size_t)i * VERSION_BYTES;
        memcpy(&x->points[i].version.clock, p, 8);
        memcpy(&x->points[i].version.writer, p + 8, 4);
    }
}

static void read_scores(struct qv_peer_in *m, struct points_in *x)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    if (v.n != (size_t)x->count * sizeof(float)) {
        qv_peer_fail(m, "not as many scores as ids");
        return;
    }
    for (uint32_t i = 0; i < x->count; i++)
        memcpy(&x->points[i].score, v.p + (size_t)i * sizeof(float), sizeof(float));
}

static void read_point_vectors(struct qv_peer_in *m, struct qv_point_out *p)
{
    struct qv_peer_in in = qv_peer_sub(m, "PointVectors");
    struct qv_named_vec *vecs = NULL;
    while (qv_peer_next(&in)) {
        if (in.number == 1) {
            const uint64_t flags = qv_peer_u64(&in);
            p->has_vecs = (flags & HAS_VECS) != 0;
            p->vecs_unnamed = (flags & VECS_UNNAMED) != 0;
        } else if (in.number == 2) {
            if (vecs == NULL)
                vecs = QV_PEER_ARRAY(in.c, struct qv_named_vec,
                                     1 + qv_peer_count(&in, 2, QV_VECTORS_PER_POINT_MAX - 1));
            if (vecs != NULL && in.c->err == 0)
                vecs[p->vec_count++] = qv_peer_named(&in, false);
        }
    }
    p->vecs = vecs;
}

/* The next point of a column; NULL when it has as many as there are ids. */
static struct qv_point_out *next_of(struct qv_peer_in *m, struct points_in *x, uint32_t *at)
{
    if (*at < x->count)
        return &x->points[(*at)++];
    qv_peer_fail(m, "more than there are ids");
    return NULL;
}

static void read_column(struct qv_peer_in *m, struct points_in *x)
{
    struct qv_point_out *p;
    if (m->number == 4 && (p = next_of(m, x, &x->order_values)) != NULL)
        p->order_value = qv_peer_order_value(m);
    else if (m->number == 5 && (p = next_of(m, x, &x->payloads)) != NULL)
        p->payload = qv_peer_object(m);
    else if (m->number == 6 && (p = next_of(m, x, &x->vecs)) != NULL)
        read_point_vectors(m, p);
}

static bool whole(uint32_t column, uint32_t count)
{
    return column == 0 || column == count;
}

static void read_points(struct qv_peer_in *m, struct qv_points_out *out)
{
    struct qv_peer_in in = qv_peer_sub(m, "Points");
    struct points_in x = {NULL, 0, 0, 0, 0};
    bool versions = false;
    while (qv_peer_next(&in)) {
        switch (in.number) {
        case 1:
            if (x.points != NULL)
                qv_peer_fail(&in, "given twice");
            else
                read_point_ids(&in, &x);
            break;
        case 2:
            read_versions(&in, &x);
            versions = true;
            break;
        case 3:
            read_scores(&in, &x);
            break;
        case 4:
        case 5:
        case 6:
            read_column(&in, &x);
            break;
        case 7:
            out->plan = read_plan(&in);
            break;
        case 8:
            out->explain = qv_peer_bool(&in);
            break;
        case 9:
            out->more = qv_peer_bool(&in);
            break;
        default:
            break;
        }
    }
    if (!whole(x.order_values, x.count) || !whole(x.payloads, x.count) || !whole(x.vecs, x.count) ||
        (x.count > 0 && !versions))
        qv_peer_fail(&in, "columns of different lengths");
    out->points = x.points;
    out->count = x.count;
}

static void read_bound(struct qv_peer_in *m, struct qv_bound *out)
{
    struct qv_peer_in in = qv_peer_sub(m, "Bound");
    while (qv_peer_next(&in)) {
        if (in.number == 1)
            out->all = qv_peer_bool(&in);
        else if (in.number == 2)
            out->score = qv_peer_f32(&in);
        else if (in.number == 3)
            out->order_value = qv_peer_order_value(&in);
        else if (in.number == 4)
            out->id = qv_peer_id(&in);
    }
}

static void read_list(struct qv_peer_in *m, struct qv_leg_list *out)
{
    struct qv_peer_in in = qv_peer_sub(m, "List");
    bool has_points = false;
    bool has_bound = false;
    while (qv_peer_next(&in)) {
        if (in.number == 1) {
            *out = (struct qv_leg_list){.bound = out->bound};
            read_points(&in, &out->points);
            has_points = true;
        } else if (in.number == 2) {
            read_bound(&in, &out->bound);
            has_bound = true;
        }
    }
    if (!has_points || !has_bound)
        qv_peer_fail(&in, "a list lacks its points or its bound");
}

static void read_facet_hit(struct qv_peer_in *m, struct qv_facet_hit *out)
{
    struct qv_peer_in in = qv_peer_sub(m, "FacetHit");
    while (qv_peer_next(&in)) {
        if (in.number == 1)
            out->value = qv_peer_doc(&in);
        else if (in.number == 2)
            out->count = qv_peer_u64(&in);
    }
    const enum qv_doc_type type = out->value.p != NULL ? qv_doc_type(out->value) : QV_DOC_NULL;
    if (type != QV_DOC_STRING && type != QV_DOC_INT && type != QV_DOC_TRUE && type != QV_DOC_FALSE)
        qv_peer_fail(&in, "not a value that is counted");
}

/* An answer under way. */
struct answer_in {
    const struct qv_ask *ask;
    struct qv_leg_answer *out;
    struct qv_bytes record;
    unsigned error, error_class;
    uint32_t list_count;
    bool has_scroll, has_fetch;
};

static void read_text(struct qv_peer_in *m, struct qv_errmsg *out)
{
    const struct qv_str s = qv_peer_text(m, TEXT_BYTES_MAX);
    (void)qv_fail(out, QV_EPROTO, "%.*s", (int)(s.n < sizeof out->text ? s.n : sizeof out->text),
                  s.p);
}

static void read_answer_list(struct qv_peer_in *m, struct answer_in *x)
{
    const uint32_t wanted = x->ask->req.query->query_count;
    if (x->list_count == wanted) {
        qv_peer_fail(m, "more lists than were asked for");
        return;
    }
    if (x->out->lists == NULL)
        x->out->lists = QV_PEER_ARRAY(m->c, struct qv_leg_list, wanted);
    if (x->out->lists != NULL)
        read_list(m, &x->out->lists[x->list_count++]);
}

static void read_answer_facet(struct qv_peer_in *m, struct qv_facet_out *facet)
{
    if (facet->hits == NULL)
        facet->hits =
            QV_PEER_ARRAY(m->c, struct qv_facet_hit, 1 + qv_peer_count(m, 10, QV_HITS_MAX));
    if (facet->hits != NULL && m->c->err == 0)
        read_facet_hit(m, &facet->hits[facet->count++]);
}

/* Results of another kind than was asked for are passed over. */
static bool is_wanted(enum qv_ask_kind kind, uint32_t number)
{
    switch (number) {
    case 6:
        return kind == QV_ASK_SEARCH;
    case 7:
        return kind == QV_ASK_SCROLL;
    case 8:
        return kind == QV_ASK_FETCH;
    case 9:
        return kind == QV_ASK_COUNT;
    case 10:
    case 11:
        return kind == QV_ASK_FACET;
    default:
        return true;
    }
}

/* Fields from 6 on: the result. */
static void read_result(struct qv_peer_in *m, struct answer_in *x)
{
    if (!is_wanted(x->ask->kind, m->number))
        return;
    switch (m->number) {
    case 6:
        read_answer_list(m, x);
        break;
    case 7:
        read_list(m, &x->out->scroll);
        x->has_scroll = true;
        break;
    case 8:
        x->out->fetch = (struct qv_points_out){0};
        read_points(m, &x->out->fetch);
        x->has_fetch = true;
        break;
    case 9:
        x->out->count = qv_peer_u64(m);
        break;
    case 10:
        read_answer_facet(m, &x->out->facet);
        break;
    case 11:
        x->out->facet_all = qv_peer_bool(m);
        break;
    case 12:
        x->out->digest_known = true;
        x->out->digest = qv_peer_fixed64(m);
        break;
    case 13:
        x->record = qv_peer_bytes(m);
        break;
    default:
        break;
    }
}

static void check_answer(struct qv_peer_in *m, const struct answer_in *x)
{
    if (m->c->err != 0 || x->out->err != 0)
        return;
    if ((x->ask->kind == QV_ASK_SEARCH && x->list_count != x->ask->req.query->query_count) ||
        (x->ask->kind == QV_ASK_SCROLL && !x->has_scroll) ||
        (x->ask->kind == QV_ASK_FETCH && !x->has_fetch))
        qv_peer_fail(m, "the answer lacks its result");
}

static void read_answer(struct qv_peer_in *m, struct answer_in *x)
{
    while (qv_peer_next(m)) {
        switch (m->number) {
        case 1:
            x->error = qv_peer_u32(m, UINT32_MAX);
            break;
        case 2:
            x->error_class = qv_peer_u32(m, UINT32_MAX);
            break;
        case 3:
            read_text(m, &x->out->msg);
            break;
        case 4:
            x->out->epoch = qv_peer_u64(m);
            break;
        case 5:
            x->out->cover = qv_peer_cover(m);
            break;
        default:
            read_result(m, x);
            break;
        }
    }
    x->out->err = qv_err_from_number(x->error, x->error_class);
    check_answer(m, x);
}

/* The bytes copied into the arena, at the same place within a word: what is aligned stays so. */
static struct qv_bytes keep(struct qv_peer_in *m, size_t at)
{
    const struct qv_bytes v = qv_peer_bytes(m);
    uint8_t *copy = qv_arena_alloc(m->c->arena, v.n + 3);
    if (copy == NULL) {
        qv_peer_fail_full(m->c);
        return (struct qv_bytes){NULL, 0};
    }
    copy += at % 4;
    if (v.n > 0)
        memcpy(copy, v.p, v.n);
    return (struct qv_bytes){copy, v.n};
}

/* One leg's answer, everything of it in its own arena. */
static void read_leg_answer(struct qv_peer_in *m, const uint8_t *begin, struct answer_in *x)
{
    struct qv_peer_ctx c = {.arena = &x->out->arena, .msg = m->c->msg};
    const struct qv_arena arena = x->out->arena;
    struct qv_peer_ctx *const outer = m->c;
    *x->out = (struct qv_leg_answer){.arena = arena};
    m->c = &c;
    const struct qv_bytes kept = keep(m, (size_t)(m->bytes.p - begin));
    struct qv_peer_in in = qv_peer_open(&c, kept, "LegAnswer");
    if (c.err == 0)
        read_answer(&in, x);
    m->c = outer;
    outer->err = outer->err != 0 ? outer->err : c.err;
}

int qv_peer_decode_answers(struct qv_bytes in, const struct qv_ask *ask, struct qv_bytes *records,
                           struct qv_errmsg *msg)
{
    struct qv_peer_ctx c = {.msg = msg};
    struct qv_peer_in m = qv_peer_open(&c, in, "Answers");
    uint32_t n = 0;
    while (qv_peer_next(&m)) {
        if (m.number == 1) {
            qv_peer_check_needs(&m);
        } else if (m.number == 2 && m.type != QV_PB_LEN) {
            qv_peer_fail(&m, "wrong wire type");
        } else if (m.number == 2 && n == ask->leg_count) {
            qv_peer_fail(&m, "more answers than legs");
        } else if (m.number == 2) {
            struct answer_in x = {.ask = ask, .out = ask->answers[n]};
            read_leg_answer(&m, in.p, &x);
            if (records != NULL)
                records[n] = x.record;
            n++;
        }
    }
    if (n != ask->leg_count)
        qv_peer_fail(&m, "fewer answers than legs");
    return c.err;
}
