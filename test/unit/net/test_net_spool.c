/* Bodies that go to files and come from files, over real sockets and in memory. */
#include "net_fixture.h"
#include "suite.h"

#include "base/mem.h"
#include "base/rng.h"
#include "quiet.h"

#include <dirent.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define LARGE_BYTES (SANITIZED_LESS((uint64_t)208) * MIB)
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define RSS_GROWTH_MAX SIZE_MAX /* it keeps what was freed */
#else
#define RSS_GROWTH_MAX (48 * MIB)
#endif
#define SPOOL_MAX ((uint64_t)4 << 30)

static struct qv_net_server *server;
static uint16_t port;
static char dir[] = "/tmp/quiver-spool-XXXXXX";
static atomic_uint handled;

/* Byte i of every body here. */
static uint8_t pattern(uint64_t i)
{
    return (uint8_t)(i * 7 + (i >> 9));
}

static void pattern_fill(uint8_t *p, uint64_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = pattern(from + i);
}

static bool pattern_is(const uint8_t *p, uint64_t from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != pattern(from + i))
            return false;
    }
    return true;
}

/* ---- the handler ---------------------------------------------------------------------------- */

/* /up/MAX: to a file of at most MAX bytes; /nodir: into a directory that is not there. */
static void on_headers(void *ctx, struct qv_call *call)
{
    (void)ctx;
    bool lost = strcmp(call->path, "/nodir") == 0;
    if (strncmp(call->path, "/up/", 4) != 0 && !lost)
        return;
    uint64_t max = lost ? 1 : strtoull(call->path + 4, NULL, 10);
    int err = qv_call_spool(call, lost ? "/no/such/dir" : dir, max);
    assert_int_equal(err, lost ? QV_ENOTFOUND : 0);
    if (err != 0)
        qv_call_reply(call, 418, NULL, NULL, 0, NULL);
}

static void answer_up(struct qv_call *call)
{
    static uint8_t part[MIB];
    struct qv_buf *out = qv_call_out(call);
    bool good = call->body.n == 0 && call->spool_fd >= 0;
    uint64_t at = 0;
    ssize_t n;
    while (good && (n = pread(call->spool_fd, part, sizeof part, (off_t)at)) > 0) {
        good = pattern_is(part, at, (size_t)n);
        at += (uint64_t)n;
    }
    good = good && at == call->spool_bytes;
    qv_buf_printf(out, "%s %llu", good ? "good" : "bad", (unsigned long long)call->spool_bytes);
    qv_call_reply(call, 200, "text/plain", NULL, 0, out);
}

/* /down/OFFSET/BYTES of a file of the pattern; its true length is the query's x, if given. */
static void answer_down(struct qv_call *call)
{
    char *end;
    const char *x = NULL;
    uint8_t part[4096];
    uint64_t offset = strtoull(call->path + 6, &end, 10);
    uint64_t bytes = strtoull(end + 1, NULL, 10);
    uint64_t have = qv_call_query_param(call, "x", &x) == 0 ? strtoull(x, NULL, 10) : 0;
    int fd = open(dir, O_TMPFILE | O_RDWR, 0600);
    assert_true(fd >= 0);
    for (uint64_t at = 0; at < (x != NULL ? have : offset + bytes); at += sizeof part) {
        uint64_t left = (x != NULL ? have : offset + bytes) - at;
        size_t n = left < sizeof part ? (size_t)left : sizeof part;
        pattern_fill(part, at, n);
        assert_int_equal(write(fd, part, n), n);
    }
    struct qv_net_header extra = {"x-file", "yes"};
    const struct qv_net_file file = {fd, offset, bytes};
    qv_call_reply_file(call, 200, "application/octet-stream", &extra, 1, &file);
}

static void handler(void *ctx, struct qv_call *call)
{
    (void)ctx;
    atomic_fetch_add(&handled, 1);
    if (strncmp(call->path, "/up/", 4) == 0)
        answer_up(call);
    else if (strncmp(call->path, "/down/", 6) == 0)
        answer_down(call);
    else
        qv_call_reply(call, 204, NULL, NULL, 0, NULL);
}

