#include "naive_filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REACHED_MAX 4096

struct value {
    enum qv_doc_type type;
    struct qv_doc doc;
};

struct reached {
    struct value values[REACHED_MAX];
    size_t count;
};

/* ---- reading documents, by the format's definition ---- */

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static size_t length(const uint8_t *p)
{
    static const size_t fixed[] = {1, 1, 1, 9, 9};
    return p[0] < 5 ? fixed[p[0]] : 5 + (size_t)u32_at(p + 1);
}

static bool is_container(const struct value *v)
{
    return v->type == QV_DOC_ARRAY || v->type == QV_DOC_OBJECT;
}

static size_t member_count(const struct value *v)
{
    return is_container(v) ? u32_at(v->doc.p + 5) : 0;
}

/* The i-th member; its key, too, when it is an object's. */
static struct value member(const struct value *v, size_t i, struct qv_str *key)
{
    const uint8_t *p = v->doc.p + 9;
    for (;; i--) {
        if (v->type == QV_DOC_OBJECT) {
            *key = (struct qv_str){(const char *)p + 4, u32_at(p)};
            p += 4 + key->n;
        }
        if (i == 0)
            return (struct value){(enum qv_doc_type)p[0], {p, length(p)}};
        p += length(p);
    }
}

static bool text_is(struct qv_str a, struct qv_str b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static int64_t integer(const struct value *v)
{
    int64_t i;
    memcpy(&i, v->doc.p + 1, sizeof i);
    return i;
}

static double number(const struct value *v)
{
    double d;
    memcpy(&d, v->doc.p + 1, sizeof d);
    return v->type == QV_DOC_INT ? (double)integer(v) : d;
}

static struct qv_str text(const struct value *v)
{
    return (struct qv_str){(const char *)v->doc.p + 5, u32_at(v->doc.p + 1)};
}

/* ---- what a path reaches ---- */

static void reach(struct reached *out, struct value at, const struct qv_path *path, uint32_t step)
{
    struct qv_str key = {"", 0};
    if (step == path->count) {
        if (out->count == REACHED_MAX)
            abort();
        out->values[out->count++] = at;
        return;
    }
    const struct qv_path_step *s = &path->steps[step];
    const enum qv_doc_type wanted = s->kind == QV_STEP_KEY ? QV_DOC_OBJECT : QV_DOC_ARRAY;
    for (size_t i = 0; at.type == wanted && i < member_count(&at); i++) {
        struct value m = member(&at, i, &key);
        if (s->kind == QV_STEP_ALL || (s->kind == QV_STEP_INDEX && s->index == i) ||
            (s->kind == QV_STEP_KEY && text_is(key, s->key)))
            reach(out, m, path, step + 1);
    }
}

/* ---- "satisfied by a value that is" ---- */

static bool is_item(const struct value *v, const struct qv_match *m)
{
    if (m->type == QV_MATCH_STRING)
        return v->type == QV_DOC_STRING && text_is(text(v), m->s);
    if (m->type == QV_MATCH_INT)
        return v->type == QV_DOC_INT && integer(v) == m->i;
    return v->type == (m->b ? QV_DOC_TRUE : QV_DOC_FALSE);
}

static bool in_list(const struct value *v, const struct qv_cond *c)
{
    for (uint32_t i = 0; i < c->u.any.count; i++) {
        if (is_item(v, &c->u.any.items[i]))
            return true;
    }
    return false;
}

static bool within(double x, const struct qv_range *r)
{
    if (r->has_lt && !(x < r->lt))
        return false;
    if (r->has_gt && !(x > r->gt))
        return false;
    if (r->has_lte && !(x <= r->lte))
        return false;
    return !(r->has_gte && !(x >= r->gte));
}

/* ---- texts, times, places, slices: each said a second time ---- */

static bool begins(struct qv_str s, size_t at, struct qv_str part)
{
    if (at + part.n > s.n)
        return false;
    for (size_t i = 0; i < part.n; i++) {
        if (s.p[at + i] != part.p[i])
            return false;
    }
    return true;
}

static bool holds_part(struct qv_str s, struct qv_str part)
{
    for (size_t at = 0; at <= s.n; at++) {
        if (begins(s, at, part))
            return true;
    }
    return false;
}

static bool text_satisfies(const struct qv_cond *c, struct qv_str s)
{
    static const char spaces[] = " \t\n\v\f\r";
    const struct qv_str want = c->u.text;
    char copy[256];
    char *rest = copy;
    if (c->type == QV_COND_MATCH_PREFIX)
        return begins(s, 0, want);
    if (c->type != QV_COND_MATCH_TEXT_ANY)
        return holds_part(s, want);
    if (want.n >= sizeof copy)
        abort();
    memcpy(copy, want.p, want.n);
    copy[want.n] = '\0';
    for (char *word; (word = strtok_r(rest, spaces, &rest)) != NULL;) {
        if (holds_part(s, qv_str_of(word)))
            return true;
    }
    return false;
}

/* By the C library, for times in one of two forms: what the generator of tests writes. */
static bool time_satisfies(const struct qv_datetime_range *r, struct qv_str s)
{
    struct tm tm = {0};
    char copy[64];
    if (s.n < 10 || s.n >= sizeof copy)
        return false;
    memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    const char *end = strptime(copy, "%Y-%m-%d", &tm);
    if (end != NULL && *end == 'T')
        end = strptime(end, "T%H:%M:%SZ", &tm);
    if (end == NULL || *end != '\0')
        return false;
    const int64_t t = (int64_t)timegm(&tm) * 1000000;
    return !((r->has_lt && t >= r->lt) || (r->has_gt && t <= r->gt) || (r->has_lte && t > r->lte) ||
             (r->has_gte && t < r->gte));
}

static bool number_at(const struct value *object, const char *key, double *out)
{
    struct qv_str k = {"", 0};
    for (size_t i = 0; i < member_count(object); i++) {
        struct value m = member(object, i, &k);
        if (!text_is(k, qv_str_of(key)))
            continue;
        *out = m.type == QV_DOC_INT || m.type == QV_DOC_DOUBLE ? number(&m) : 0;
        return m.type == QV_DOC_INT || m.type == QV_DOC_DOUBLE;
    }
    return false;
}

/* Great-circle distance by the angle between two vectors. */
static long double metres(struct qv_geo_point a, struct qv_geo_point b)
{
    const long double to = 3.14159265358979323846264338327950288L / 180;
    const long double u[3] = {cosl(a.lat * to) * cosl(a.lon * to),
                              cosl(a.lat * to) * sinl(a.lon * to), sinl(a.lat * to)};
    const long double v[3] = {cosl(b.lat * to) * cosl(b.lon * to),
                              cosl(b.lat * to) * sinl(b.lon * to), sinl(b.lat * to)};
    const long double dot = u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
    const long double x = u[1] * v[2] - u[2] * v[1];
    const long double y = u[2] * v[0] - u[0] * v[2];
    const long double z = u[0] * v[1] - u[1] * v[0];
    return 6371008.8L * atan2l(sqrtl(x * x + y * y + z * z), dot);
}

/* How often does a ray to the east cross the ring? `*edge`: p is on it. Even-odd where the rings of
 * tests don't run around a point twice. */
static bool odd_crossings(const struct qv_geo_ring *ring, struct qv_geo_point p, bool *edge)
{
    bool odd = false;
    for (uint32_t i = 1; i < ring->count; i++) {
        const struct qv_geo_point a = ring->points[i - 1];
        const struct qv_geo_point b = ring->points[i];
        const long double cross = ((long double)b.lon - a.lon) * ((long double)p.lat - a.lat) -
                                  ((long double)b.lat - a.lat) * ((long double)p.lon - a.lon);
        const bool lon = (a.lon - p.lon) * (b.lon - p.lon) <= 0;
        const bool lat = (a.lat - p.lat) * (b.lat - p.lat) <= 0;
        *edge = *edge || (cross == 0 && lon && lat);
        if ((a.lat > p.lat) != (b.lat > p.lat) &&
            p.lon < a.lon + ((long double)b.lon - a.lon) * (p.lat - a.lat) / (b.lat - a.lat))
            odd = !odd;
    }
    return odd;
}

static bool place_satisfies(const struct qv_cond *c, const struct value *v)
{
    const struct qv_geo_polygon *g = c->u.geo_polygon;
    struct qv_geo_point p = {0};
    bool edge = false;
    if (v->type != QV_DOC_OBJECT || !number_at(v, "lon", &p.lon) || !number_at(v, "lat", &p.lat) ||
        !(fabs(p.lon) <= 180) || !(fabs(p.lat) <= 90))
        return false;
    if (c->type == QV_COND_GEO_RADIUS)
        return metres(c->u.geo_circle.center, p) < c->u.geo_circle.radius;
    if (c->type == QV_COND_GEO_BOX) {
        const double west = c->u.geo_box.top_left.lon;
        const double width = c->u.geo_box.bottom_right.lon - west;
        const double east = fmod(p.lon - west + 720, 360); /* of the western edge */
        return p.lat < c->u.geo_box.top_left.lat && p.lat > c->u.geo_box.bottom_right.lat &&
               east > 0 && east < (width < 0 ? width + 360 : width);
    }
    bool inside = odd_crossings(&g->exterior, p, &edge);
    for (uint32_t i = 0; i < g->interior_count; i++)
        inside = !odd_crossings(&g->interiors[i], p, &edge) && inside;
    return inside && !edge;
}

static bool scalar_satisfies(const struct qv_cond *c, const struct value *v)
{
    if (c->type == QV_COND_MATCH)
        return is_item(v, &c->u.match);
    if (c->type == QV_COND_MATCH_ANY)
        return in_list(v, c);
    if (c->type == QV_COND_MATCH_EXCEPT)
        return v->type != QV_DOC_NULL && !in_list(v, c);
    if (c->type >= QV_COND_MATCH_TEXT && c->type <= QV_COND_MATCH_PREFIX)
        return v->type == QV_DOC_STRING && text_satisfies(c, text(v));
    if (c->type == QV_COND_DATETIME_RANGE)
        return v->type == QV_DOC_STRING && time_satisfies(&c->u.times, text(v));
    if (c->type >= QV_COND_GEO_BOX && c->type <= QV_COND_GEO_POLYGON)
        return place_satisfies(c, v);
    return (v->type == QV_DOC_INT || v->type == QV_DOC_DOUBLE) && within(number(v), &c->u.range);
}

static bool is_empty(const struct value *v)
{
    return v->type == QV_DOC_NULL || (v->type == QV_DOC_ARRAY && member_count(v) == 0);
}

static bool is_or_holds_null(const struct value *v)
{
    struct qv_str key;
    for (size_t i = 0; v->type == QV_DOC_ARRAY && i < member_count(v); i++) {
        if (member(v, i, &key).type == QV_DOC_NULL)
            return true;
    }
    return v->type == QV_DOC_NULL;
}

static double count_of(const struct value *v)
{
    if (v->type == QV_DOC_NULL)
        return 0;
    return v->type == QV_DOC_ARRAY ? (double)member_count(v) : 1;
}

/* point == NULL: inside NESTED. */
static bool holds(const struct qv_filter *f, const struct qv_filter_point *point,
                  const struct value *object);

static bool satisfies(const struct qv_cond *c, const struct value *v)
{
    struct qv_str key;
    switch (c->type) {
    case QV_COND_VALUES_COUNT:
        return within(count_of(v), &c->u.range);
    case QV_COND_IS_NULL:
        return v->type == QV_DOC_NULL;
    case QV_COND_KEY_IS_EMPTY:
        return is_empty(v) == c->u.want;
    case QV_COND_KEY_IS_NULL:
        return is_or_holds_null(v) == c->u.want;
    case QV_COND_NESTED:
        return v->type == QV_DOC_OBJECT && holds(c->u.filter, NULL, v);
    default:
        break;
    }
    if (v->type != QV_DOC_ARRAY)
        return scalar_satisfies(c, v);
    for (size_t i = 0; i < member_count(v); i++) {
        struct value m = member(v, i, &key);
        if (scalar_satisfies(c, &m))
            return true;
    }
    return false;
}

static bool key_cond_holds(const struct qv_cond *c, const struct value *object)
{
    struct qv_path_step steps[QV_DOC_DEPTH_MAX + 1];
    struct qv_path path = c->path;
    struct reached *r = calloc(1, sizeof *r);
    bool any = false;
    bool all_empty = true;

    if (r == NULL)
        abort();
    if (c->type == QV_COND_NESTED && path.steps[path.count - 1].kind != QV_STEP_ALL) {
        memcpy(steps, path.steps, path.count * sizeof *steps);
        steps[path.count] = (struct qv_path_step){.kind = QV_STEP_ALL};
        path = (struct qv_path){steps, path.count + 1};
    }
    if (object != NULL)
        reach(r, *object, &path, 0);
    for (size_t i = 0; i < r->count; i++) {
        if (c->type == QV_COND_IS_EMPTY)
            all_empty = all_empty && is_empty(&r->values[i]);
        else
            any = any || satisfies(c, &r->values[i]);
    }
    const size_t reached = r->count;
    free(r);
    if (c->type == QV_COND_IS_EMPTY)
        return all_empty;
    if (reached == 0 && c->type == QV_COND_KEY_IS_EMPTY)
        return c->u.want;
    if (reached == 0 && c->type == QV_COND_KEY_IS_NULL)
        return !c->u.want;
    return any;
}

static bool cond_holds(const struct qv_cond *c, const struct qv_filter_point *point,
                       const struct value *object)
{
    if (c->type == QV_COND_FILTER)
        return holds(c->u.filter, point, object);
    if (c->type == QV_COND_HAS_ID) {
        for (uint32_t i = 0; point != NULL && i < c->u.has_id.count; i++) {
            const struct qv_id *id = &c->u.has_id.ids[i];
            if (id->type == point->id.type && id->hi == point->id.hi && id->lo == point->id.lo)
                return true;
        }
        return false;
    }
    if (c->type == QV_COND_SLICE)
        return point != NULL &&
               qv_filter_slice_hash(&point->id) % c->u.slice.total == c->u.slice.index;
    if (c->type == QV_COND_HAS_VECTOR)
        return point != NULL && point->has_vector != NULL &&
               point->has_vector(point->ctx, c->u.vector);
    return key_cond_holds(c, object);
}

static uint32_t how_many(const struct qv_cond *conds, uint32_t count,
                         const struct qv_filter_point *point, const struct value *object)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += cond_holds(&conds[i], point, object);
    return n;
}

static bool holds(const struct qv_filter *f, const struct qv_filter_point *point,
                  const struct value *object)
{
    const uint32_t must = how_many(f->must, f->must_count, point, object);
    const uint32_t must_not = how_many(f->must_not, f->must_not_count, point, object);
    const uint32_t should = how_many(f->should, f->should_count, point, object);
    const uint32_t min_should = how_many(f->min_should, f->min_should_count, point, object);
    return must == f->must_count && must_not == 0 && (f->should_count == 0 || should >= 1) &&
           (!f->has_min_should || f->min_should_count == 0 || min_should >= f->min_should_min);
}

bool naive_filter(const struct qv_filter *f, const struct qv_filter_point *point)
{
    const struct value root = {QV_DOC_OBJECT, point->payload};
    return f == NULL || holds(f, point, point->payload.p == NULL ? NULL : &root);
}
