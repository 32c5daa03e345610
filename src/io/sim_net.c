#include "io/sim_net.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "io/sim_net_internal.h"

#include <stdio.h>
#include <string.h>

#define SIM_NET_RESEND_NS (200 * QV_NS_PER_MS) /* a held message tries again */
#define SIM_NET_SELF_NS (5 * QV_NS_PER_US)     /* of a message to oneself */

/* ---- bytes ---------------------------------------------------------------------------------- */

struct sim_blob *qv_sim_net_blob(const uint8_t *head, size_t n, struct qv_bytes body)
{
    QV_STATIC_ASSERT(offsetof(struct sim_blob, wire) % 16 == 0, "bodies are used in place");
    struct sim_blob *b = qv_mem_alloc(sizeof *b + 5 + n + body.n);
    b->refs = 1;
    b->bytes = n + body.n;
    memset(b->wire, 0, 5);
    memcpy(b->wire + 5, head, n);
    if (body.n > 0)
        memcpy(b->wire + 5 + n, body.p, body.n);
    return b;
}

void qv_sim_net_blob_unref(struct sim_blob *blob)
{
    if (blob != NULL && --blob->refs == 0)
        qv_mem_free(blob);
}

/* ---- messages ------------------------------------------------------------------------------- */

/* -log2 of a uniform number is its leading zeros, and between two powers nearly a line: whole
 * numbers only, so that every machine draws the same. */
uint64_t qv_sim_net_spread(struct qv_rng *rng, uint64_t mean)
{
    uint64_t u = qv_rng_u64(rng) | 1;
    unsigned zeros = (unsigned)__builtin_clzll(u);
    uint64_t below = zeros == 63 ? 0 : u << (zeros + 1) >> 48;
    uint64_t log2 = ((uint64_t)zeros << 16) + ((1u << 16) - below); /* 16 bits behind the point */
    return (mean * 45426 >> 16) * log2 >> 16;                       /* ln 2 */
}

static bool chance(struct qv_sim_net *net, double share)
{
    return share > 0 && qv_rng_unit(&net->rng) < share;
}

static struct sim_link *link_of(struct sim_host *from, uint32_t to)
{
    if (to >= from->n_links) {
        uint32_t n = from->net->n_hosts;
        from->links = qv_mem_realloc(from->links, n * sizeof *from->links);
        memset(from->links + from->n_links, 0, (n - from->n_links) * sizeof *from->links);
        from->n_links = n;
    }
    return &from->links[to];
}

void qv_sim_net_msg_free(struct sim_msg *m)
{
    qv_env_timer_stop(m->net->env, &m->timer);
    if (m->prev != NULL)
        m->prev->next = m->next;
    else
        m->net->msgs = m->next;
    if (m->next != NULL)
        m->next->prev = m->prev;
    qv_sim_net_blob_unref(m->blob);
    if (m->out != NULL)
        qv_sim_net_out_unref(m->out);
    qv_mem_free(m);
}

static void on_arrival(struct qv_timer *timer)
{
    struct sim_msg *m = timer->arg;
    struct qv_sim_net *net = m->net;
    struct sim_host *to = net->hosts[m->to];
    if (m->from != m->to &&
        qv_sim_net_weather(net, net->hosts[m->from], net->hosts[m->to]).blocked) {
        net->stats.held++;
        qv_sim_net_stuck(m);
        bool goes_on = (m->kind == MSG_REQUEST || m->kind == MSG_ANSWER) && qv_sim_net_is_open(m);
        if (goes_on) {
            qv_env_timer_start(net->env, &m->timer, SIM_NET_RESEND_NS);
            return;
        }
    } else if (to->up) {
        qv_sim_net_arrive(m);
    } else if (to->dark) {
        qv_sim_net_stuck(m);
    } else {
        qv_sim_net_refused(m);
    }
    qv_sim_net_msg_free(m);
}

