/* Saved graphs: round trips, generations, saves beside inserts, and bytes that are wrong. */
#include "hnsw_fixture.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/hnsw_file.h"

#include <string.h>

#define SEED 4711u

static void save_to(struct qv_hnsw *h, struct qv_buf *buf)
{
    qv_buf_init(buf, 0);
    assert_int_equal(qv_hnsw_save(h, fixture_write, buf), 0);
    assert_false(buf->failed);
}

static int load_from(struct fixture *f, struct qv_bytes file, qv_hnsw_keep_f keep,
                     struct qv_hnsw_load_report *report, struct qv_errmsg *msg)
{
    struct fixture_reader reader = {.p = file.p, .n = file.n};
    struct qv_hnsw_source source = {
        .read = fixture_read, .read_arg = &reader, .keep = keep, .keep_arg = f};
    qv_hnsw_destroy(&f->h);
    return qv_hnsw_load(&f->params, &f->rows, &source, &f->h, report, msg);
}

static void fill(struct fixture *f, uint32_t n, uint32_t dim)
{
    fixture_open(f, QV_METRIC_L2, QV_DTYPE_F32, n, dim, SEED);
    for (qv_slot s = 0; s < n; s++)
        fixture_insert(f, s, s * 3);
}

static void round_trip_gives_the_same_bytes(void **state)
{
    struct fixture f;
    struct qv_buf first, again;
    struct qv_hnsw_load_report report;
    struct qv_errmsg msg;
    uint32_t generation;
    (void)state;
    fill(&f, 2500, 16);
    for (qv_slot s = 0; s < f.n; s += 5)
        fixture_delete(&f, s);
    save_to(f.h, &first);
    double recall = fixture_recall(&f, 50, NULL);
    assert_int_equal(load_from(&f, (struct qv_bytes){first.data, first.len}, NULL, &report, &msg),
                     0);
    assert_int_equal(report.kept, 2000);
    assert_int_equal(report.dropped + report.cut_links + report.reattached, 0);
    assert_int_equal(fixture_check(&f), 0);
    assert_true(fixture_recall(&f, 50, NULL) == recall);
    assert_int_equal(qv_hnsw_slot_state(f.h, 7, &generation), QV_HNSW_LIVE);
    assert_int_equal(generation, 21);
    save_to(f.h, &again);
    assert_int_equal(first.len, again.len);
    assert_memory_equal(first.data, again.data, first.len);
    qv_buf_close(&first);
    qv_buf_close(&again);
    fixture_close(&f);
}

static void an_empty_graph_has_a_file_too(void **state)
{
    struct fixture f;
    struct qv_buf buf;
    struct qv_errmsg msg;
    (void)state;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 10, 4, SEED);
    save_to(f.h, &buf);
    assert_int_equal(load_from(&f, (struct qv_bytes){buf.data, buf.len}, NULL, NULL, &msg), 0);
    assert_int_equal(fixture_check(&f), 0);
    fixture_insert(&f, 3, 0);
    assert_int_equal(fixture_check(&f), 0);
    qv_buf_close(&buf);
    fixture_close(&f);
}

static bool keep_marked(void *arg, qv_slot slot, uint32_t generation)
{
    assert_int_equal(generation, slot * 3);
    return fixture_is_marked(arg, slot);
}

