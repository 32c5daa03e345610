#include "app/serve.h"

#include "app/cert_watch.h"
#include "app/cluster_start.h"
#include "app/notify.h"
#include "app/restore.h"
#include "app/settings.h"
#include "base/build_info.h"
#include "base/logger.h"
#include "core/limits.h"
#include "io/dir_lock.h"
#include "io/disk_posix.h"
#include "io/kill_disk.h"
#include "io/uv_env.h"
#include "net/server.h"
#include "node/snapshots.h"
#include "server/edge.h"
#include "simd/kernels.h"
#include "storage/kv_rocks.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRAIN_MS 10000
#define FILES_OF_STORE 512
#define HEAP_ARENAS 4
#define HEAP_MAPPED_BYTES (2 << 20)

extern char **environ;

struct serve {
    struct qv_settings settings;
    struct qv_disk *disk;
    struct qv_disk *kill_disk;  /* of the crash test, over disk; NULL: none */
    struct qv_disk *fault_disk; /* of the disk test, over both; NULL: none */
    struct qv_kv_driver *kv;
    struct qv_uv_env *env;
    struct qv_node *node;
    struct qv_edge *edge;
    struct qv_net_server *net;
    struct qv_cert_watch certs;
    struct qv_cluster_start cluster;
    struct qv_node_config config;
    struct qv_restore_list restores;
    int lock_fd;
    int err;
    struct qv_errmsg msg;
    pthread_mutex_t lock; /* closed */
    pthread_cond_t cond;
    bool closed;
    bool made_dir; /* by this start */
    bool remove;   /* this start failed and there is nothing in it */
};

static void print_help(void)
{
    puts("usage: quiver serve [options]\n"
         "\n"
         "Starts a node: REST, gRPC and metrics over one store; with --role, one of a cluster.\n"
         "\n"
         "  --config-path FILE   YAML settings (default: config/config.yaml, if it is there)\n"
         "  --storage-path DIR   where data is kept (default ./storage)\n"
         "  --host ADDRESS       address to listen on (default 0.0.0.0)\n"
         "  --http-port PORT     REST and metrics (default 6333; 0: any free one)\n"
         "  --grpc-port PORT     gRPC (default 6334; 0: any free one)\n"
         "  --role ROLE          a node of a cluster: all, shard, or proxy, which keeps no data\n"
         "  --set KEY=VALUE      any setting, e.g. --set storage.checkpoint.max_age_sec=10\n"
         "  --snapshot FILE:NAME     restores a snapshot as collection NAME before it serves\n"
         "  --storage-snapshot FILE  the same for a snapshot of everything\n"
         "  --force-snapshot         even where collections of these names exist\n"
         "  --help\n"
         "\n"
         "Settings come from defaults, then the file, then the environment\n"
         "(QDRANT__SERVICE__HTTP_PORT, QUIVER__...), then these options. QUIVER_ISA=serial|avx2|\n"
         "avx512 lowers the instruction set.\n"
         "\n"
         "examples:\n"
         "  quiver serve\n"
         "  quiver serve --storage-path /var/lib/quiver --set service.api_key=SECRET\n"
         "  quiver serve --set service.enable_tls=true --set tls.cert=cert.pem "
         "--set tls.key=key.pem\n"
         "  quiver serve --role all --set cluster.metadata.endpoints=http://etcd1:2379");
}

enum option_id {
    OPT_CONFIG = 256,
    OPT_STORAGE,
    OPT_HOST,
    OPT_HTTP,
    OPT_GRPC,
    OPT_ROLE,
    OPT_SET,
    OPT_HELP,
    OPT_SNAPSHOT,
    OPT_STORAGE_SNAPSHOT,
    OPT_FORCE
};

static const struct option options[] = {
    {"config-path", required_argument, NULL, OPT_CONFIG},
    {"storage-path", required_argument, NULL, OPT_STORAGE},
    {"host", required_argument, NULL, OPT_HOST},
    {"http-port", required_argument, NULL, OPT_HTTP},
    {"grpc-port", required_argument, NULL, OPT_GRPC},
    {"role", required_argument, NULL, OPT_ROLE},
    {"set", required_argument, NULL, OPT_SET},
    {"help", no_argument, NULL, OPT_HELP},
    {"snapshot", required_argument, NULL, OPT_SNAPSHOT},
    {"storage-snapshot", required_argument, NULL, OPT_STORAGE_SNAPSHOT},
    {"force-snapshot", no_argument, NULL, OPT_FORCE},
    {NULL, 0, NULL, 0}};

