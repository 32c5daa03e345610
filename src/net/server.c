/* The sockets of net/server.h: libuv loops around the connection machines of conn.h.
 *
 * One loop = one thread, one qv_net_core, one listener a port, one read buffer. After every event
 * the connections that have something to send are flushed once: all answers of a batch go out in as
 * few writes as their sockets take. TLS (tls.h) stands between on_read / peer_flush and the qv_conn
 * they drive, and nowhere else: the connection's bytes count as sent when their records are. */
#include "net/server.h"

#include "base/logger.h"
#include "base/mem.h"
#include "base/qv_assert.h"
#include "net/conn.h"
#include "net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define LOOP_READ_BYTES ((size_t)64 * 1024)
#define LOOP_IOV_MAX 16u
#define LOOP_BACKLOG 1024
#define LOOP_TICK_FAST_MS 25u
#define LOOP_TICK_SLOW_MS 250u
#define PEER_SEAL_BYTES ((size_t)64 * 1024)        /* plaintext encrypted ahead of the socket */
#define PEER_CIPHER_BYTES_MAX ((size_t)256 * 1024) /* beyond it nothing is read */

struct net_loop {
    struct qv_net_server *server;
    struct qv_net_core core;
    uv_loop_t uv;
    uv_poll_t wake; /* of wake_fd */
    int wake_fd;
    uv_timer_t timer;
    uv_tcp_t listeners[QV_NET_PORTS_MAX];
    uint32_t n_listeners;
    pthread_t thread;
    bool has_thread; /* to be joined */
    bool has_wake;
    int cpu; /* < 0: not pinned */
    uint64_t tick_ms;
    uint64_t conns_ticked_ns;
    uint64_t cut_ns; /* draining: when what is left is cut */
    char *read_buf;
};

struct qv_net_server {
    struct qv_net_server_config config;
    struct qv_net_shared shared;
    uint16_t ports[QV_NET_PORTS_MAX];
    struct net_loop *loops;
    uint32_t n_loops;    /* open ones */
    atomic_int drain_ms; /* -1: not asked for */
};

struct net_peer {
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct net_loop *loop;
    struct qv_conn *conn;
    struct qv_tls *tls;   /* NULL: none */
    uint64_t accepted_ns; /* TLS: the handshake's time counts from here */
    size_t sealed_bytes;  /* TLS: of conn's output, encrypted and not all sent yet */
    size_t unwritten;     /* of the write under way, when last looked at */
    bool writing, reading, shut, closing;
};

static void loop_settle(struct net_loop *loop);

