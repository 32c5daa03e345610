#include "peer_world.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdio.h>
#include <string.h>

void peer_world_init(struct peer_world *w, unsigned n)
{
    QV_ASSERT(n <= PEER_WORLD_NODES_MAX);
    w->n = n;
    for (unsigned i = 0; i < n; i++) {
        struct peer_world_node *node = &w->nodes[i];
        memset(&node->self, 0, sizeof node->self);
        memcpy(node->self.cluster, "a test's cluster", QV_CLUSTER_ID_BYTES);
        node->self.id = 100 + i;
        node->self.incarnation = 1;
    }
}

void peer_world_introduce(struct peer_world *w, unsigned i, unsigned to)
{
    const struct peer_world_node *there = &w->nodes[to];
    int err = qv_peers_set(w->nodes[i].peers, there->self.id, there->host, there->port, NULL);
    QV_ASSERT(err == 0);
}

void peer_world_start_all(struct peer_world *w)
{
    for (unsigned i = 0; i < w->n; i++)
        w->ops->start(w, i);
    for (unsigned i = 0; i < w->n; i++) {
        for (unsigned k = 0; k < w->n; k++)
            peer_world_introduce(w, i, k);
    }
}

void peer_world_destroy(struct peer_world **w)
{
    for (unsigned i = 0; i < (*w)->n; i++) {
        if ((*w)->nodes[i].peers != NULL)
            (*w)->ops->stop(*w, i);
    }
    (*w)->ops->destroy(*w);
    *w = NULL;
}

uint64_t peer_world_now(struct peer_world *w)
{
    for (unsigned i = 0; i < w->n; i++) {
        if (w->nodes[i].peers != NULL)
            return qv_env_mono_ns(w->nodes[i].peers->env);
    }
    QV_UNREACHABLE();
}

void peer_world_wait(struct peer_world *w, const bool *flag)
{
    uint64_t until = peer_world_now(w) + w->limit_ns;
    while (!*flag) {
        w->ops->step(w);
        if (peer_world_now(w) > until) {
            fprintf(stderr, "a wait took too long\n");
            QV_ASSERT(*flag);
        }
    }
}

void peer_world_run_for(struct peer_world *w, uint64_t ns)
{
    uint64_t until = peer_world_now(w) + ns;
    while (peer_world_now(w) < until)
        w->ops->step(w);
}

static void on_done(struct qv_peer_call *call, const struct qv_peer_answer *answer)
{
    struct peer_ask *ask = call->arg;
    QV_ASSERT(call->impl == NULL && (uintptr_t)answer->body.p % 16 == 0);
    ask->done = true;
    ask->times++;
    ask->err = answer->err;
    ask->remote = answer->remote;
    ask->may_have_run = answer->may_have_run;
    ask->incarnation = answer->incarnation;
    snprintf(ask->text, sizeof ask->text, "%s", answer->text);
    qv_buf_clear(&ask->body);
    qv_buf_append(&ask->body, answer->body.p, answer->body.n);
}

void peer_ask_init(struct peer_ask *ask, uint64_t to, uint16_t method, struct qv_bytes body)
{
    memset(ask, 0, sizeof *ask);
    qv_buf_init(&ask->body, 0);
    ask->call.to = to;
    ask->call.method = method;
    ask->call.body = body;
    ask->call.done = on_done;
    ask->call.arg = ask;
}

void peer_ask_close(struct peer_ask *ask)
{
    QV_ASSERT(ask->call.impl == NULL);
    qv_buf_close(&ask->body);
}

int peer_world_ask(struct peer_world *w, unsigned from, struct peer_ask *ask, uint64_t for_ns)
{
    struct qv_peers *peers = w->nodes[from].peers;
    ask->done = false;
    ask->call.deadline_ns = qv_env_mono_ns(peers->env) + for_ns;
    qv_peer_send(peers, &ask->call);
    QV_ASSERT(!ask->done);
    peer_world_wait(w, &ask->done);
    return ask->err;
}
