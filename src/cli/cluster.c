/* quiver cluster status|topology|plan: what GET /cluster/status says, drawn for a person. */
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/target.h"

#include "base/mem.h"
#include "wire/json_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ARENA_BYTES ((size_t)256 << 20)
#define WATCH_SECONDS 2

enum view { VIEW_STATUS, VIEW_TOPOLOGY, VIEW_PLAN };

struct options {
    struct qv_target_access access;
    enum view view;
    bool json, watch;
};

/* Texts are the answer's. */
struct node {
    uint64_t id, epoch, shards, points, bytes;
    struct qv_str role, zone, state, addr, version, why;
};
struct shard {
    uint32_t collection; /* of the list */
    uint64_t number, points, bytes, pending, node, next;
    struct qv_str state, next_state;
};
struct task {
    uint64_t shard, from, to;
    struct qv_str kind, collection, state;
};

struct cluster {
    uint64_t epoch, controller, waiting;
    bool reachable;
    struct qv_str why;
    struct node *nodes;
    struct shard *shards;
    struct qv_str *collections;
    struct task *tasks;
    uint32_t node_count, shard_count, collection_count, task_count;
};

static const char help[] =
    "usage: quiver cluster status|topology|plan [URL] [options]\n"
    "\n"
    "  status     the nodes and collections, and what is wrong with them\n"
    "  topology   a tree: which shard lies on which node, states and sizes\n"
    "  plan       what moves, or is to move\n"
    "\n"
    "  URL        any node of the cluster: [http[s]://]HOST[:PORT] (default localhost:6333)\n"
    "  --watch    draws anew every 2 seconds\n" QV_TARGET_HELP
    "  --json     one object: epoch controller metadata nodes[] collections[] tasks[]\n"
    "  --help\n"
    "\n"
    "Exit code: 0 answered, 1 failed, 2 wrong usage.\n"
    "\n"
    "examples:\n"
    "  quiver cluster status\n"
    "  quiver cluster topology proxy1:6333 --watch\n";

enum option_id { OPT_JSON = 256, OPT_WATCH };

static const struct option options[] = {{"json", no_argument, NULL, OPT_JSON},
                                        {"watch", no_argument, NULL, OPT_WATCH},
                                        QV_TARGET_OPTIONS,
                                        {"help", no_argument, NULL, QV_CLI_HELP},
                                        {NULL, 0, NULL, 0}};

static int take_option(void *arg, int option, const char *value, struct qv_errmsg *msg)
{
    struct options *o = arg;
    (void)msg;
    if (qv_target_take_option(&o->access, option, value))
        return 0;
    o->json |= option == OPT_JSON;
    o->watch |= option == OPT_WATCH;
    return 0;
}

/* ---- reading ---- */

/* Room for one more of a list; the lists are freed together. */
static void *grow(void *list, uint32_t *count, size_t bytes)
{
    if ((*count & (*count - 1)) == 0) /* 0, 1, 2, 4, .. */
        list = qv_mem_realloc(list, (*count == 0 ? 1 : (size_t)*count * 2) * bytes);
    memset((char *)list + *count * bytes, 0, bytes);
    (*count)++;
    return list;
}

static void free_cluster(struct cluster *c)
{
    qv_mem_free(c->nodes);
    qv_mem_free(c->shards);
    qv_mem_free(c->collections);
    qv_mem_free(c->tasks);
    memset(c, 0, sizeof *c);
}

struct field {
    const char *key;
    struct qv_str *text; /* or */
    uint64_t *number;
};

/* An object of texts and whole numbers; other keys are passed over. */
static void read_fields(struct qv_json *j, const struct field *fields, size_t count)
{
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        size_t i = 0;
        while (i < count && !qv_str_is(key, fields[i].key))
            i++;
        if (i == count)
            qv_json_skip(j);
        else if (fields[i].text != NULL)
            *fields[i].text = qv_json_string(j);
        else
            *fields[i].number = qv_json_u64(j);
    }
}

static void read_node(struct qv_json *j, struct node *n)
{
    const struct field fields[] = {{"id", NULL, &n->id},     {"epoch", NULL, &n->epoch},
                                   {"role", &n->role, NULL}, {"zone", &n->zone, NULL},
                                   {"why", &n->why, NULL},   {"state", &n->state, NULL},
                                   {"addr", &n->addr, NULL}, {"version", &n->version, NULL}};
    read_fields(j, fields, sizeof fields / sizeof fields[0]);
}