static void post(struct qv_sim_net *net, const struct sim_msg *like, uint64_t delay_ns)
{
    struct sim_msg *m = qv_mem_alloc(sizeof *m);
    *m = *like;
    m->net = net;
    m->timer = (struct qv_timer){.run = on_arrival, .arg = m};
    m->prev = NULL;
    m->next = net->msgs;
    if (m->next != NULL)
        m->next->prev = m;
    net->msgs = m;
    if (m->blob != NULL)
        m->blob->refs++;
    if (m->out != NULL)
        m->out->refs++;
    qv_env_timer_start(net->env, &m->timer, delay_ns);
}

/* How long the message takes, and what it does to the link. */
static uint64_t delay_of(struct qv_sim_net *net, struct sim_link *link, size_t bytes, unsigned lane,
                         const struct sim_weather *w)
{
    const struct qv_sim_net_config *c = &net->config;
    uint64_t now = qv_sim_now_ns(net->sim);
    uint64_t start = link->busy_ns[lane] > now ? link->busy_ns[lane] : now;
    link->busy_ns[lane] = start + bytes * QV_NS_PER_S / w->bytes_per_s;
    uint64_t due = link->busy_ns[lane] + c->delay_ns_min + w->delay_ns +
                   qv_sim_net_spread(&net->rng, c->delay_ns_mean);
    if (chance(net, c->tail_share))
        due += qv_rng_below(&net->rng, c->delay_ns_tail + 1);
    if (due < link->last_ns[lane] && chance(net, c->overtake_share))
        net->stats.overtaken++;
    else if (due < link->last_ns[lane])
        due = link->last_ns[lane];
    if (due > link->last_ns[lane])
        link->last_ns[lane] = due;
    return due - now;
}

void qv_sim_net_transmit(struct qv_sim_net *net, const struct sim_msg *m, unsigned lane)
{
    struct sim_host *from = net->hosts[m->from];
    size_t bytes = 40 + (m->blob != NULL ? 5 + m->blob->bytes : 0); /* TCP's and IP's headers */
    struct sim_link *link = link_of(from, m->to);
    link->sent.messages++;
    link->sent.bytes += bytes;
    net->stats.messages++;
    net->stats.bytes += bytes;
    if (m->from == m->to) {
        post(net, m, SIM_NET_SELF_NS);
        return;
    }
    struct sim_weather w = qv_sim_net_weather(net, from, net->hosts[m->to]);
    bool is_body = m->kind == MSG_REQUEST || m->kind == MSG_ANSWER;
    if (is_body && chance(net, w.loss))
        net->stats.lost++;
    else
        post(net, m, delay_of(net, link, bytes, lane, &w));
    if (m->kind == MSG_REQUEST && chance(net, w.duplicate)) {
        net->stats.duplicated++;
        uint64_t late = qv_sim_net_spread(&net->rng, 20 * net->config.delay_ns_mean);
        post(net, m, delay_of(net, link, bytes, lane, &w) + late);
    }
}

/* ---- the net -------------------------------------------------------------------------------- */

static uint64_t or_default(uint64_t v, uint64_t d)
{
    return v != 0 ? v : d;
}

struct qv_sim_net *qv_sim_net_create(struct qv_sim *sim, const struct qv_sim_net_config *config)
{
    struct qv_sim_net *net = qv_mem_calloc(1, sizeof *net);
    struct qv_sim_net_config *c = &net->config;
    net->sim = sim;
    net->node = qv_sim_node_create(sim, NULL, 0);
    net->env = qv_sim_node_env(net->node);
    qv_rng_init(&net->rng, config->seed);
    *c = *config;
    c->delay_ns_min = or_default(c->delay_ns_min, 40 * QV_NS_PER_US);
    c->delay_ns_mean = or_default(c->delay_ns_mean, 60 * QV_NS_PER_US);
    c->delay_ns_tail = or_default(c->delay_ns_tail, 20 * QV_NS_PER_MS);
    c->bytes_per_s = or_default(c->bytes_per_s, 1250000000);
    c->connect_timeout_ns = or_default(c->connect_timeout_ns, QV_NS_PER_S);
    c->retry_ns = or_default(c->retry_ns, 100 * QV_NS_PER_MS);
    c->dead_ns = or_default(c->dead_ns, 3 * QV_NS_PER_S);
    c->tail_share = c->tail_share == 0 ? 0.002 : c->tail_share;
    c->overtake_share = c->overtake_share == 0 ? 0.05 : c->overtake_share;
    qv_peer_limits_fill(&c->limits);
    return net;
}