/* What the owner no longer has is dropped, with its row gone, and the rest stays findable. */
static void dropped_nodes_are_bridged(void **state)
{
    (void)state;
    for (uint32_t of_ten = 0; of_ten <= 10; of_ten += FIXTURE_LESS > 1 ? 5 : 1) {
        struct fixture f;
        struct qv_buf buf;
        struct qv_rng rng;
        struct qv_hnsw_load_report report;
        struct qv_errmsg msg;
        uint32_t kept = 0;
        fill(&f, 1500, 16);
        qv_rng_init(&rng, SEED + of_ten);
        for (qv_slot s = 0; s < 200; s++) { /* some are dead when saved */
            fixture_mark(&f, s, false);
            assert_int_equal(qv_hnsw_remove(f.h, s), 0);
        }
        for (qv_slot s = 100; s < 120; s++)
            assert_int_equal(qv_hnsw_repair(f.h, f.ctx, s), 0);
        save_to(f.h, &buf);
        for (qv_slot s = 200; s < f.n; s++)
            fixture_mark(&f, s, qv_rng_below(&rng, 10) >= of_ten);
        for (qv_slot s = 0; s < f.n; s++) {
            kept += fixture_is_marked(&f, s) ? 1 : 0;
            if (!fixture_is_marked(&f, s))
                memset(f.data + (size_t)s * f.rows.stride_bytes, 0xFF, f.rows.stride_bytes);
        }
        assert_int_equal(
            load_from(&f, (struct qv_bytes){buf.data, buf.len}, keep_marked, &report, &msg), 0);
        assert_int_equal(report.kept, kept);
        assert_int_equal(report.kept + report.dropped, f.n - 20);
        assert_int_equal(qv_hnsw_stats(f.h).live, kept);
        assert_int_equal(fixture_check(&f), 0);
        assert_true(fixture_recall(&f, 100, NULL) >= 0.99);
        for (qv_slot s = 0; s < f.n; s++) {
            if (!fixture_is_marked(&f, s)) {
                fixture_new_row(&f, s, SEED + 5);
                fixture_insert(&f, s, 1);
            }
        }
        assert_int_equal(fixture_check(&f), 0);
        assert_true(fixture_recall(&f, 100, NULL) >= 0.99);
        qv_buf_close(&buf);
        fixture_close(&f);
    }
}

/* A writer that lets 40 inserts and 10 deletes happen at each frame. */
struct busy {
    struct qv_buf buf;
    struct fixture *f;
    qv_slot next;
    qv_slot gone;
};

static int busy_write(void *arg, const void *bytes, size_t n)
{
    struct busy *b = arg;
    qv_buf_append(&b->buf, bytes, n);
    for (int i = 0; i < 40 && b->next < b->f->n; i++)
        fixture_insert(b->f, b->next++, 0);
    for (int i = 0; i < 10 && b->gone < 1000; i++, b->gone += 7) {
        fixture_mark(b->f, b->gone, false);
        assert_int_equal(qv_hnsw_remove(b->f->h, b->gone), 0);
        assert_int_equal(qv_hnsw_repair(b->f->h, b->f->ctx, b->gone), 0);
    }
    return 0;
}

static bool keep_live(void *arg, qv_slot slot, uint32_t generation)
{
    (void)generation;
    return fixture_is_marked(arg, slot);
}

static void a_save_among_changes_loads_whole(void **state)
{
    struct fixture f;
    struct busy b = {.f = &f};
    struct qv_hnsw_load_report report;
    struct qv_errmsg msg;
    (void)state;
    fixture_open(&f, QV_METRIC_L2, QV_DTYPE_F32, 4000, 8, SEED);
    for (b.next = 0; b.next < 3000; b.next++)
        fixture_insert(&f, b.next, 0);
    qv_buf_init(&b.buf, 0);
    assert_int_equal(qv_hnsw_save(f.h, busy_write, &b), 0);
    assert_true(b.next > 3100 && b.gone > 0);
    assert_int_equal(
        load_from(&f, (struct qv_bytes){b.buf.data, b.buf.len}, keep_live, &report, &msg), 0);
    assert_true(report.cut_links > 0);
    assert_int_equal(fixture_check(&f), 0);
    for (qv_slot s = 0; s < b.next; s++) {
        if (qv_hnsw_slot_state(f.h, s, NULL) != QV_HNSW_LIVE && fixture_is_marked(&f, s)) {
            assert_true(s >= 3000); /* what was there before the save is in it */
            fixture_insert(&f, s, 0);
        }
    }
    assert_int_equal(fixture_check(&f), 0);
    assert_true(fixture_recall(&f, 100, NULL) >= 0.99);
    qv_buf_close(&b.buf);
    fixture_close(&f);
}

