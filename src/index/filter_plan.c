#include "index/filter_plan.h"

#include "base/qv_assert.h"

/* What things cost, in ns on a core with AVX-512, from `quiver bench filter` on three sets
 * (docs/filters.md has the table). Only their ratios matter, and those move little between
 * machines: each is a line of memory or two. */
#define ROW_NS 12.0      /* comparing a row that was prefetched: the call, the mark of its bit, */
#define ROW_BYTE_NS 0.05 /* and its lines */
#define VISIT_NS 22.0    /* what a walk does beside: marks, pool, waiting for what comes next */
#define HOP_NS 60.0      /* expanding a node */
#define BRIDGE_NS 55.0   /* reading the links of one that fails */

/* A walk that has cost so many scans becomes one. Giving up wastes what was done, and walks differ:
 * at 1 a third of those over glove (10 %, far, ef 64) did, though two thirds of a scan is the mean.
 */
#define GIVE_UP 1.25

/* What a walk does, by counting. */
#define DEGREE 0.69    /* links a node has, of those it may have */
#define HOPS 1.1       /* nodes a walk expands, of ef */
#define APPROACH 0.125 /* and above level 0 */
#define STRANGERS 1.3  /* two links away fewer were seen before than one link away */
#define BROADER 1.06   /* a checked walk, of what its share says */
#define BRIDGES_MAX 200.0

static double bridges_cost(const struct qv_plan_facts *f, double share, double row_ns)
{
    const double degree = f->m0 * DEGREE;
    const double direct = degree * share;
    double found = degree * (share < 1 ? STRANGERS : 1);
    double lists = (degree - direct) / direct;
    if (lists > BRIDGES_MAX) {
        lists = BRIDGES_MAX;
        found = direct * (1 + lists);
    }
    return f->ef * HOPS * (HOP_NS + found * (row_ns + VISIT_NS) + lists * BRIDGE_NS);
}

void qv_plan_choose(const struct qv_plan_facts *f, struct qv_plan *out)
{
    const double row_ns = ROW_NS + ROW_BYTE_NS * f->row_bytes;
    const double passing = f->passing > 0 ? f->passing : 1;
    double share = f->rows > 0 ? passing / f->rows : 1;
    share = share > 1 ? 1 : share;
    const double hop_ns = HOP_NS + f->m0 * DEGREE * (row_ns + VISIT_NS);
    const double approach = f->ef * APPROACH * hop_ns;
    *out = (struct qv_plan){.way = QV_PLAN_SCAN, .share = share};
    out->cost_ns[QV_PLAN_PLAIN] = f->ef * HOPS * hop_ns + approach;
    out->cost_ns[QV_PLAN_SCAN] = f->passing * row_ns;
    out->cost_ns[QV_PLAN_BRIDGES] = bridges_cost(f, share, row_ns) + approach;
    out->cost_ns[QV_PLAN_CHECK] =
        f->ef * HOPS * hop_ns * (share < 1 ? BROADER / share : 1) + approach;
    for (int way = QV_PLAN_BRIDGES; way <= QV_PLAN_CHECK; way++)
        if (out->cost_ns[way] <= out->cost_ns[out->way])
            out->way = (enum qv_plan_way)way;
    const double visit = (BRIDGE_NS + row_ns + VISIT_NS) / 2;
    out->visits_max = 1 + (uint64_t)(GIVE_UP * out->cost_ns[QV_PLAN_SCAN] / visit);
}

const char *qv_plan_name(enum qv_plan_way way)
{
    static const char *const names[] = {"plain", "scan", "bridges", "check"};
    QV_ASSERT((int)way >= 0 && way < QV_PLAN_WAYS);
    return names[way];
}

static void add_work(struct qv_hnsw_work *to, struct qv_hnsw_work before, struct qv_hnsw_work now)
{
    to->distances = now.distances - before.distances;
    to->hops = now.hops - before.hops;
    to->bridges = now.bridges - before.bridges;
}

void qv_plan_make(const struct qv_hnsw *h, const struct qv_plan_query *query,
                  struct qv_plan_report *r)
{
    const struct qv_hnsw_query *q = &query->query;
    *r = (struct qv_plan_report){.facts = {.rows = qv_hnsw_stats(h).live,
                                           .passing = query->passing,
                                           .ef = q->ef > q->k ? q->ef : q->k,
                                           .m0 = qv_hnsw_get_params(h)->m0,
                                           .row_bytes = qv_hnsw_row_bytes(h, q->by_rows)}};
    qv_plan_choose(&r->facts, &r->plan);
    if (query->forced != QV_PLAN_PLAIN) {
        r->plan.way = query->forced;
        r->plan.visits_max = query->forced == QV_PLAN_BRIDGES ? 0 : r->plan.visits_max;
    }
    r->answered = r->plan.way;
}

int qv_plan_search(const struct qv_hnsw *h, struct qv_hnsw_ctx *ctx,
                   const struct qv_plan_query *query, struct qv_hnsw_hit *hits, uint32_t *n_out,
                   struct qv_plan_report *report)
{
    struct qv_plan_report own;
    struct qv_plan_report *r = report == NULL ? &own : report;
    struct qv_hnsw_query q = query->query;
    const struct qv_hnsw_work before = qv_hnsw_ctx_work(ctx);
    QV_ASSERT(q.bitmap != NULL && q.accept == NULL);
    qv_plan_make(h, query, r);
    q.share = (float)r->plan.share;
    int err = QV_ELIMIT;
    if (r->answered == QV_PLAN_CHECK) {
        q.way = QV_HNSW_WAY_CHECK;
        err = qv_hnsw_search(h, ctx, &q, hits, n_out);
        if (err == QV_ELIMIT)
            r->answered = QV_PLAN_BRIDGES;
    }
    if (err == QV_ELIMIT && r->answered == QV_PLAN_BRIDGES) {
        q.way = QV_HNSW_WAY_BRIDGES;
        q.visits_max = r->plan.visits_max;
        err = qv_hnsw_search(h, ctx, &q, hits, n_out);
        if (err == QV_ELIMIT)
            r->answered = QV_PLAN_SCAN;
    }
    if (err == QV_ELIMIT)
        err = qv_hnsw_scan(h, ctx, &q, hits, n_out);
    add_work(&r->work, before, qv_hnsw_ctx_work(ctx));
    return err;
}