void qv_sim_net_destroy(struct qv_sim_net **pnet)
{
    struct qv_sim_net *net = *pnet;
    *pnet = NULL;
    if (net == NULL)
        return;
    qv_sim_net_close_faults(net);
    while (net->msgs != NULL)
        qv_sim_net_msg_free(net->msgs);
    for (uint32_t i = 0; i < net->n_hosts; i++) {
        struct sim_host *h = net->hosts[i];
        QV_ASSERT(!h->up);
        qv_mem_free(h->links);
        qv_mem_free(h->peers);
        qv_mem_free(h);
    }
    qv_mem_free(net->hosts);
    qv_sim_node_destroy(&net->node);
    qv_mem_free(net);
}

struct sim_host *qv_sim_net_host(const struct qv_sim_net *net, uint64_t id)
{
    for (uint32_t i = 0; i < net->n_hosts; i++) {
        if (net->hosts[i]->self.id == id)
            return net->hosts[i];
    }
    return NULL;
}

struct qv_peers *qv_sim_net_join(struct qv_sim_net *net, struct qv_sim_node *node,
                                 const struct qv_peer_self *self, const char *host, uint16_t port)
{
    struct sim_host *h = qv_sim_net_host(net, self->id);
    for (uint32_t i = 0; i < net->n_hosts; i++) {
        const struct sim_host *other = net->hosts[i];
        QV_ASSERT(!other->up || strcmp(other->host, host) != 0 || other->port != port);
    }
    if (h == NULL) {
        h = qv_mem_calloc(1, sizeof *h);
        h->index = net->n_hosts;
        net->hosts = qv_mem_realloc(net->hosts, (net->n_hosts + 1) * sizeof(struct sim_host *));
        net->hosts[net->n_hosts++] = h;
    }
    QV_ASSERT(!h->up);
    h->pub.ops = &qv_sim_net_ops;
    h->pub.env = qv_sim_node_env(node);
    h->net = net;
    h->self = *self;
    qv_peer_self_fill(&h->self);
    snprintf(h->secret, sizeof h->secret, "%s", self->secret != NULL ? self->secret : "");
    h->self.secret = h->secret;
    snprintf(h->host, sizeof h->host, "%s", host);
    h->port = port;
    h->up = true;
    h->dark = false;
    return &h->pub;
}

void qv_sim_net_leave(struct qv_sim_net *net, uint64_t id)
{
    struct sim_host *h = qv_sim_net_host(net, id);
    QV_ASSERT(h != NULL && h->up);
    for (uint32_t i = 0; i < net->n_hosts; i++)
        qv_sim_net_reset(h, net->hosts[i]);
    qv_sim_net_clear(h, QV_ECANCELED);
    h->up = false;
}

void qv_sim_net_crash(struct qv_sim_net *net, uint64_t id, enum qv_sim_net_crash how)
{
    struct sim_host *h = qv_sim_net_host(net, id);
    QV_ASSERT(h != NULL && h->up);
    for (uint32_t i = 0; i < net->n_hosts && how == QV_SIM_NET_KILLED; i++)
        qv_sim_net_reset(h, net->hosts[i]);
    qv_sim_net_clear(h, 0);
    h->up = false;
    h->dark = how == QV_SIM_NET_POWER_OFF;
}

struct qv_sim_net_pair qv_sim_net_traffic(const struct qv_sim_net *net, uint64_t from, uint64_t to)
{
    const struct sim_host *a = qv_sim_net_host(net, from);
    const struct sim_host *b = qv_sim_net_host(net, to);
    if (a == NULL || b == NULL || b->index >= a->n_links)
        return (struct qv_sim_net_pair){0};
    return a->links[b->index].sent;
}

void qv_sim_net_stats(const struct qv_sim_net *net, struct qv_sim_net_stats *out)
{
    *out = net->stats;
}
