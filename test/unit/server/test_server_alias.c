/* Aliases: random actions against a plain list, and what a restart and a failing disk leave. */
#include "quiet.h"
#include "suite.h"

#include "base/rng.h"
#include "io/sim_disk.h"
#include "io/sim_env.h"
#include "io/sim_kv.h"
#include "node/node.h"

#include <stdio.h>
#include <string.h>

struct world {
    struct qv_sim *sim;
    struct qv_disk *disk;
    struct qv_sim_node *node;
    struct qv_kv_driver *kv;
    struct qv_node *n;
};

static void open_node(struct world *w)
{
    struct qv_errmsg msg = {""};
    w->node = qv_sim_node_create(w->sim, w->disk, 0);
    struct qv_node_config config = {
        .env = qv_sim_node_env(w->node), .kv = w->kv, .dir = "data", .segment_bytes = 1 << 20};
    if (qv_node_open(&config, &w->n, &msg) != 0)
        fail_msg("open: %s", msg.text);
}

static void world_init(struct world *w, uint64_t seed)
{
    w->sim = qv_sim_create(&(struct qv_sim_config){.seed = seed});
    w->disk = qv_sim_disk_create(seed, 0);
    w->kv = qv_sim_kv_create(w->disk);
    open_node(w);
}

static void closed(void *arg, int err)
{
    assert_int_equal(err, 0);
    *(bool *)arg = true;
}

static void close_node(struct world *w)
{
    bool done = false;
    qv_node_close(w->n, closed, &done);
    while (!done && qv_sim_step(w->sim))
        ;
    assert_true(done);
    qv_sim_node_destroy(&w->node);
}

static void world_end(struct world *w)
{
    close_node(w);
    qv_sim_kv_destroy(&w->kv);
    qv_sim_disk_destroy(&w->disk);
    qv_sim_destroy(&w->sim);
}

static int create(struct world *w, const char *name, struct qv_errmsg *msg)
{
    struct qv_vector_config vector = {.size = 4, .name = {"", 0}};
    struct qv_collection_config config = {.vector_count = 1,
                                          .vectors = &vector,
                                          .vectors_unnamed = true,
                                          .shard_number = 1,
                                          .replication_factor = 1,
                                          .write_consistency_factor = 1,
                                          .next_number = 1};
    return qv_node_create_collection(w->n, qv_str_of(name), &config, msg);
}

static int run(struct world *w, const struct qv_alias_action *actions, uint32_t n,
               struct qv_errmsg *msg)
{
    return qv_node_update_aliases(w->n, &(struct qv_alias_req){actions, n}, msg);
}

static struct qv_alias_action action(enum qv_alias_action_type type, const char *name,
                                     const char *target)
{
    return (struct qv_alias_action){type, qv_str_of(name), qv_str_of(target)};
}

/* The collection that a name leads to; "-" when none. */
static void leads_to(struct world *w, const char *name, const char *want)
{
    const struct qv_topology *t = qv_node_topology(w->n);
    const struct qv_collection *c = qv_topology_find(t, qv_str_of(name));
    char got[300] = "-";
    if (c != NULL)
        snprintf(got, sizeof got, "%.*s", (int)c->name.n, c->name.p);
    if (strcmp(got, want) != 0)
        fail_msg("%s leads to %s, not %s", name, got, want);
    qv_topology_unref(t);
}