static void count(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* ---- one connection ------------------------------------------------------------------------- */

static void on_peer_closed(uv_handle_t *handle)
{
    struct net_peer *peer = handle->data;
    qv_conn_destroy(&peer->conn);
    qv_tls_close(&peer->tls);
    atomic_fetch_sub_explicit(&peer->loop->server->shared.connections, 1, memory_order_relaxed);
    struct net_loop *loop = peer->loop;
    qv_mem_free(peer);
    loop_settle(loop);
}

static void peer_close(struct net_peer *peer)
{
    if (peer->closing)
        return;
    peer->closing = true;
    qv_conn_cancel_calls(peer->conn);
    uv_close((uv_handle_t *)&peer->tcp, on_peer_closed);
}

/* n bytes went into the socket. */
static void peer_sent(struct net_peer *peer, size_t n)
{
    if (peer->tls == NULL) {
        qv_conn_sent(peer->conn, n);
        return;
    }
    qv_tls_sent(peer->tls, n);
    if (qv_tls_pending(peer->tls).n > 0)
        return;
    qv_conn_sent(peer->conn, peer->sealed_bytes);
    peer->sealed_bytes = 0;
}

static void on_written(uv_write_t *req, int status)
{
    struct net_peer *peer = req->data;
    peer->writing = false;
    if (peer->closing)
        return;
    peer->loop->core.now_ns = uv_hrtime();
    if (status < 0) {
        peer_close(peer);
        return;
    }
    peer_sent(peer, peer->conn->writing_bytes);
    peer->conn->writing_bytes = 0;
    qv_conn_mark_dirty(peer->conn);
    loop_settle(peer->loop);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct net_peer *peer = handle->data;
    (void)suggested;
    *buf = uv_buf_init(peer->loop->read_buf, LOOP_READ_BYTES);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req;
    (void)status; /* a failure shows in the next read or in the linger timeout */
}

/* Encrypts what the connection has to send, when all that was encrypted before is sent. */
static void peer_seal(struct net_peer *peer)
{
    struct qv_conn *conn = peer->conn;
    if (peer->sealed_bytes > 0 || conn->out.bytes == 0 || !qv_tls_is_open(peer->tls))
        return;
    if (qv_tls_seal_queue(peer->tls, &conn->out, PEER_SEAL_BYTES, &peer->sealed_bytes) != 0)
        conn->broken = true;
}

/* The runs to be written next. */
static unsigned peer_runs(struct net_peer *peer, uv_buf_t *bufs, size_t *total)
{
    struct qv_out_iov iov[LOOP_IOV_MAX];
    size_t n = 1;
    if (peer->tls == NULL) {
        n = qv_outq_iov(&peer->conn->out, iov, LOOP_IOV_MAX);
    } else {
        struct qv_bytes bytes = qv_tls_pending(peer->tls);
        bufs[0] = uv_buf_init((char *)(uintptr_t)bytes.p, (unsigned)bytes.n);
        *total = bytes.n;
        return 1;
    }
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        bufs[i] = uv_buf_init((char *)iov[i].p, (unsigned)iov[i].n);
        *total += iov[i].n;
    }
    return (unsigned)n;
}

static bool peer_has_output(struct net_peer *peer)
{
    return peer->tls != NULL ? qv_tls_pending(peer->tls).n > 0 : peer->conn->out.bytes > 0;
}

/* Sends what the socket takes now. False when nothing more can be done before it drains. */
static bool peer_send(struct net_peer *peer)
{
    struct qv_conn *conn = peer->conn;
    uv_buf_t bufs[LOOP_IOV_MAX];
    size_t total;
    unsigned n = peer_runs(peer, bufs, &total);
    int rv = uv_try_write((uv_stream_t *)&peer->tcp, bufs, n);
    if (rv < 0 && rv != UV_EAGAIN) {
        peer_close(peer);
        return false;
    }
    size_t sent = rv > 0 ? (size_t)rv : 0;
    count(&peer->loop->core.counters.writes, 1);
    peer_sent(peer, sent);
    if (sent == total)
        return true;
    n = peer_runs(peer, bufs, &total);
    if (peer->tls == NULL)
        qv_outq_seal(&conn->out);
    conn->writing_bytes = total;
    peer->write.data = peer;
    peer->writing = true;
    peer->unwritten = total;
    if (uv_write(&peer->write, (uv_stream_t *)&peer->tcp, bufs, n, on_written) != 0) {
        peer->writing = false;
        peer_close(peer);
    }
    return false;
}

/* The last words of TLS, as far as the socket takes them at once. */
static void peer_end_tls(struct net_peer *peer)
{
    if (peer->tls == NULL || peer->writing)
        return;
    qv_tls_end(peer->tls);
    if (qv_tls_pending(peer->tls).n > 0)
        (void)peer_send(peer);
}

/* The connection can't be trusted any more: an alert may tell the peer why. */
static void peer_fail_tls(struct net_peer *peer, const char *why)
{
    count(&peer->loop->core.counters.tls_failures, 1);
    QV_DEBUG("net", "%s: TLS: %s", peer->conn->peer, why);
    if (!peer->writing && qv_tls_pending(peer->tls).n > 0)
        (void)peer_send(peer);
    peer_close(peer);
}

