/* The node's directory before anything is opened in it. */
#include "quiet.h"
#include "suite.h"

#include "io/sim_disk.h"
#include "io/sim_env.h"
#include "node/node.h"

#include <string.h>

static bool name_there(void *arg, const char *name, bool is_dir)
{
    (void)is_dir;
    *(bool *)arg = *(bool *)arg || strcmp(name, "7") == 0;
    return true;
}

static void unreported(void *arg, const struct qv_store_finding *f)
{
    (void)f;
    *(int *)arg += 1;
}

/* Taken for a first start, every shard would be one that no collection has, and removed. */
static void data_without_its_metadata_is_refused(void **state)
{
    (void)state;
    static const char *const dirs[] = {"data/shards/7", "data/log/7"};
    for (size_t i = 0; i < 2; i++) {
        struct qv_sim *sim = qv_sim_create(&(struct qv_sim_config){.seed = 1});
        struct qv_disk *disk = qv_sim_disk_create(1, 0);
        struct qv_sim_node *node = qv_sim_node_create(sim, disk, 0);
        struct qv_node_config config = {.env = qv_sim_node_env(node), .dir = "data"};
        struct qv_store_check_summary summary;
        struct qv_errmsg msg = {""};
        struct qv_node *n = NULL;
        char parent[16];
        int reports = 0;
        bool there = false;
        assert_int_equal(qv_disk_mkdir_all(disk, dirs[i], NULL), 0);
        assert_int_equal(qv_node_open(&config, &n, &msg), QV_ECORRUPT);
        assert_null(n);
        assert_non_null(strstr(msg.text, "data/meta"));
        const struct qv_store_listener listener = {.report = unreported, .arg = &reports};
        assert_int_equal(qv_node_check(&config, &listener, &summary, &msg), QV_ECORRUPT);
        assert_non_null(strstr(msg.text, "data/meta"));
        snprintf(parent, sizeof parent, "%.*s", (int)(strlen(dirs[i]) - 2), dirs[i]);
        assert_int_equal(qv_disk_list(disk, parent, name_there, &there, NULL), 0);
        assert_true(there);
        qv_sim_node_destroy(&node);
        qv_sim_disk_destroy(&disk);
        qv_sim_destroy(&sim);
    }
}

int main(void)
{
    quiet_log();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_without_its_metadata_is_refused),
    };
    return RUN_SUITE(tests);
}