static void names_clash_as_the_api_says(void **state)
{
    (void)state;
    struct world w;
    struct qv_errmsg msg = {""};
    bool existed;
    world_init(&w, 3);
    assert_int_equal(create(&w, "one", &msg), 0);
    assert_int_equal(create(&w, "two", &msg), 0);
    struct qv_alias_action make = action(QV_ALIAS_CREATE, "a", "one");
    assert_int_equal(run(&w, &make, 1, &msg), 0);
    leads_to(&w, "a", "one");
    assert_int_equal(create(&w, "a", &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "Alias with the same name already exists"));
    make = action(QV_ALIAS_CREATE, "two", "one");
    assert_int_equal(run(&w, &make, 1, &msg), QV_EEXISTS);
    make = action(QV_ALIAS_CREATE, "b", "a"); /* an alias is no collection */
    assert_int_equal(run(&w, &make, 1, &msg), QV_ENOTFOUND);
    make = action(QV_ALIAS_RENAME, "a", "two");
    assert_int_equal(run(&w, &make, 1, &msg), QV_EEXISTS);
    leads_to(&w, "a", "one");
    make = action(QV_ALIAS_CREATE, "sl/ash", "one");
    assert_int_equal(run(&w, &make, 1, &msg), QV_EVALIDATION);
    assert_int_equal(qv_node_delete_collection(w.n, qv_str_of("a"), &existed, &msg), 0);
    assert_false(existed);
    assert_int_equal(qv_node_delete_collection(w.n, qv_str_of("one"), &existed, &msg), 0);
    assert_true(existed);
    leads_to(&w, "a", "-");
    assert_int_equal(create(&w, "a", &msg), 0);
    world_end(&w);
}

#define NAMES 6
#define COLLECTIONS 3

static const char *const names[NAMES] = {"a", "b", "c", "d", "e", "f"};
static const char *const collections[COLLECTIONS] = {"x", "y", "z"};

/* model[i]: the collection + 1 that names[i] leads to. */
static bool model_run(int *model, const struct qv_alias_action *list, uint32_t n)
{
    int next[NAMES];
    memcpy(next, model, sizeof next);
    for (uint32_t i = 0; i < n; i++) {
        int a = list[i].name.p[0] - 'a';
        if (list[i].type == QV_ALIAS_CREATE) {
            if (list[i].target.p[0] > 'z' || list[i].target.p[0] < 'x')
                return false;
            next[a] = list[i].target.p[0] - 'x' + 1;
        } else if (list[i].type == QV_ALIAS_DELETE) {
            next[a] = 0;
        } else {
            int c = next[a];
            if (c == 0)
                return false;
            next[a] = 0;
            next[list[i].target.p[0] - 'a'] = c;
        }
    }
    memcpy(model, next, sizeof next);
    return true;
}

static void random_actions(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world w;
        struct qv_rng rng;
        int model[NAMES] = {0};
        qv_rng_init(&rng, seed);
        world_init(&w, seed);
        for (int i = 0; i < COLLECTIONS; i++)
            assert_int_equal(create(&w, collections[i], NULL), 0);
        for (int round = 0; round < 300; round++) {
            struct qv_alias_action list[4];
            uint32_t n = (uint32_t)qv_rng_below(&rng, 4) + 1;
            for (uint32_t i = 0; i < n; i++) {
                enum qv_alias_action_type type = (enum qv_alias_action_type)qv_rng_below(&rng, 3);
                const char *target = type != QV_ALIAS_CREATE ? names[qv_rng_below(&rng, NAMES)]
                                     : qv_rng_below(&rng, 20) == 0
                                         ? "nothing"
                                         : collections[qv_rng_below(&rng, COLLECTIONS)];
                list[i] = action(type, names[qv_rng_below(&rng, NAMES)], target);
            }
            bool want = model_run(model, list, n);
            if ((run(&w, list, n, NULL) == 0) != want)
                fail_msg("seed %llu round %d", (unsigned long long)seed, round);
            if (qv_rng_below(&rng, 40) == 0) {
                close_node(&w);
                open_node(&w);
            }
            for (int i = 0; i < NAMES; i++)
                leads_to(&w, names[i], model[i] == 0 ? "-" : collections[model[i] - 1]);
        }
        world_end(&w);
    }
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_clash_as_the_api_says),
        cmocka_unit_test(random_actions),
    };
    return RUN_SUITE(tests);
}