/* The first replica answers; a second is on its way. */
static void read_replicas(struct qv_json *j, struct shard *s)
{
    unsigned n = 0;
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        uint64_t node = 0;
        struct qv_str state = {"", 0};
        const struct field fields[] = {{"node", NULL, &node}, {"state", &state, NULL}};
        read_fields(j, fields, 2);
        if (n++ == 0) {
            s->node = node;
            s->state = state;
        } else {
            s->next = node;
            s->next_state = state;
        }
    }
}

static void read_shard(struct qv_json *j, struct shard *s)
{
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "id"))
            s->number = qv_json_u64(j);
        else if (qv_str_is(key, "points"))
            s->points = qv_json_u64(j);
        else if (qv_str_is(key, "bytes"))
            s->bytes = qv_json_u64(j);
        else if (qv_str_is(key, "pending"))
            s->pending = qv_json_u64(j);
        else if (qv_str_is(key, "replicas"))
            read_replicas(j, s);
        else
            qv_json_skip(j);
    }
}

static void read_collection(struct qv_json *j, struct cluster *c)
{
    struct qv_str key;
    c->collections = grow(c->collections, &c->collection_count, sizeof *c->collections);
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "name")) {
            c->collections[c->collection_count - 1] = qv_json_string(j);
        } else if (qv_str_is(key, "shards")) {
            qv_json_begin_array(j);
            while (qv_json_next_item(j)) {
                c->shards = grow(c->shards, &c->shard_count, sizeof *c->shards);
                c->shards[c->shard_count - 1].collection = c->collection_count - 1;
                read_shard(j, &c->shards[c->shard_count - 1]);
            }
        } else {
            qv_json_skip(j);
        }
    }
}

static void read_task(struct qv_json *j, struct cluster *c)
{
    c->tasks = grow(c->tasks, &c->task_count, sizeof *c->tasks);
    struct task *t = &c->tasks[c->task_count - 1];
    const struct field fields[] = {{"kind", &t->kind, NULL},   {"collection", &t->collection, NULL},
                                   {"state", &t->state, NULL}, {"shard", NULL, &t->shard},
                                   {"from", NULL, &t->from},   {"to", NULL, &t->to}};
    read_fields(j, fields, sizeof fields / sizeof fields[0]);
}

static void read_metadata(struct qv_json *j, struct cluster *c)
{
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "reachable"))
            c->reachable = qv_json_bool(j);
        else if (qv_str_is(key, "waiting"))
            c->waiting = qv_json_u64(j);
        else if (qv_str_is(key, "why"))
            c->why = qv_json_string(j);
        else
            qv_json_skip(j);
    }
}

static void read_list(struct qv_json *j, struct cluster *c, struct qv_str key)
{
    qv_json_begin_array(j);
    while (qv_json_next_item(j)) {
        if (qv_str_is(key, "nodes")) {
            c->nodes = grow(c->nodes, &c->node_count, sizeof *c->nodes);
            read_node(j, &c->nodes[c->node_count - 1]);
        } else if (qv_str_is(key, "collections")) {
            read_collection(j, c);
        } else {
            read_task(j, c);
        }
    }
}

static void read_result(struct qv_json *j, struct cluster *c)
{
    struct qv_str key;
    qv_json_begin_object(j);
    while (qv_json_next_key(j, &key)) {
        if (qv_str_is(key, "epoch"))
            c->epoch = qv_json_u64(j);
        else if (qv_str_is(key, "controller"))
            c->controller = qv_json_u64(j);
        else if (qv_str_is(key, "metadata"))
            read_metadata(j, c);
        else if (qv_str_is(key, "nodes") || qv_str_is(key, "collections") ||
                 qv_str_is(key, "tasks"))
            read_list(j, c, key);
        else
            qv_json_skip(j);
    }
}

static struct node *node_of(struct cluster *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->node_count; i++) {
        if (c->nodes[i].id == id)
            return &c->nodes[i];
    }
    return NULL;
}

static void add_up(struct cluster *c)
{
    for (uint32_t i = 0; i < c->shard_count; i++) {
        struct node *n = node_of(c, c->shards[i].node);
        if (n == NULL)
            continue;
        n->shards++;
        n->points += c->shards[i].points;
        n->bytes += c->shards[i].bytes;
    }
}

/* ---- drawing ---- */