static void peer_update_reading(struct net_peer *peer)
{
    bool want = qv_conn_wants_read(peer->conn) &&
                (peer->tls == NULL || qv_tls_pending(peer->tls).n <= PEER_CIPHER_BYTES_MAX);
    if (peer->closing || want == peer->reading)
        return;
    peer->reading = want;
    if (want)
        uv_read_start((uv_stream_t *)&peer->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&peer->tcp);
}

static void peer_flush(struct net_peer *peer)
{
    struct qv_conn *conn = peer->conn;
    if (peer->closing)
        return;
    do {
        qv_conn_fill(conn);
        if (peer->tls != NULL && !peer->writing && !conn->broken)
            peer_seal(peer);
    } while (!conn->broken && !peer->writing && peer_has_output(peer) && peer_send(peer));
    if (peer->closing)
        return;
    if (qv_conn_done(conn)) {
        peer_end_tls(peer);
        peer_close(peer);
        return;
    }
    if (conn->lingering && conn->out.bytes == 0 && !peer->shut) {
        peer->shut = true;
        peer_end_tls(peer);
        if (!peer->closing &&
            uv_shutdown(&peer->shutdown, (uv_stream_t *)&peer->tcp, on_shutdown) != 0)
            peer_close(peer);
    }
    peer_update_reading(peer);
}

static void on_plain(void *arg, const void *p, size_t n)
{
    struct net_peer *peer = arg;
    qv_conn_feed(peer->conn, p, n);
}

static void peer_feed(struct net_peer *peer, const void *p, size_t n)
{
    struct qv_net_counters *counters = &peer->loop->core.counters;
    qv_conn_mark_dirty(peer->conn);
    if (peer->tls == NULL) {
        qv_conn_feed(peer->conn, p, n);
        return;
    }
    bool was_open = qv_tls_is_open(peer->tls);
    bool was_ended = qv_tls_is_ended(peer->tls);
    int err = qv_tls_feed(peer->tls, p, n, on_plain, peer);
    if (!was_open && qv_tls_is_open(peer->tls)) {
        count(&counters->tls_handshakes, 1);
        count(&counters->tls_resumed, qv_tls_is_resumed(peer->tls));
    }
    if (err != 0)
        peer_fail_tls(peer, qv_tls_why(peer->tls));
    else if (!was_ended && qv_tls_is_ended(peer->tls))
        qv_conn_eof(peer->conn);
}

/* The peer sends no more. Without TLS's own notice the end may be forged: a request that is not
 * complete is dropped as always, and a half record says that something was cut off. */
static void peer_eof(struct net_peer *peer)
{
    peer->reading = false;
    uv_read_stop((uv_stream_t *)&peer->tcp);
    if (peer->tls != NULL && (!qv_tls_is_open(peer->tls) || qv_tls_is_cut(peer->tls)))
        peer_fail_tls(peer, "cut off by the peer");
    else
        qv_conn_eof(peer->conn);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct net_peer *peer = stream->data;
    struct net_loop *loop = peer->loop;
    if (n == 0 || peer->closing)
        return;
    loop->core.now_ns = uv_hrtime();
    if (n > 0)
        peer_feed(peer, buf->base, (size_t)n);
    else if (n == UV_EOF)
        peer_eof(peer);
    else
        peer_close(peer);
    loop_settle(loop);
}

static void peer_name(const uv_tcp_t *tcp, char out[56])
{
    struct sockaddr_storage ss;
    int len = (int)sizeof ss;
    char ip[46] = "?";
    unsigned port = 0;
    memset(&ss, 0, sizeof ss);
    if (uv_tcp_getpeername(tcp, (struct sockaddr *)&ss, &len) == 0) {
        if (ss.ss_family == AF_INET6) {
            const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;
            uv_ip6_name(in6, ip, sizeof ip);
            port = ntohs(in6->sin6_port);
            snprintf(out, 56, "[%s]:%u", ip, port);
            return;
        }
        const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;
        uv_ip4_name(in, ip, sizeof ip);
        port = ntohs(in->sin_port);
    }
    snprintf(out, 56, "%s:%u", ip, port);
}