/* Each byte of a small file wrong in turn, and the file cut anywhere: an error that says why. */
static void no_wrong_byte_goes_unnoticed(void **state)
{
    struct fixture f;
    struct qv_buf buf;
    struct qv_errmsg msg;
    (void)state;
    fill(&f, 60, 4);
    save_to(f.h, &buf);
    print_message("file of %zu bytes, seed %u\n", buf.len, SEED);
    struct qv_rng rng;
    qv_rng_init(&rng, SEED);
    for (size_t i = 0; i < buf.len; i += FIXTURE_LESS) {
        uint8_t was = buf.data[i];
        buf.data[i] ^= (uint8_t)(1 + qv_rng_below(&rng, 255));
        msg.text[0] = 0;
        assert_int_equal(load_from(&f, (struct qv_bytes){buf.data, buf.len}, NULL, NULL, &msg),
                         QV_ECORRUPT);
        assert_true(msg.text[0] != 0);
        buf.data[i] = was;
        assert_int_equal(load_from(&f, (struct qv_bytes){buf.data, i}, NULL, NULL, &msg),
                         QV_ECORRUPT);
    }
    assert_int_equal(load_from(&f, (struct qv_bytes){buf.data, buf.len}, NULL, NULL, &msg), 0);
    qv_buf_close(&buf);
    fixture_close(&f);
}

/* The frames of a file put anew around changed payload: checksums that fit, content that lies. */
static void reframe(const struct qv_buf *payload, struct qv_buf *file)
{
    uint64_t number = 0;
    qv_buf_clear(file);
    for (size_t at = 0; at < payload->len;) {
        size_t left = payload->len - at;
        uint32_t n = (uint32_t)(left < QV_HNSW_FRAME_BYTES ? left : QV_HNSW_FRAME_BYTES);
        qv_buf_u32(file, n);
        qv_buf_append(file, payload->data + at, n);
        qv_buf_u64(file, qv_hash_64_seed(payload->data + at, n, number++));
        at += n;
    }
    uint64_t total = payload->len;
    qv_buf_u32(file, 0);
    qv_buf_u64(file, qv_hash_64_seed(&total, sizeof total, number));
}

static void lies_under_right_checksums_do_no_harm(void **state)
{
    struct fixture f;
    struct qv_buf buf, payload, file;
    struct qv_errmsg msg;
    struct qv_rng rng;
    uint32_t refused = 0;
    uint32_t loaded = 0;
    (void)state;
    fill(&f, 300, 4);
    save_to(f.h, &buf);
    assert_true(buf.len < QV_HNSW_FRAME_BYTES); /* one frame */
    qv_buf_init(&payload, 0);
    qv_buf_init(&file, 0);
    qv_rng_init(&rng, SEED);
    for (uint32_t round = 0; round < 3000 / FIXTURE_LESS; round++) {
        qv_buf_clear(&payload);
        qv_buf_append(&payload, buf.data + 4, buf.len - 4 - 8 - 12);
        uint32_t changes = 1 + (uint32_t)qv_rng_below(&rng, 3);
        for (uint32_t i = 0; i < changes; i++) {
            size_t at = QV_HNSW_MAGIC_BYTES + qv_rng_below(&rng, payload.len - QV_HNSW_MAGIC_BYTES);
            payload.data[at] = (uint8_t)qv_rng_below(&rng, round % 2 == 0 ? 256 : 8);
        }
        if (round % 7 == 0)
            payload.len -= qv_rng_below(&rng, payload.len / 2);
        reframe(&payload, &file);
        int err = load_from(&f, (struct qv_bytes){file.data, file.len}, NULL, NULL, &msg);
        assert_true(err == 0 || err == QV_ECORRUPT || err == QV_EINVAL || err == QV_ELIMIT);
        if (err == 0) {
            loaded++;
            (void)fixture_check(&f);
            assert_int_equal(qv_hnsw_stats(f.h).dead, 0);
        } else {
            refused++;
        }
    }
    print_message("%u refused, %u loaded, seed %u\n", refused, loaded, SEED);
    assert_true(refused > 50 && loaded > 50);
    qv_buf_close(&buf);
    qv_buf_close(&payload);
    qv_buf_close(&file);
    fixture_close(&f);
}