static void config_fill(struct qv_net_server_config *config)
{
    qv_net_server_config_init(config);
    config->n_ports = 1;
    config->handler = handler;
    config->on_headers = on_headers;
    config->limits.body_bytes_max = 1000;
}

static void start(const struct qv_net_server_config *given)
{
    struct qv_net_server_config config;
    struct qv_errmsg msg;
    config_fill(&config);
    if (given != NULL)
        config = *given;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(qv_net_server_create(&config, &server, &msg), 0);
    port = qv_net_server_port(server, 0);
}

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static size_t rss_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*d %ld", &pages), 1);
    fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void stop(void)
{
    struct qv_net_stats stats;
    qv_net_server_shutdown(server, 5000);
    qv_net_server_wait(server);
    qv_net_server_stats(server, &stats);
    qv_net_server_destroy(&server);
    assert_int_equal(stats.buffered_bytes, 0);
    assert_int_equal(stats.connections_open, 0);
}

/* ---- HTTP/1 --------------------------------------------------------------------------------- */

static int up_begin(uint64_t max, const char *length)
{
    char head[200];
    int fd = raw_connect(port);
    snprintf(head, sizeof head, "POST /up/%llu HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n",
             (unsigned long long)max, length);
    raw_send_str(fd, head);
    return fd;
}

static int up_begin_length(uint64_t max, uint64_t bytes)
{
    char length[64];
    snprintf(length, sizeof length, "Content-Length: %llu", (unsigned long long)bytes);
    return up_begin(max, length);
}

static void send_pattern(int fd, uint64_t from, uint64_t n, size_t piece)
{
    static uint8_t part[256 * 1024];
    assert_true(piece <= sizeof part);
    for (uint64_t at = 0; at < n; at += piece) {
        size_t m = n - at < piece ? (size_t)(n - at) : piece;
        pattern_fill(part, from + at, m);
        raw_send(fd, part, m);
    }
}

static void answer_is(int fd, const char *status, const char *text)
{
    char out[4096];
    raw_read_until(fd, out, sizeof out - 1, text);
    if (strstr(out, status) == NULL || strstr(out, text) == NULL)
        fail_msg("wanted %s, %s; got %s", status, text, out);
}

/* Reads the head of an answer; the body's bytes that came with it go to rest. */
static size_t read_head(int fd, char *head, uint8_t *rest, size_t *n_rest)
{
    size_t n = 0;
    char *end = NULL;
    while (end == NULL && n < 4000) {
        ssize_t r = recv(fd, head + n, 4000 - n, 0);
        assert_true(r > 0);
        n += (size_t)r;
        head[n] = '\0';
        end = memmem(head, n, "\r\n\r\n", 4);
    }
    assert_non_null(end);
    end += 4;
    *n_rest = n - (size_t)(end - head);
    memcpy(rest, end, *n_rest);
    *end = '\0';
    return n;
}

/* The bytes of a file's answer, as far as they come. */
static uint64_t read_pattern(int fd, uint64_t from, uint64_t n, unsigned pause_us)
{
    static uint8_t part[256 * 1024];
    char head[4096];
    size_t have;
    read_head(fd, head, part, &have);
    assert_non_null(strstr(head, "HTTP/1.1 200 "));
    assert_non_null(strstr(head, "x-file: yes\r\n"));
    uint64_t at = 0;
    for (;;) {
        assert_true(pattern_is(part, from + at, have));
        at += have;
        if (at >= n)
            return at;
        if (pause_us > 0)
            usleep(pause_us);
        ssize_t r = recv(fd, part, n - at < sizeof part ? (size_t)(n - at) : sizeof part, 0);
        if (r <= 0)
            return at;
        have = (size_t)r;
    }
}

static void down_begin(int fd, uint64_t offset, uint64_t bytes, const char *more)
{
    char head[200];
    snprintf(head, sizeof head, "GET /down/%llu/%llu%s HTTP/1.1\r\nHost: a\r\n\r\n",
             (unsigned long long)offset, (unsigned long long)bytes, more);
    raw_send_str(fd, head);
}