static void on_refused_closed(uv_handle_t *handle)
{
    qv_mem_free(handle->data);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct net_loop *loop = listener->data;
    struct qv_net_server *server = loop->server;
    if (status < 0) {
        QV_WARN("net", "accept: %s", uv_strerror(status));
        return;
    }
    loop->core.now_ns = uv_hrtime();
    struct net_peer *peer = qv_mem_calloc(1, sizeof *peer);
    uv_tcp_init(&loop->uv, &peer->tcp);
    peer->tcp.data = peer;
    peer->loop = loop;
    unsigned open = atomic_fetch_add_explicit(&server->shared.connections, 1, memory_order_relaxed);
    if (uv_accept(listener, (uv_stream_t *)&peer->tcp) == 0 &&
        open < loop->core.limits.connections_max) {
        char name[56];
        size_t port = (size_t)((uv_tcp_t *)listener - loop->listeners);
        peer_name(&peer->tcp, name);
        peer->accepted_ns = loop->core.now_ns;
        if (server->config.tls != NULL)
            peer->tls = qv_tls_open(server->config.tls, NULL);
        if (server->config.tls == NULL || peer->tls != NULL)
            peer->conn = qv_conn_create(&loop->core, name, server->ports[port], peer);
    }
    if (peer->conn == NULL) {
        qv_tls_close(&peer->tls);
        count(&loop->core.counters.connections_refused, 1);
        atomic_fetch_sub_explicit(&server->shared.connections, 1, memory_order_relaxed);
        uv_close((uv_handle_t *)&peer->tcp, on_refused_closed);
        return;
    }
    uv_tcp_nodelay(&peer->tcp, 1);
    qv_conn_mark_dirty(peer->conn); /* starts reading */
    loop_settle(loop);
}

/* ---- work for other threads ----------------------------------------------------------------- */

/* step is the order of things, for who can't see libuv's own locks (ThreadSanitizer). */
struct net_work {
    uv_work_t work; /* first: the way here from libuv reads nothing */
    struct net_loop *loop;
    struct qv_net_job *job;
    atomic_uint step; /* 1: given, 2: run */
};

static void on_work(uv_work_t *work)
{
    struct net_work *w = (struct net_work *)work;
    unsigned step = atomic_load_explicit(&w->step, memory_order_acquire);
    QV_ASSERT(step == 1);
    w->job->run(w->job);
    atomic_store_explicit(&w->step, 2, memory_order_release);
}

static void on_work_done(uv_work_t *work, int status)
{
    struct net_work *w = (struct net_work *)work;
    unsigned step = atomic_load_explicit(&w->step, memory_order_acquire);
    struct qv_net_job *job = w->job;
    struct net_loop *loop = w->loop;
    QV_ASSERT(step == 2);
    (void)status; /* none is ever cancelled */
    qv_mem_free(w);
    loop->core.now_ns = uv_hrtime();
    qv_net_core_job_done(job);
    loop_settle(loop);
}

static void loop_offload(struct qv_net_core *core, struct qv_net_job *job)
{
    struct net_loop *loop = core->wake_arg;
    struct net_work *w = qv_mem_alloc(sizeof *w);
    w->loop = loop;
    w->job = job;
    atomic_init(&w->step, 0);
    atomic_store_explicit(&w->step, 1, memory_order_release);
    int rv = uv_queue_work(&loop->uv, &w->work, on_work, on_work_done);
    QV_ASSERT(rv == 0);
}

/* ---- one loop ------------------------------------------------------------------------------- */