static void small_reads_and_failing_callbacks(void **state)
{
    struct fixture f;
    struct qv_buf buf;
    struct qv_errmsg msg;
    (void)state;
    fill(&f, 100, 4);
    save_to(f.h, &buf);
    struct fixture_reader reader = {.p = buf.data, .n = buf.len, .piece = 7};
    struct qv_hnsw_source source = {.read = fixture_read, .read_arg = &reader};
    qv_hnsw_destroy(&f.h);
    assert_int_equal(qv_hnsw_load(&f.params, &f.rows, &source, &f.h, NULL, &msg), 0);
    assert_int_equal(fixture_check(&f), 0);
    struct qv_hnsw_params other = f.params;
    other.m = 8;
    reader = (struct fixture_reader){.p = buf.data, .n = buf.len};
    qv_hnsw_destroy(&f.h);
    assert_int_equal(qv_hnsw_load(&other, &f.rows, &source, &f.h, NULL, &msg), QV_EINVAL);
    assert_non_null(strstr(msg.text, "m 16"));
    other = f.params;
    other.max_slots = 50;
    assert_int_equal(load_from(&f, (struct qv_bytes){buf.data, buf.len}, NULL, NULL, &msg), 0);
    reader = (struct fixture_reader){.p = buf.data, .n = buf.len};
    qv_hnsw_destroy(&f.h);
    assert_int_equal(qv_hnsw_load(&other, &f.rows, &source, &f.h, NULL, &msg), QV_ELIMIT);
    qv_buf_close(&buf);
    fixture_close(&f);
}

/* A file of version 1 as it was written when the format was new: every later program reads it.
 * 120 rows of 4 bytes; slots 30, 31, 32 and 77 were deleted, 78 is dead. */
static void the_first_format_stays_readable(void **state)
{
    uint8_t bytes[120 * 4];
    struct qv_rows rows = {.base = bytes, .stride_bytes = 4};
    struct qv_hnsw_params params = qv_hnsw_params_default(QV_METRIC_L2, QV_DTYPE_U8, 4);
    struct qv_hnsw_load_report report;
    struct qv_hnsw_check_report checked;
    struct qv_hnsw *h = NULL;
    struct qv_errmsg msg;
    uint8_t *file = qv_mem_alloc(65536);
    uint32_t generation;
    (void)state;
    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(qv_hash_mix(i) >> 20);
    params.m = 4;
    params.m0 = 8;
    params.max_slots = 120;
    FILE *f = fopen(GOLDEN_DIR "/graph-v1.bin", "rb");
    assert_non_null(f);
    struct fixture_reader reader = {.p = file, .n = fread(file, 1, 65536, f)};
    (void)fclose(f);
    struct qv_hnsw_source source = {.read = fixture_read, .read_arg = &reader};
    assert_int_equal(qv_hnsw_load(&params, &rows, &source, &h, &report, &msg), 0);
    assert_int_equal(report.kept, 115);
    assert_int_equal(report.dropped, 1);
    assert_int_equal(report.reattached, 0);
    assert_int_equal(qv_hnsw_check(h, &checked, &msg), 0);
    assert_int_equal(checked.unreachable, 0);
    assert_int_equal(qv_hnsw_slot_state(h, 119, &generation), QV_HNSW_LIVE);
    assert_int_equal(generation, 119 * 7);
    assert_int_equal(qv_hnsw_slot_state(h, 77, NULL), QV_HNSW_FREE);
    assert_int_equal(qv_hnsw_stats(h).level_max, 3);
    qv_hnsw_destroy(&h);
    qv_mem_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip_gives_the_same_bytes),
        cmocka_unit_test(an_empty_graph_has_a_file_too),
        cmocka_unit_test(dropped_nodes_are_bridged),
        cmocka_unit_test(a_save_among_changes_loads_whole),
        cmocka_unit_test(no_wrong_byte_goes_unnoticed),
        cmocka_unit_test(lies_under_right_checksums_do_no_harm),
        cmocka_unit_test(small_reads_and_failing_callbacks),
        cmocka_unit_test(the_first_format_stays_readable),
    };
    return RUN_SUITE(tests);
}