static void test_http1_large(void **state)
{
    (void)state;
    char text[64];
    start(NULL);
    size_t before = rss_bytes();
    int fd = up_begin_length(SPOOL_MAX, LARGE_BYTES);
    send_pattern(fd, 0, LARGE_BYTES, 256 * 1024);
    snprintf(text, sizeof text, "good %llu", (unsigned long long)LARGE_BYTES);
    answer_is(fd, "HTTP/1.1 200 ", text);
    down_begin(fd, 12345, LARGE_BYTES, ""); /* on the same connection */
    assert_int_equal(read_pattern(fd, 12345, LARGE_BYTES, 0), LARGE_BYTES);
    close(fd);
    size_t grown = rss_bytes() > before ? rss_bytes() - before : 0;
    if (grown > RSS_GROWTH_MAX)
        fail_msg("%zu bytes more are resident", grown);
    stop();
}

static void test_http1_chunked(void **state)
{
    (void)state;
    char text[64];
    struct qv_rng rng;
    static uint8_t part[100000];
    start(NULL);
    qv_rng_init(&rng, 5);
    int fd = up_begin(SPOOL_MAX, "Transfer-Encoding: chunked\r\nExpect: 100-continue");
    answer_is(fd, "HTTP/1.1 100 ", "\r\n\r\n");
    uint64_t at = 0;
    for (int i = 0; i < 100; i++) {
        size_t n = 1 + qv_rng_below(&rng, sizeof part);
        snprintf(text, sizeof text, "%zx\r\n", n);
        raw_send_str(fd, text);
        pattern_fill(part, at, n);
        raw_send(fd, part, n);
        raw_send_str(fd, "\r\n");
        at += n;
    }
    raw_send_str(fd, "0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    snprintf(text, sizeof text, "good %llu", (unsigned long long)at);
    answer_is(fd, text, "HTTP/1.1 204 "); /* in order */
    close(fd);
    stop();
}

/* Answers from files between others, on one connection, in order; ranges, HEAD, none at all. */
static void test_http1_order(void **state)
{
    (void)state;
    char out[20000];
    start(NULL);
    int fd = raw_connect(port);
    raw_send_str(fd, "GET /down/0/3 HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"
                     "HEAD /down/0/77 HTTP/1.1\r\nHost: a\r\n\r\n"
                     "GET /down/5/0 HTTP/1.1\r\nHost: a\r\n\r\n"
                     "GET /down/513/9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    size_t n = raw_read_all(fd, out, sizeof out - 1);
    char *at = memmem(out, n, "content-length: 3\r\n", 19);
    assert_non_null(at);
    at = memmem(at, n - (size_t)(at - out), "\r\n\r\n\0\7\16HTTP/1.1 204", 19);
    assert_non_null(at);
    at = memmem(at, n - (size_t)(at - out), "content-length: 77\r\n", 20);
    assert_non_null(at);
    at = memmem(at, n - (size_t)(at - out), "\r\n\r\nHTTP/1.1 200 ", 17);
    assert_non_null(at);
    at = memmem(at, n - (size_t)(at - out), "\r\n\r\nHTTP/1.1 200 ", 17);
    assert_non_null(at);
    assert_true(pattern_is((uint8_t *)out + n - 9, 513, 9));
    close(fd);
    stop();
}

static void test_refusals(void **state)
{
    (void)state;
    struct rlimit limit;
    start(NULL);
    unsigned before = atomic_load(&handled);
    int fd = up_begin_length(1000, 1001);
    answer_is(fd, "HTTP/1.1 413 ", "Payload too large");
    close(fd);
    fd = up_begin(1000, "Transfer-Encoding: chunked");
    raw_send_str(fd, "3e9\r\n"); /* 1,001 */
    send_pattern(fd, 0, 1001, 1001);
    answer_is(fd, "HTTP/1.1 413 ", "Payload too large");
    close(fd);
    fd = raw_connect(port);
    raw_send_str(fd, "POST /nodir HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na");
    answer_is(fd, "HTTP/1.1 418 ", "\r\n\r\n");
    close(fd);
    /* No byte beyond the first MiB of a file can be written any more. */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit low = {.rlim_cur = MIB, .rlim_max = limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int full = up_begin_length(SPOOL_MAX, 8 * MIB);
    send_pattern(full, 0, 8 * MIB, 65536);
    answer_is(full, "HTTP/1.1 507 ", "Storage full");
    close(full);
    full = up_begin_length(SPOOL_MAX, MIB + 1); /* met by the last write */
    send_pattern(full, 0, MIB + 1, 65536);
    answer_is(full, "HTTP/1.1 507 ", "Storage full");
    close(full);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(atomic_load(&handled), before);
    stop();
}

/* A sender that is slow but moves is waited for; one that stops is not, however much came before.
 */
static void test_slow_writer(void **state)
{
    (void)state;
    struct qv_net_server_config config;
    config_fill(&config);
    config.limits.body_timeout_ms = 1200;
    start(&config);
    int fd = up_begin_length(SPOOL_MAX, 8 * 65536);
    for (unsigned i = 0; i < 8; i++) {
        usleep(250000);
        send_pattern(fd, i * 65536, 65536, 65536);
    }
    answer_is(fd, "HTTP/1.1 200 ", "good 524288");
    close(fd);
    fd = up_begin_length(SPOOL_MAX, 16 * MIB);
    send_pattern(fd, 0, 16 * MIB - 1, 65536);
    answer_is(fd, "HTTP/1.1 408 ", "too slowly");
    close(fd);
    stop();
}

static void test_slow_reader(void **state)
{
    (void)state;
    struct qv_net_stats stats;
    start(NULL);
    size_t before = rss_bytes();
    int fd = raw_connect(port);
    down_begin(fd, 0, 100 * MIB, "");
    usleep(300000);
    qv_net_server_stats(server, &stats);
    assert_true(stats.bytes_out < 20 * MIB); /* what the sockets hold */
    assert_true(rss_bytes() < before || rss_bytes() - before < RSS_GROWTH_MAX);
    assert_int_equal(read_pattern(fd, 0, 8 * MIB, 2000), 8 * MIB);
    close(fd);
    stop();
}

static void test_short_file(void **state)
{
    (void)state;
    quiet_log();
    start(NULL);
    int fd = raw_connect(port);
    down_begin(fd, 0, 10 * MIB, "?x=3000000");
    assert_int_equal(read_pattern(fd, 0, 10 * MIB, 0) / MIB, 2);
    close(fd);
    fd = raw_connect(port);
    down_begin(fd, 0, 10, "?x=0");
    char head[4100];
    raw_read_all(fd, head, 4000);
    assert_null(strstr(head, "\r\n\r\n\r"));
    close(fd);
    stop();
}

/* Whoever goes away takes nothing along: no file stays open, no byte is held. */
static void test_aborts(void **state)
{
    (void)state;
    struct qv_net_stats stats;
    struct qv_rng rng;
    start(NULL);
    unsigned files = open_files();
    qv_rng_init(&rng, 11);
    for (unsigned i = 0; i < 60; i++) {
        int fd;
        if (i % 2 == 0) {
            fd = up_begin_length(SPOOL_MAX, 64 * MIB);
            send_pattern(fd, 0, qv_rng_below(&rng, 4 * MIB), 65536);
        } else {
            uint8_t some[1000];
            fd = raw_connect(port);
            down_begin(fd, 0, 4 * MIB, "");
            assert_true(recv(fd, some, qv_rng_below(&rng, sizeof some) + 1, 0) > 0);
        }
        struct linger hard = {.l_onoff = 1};
        if (i % 3 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(fd);
    }
    for (int i = 0; i < 1000; i++) {
        qv_net_server_stats(server, &stats);
        if (stats.connections_open == 0 && open_files() == files)
            break;
        usleep(10000);
    }
    assert_int_equal(open_files(), files);
    stop();
}

/* ---- HTTP/2 --------------------------------------------------------------------------------- */

struct h2 {
    nghttp2_session *session;
    int fd;
    uint64_t to_send, sent;
    uint64_t offset, got; /* of the answer's pattern */
    bool is_pattern;
    bool good;
    bool ended;
    uint32_t reset;
    char status[8];
    char text[64];
    size_t text_len;
};

static ssize_t h2_send(nghttp2_session *session, const uint8_t *p, size_t n, int flags, void *arg)
{
    struct h2 *h = arg;
    (void)session;
    (void)flags;
    raw_send(h->fd, p, n);
    return (ssize_t)n;
}

static int h2_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct h2 *h = arg;
    (void)session;
    (void)frame;
    (void)flags;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0)
        memcpy(h->status, value, value_len);
    return 0;
}

static int h2_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *arg)
{
    struct h2 *h = arg;
    (void)session;
    (void)flags;
    (void)id;
    if (h->is_pattern) {
        h->good = h->good && pattern_is(p, h->offset + h->got, n);
    } else if (h->text_len + n < sizeof h->text) {
        memcpy(h->text + h->text_len, p, n);
        h->text_len += n;
    }
    h->got += n;
    return 0;
}

static int h2_closed(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct h2 *h = arg;
    (void)session;
    (void)id;
    h->ended = true;
    h->reset = code;
    return 0;
}

static ssize_t h2_source(nghttp2_session *session, int32_t id, uint8_t *to, size_t max,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2 *h = arg;
    (void)session;
    (void)id;
    (void)source;
    size_t n = h->to_send - h->sent < max ? (size_t)(h->to_send - h->sent) : max;
    pattern_fill(to, h->sent, n);
    h->sent += n;
    if (h->sent == h->to_send)
        *flags = NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void h2_open(struct h2 *h)
{
    nghttp2_session_callbacks *cb;
    memset(h, 0, sizeof *h);
    h->good = true;
    h->fd = raw_connect(port);
    assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
    nghttp2_session_callbacks_set_send_callback(cb, h2_send);
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_closed);
    assert_int_equal(nghttp2_session_client_new(&h->session, cb, h), 0);
    nghttp2_session_callbacks_del(cb);
    assert_int_equal(nghttp2_submit_settings(h->session, 0, NULL, 0), 0);
}

#define NV(name, value)                                                                            \
    {                                                                                              \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, strlen(value), 0                  \
    }

static void h2_ask(struct h2 *h, const char *method, const char *path, uint64_t to_send)
{
    nghttp2_nv nv[] = {NV(":method", method), NV(":scheme", "http"), NV(":authority", "a"),
                       NV(":path", path)};
    nghttp2_data_provider data = {.read_callback = h2_source};
    h->to_send = to_send;
    h->sent = h->got = h->text_len = 0;
    h->ended = false;
    memset(h->text, 0, sizeof h->text);
    memset(h->status, 0, sizeof h->status);
    assert_true(nghttp2_submit_request(h->session, NULL, nv, 4, to_send > 0 ? &data : NULL, NULL) >
                0);
}

/* Until the stream ends, or `until` bytes of it came. */
static void h2_run(struct h2 *h, uint64_t until)
{
    static uint8_t part[256 * 1024];
    while (!h->ended && h->got < until) {
        assert_int_equal(nghttp2_session_send(h->session), 0);
        ssize_t n = recv(h->fd, part, sizeof part, 0);
        assert_true(n > 0);
        assert_int_equal(nghttp2_session_mem_recv(h->session, part, (size_t)n), n);
    }
}

static void h2_close(struct h2 *h)
{
    nghttp2_session_del(h->session);
    close(h->fd);
}

static void test_http2_large(void **state)
{
    (void)state;
    struct h2 h;
    char text[64];
    start(NULL);
    size_t before = rss_bytes();
    h2_open(&h);
    h2_ask(&h, "POST", "/up/99999999999", LARGE_BYTES);
    h2_run(&h, UINT64_MAX);
    snprintf(text, sizeof text, "good %llu", (unsigned long long)LARGE_BYTES);
    assert_string_equal(h.status, "200");
    assert_string_equal(h.text, text);
    snprintf(text, sizeof text, "/down/777/%llu", (unsigned long long)LARGE_BYTES);
    h.is_pattern = true;
    h.offset = 777;
    h2_ask(&h, "GET", text, 0);
    h2_run(&h, UINT64_MAX);
    assert_true(h.good && h.got == LARGE_BYTES && h.reset == 0);
    h2_close(&h);
    size_t grown = rss_bytes() > before ? rss_bytes() - before : 0;
    if (grown > RSS_GROWTH_MAX)
        fail_msg("%zu bytes more are resident", grown);
    stop();
}

static void test_http2_ends(void **state)
{
    (void)state;
    struct h2 h;
    quiet_log();
    start(NULL);
    unsigned files = open_files();
    h2_open(&h);
    h2_ask(&h, "POST", "/up/100000", 100001);
    h2_run(&h, UINT64_MAX);
    assert_string_equal(h.status, "413");
    h2_ask(&h, "POST", "/up/100000", 100000); /* the connection goes on */
    h2_run(&h, UINT64_MAX);
    assert_string_equal(h.text, "good 100000");
    h.is_pattern = true;
    h2_ask(&h, "HEAD", "/down/0/5", 0);
    h2_run(&h, UINT64_MAX);
    assert_true(h.got == 0 && h.reset == 0);
    h2_ask(&h, "GET", "/down/0/0", 0);
    h2_run(&h, UINT64_MAX);
    assert_true(h.got == 0 && h.reset == 0);
    h2_ask(&h, "GET", "/down/0/10000000?x=3000000", 0);
    h2_run(&h, UINT64_MAX);
    assert_int_equal(h.reset, NGHTTP2_INTERNAL_ERROR);
    h2_ask(&h, "GET", "/down/0/3000", 0); /* and on */
    h2_run(&h, UINT64_MAX);
    assert_true(h.good && h.got == 3000 && h.reset == 0);
    h2_ask(&h, "GET", "/down/0/40000000", 0);
    h2_run(&h, 100000);
    h2_close(&h); /* in the middle of it */
    h2_open(&h);
    h2_ask(&h, "POST", "/up/100000000", 100000000);
    assert_int_equal(nghttp2_session_send(h.session), 0);
    h2_close(&h);
    struct qv_net_stats stats;
    for (int i = 0; i < 1000; i++) {
        qv_net_server_stats(server, &stats);
        if (stats.connections_open == 0 && open_files() == files)
            break;
        usleep(10000);
    }
    assert_int_equal(open_files(), files);
    stop();
}

/* ---- in memory ------------------------------------------------------------------------------ */

/* Whatever the pieces, and wherever it breaks off: the same answers, and nothing is left. */
static void test_pieces(void **state)
{
    (void)state;
    static uint8_t in[700000];
    for (uint64_t seed = 1; seed <= SANITIZED_LESS(300); seed++) {
        struct qv_rng rng;
        struct memory_conn m;
        struct qv_net_server_config config;
        qv_rng_init(&rng, seed);
        config_fill(&config);
        memory_conn_open(&m, &config);
        size_t body = qv_rng_below(&rng, 600000);
        int n =
            snprintf((char *)in, 200,
                     "POST /up/99999999 HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", body);
        pattern_fill(in + n, 0, body);
        size_t total = (size_t)n + body;
        total += (size_t)snprintf((char *)in + total, 200,
                                  "GET /down/9/300000 HTTP/1.1\r\nHost: a\r\n\r\n");
        bool cut = qv_rng_below(&rng, 3) == 0;
        size_t end = cut ? qv_rng_below(&rng, total) : total;
        for (size_t at = 0; at < end;) {
            size_t piece = 1 + qv_rng_below(&rng, 100000);
            piece = piece < end - at ? piece : end - at;
            if (qv_conn_wants_read(m.conn)) {
                qv_conn_feed(m.conn, in + at, piece);
                at += piece;
            }
            if (qv_rng_below(&rng, 3) == 0)
                memory_conn_pump(&m);
        }
        if (!cut) {
            char text[64];
            memory_conn_pump(&m);
            snprintf(text, sizeof text, "good %zu", body);
            if (memmem(m.out.data, m.out.len, text, strlen(text)) == NULL || m.out.len < 300000 ||
                !pattern_is(m.out.data + m.out.len - 300000, 9, 300000))
                fail_msg("seed %llu", (unsigned long long)seed);
        }
        memory_conn_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),        cmocka_unit_test(test_http1_large),
        cmocka_unit_test(test_http1_chunked), cmocka_unit_test(test_http1_order),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_slow_writer),
        cmocka_unit_test(test_slow_reader),   cmocka_unit_test(test_short_file),
        cmocka_unit_test(test_aborts),        cmocka_unit_test(test_http2_large),
        cmocka_unit_test(test_http2_ends)};
    if (mkdtemp(dir) == NULL)
        return 1;
    int code = RUN_SUITE(tests);
    rmdir(dir);
    return code;
}