static void loop_set_date(struct net_loop *loop)
{
    uv_timeval64_t now;
    struct tm tm;
    uv_gettimeofday(&now);
    time_t sec = (time_t)now.tv_sec;
    if (gmtime_r(&sec, &tm) == NULL ||
        strftime(loop->core.date, sizeof loop->core.date, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
        loop->core.date[0] = '\0';
}

static void loop_begin_drain(struct net_loop *loop)
{
    struct qv_net_core *core = &loop->core;
    int drain_ms = atomic_load(&loop->server->drain_ms);
    if (drain_ms < 0)
        return;
    uint64_t cut_ns = core->now_ns + (uint64_t)drain_ms * 1000000u;
    if (!core->draining || cut_ns < loop->cut_ns)
        loop->cut_ns = cut_ns;
    if (core->draining)
        return;
    core->draining = true;
    for (uint32_t i = 0; i < loop->n_listeners; i++) {
        if (!uv_is_closing((uv_handle_t *)&loop->listeners[i]))
            uv_close((uv_handle_t *)&loop->listeners[i], NULL);
    }
    for (struct qv_conn *conn = core->conns; conn != NULL; conn = conn->next)
        qv_conn_begin_goaway(conn);
}

/* A write of many megabytes ends once, but moves all the while where its reader is slow. */
static void note_progress(struct qv_net_core *core)
{
    for (struct qv_conn *conn = core->conns; conn != NULL; conn = conn->next) {
        struct net_peer *peer = conn->owner;
        size_t left = peer->writing ? uv_stream_get_write_queue_size((uv_stream_t *)&peer->tcp) : 0;
        if (peer->writing && left < peer->unwritten) {
            peer->unwritten = left;
            conn->moved_ns = conn->active_ns = core->now_ns;
        }
    }
}

static void tick_tls(struct qv_net_core *core)
{
    const uint64_t limit_ns = (uint64_t)core->limits.header_timeout_ms * 1000000u;
    for (struct qv_conn *conn = core->conns; conn != NULL; conn = conn->next) {
        struct net_peer *peer = conn->owner;
        if (peer->tls == NULL || peer->closing)
            continue;
        if (!qv_tls_is_open(peer->tls) && core->now_ns - peer->accepted_ns > limit_ns)
            peer_fail_tls(peer, "the handshake took too long");
        else if (conn->n_calls == 0 && !peer->writing)
            qv_tls_trim(peer->tls);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct net_loop *loop = timer->data;
    struct qv_net_core *core = &loop->core;
    core->now_ns = uv_hrtime();
    qv_net_core_drain_posted(core); /* lazy answers that nothing came after */
    qv_net_core_tick_calls(core);
    if (core->draining || core->now_ns - loop->conns_ticked_ns >= LOOP_TICK_SLOW_MS * 1000000u) {
        loop->conns_ticked_ns = core->now_ns;
        loop_set_date(loop);
        note_progress(core);
        tick_tls(core);
        qv_net_core_tick_conns(core);
    }
    if (core->draining && core->now_ns >= loop->cut_ns) {
        for (struct qv_conn *conn = core->conns; conn != NULL; conn = conn->next)
            peer_close(conn->owner);
    }
    if (core->n_active == 0 && !core->draining)
        loop->tick_ms = 0; /* loop_settle chooses again */
    loop_settle(loop);
}

/* The end of every event: send, set the timer, see whether all is over. */
static void loop_settle(struct net_loop *loop)
{
    struct qv_net_core *core = &loop->core;
    while (core->dirty != NULL) {
        struct qv_conn *conn = core->dirty;
        core->dirty = conn->dirty_next;
        conn->is_dirty = false;
        peer_flush(conn->owner);
    }
    if (core->draining && core->conns == NULL && core->n_handed == 0 && core->n_jobs == 0) {
        uv_stop(&loop->uv);
        return;
    }
    bool fast = core->n_active > 0 || core->draining;
    uint64_t want = fast ? LOOP_TICK_FAST_MS : core->conns != NULL ? LOOP_TICK_SLOW_MS : 0;
    if (want != 0 && (loop->tick_ms == 0 || want < loop->tick_ms)) {
        loop->tick_ms = want;
        uv_timer_start(&loop->timer, on_tick, want, want);
    } else if (want == 0 && loop->tick_ms == 0) {
        uv_timer_stop(&loop->timer);
    }
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct net_loop *loop = poll->data;
    uint64_t wakes;
    (void)events;
    if (status < 0 || read(loop->wake_fd, &wakes, sizeof wakes) < 0)
        wakes = 0; /* looking once too often does no harm */
    count(&loop->core.counters.wakes, 1);
    loop->core.now_ns = uv_hrtime();
    qv_net_core_drain_posted(&loop->core);
    loop_begin_drain(loop);
    loop_settle(loop);
}

/* An eventfd of our own and no uv_async_t: a loop that is woken while the sender is still inside
 * uv_async_send spins until the sender has gone on, and on a shared core the sender is what it has
 * just displaced. Searches on one core: 0.36 sched_yield and 1.4 of 76 us a query. */
static void loop_wake(void *arg)
{
    const struct net_loop *loop = arg;
    const uint64_t one = 1;
    ssize_t n = write(loop->wake_fd, &one, sizeof one);
    (void)n; /* fails only when it is full, and then the loop is awake */
}

static void *loop_main(void *arg)
{
    struct net_loop *loop = arg;
    if (loop->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)loop->cpu, &set);
        if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
            QV_WARN("net", "loop can't be pinned to cpu %d", loop->cpu);
    }
    /* Where a core is shared with a worker, an arriving packet must not displace the worker: the
     * loop runs when the worker sleeps or its time slice ends, and then has more to do at once.
     * Searches on one core: 0.40 context switches and 16 us a query without, 0.05 and 12 us with.
     */
    const struct sched_param param = {.sched_priority = 0};
    if (pthread_setschedparam(pthread_self(), SCHED_BATCH, &param) != 0)
        QV_DEBUG("net", "the loop has no batch scheduling");
    loop->core.thread = pthread_self();
    loop->core.now_ns = uv_hrtime();
    loop_set_date(loop);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    /* A thread that posted the last answer may still be waking us. */
    while (atomic_load_explicit(&loop->core.posters, memory_order_acquire) != 0)
        sched_yield();
    return NULL;
}

/* ---- listening ------------------------------------------------------------------------------ */

static int host_address(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (host == NULL || strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)out) == 0)
        return 0;
    return uv_ip6_addr(host, port, (struct sockaddr_in6 *)out) == 0 ? 0 : QV_EINVAL;
}