static const char *option_key(int option)
{
    switch (option) {
    case OPT_STORAGE:
        return "storage.storage_path";
    case OPT_HOST:
        return "service.host";
    case OPT_HTTP:
        return "service.http_port";
    case OPT_GRPC:
        return "service.grpc_port";
    case OPT_ROLE:
        return "cluster.role";
    default:
        return NULL;
    }
}

static int set_pair(struct qv_settings *s, char *pair, struct qv_errmsg *msg)
{
    char *eq = strchr(pair, '=');
    if (eq == NULL)
        return qv_fail(msg, QV_EINVAL, "--set: '%.100s' is not allowed: KEY=VALUE is", pair);
    *eq = '\0';
    int err = qv_settings_set(s, pair, eq + 1, msg);
    return err == QV_ENOTFOUND ? QV_EINVAL : err;
}

/* Flags are read twice: for the file's path first, for what overrides it last. */
static int read_options(struct serve *x, int argc, char **argv, bool overrides,
                        const char **config_path, bool *help)
{
    int option;
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int err = 0;
        if (option == OPT_HELP)
            *help = true;
        else if (option == OPT_CONFIG)
            *config_path = optarg;
        else if (option == '?')
            return qv_fail(&x->msg, QV_EINVAL, "unknown or incomplete option '%s'; see --help",
                           argv[optind - 1]);
        else if (overrides && option == OPT_SET)
            err = set_pair(&x->settings, optarg, &x->msg);
        else if (option == OPT_FORCE)
            x->restores.force = true;
        else if (option == OPT_SNAPSHOT || option == OPT_STORAGE_SNAPSHOT)
            err = overrides ? qv_restore_add(&x->restores, optarg, option == OPT_STORAGE_SNAPSHOT,
                                             &x->msg)
                            : 0;
        else if (overrides)
            err = qv_settings_set(&x->settings, option_key(option), optarg, &x->msg);
        if (option == OPT_ROLE)
            x->settings.cluster_enabled = true;
        if (err != 0)
            return err;
    }
    if (optind < argc)
        return qv_fail(&x->msg, QV_EINVAL, "unexpected argument '%s'; see --help", argv[optind]);
    return 0;
}

static int read_settings(struct serve *x, int argc, char **argv, bool *help)
{
    const char *path = NULL;
    int err = read_options(x, argc, argv, false, &path, help);
    if (err != 0 || *help)
        return err;
    err = qv_settings_load_file(&x->settings, path, &x->msg);
    if (err == 0)
        err = qv_settings_load_env(&x->settings, environ, &x->msg);
    if (err == 0)
        err = read_options(x, argc, argv, true, &path, help);
    if (err == 0 && x->settings.cluster_enabled)
        err = qv_cluster_start_check(&x->settings, &x->msg);
    return err;
}

/* glibc's own ways keep what large requests took: an arena a thread, and a bound for mapped blocks
 * that grows to 32 MiB with the first block freed. So a handful of arenas, and large blocks go
 * back. (After three rounds of hostile requests: 171 MB resident, so 89.) */
static void bound_heap(void)
{
#ifdef __GLIBC__
    if (mallopt(M_ARENA_MAX, HEAP_ARENAS) == 0 ||
        mallopt(M_MMAP_THRESHOLD, HEAP_MAPPED_BYTES) == 0 ||
        mallopt(M_TRIM_THRESHOLD, HEAP_MAPPED_BYTES) == 0)
        QV_WARN("serve", "the heap keeps its defaults");
#endif
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            QV_WARN("serve", "the limit of open files stays at its default");
    }
}

/* Two processes on one directory would destroy it. */
static int lock_directory(struct serve *x)
{
    const char *dir = x->settings.storage_path;
    x->made_dir = mkdir(dir, 0755) == 0;
    if (!x->made_dir && errno != EEXIST)
        return qv_fail(&x->msg, QV_EIO, "%s: %s", dir, strerror(errno));
    return qv_dir_lock(dir, &x->lock_fd, &x->msg);
}