static const char *text_bytes(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    unsigned u = 0;
    for (; v >= 1024 && u < 4; u++)
        v /= 1024;
    snprintf(out, 32, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

static void print_addr(struct cluster *c, uint64_t id)
{
    const struct node *n = node_of(c, id);
    if (n != NULL)
        printf("%.*s", (int)n->addr.n, n->addr.p);
    else
        printf("%" PRIu64, id);
}

static void print_head(struct cluster *c)
{
    printf("epoch %" PRIu64 ", controller ", c->epoch);
    if (c->controller == 0)
        printf("none");
    else
        print_addr(c, c->controller);
    printf(", metadata %s", c->reachable ? "in reach" : "AWAY");
    if (c->waiting > 0)
        printf(", %" PRIu64 " changes wait", c->waiting);
    if (c->why.n > 0)
        printf(": %.*s", (int)c->why.n, c->why.p);
    printf("\n");
}

static void print_nodes(struct cluster *c)
{
    printf("\n%-24s %-6s %-9s %-10s %7s %12s %10s\n", "NODE", "ROLE", "STATE", "ZONE", "SHARDS",
           "POINTS", "SIZE");
    for (uint32_t i = 0; i < c->node_count; i++) {
        const struct node *n = &c->nodes[i];
        char size[32];
        printf("%-24.*s %-6.*s %-9.*s %-10.*s %7" PRIu64 " %12" PRIu64 " %10s%s%.*s\n",
               (int)n->addr.n, n->addr.p, (int)n->role.n, n->role.p, (int)n->state.n, n->state.p,
               (int)n->zone.n, n->zone.n > 0 ? n->zone.p : "", n->shards, n->points,
               text_bytes(n->bytes, size), n->why.n > 0 ? "  " : "", (int)n->why.n,
               n->why.n > 0 ? n->why.p : "");
    }
}

static bool is_well(const struct shard *s)
{
    return qv_str_is(s->state, "active") || qv_str_is(s->state, "indexing");
}

static void print_collections(struct cluster *c)
{
    printf("\n%-24s %7s %12s %10s  %s\n", "COLLECTION", "SHARDS", "POINTS", "SIZE", "STATE");
    for (uint32_t i = 0; i < c->collection_count; i++) {
        uint64_t points = 0, bytes = 0, shards = 0, bad = 0, pending = 0;
        char size[32];
        for (uint32_t k = 0; k < c->shard_count; k++) {
            const struct shard *s = &c->shards[k];
            if (s->collection != i)
                continue;
            shards++;
            points += s->points;
            bytes += s->bytes;
            pending += s->pending;
            bad += !is_well(s);
        }
        printf("%-24.*s %7" PRIu64 " %12" PRIu64 " %10s  ", (int)c->collections[i].n,
               c->collections[i].p, shards, points, text_bytes(bytes, size));
        if (bad > 0)
            printf("%" PRIu64 " of %" PRIu64 " shards away or failed\n", bad, shards);
        else if (pending > 0)
            printf("indexing, %" PRIu64 " points to go\n", pending);
        else
            printf("active\n");
    }
    if (c->collection_count == 0)
        printf("none yet\n");
}

static void print_tasks(struct cluster *c)
{
    for (uint32_t i = 0; i < c->task_count; i++) {
        const struct task *t = &c->tasks[i];
        printf("%.*s %.*s/%" PRIu64 "  ", (int)t->kind.n, t->kind.p, (int)t->collection.n,
               t->collection.p, t->shard);
        print_addr(c, t->from);
        printf(" -> ");
        print_addr(c, t->to);
        printf("  %.*s\n", (int)t->state.n, t->state.p);
    }
}

static void print_status(struct cluster *c)
{
    print_head(c);
    print_nodes(c);
    print_collections(c);
    if (c->task_count > 0)
        printf("\n");
    print_tasks(c);
}

static void print_shard(struct cluster *c, const struct shard *s, bool last)
{
    char size[32];
    const struct qv_str name = c->collections[s->collection];
    printf("%s %.*s/%" PRIu64 "  %" PRIu64 " points  %s  %.*s", last ? "   └──" : "   ├──",
           (int)name.n, name.p, s->number, s->points, text_bytes(s->bytes, size), (int)s->state.n,
           s->state.p);
    if (s->next != 0) {
        printf("  -> ");
        print_addr(c, s->next);
        printf(" (%.*s)", (int)s->next_state.n, s->next_state.p);
    }
    printf("\n");
}

static void print_shards_on(struct cluster *c, uint64_t id, uint64_t count)
{
    uint64_t shown = 0;
    for (uint32_t i = 0; i < c->shard_count; i++) {
        if (c->shards[i].node == id)
            print_shard(c, &c->shards[i], ++shown == count);
    }
}

static void print_topology(struct cluster *c)
{
    print_head(c);
    for (uint32_t i = 0; i < c->node_count; i++) {
        const struct node *n = &c->nodes[i];
        char size[32];
        printf("%s %.*s  %.*s  %.*s%s", n->id == c->controller ? "●" : "○", (int)n->addr.n,
               n->addr.p, (int)n->role.n, n->role.p, (int)n->state.n, n->state.p,
               n->zone.n > 0 ? "  zone " : "");
        printf("%.*s", (int)n->zone.n, n->zone.n > 0 ? n->zone.p : "");
        if (n->shards > 0)
            printf("  %" PRIu64 " shards, %" PRIu64 " points, %s", n->shards, n->points,
                   text_bytes(n->bytes, size));
        printf("\n");
        print_shards_on(c, n->id, n->shards);
    }
}

static void print_plan(struct cluster *c)
{
    if (c->task_count == 0)
        printf("epoch %" PRIu64 ": nothing moves, nothing is to\n", c->epoch);
    print_tasks(c);
}

/* ---- the command ---- */

/* The result within the envelope: what --json prints, and what is drawn. */
static int find_result(const struct qv_buf *body, struct qv_bytes *out, struct qv_errmsg *msg)
{
    static const char front[] = "{\"result\":";
    static const char back[] = ",\"status\":\"ok\"";
    const char *text = (const char *)body->data;
    size_t end = body->len;
    if (body->len < sizeof front + sizeof back || memcmp(text, front, sizeof front - 1) != 0)
        return qv_fail(msg, QV_EPROTO, "the answer is not understood");
    while (end > sizeof front && memcmp(text + end - (sizeof back - 1), back, sizeof back - 1) != 0)
        end--;
    if (end <= sizeof front)
        return qv_fail(msg, QV_EPROTO, "the answer is not understood");
    const size_t begin = sizeof front - 1;
    *out = (struct qv_bytes){body->data + begin, end - (sizeof back - 1) - begin};
    return 0;
}

static int draw(const struct options *o, struct qv_bytes result, struct qv_errmsg *msg)
{
    static void (*const views[])(struct cluster * c) = {print_status, print_topology, print_plan};
    struct cluster c = {0};
    struct qv_arena arena;
    struct qv_json j;
    qv_arena_init(&arena, ARENA_BYTES);
    qv_json_init(&j, result, &arena, msg);
    read_result(&j, &c);
    int err = qv_json_finish(&j);
    if (err == 0) {
        add_up(&c);
        if (o->watch && isatty(STDOUT_FILENO))
            printf("\033[H\033[2J");
        views[o->view](&c);
    }
    free_cluster(&c);
    qv_arena_close(&arena);
    return err;
}

static int show(const struct options *o, struct qv_target *t, struct qv_errmsg *msg)
{
    struct qv_buf body;
    struct qv_bytes result;
    qv_buf_init(&body, 0);
    int err = qv_target_get(t, "/cluster/status", &body, msg);
    if (err == 0)
        err = find_result(&body, &result, msg);
    if (err == 0 && o->json)
        printf("%.*s\n", (int)result.n, (const char *)result.p);
    else if (err == 0)
        err = draw(o, result, msg);
    (void)fflush(stdout);
    qv_buf_close(&body);
    return err;
}

static int take_view(struct options *o, const char *word, struct qv_errmsg *msg)
{
    static const char *const words[] = {"status", "topology", "plan"};
    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(word, words[i]) == 0) {
            o->view = (enum view)i;
            return 0;
        }
    }
    return qv_fail(msg, QV_EINVAL, "'%.100s' is not allowed: status, topology or plan is", word);
}

static int read_arguments(struct options *o, int argc, char **argv, const char **url,
                          struct qv_errmsg *msg)
{
    const struct qv_cli_options table = {help, options, take_option};
    int err = qv_cli_read_options(&table, argc, argv, o, msg);
    if (err != 0)
        return err;
    *url = "localhost:6333";
    if (optind == argc || argc - optind > 2)
        return qv_fail(msg, QV_EINVAL,
                       "status, topology or plan, and a URL are allowed; see --help");
    if (argc - optind == 2)
        *url = argv[optind + 1];
    return take_view(o, argv[optind], msg);
}

int qv_cli_cluster(int argc, char **argv)
{
    struct options o = {.json = false};
    struct qv_target target;
    struct qv_errmsg msg = {""};
    const char *url = NULL;
    int err = read_arguments(&o, argc, argv, &url, &msg);
    if (err == 1)
        return 0;
    if (err == 0)
        err = qv_target_open_server(url, &o.access, &target, &msg);
    if (err != 0)
        return qv_cli_end("cluster", err, &msg);
    do {
        err = show(&o, &target, &msg);
    } while (o.watch && err == 0 && sleep(WATCH_SECONDS) == 0);
    qv_target_close(&target);
    return qv_cli_end("cluster", err, &msg);
}