/* A bound socket. shared: others may bind the same address. */
static int bind_socket(const struct sockaddr_storage *ss, bool shared, int *out)
{
    int one = 1;
    socklen_t len =
        ss->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return QV_EIO;
    int rv = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (rv == 0 && shared)
        rv = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (rv == 0)
        rv = bind(fd, (const struct sockaddr *)ss, len);
    if (rv != 0) {
        int err = errno == EADDRINUSE ? QV_EBUSY : QV_EIO;
        close(fd);
        return err;
    }
    *out = fd;
    return 0;
}

static int loop_listen(struct net_loop *loop, uint32_t i, struct qv_errmsg *msg)
{
    struct qv_net_server *server = loop->server;
    const char *host = server->config.host != NULL ? server->config.host : "127.0.0.1";
    bool many = server->config.loops > 1;
    struct sockaddr_storage ss;
    int fd = -1;
    int err = host_address(server->config.host, server->ports[i], &ss);
    if (err != 0)
        return qv_fail(msg, err, "host: '%s' is not an IPv4 or IPv6 address", server->config.host);
    if (many && loop == server->loops && server->ports[i] != 0) {
        /* Somebody else's port could be shared unnoticed: see first that it is free. */
        err = bind_socket(&ss, false, &fd);
        if (err == 0)
            close(fd);
    }
    if (err == 0)
        err = bind_socket(&ss, many, &fd);
    if (err != 0)
        return qv_fail(msg, err, "%s port %u: %s", host, (unsigned)server->ports[i],
                       err == QV_EBUSY ? "already in use" : strerror(errno));
    uv_tcp_t *tcp = &loop->listeners[i];
    uv_tcp_init(&loop->uv, tcp);
    loop->n_listeners++;
    tcp->data = loop;
    if (uv_tcp_open(tcp, fd) != 0) {
        close(fd);
        return qv_fail(msg, QV_EIO, "%s port %u can't be watched", host,
                       (unsigned)server->ports[i]);
    }
    int len = (int)sizeof ss;
    uv_tcp_getsockname(tcp, (struct sockaddr *)&ss, &len);
    server->ports[i] = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
                                                      : ((struct sockaddr_in *)&ss)->sin_port);
    int rv = uv_listen((uv_stream_t *)tcp, LOOP_BACKLOG, on_connection);
    if (rv != 0)
        return qv_fail(msg, rv == UV_EADDRINUSE ? QV_EBUSY : QV_EIO, "%s port %u: %s", host,
                       (unsigned)server->ports[i], uv_strerror(rv));
    return 0;
}