static void open_node(void *arg)
{
    struct serve *x = arg;
    const bool cluster = x->settings.cluster_enabled;
    x->err = cluster ? qv_cluster_start_listen(&x->cluster, &x->msg) : 0;
    if (x->err == 0)
        x->err = qv_node_open(&x->config, &x->node, &x->msg);
    if (x->err == 0 && cluster)
        qv_cluster_start_opened(&x->cluster);
}

static int open_disk(struct serve *x, struct qv_disk **out)
{
    int err = 0;
    x->disk = qv_disk_posix_create();
    if (getenv("QUIVER_KILL_AT") != NULL)
        err = qv_kill_disk_create(x->disk, getenv("QUIVER_KILL_AT"), &x->kill_disk, &x->msg);
    *out = x->kill_disk != NULL ? x->kill_disk : x->disk;
    if (err == 0 && getenv("QUIVER_FAULT_AT") != NULL) {
        err = qv_fault_disk_create(*out, getenv("QUIVER_FAULT_AT"), &x->fault_disk, &x->msg);
        *out = x->fault_disk;
    }
    return err;
}

static int open_env(struct serve *x)
{
    struct qv_uv_env_config config = {.io_threads = 2, .pin_cpu = -1};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    config.compute_threads = (unsigned)x->settings.max_search_threads;
    if (config.compute_threads == 0)
        config.compute_threads = cores > 0 && cores <= 128 ? (unsigned)cores : 1;
    int err = open_disk(x, &config.disk);
    return err == 0 ? qv_uv_env_create(&config, &x->env, &x->msg) : err;
}

static int start_node(struct serve *x)
{
    const struct qv_settings *s = &x->settings;
    const bool proxy = qv_cluster_start_is_proxy(s);
    int err = proxy ? 0 : lock_directory(x);
    if (err == 0)
        err = open_env(x);
    if (err != 0)
        return err;
    x->kv = qv_kv_rocks_create(NULL);
    x->config = (struct qv_node_config){
        .env = qv_uv_env_env(x->env),
        .kv = x->kv,
        .dir = proxy ? "" : s->storage_path,
        .segment_bytes = s->log_segment_mb << 20,
        .checkpoint_bytes = s->checkpoint_mb << 20,
        .checkpoint_ms = s->checkpoint_sec * 1000,
        .snapshots_dir = proxy ? NULL : s->snapshots_path,
        .snapshot_bytes_per_s = s->snapshot_rate_mb << 20,
        .scrub_bytes_per_s = s->scrub_mb_per_s << 20,
        .scrub_rest_ms = s->scrub_rest_sec * 1000,
    };
    if (s->cluster_enabled) {
        x->cluster = (struct qv_cluster_start){.settings = s, .env = x->env, .node = &x->config};
        err = qv_cluster_start_found(&x->cluster, &x->msg);
    }
    if (err != 0)
        return err;
    qv_uv_env_call(x->env, open_node, x);
    return x->err;
}

/* Connections must leave the store its files. */
static uint32_t connections_max(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return (uint32_t)wanted;
    uint64_t room =
        limit.rlim_cur > 2 * FILES_OF_STORE ? limit.rlim_cur - FILES_OF_STORE : limit.rlim_cur / 2;
    if (wanted > room)
        QV_WARN("serve",
                "service.max_connections: %llu instead of %llu, since %llu files may be open",
                (unsigned long long)room, (unsigned long long)wanted,
                (unsigned long long)limit.rlim_cur);
    return (uint32_t)(wanted < room ? wanted : room);
}

static void fill_limits(const struct qv_settings *s, struct qv_net_limits *limits)
{
    limits->connections_max = connections_max(s->max_connections);
    limits->streams_max = (uint32_t)s->max_streams;
    limits->buffered_bytes_max = (size_t)s->max_buffered_mb << 20;
    limits->header_timeout_ms = (uint32_t)s->header_timeout_sec * 1000;
    limits->body_timeout_ms = (uint32_t)s->body_timeout_sec * 1000;
    limits->idle_timeout_ms = (uint32_t)s->idle_timeout_sec * 1000;
    limits->write_timeout_ms = (uint32_t)s->write_timeout_sec * 1000;
    if (!s->enable_compression)
        limits->pack_bytes_min = SIZE_MAX;
}