static int loop_open(struct qv_net_server *server, struct net_loop *loop, uint32_t number,
                     struct qv_errmsg *msg)
{
    const struct qv_net_server_config *config = &server->config;
    loop->server = server;
    loop->cpu = config->cpu < 0 ? -1 : config->cpu + (int)number;
    if (uv_loop_init(&loop->uv) != 0)
        return qv_fail(msg, QV_EIO, "no event loop can be made");
    server->n_loops++;
    qv_net_core_init(&loop->core, config, &server->shared);
    loop->core.wake = loop_wake;
    loop->core.wake_arg = loop;
    loop->core.offload = loop_offload;
    loop->read_buf = qv_mem_alloc(LOOP_READ_BYTES);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0)
        return qv_fail(msg, QV_EIO, "eventfd: %s", strerror(errno));
    loop->has_wake = true;
    if (uv_poll_init(&loop->uv, &loop->wake, loop->wake_fd) != 0)
        return qv_fail(msg, QV_EIO, "no event loop can be made");
    loop->wake.data = loop;
    if (uv_poll_start(&loop->wake, UV_READABLE, on_wake) != 0)
        return qv_fail(msg, QV_EIO, "no event loop can be made");
    uv_timer_init(&loop->uv, &loop->timer);
    loop->timer.data = loop;
    for (uint32_t i = 0; i < config->n_ports; i++) {
        int err = loop_listen(loop, i, msg);
        if (err != 0)
            return err;
    }
    return 0;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* The loop's thread has ended, or never began. */
static void loop_close(struct net_loop *loop)
{
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int rv = uv_loop_close(&loop->uv);
    QV_ASSERT(rv == 0);
    if (loop->has_wake)
        close(loop->wake_fd);
    qv_net_core_close(&loop->core);
    qv_mem_free(loop->read_buf);
}

/* ---- the server ----------------------------------------------------------------------------- */

void qv_net_server_config_init(struct qv_net_server_config *config)
{
    memset(config, 0, sizeof *config);
    config->loops = 1;
    config->cpu = -1;
}

int qv_net_server_create(const struct qv_net_server_config *config, struct qv_net_server **out,
                         struct qv_errmsg *msg)
{
    *out = NULL;
    if (config->n_ports < 1 || config->n_ports > QV_NET_PORTS_MAX || config->handler == NULL ||
        config->loops > QV_NET_LOOPS_MAX)
        return qv_fail(msg, QV_EINVAL, "a server needs a handler, 1 to %d ports and 1 to %d loops",
                       QV_NET_PORTS_MAX, QV_NET_LOOPS_MAX);
    struct qv_net_server *server = qv_mem_calloc(1, sizeof *server);
    server->config = *config;
    if (server->config.loops == 0)
        server->config.loops = 1;
    memcpy(server->ports, config->ports, sizeof server->ports);
    atomic_init(&server->drain_ms, -1);
    server->loops = qv_mem_calloc(server->config.loops, sizeof *server->loops);
    int err = 0;
    for (uint32_t i = 0; i < server->config.loops && err == 0; i++)
        err = loop_open(server, &server->loops[i], i, msg);
    server->config.host = NULL; /* was borrowed */
    for (uint32_t i = 0; i < server->n_loops && err == 0; i++) {
        struct net_loop *loop = &server->loops[i];
        if (pthread_create(&loop->thread, NULL, loop_main, loop) != 0)
            err = qv_fail(msg, QV_EIO, "no thread can be made");
        else
            loop->has_thread = true;
    }
    if (err != 0) {
        qv_net_server_destroy(&server);
        return err;
    }
    *out = server;
    return 0;
}

uint16_t qv_net_server_port(const struct qv_net_server *server, uint32_t i)
{
    QV_ASSERT(i < server->config.n_ports);
    return server->ports[i];
}

void qv_net_server_shutdown(struct qv_net_server *server, uint32_t drain_ms)
{
    int want = drain_ms > INT32_MAX ? INT32_MAX : (int)drain_ms;
    int have = atomic_load(&server->drain_ms);
    while ((have < 0 || want < have) &&
           !atomic_compare_exchange_weak(&server->drain_ms, &have, want))
        ;
    for (uint32_t i = 0; i < server->n_loops; i++) {
        if (server->loops[i].has_wake)
            loop_wake(&server->loops[i]);
    }
}

void qv_net_server_wait(struct qv_net_server *server)
{
    for (uint32_t i = 0; i < server->n_loops; i++) {
        struct net_loop *loop = &server->loops[i];
        if (loop->has_thread)
            pthread_join(loop->thread, NULL);
        loop->has_thread = false;
    }
}

void qv_net_server_destroy(struct qv_net_server **pserver)
{
    struct qv_net_server *server = *pserver;
    *pserver = NULL;
    if (server == NULL)
        return;
    if (atomic_load(&server->drain_ms) < 0)
        qv_net_server_shutdown(server, 0);
    qv_net_server_wait(server);
    for (uint32_t i = 0; i < server->n_loops; i++)
        loop_close(&server->loops[i]);
    qv_mem_free(server->loops);
    qv_mem_free(server);
}

static uint64_t get(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void qv_net_server_stats(const struct qv_net_server *server, struct qv_net_stats *out)
{
    memset(out, 0, sizeof *out);
    out->connections_open = atomic_load_explicit(&server->shared.connections, memory_order_relaxed);
    out->calls_in_flight = atomic_load_explicit(&server->shared.calls, memory_order_relaxed);
    out->buffered_bytes =
        atomic_load_explicit(&server->shared.buffered_bytes, memory_order_relaxed);
    for (uint32_t i = 0; i < server->n_loops; i++) {
        const struct qv_net_counters *c = &server->loops[i].core.counters;
        out->connections_total += get(&c->connections_total);
        out->connections_refused += get(&c->connections_refused);
        out->calls_total += get(&c->calls_total);
        out->calls_cancelled += get(&c->calls_cancelled);
        out->refused_total += get(&c->refused_total);
        out->protocol_errors += get(&c->protocol_errors);
        out->bytes_in += get(&c->bytes_in);
        out->bytes_out += get(&c->bytes_out);
        out->wakes += get(&c->wakes);
        out->writes += get(&c->writes);
        out->tls_handshakes += get(&c->tls_handshakes);
        out->tls_resumed += get(&c->tls_resumed);
        out->tls_failures += get(&c->tls_failures);
    }
}