static int start_net(struct serve *x)
{
    struct qv_net_server_config config;
    struct qv_edge_config edge = {.node = x->node,
                                  .api_key = x->settings.api_key,
                                  .read_only_api_key = x->settings.read_only_api_key,
                                  .slow_query_ms = x->settings.slow_query_ms,
                                  .version = QV_VERSION,
                                  .api_version = QV_API_VERSION,
                                  .commit = QV_COMMIT,
                                  .snapshot_bytes_max = x->settings.snapshot_max_gb << 30,
                                  .snapshot_timeout_ms =
                                      (uint32_t)x->settings.snapshot_timeout_sec * 1000};
    x->edge = qv_edge_create(&edge);
    qv_net_server_config_init(&config);
    config.host = x->settings.host;
    config.ports[0] = (uint16_t)x->settings.http_port;
    config.ports[1] = (uint16_t)x->settings.grpc_port;
    config.n_ports = 2;
    config.loops = (uint32_t)x->settings.max_workers;
    config.cors = x->settings.enable_cors;
    config.limits.body_bytes_max = (size_t)x->settings.max_request_size_mb << 20;
    config.limits.arena_bytes_max = QV_REQUEST_ARENA_PER_BYTE * config.limits.body_bytes_max;
    config.limits.request_timeout_ms = (uint32_t)x->settings.request_timeout_sec * 1000;
    fill_limits(&x->settings, &config.limits);
    config.handler = qv_edge_handle;
    config.on_headers = qv_edge_headers;
    config.ctx = x->edge;
    config.tls = x->certs.ctx;
    int err = qv_net_server_create(&config, &x->net, &x->msg);
    if (err == 0)
        qv_edge_set_net(x->edge, x->net);
    return err;
}

static void node_closed(void *arg, int err)
{
    struct serve *x = arg;
    pthread_mutex_lock(&x->lock);
    x->err = err;
    x->closed = true;
    pthread_cond_signal(&x->cond);
    pthread_mutex_unlock(&x->lock);
}

static void close_node(void *arg)
{
    struct serve *x = arg;
    qv_node_close(x->node, node_closed, x);
}

static void stop(struct serve *x)
{
    qv_net_server_destroy(&x->net);
    qv_cert_watch_close(&x->certs);
    if (x->edge != NULL)
        qv_edge_stop(x->edge);
    if (x->node != NULL) {
        qv_uv_env_call(x->env, close_node, x);
        pthread_mutex_lock(&x->lock);
        while (!x->closed)
            pthread_cond_wait(&x->cond, &x->lock);
        pthread_mutex_unlock(&x->lock);
        if (x->err != 0)
            QV_ERROR("serve",
                     "the store was not closed cleanly: %s; the log has every "
                     "acknowledged change",
                     qv_err_text(x->err));
    }
    qv_cluster_start_close(&x->cluster);
    if (x->env != NULL)
        qv_uv_env_destroy(&x->env);
    qv_edge_destroy(&x->edge);
    if (x->kv != NULL)
        qv_kv_rocks_destroy(&x->kv);
    qv_kill_disk_destroy(&x->fault_disk);
    qv_kill_disk_destroy(&x->kill_disk);
    if (x->disk != NULL)
        qv_disk_posix_destroy(&x->disk);
    if (x->remove)
        qv_dir_remove_tree(x->settings.storage_path);
    qv_dir_unlock(&x->lock_fd);
    qv_settings_close(&x->settings);
}

/* A start that failed leaves no folder behind that it made itself. What a snapshot was restored to
 * stays. */
static void forget_dir(struct serve *x)
{
    bool empty = true;
    if (x->node != NULL) {
        const struct qv_topology *t = qv_node_topology(x->node);
        empty = t->count == 0;
        qv_topology_unref(t);
    }
    x->remove = x->made_dir && x->lock_fd >= 0 && empty;
}

static uint64_t now_ns(const struct serve *x)
{
    return qv_env_mono_ns(qv_uv_env_env(x->env));
}

static void stop_snapshots(void *arg)
{
    struct serve *x = arg;
    qv_node_snapshot_stop(x->node);
}

/* SIGHUP reads the certificates again; without any it ends the process, as it does by default. */
static void block_signals(const struct serve *x, sigset_t *set)
{
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    if (x->settings.enable_tls || x->settings.p2p_tls)
        sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL); /* before any thread: all inherit it */
}

/* Nothing under way since the last look, but something before: the heap's free pages go back. */
static void trim_when_idle(const struct serve *x, uint64_t *trimmed_at)
{
#ifdef __GLIBC__
    struct qv_net_stats net;
    qv_net_server_stats(x->net, &net);
    if (net.calls_in_flight != 0 || net.buffered_bytes != 0 || net.calls_total == *trimmed_at)
        return;
    *trimmed_at = net.calls_total;
    (void)malloc_trim(0);
#else
    (void)x;
    (void)trimmed_at;
#endif
}

#define IDLE_LOOK_NS 500000000

static int wait_for_end(struct serve *x, const sigset_t *set)
{
    const struct timespec look = {.tv_nsec = IDLE_LOOK_NS};
    uint64_t trimmed_at = 0;
    for (;;) {
        int sig = sigtimedwait(set, NULL, &look);
        if (sig > 0 && sig != SIGHUP)
            return sig;
        qv_cert_watch_look(&x->certs, now_ns(x), sig == SIGHUP);
        if (sig == SIGHUP)
            qv_cluster_start_reload(&x->cluster);
        trim_when_idle(x, &trimmed_at);
    }
}

static int run(struct serve *x)
{
    enum qv_log_level level = QV_LOG_INFO;
    sigset_t set;
    int sig;
    for (char *p = x->settings.log_level; *p != '\0'; p++)
        *p = (char)(*p | 0x20);
    if (qv_logger_parse_level(x->settings.log_level, &level) == 0)
        qv_logger_set_level(level);
    int err = qv_simd_select(getenv("QUIVER_ISA"), &x->msg);
    if (err != 0)
        return err;
    block_signals(x, &set);
    bound_heap();
    raise_file_limit();
    err = qv_cert_watch_open(&x->settings, &x->certs, &x->msg);
    if (err == 0)
        err = start_node(x);
    if (err == 0)
        err = qv_restore_run(&x->restores, x->env, x->node, &x->msg);
    if (err == 0)
        err = start_net(x);
    if (err != 0)
        return err;
    const char *s = x->settings.enable_tls ? "s" : "";
    const bool proxy = qv_cluster_start_is_proxy(&x->settings);
    printf("quiver %s listening: http%s://%s:%u (REST, metrics), grpc%s://%s:%u; %s%s\n",
           QV_VERSION, s, x->settings.host, qv_net_server_port(x->net, 0), s, x->settings.host,
           qv_net_server_port(x->net, 1), proxy ? "a proxy" : "data in ",
           proxy ? "" : x->settings.storage_path);
    (void)fflush(stdout);
    qv_notify("READY=1");
    sig = wait_for_end(x, &set);
    qv_notify("STOPPING=1");
    QV_INFO("serve", "%s: finishing requests under way", sig == SIGTERM ? "SIGTERM" : "SIGINT");
    qv_uv_env_call(x->env, stop_snapshots, x); /* they would keep their calls for long */
    qv_net_server_shutdown(x->net, DRAIN_MS);
    qv_net_server_wait(x->net);
    return 0;
}

int qv_app_serve(int argc, char **argv)
{
    struct serve x = {
        .lock_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    bool help = false;
    qv_settings_init(&x.settings);
    int err = read_settings(&x, argc, argv, &help);
    if (help) {
        print_help();
        qv_settings_close(&x.settings);
        return 0;
    }
    if (err == 0)
        err = run(&x);
    if (err == QV_ECANCELED) {
        QV_INFO("serve", "%s", x.msg.text);
        err = 0;
    }
    if (err != 0)
        fprintf(stderr, "quiver serve: %s\n",
                x.msg.text[0] != '\0' ? x.msg.text : qv_err_text(err));
    if (err != 0)
        forget_dir(&x);
    stop(&x);
    return err == 0 ? 0 : err == QV_EINVAL ? 2 : 1;
}
