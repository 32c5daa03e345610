/* Files of vectors: what is written in each form reads back; what is malformed is refused with the
 * words that help. */
#include "suite.h"

#include "base/half.h"
#include "base/rng.h"
#include "cli/vecfile.h"
#include "simd/convert.h"

#include <math.h>
#include <stdlib.h>
#include <zlib.h>

#define SEED 20251
#define ROWS 37u
#define DIM 21u

static void put_big(struct qv_buf *b, uint32_t v)
{
    uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    qv_buf_append(b, bytes, 4);
}

static void put_npy(struct qv_buf *b, unsigned major, const char *dict)
{
    qv_buf_append(b, "\x93NUMPY", 6);
    qv_buf_u8(b, (uint8_t)major);
    qv_buf_u8(b, 0);
    if (major == 1)
        qv_buf_u16(b, (uint16_t)strlen(dict));
    else
        qv_buf_u32(b, (uint32_t)strlen(dict));
    qv_buf_str(b, dict);
}

static void pack(const struct qv_buf *in, struct qv_buf *out)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, in->len);
    uint8_t *to = qv_buf_reserve(out, room);
    z.next_in = in->data;
    z.avail_in = (uInt)in->len;
    z.next_out = to;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->len += z.total_out;
    (void)deflateEnd(&z);
}

/* A row's values in the elements of a type, and what they read back as. */
static void put_row(struct qv_buf *b, enum qv_vecfile_type type, const float *values)
{
    for (uint32_t i = 0; i < DIM; i++) {
        if (type == QV_VECFILE_F32)
            qv_buf_append(b, &values[i], 4);
        else if (type == QV_VECFILE_F16)
            qv_buf_u16(b, qv_half_from_f32(values[i]));
        else
            qv_buf_u8(b, (uint8_t)values[i]);
    }
}

static void put_file(struct qv_buf *b, const char *name, enum qv_vecfile_type type,
                     const float *values)
{
    bool texmex = strstr(name, "vecs") != NULL;
    if (strstr(name, "bin") != NULL) {
        qv_buf_u32(b, ROWS);
        qv_buf_u32(b, DIM);
    } else if (strstr(name, "npy") != NULL) {
        put_npy(b, type == QV_VECFILE_U8 ? 2 : 1,
                type == QV_VECFILE_F32   ? "{'descr': '<f4', 'fortran_order': False, 'shape': (37, "
                                           "7, 3), }   \n"
                : type == QV_VECFILE_F16 ? "{\"shape\":(37,21),\"fortran_order\":False,\"descr\":"
                                           "\"<f2\"}"
                                         : "{'shape': (37, 21,), 'descr': '|u1', 'fortran_order': "
                                           "False}");
    } else if (!texmex) {
        put_big(b, 0x803);
        put_big(b, ROWS);
        put_big(b, 7);
        put_big(b, 3);
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        if (texmex)
            qv_buf_u32(b, DIM);
        put_row(b, type, values + (size_t)i * DIM);
    }
}

static void check_file(const char *name, const struct qv_buf *b, enum qv_vecfile_type type,
                       const float *values)
{
    struct qv_vecfile f;
    struct qv_errmsg msg = {""};
    float row[DIM];
    if (qv_vecfile_parse(name, (struct qv_bytes){b->data, b->len}, &f, &msg) != 0)
        fail_msg("%s", msg.text);
    assert_int_equal(f.type, type);
    assert_int_equal(f.rows, ROWS);
    assert_int_equal(f.dim, DIM);
    for (uint32_t i = 0; i < ROWS; i++) {
        assert_int_equal(qv_vecfile_read_f32(&f, name, i, row, &msg), 0);
        for (uint32_t k = 0; k < DIM; k++) {
            float want = values[(size_t)i * DIM + k];
            if (type == QV_VECFILE_F16)
                want = qv_half_to_f32(qv_half_from_f32(want));
            if (row[k] != want)
                fail_msg("%s: row %u, element %u: %g, not %g", name, i, k, (double)row[k],
                         (double)want);
        }
    }
    qv_vecfile_close(&f);
    qv_vecfile_close(&f);
    /* cut anywhere, and with a byte too many, it is refused: and reads nothing outside (ASan) */
    for (size_t n = 0; n <= b->len + 1; n += n < 200 || n + 3 > b->len ? 1 : 97) {
        uint8_t *copy = calloc(1, n + 1);
        assert_non_null(copy);
        memcpy(copy, b->data, n < b->len ? n : b->len);
        int err = qv_vecfile_parse(name, (struct qv_bytes){copy, n}, &f, &msg);
        bool whole_rows = strstr(name, "vecs") != NULL && n > 0 && n % (b->len / ROWS) == 0;
        bool gz_tail = strstr(name, ".gz") != NULL && n + 9 >= b->len;
        if (n != b->len && !whole_rows && !gz_tail && err != QV_EINVAL)
            fail_msg("%s: %zu of %zu bytes are accepted", name, n, b->len);
        qv_vecfile_close(&f);
        free(copy);
    }
}

static void test_forms(void **state)
{
    static const struct {
        const char *name;
        enum qv_vecfile_type type;
    } forms[] = {
        {"a.fbin", QV_VECFILE_F32},  {"a.u8bin", QV_VECFILE_U8},    {"a.fvecs", QV_VECFILE_F32},
        {"a.bvecs", QV_VECFILE_U8},  {"a.npy", QV_VECFILE_F32},     {"a.npy", QV_VECFILE_F16},
        {"a.npy", QV_VECFILE_U8},    {"a.idx", QV_VECFILE_U8},      {"a-idx3-ubyte", QV_VECFILE_U8},
        {"a.idx.gz", QV_VECFILE_U8}, {"a-ubyte.gz", QV_VECFILE_U8},
    };
    struct qv_rng rng;
    float values[ROWS * DIM];
    (void)state;
    qv_rng_init(&rng, SEED);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct qv_buf plain;
        struct qv_buf packed;
        bool gz = strstr(forms[i].name, ".gz") != NULL;
        qv_buf_init(&plain, 0);
        qv_buf_init(&packed, 0);
        for (size_t k = 0; k < ROWS * DIM; k++)
            values[k] = forms[i].type == QV_VECFILE_U8 ? (float)qv_rng_below(&rng, 256)
                                                       : qv_rng_gauss(&rng);
        put_file(&plain, forms[i].name, forms[i].type, values);
        if (gz)
            pack(&plain, &packed);
        check_file(forms[i].name, gz ? &packed : &plain, forms[i].type, values);
        qv_buf_close(&plain);
        qv_buf_close(&packed);
    }
}

#define DICT "'descr': '<f4', 'fortran_order': False, 'shape': (1, 1)"

static const struct {
    const char *name;
    const char *bytes;
    size_t n;
    const char *says;
} malformed[] = {
#define ROW(name, bytes, says)                                                                     \
    {                                                                                              \
        name, bytes, sizeof bytes - 1, says                                                        \
    }
    ROW("a.csv", "1,2", "unknown type"),
    ROW("fbin", "", "unknown type"),
    ROW("a.fbin", "", "a header takes 8"),
    ROW("a.fbin", "\1\0\0\0\1\0\0", "7 bytes; a header takes 8"),
    ROW("a.fbin", "\0\0\0\0\1\0\0\0", "0 rows of 1"),
    ROW("a.fbin", "\1\0\0\0\0\0\0\0", "1 rows of 0"),
    ROW("a.fbin", "\1\0\0\0\1\0\1\0", "1 rows of 65537"),
    ROW("a.fbin", "\xff\xff\xff\xff\1\0\0\0", "4294967295 rows"),
    ROW("a.fbin", "\1\0\0\0\1\0\0\0abcde", "the file holds 5"),
    ROW("a.fbin", "\0\0\0\x80\0\0\1\0", "take 562949953421312 bytes"),
    ROW("a.u8bin", "\1\0\0\0\2\0\0\0a", "take 2 bytes behind offset 8"),
    ROW("a.fvecs", "\1\0\0", "a row's length takes 4"),
    ROW("a.fvecs", "\0\0\0\0", "rows of 0 elements"),
    ROW("a.fvecs",
        "\xff\xff\xff\xff"
        "aaaa",
        "0 rows of 4294967295"),
    ROW("a.fvecs", "\1\0\0\0aaaab", "no multiple of the 8"),
    ROW("a.bvecs", "\2\0\0\0aa\3\0\0\0aa", "row 1 (offset 6) has 3 elements; allowed: 2"),
    ROW("a.idx", "\0\0\x08", "not an IDX file"),
    ROW("a.idx", "\0\0\x0d\1\0\0\0\1a", "not an IDX file"),
    ROW("a.idx", "\0\0\x08\0", "not an IDX file"),
    ROW("a.idx", "\0\0\x08\5aaaaaaaaaaaaaaaaaaaa", "not an IDX file"),
    ROW("a.idx", "\0\0\x08\2\0\0\0\1", "a header of 2 axes takes 12"),
    ROW("a.idx", "\0\0\x08\1\0\0\0\2a", "take 2 bytes"),
    ROW("a.idx", "\0\0\x08\4\0\0\0\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "1 rows of"),
    ROW("a.idx.gz", "hello", "damaged or cut off"),
    ROW("a.idx.gz", "", "damaged or cut off"),
    ROW("a.npy", "\x93NUMPX", "magic"),
    ROW("a.npy", "\x93NUMPY\4\0\1\0a", "version 4.0"),
    ROW("a.npy", "\x93NUMPY\1\0\xff\xff{", "a header of 65535 bytes"),
    ROW("a.npy", "\x93NUMPY\2\0\xff\xff\xff\xff{", "a header of 4294967295 bytes"),
    ROW("a.npy", "\x93NUMPY\1\0\0\0", "'{' expected"),
    ROW("a.npy", "\x93NUMPY\1\0\2\0{}", "descr, fortran_order and shape"),
    ROW("a.npy", "\x93NUMPY\1\0\12\0{'descr': ", "a quoted text"),
    ROW("a.npy", "\x93NUMPY\1\0\x20\0{'descr': '<f4', 'descr': '<f4'}", "one each"),
    ROW("a.npy", "\x93NUMPY\1\0\x0d\0{'shape': (1 ", "')' expected"),
    ROW("a.npy", "\x93NUMPY\1\0\x27\0{'shape': (99999999999999999999999,)}  ", "a smaller number"),
    ROW("a.npy", "\x93NUMPY\1\0\x25\0{'shape': (1,2,3,4,5,6,7,8,9)}       ", "up to 8 axes"),
    ROW("a.npy", "\x93NUMPY\1\0\x17\0{'fortran_order': True}", "False"),
    ROW("a.npy", "\x93NUMPY\1\0\x3a\0{" DICT "}x", "nothing else"),
    ROW("a.npy", "\x93NUMPY\1\0\x39\0{" DICT "}abcde", "the file holds 5"),
    ROW("a.npy", "\x93NUMPY\1\0\x36\0{'descr': '>f4','fortran_order':False,'shape':(1,1)}  ",
        "'>f4'; allowed"),
    ROW("a.npy", "\x93NUMPY\1\0\x36\0{'descr': '<f4','fortran_order':False,'shape':(9,)}   ",
        "1 axes; allowed: 2"),
    ROW("a.npy",
        "\x93NUMPY\1\0\x3f\0{'descr': '<f4','fortran_order':False,'shape':(1,65536,65536)}  ",
        "1 rows of"),
#undef ROW
};

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        struct qv_vecfile f;
        struct qv_errmsg msg = {""};
        uint8_t *copy = malloc(malformed[i].n + 1); /* so that ASan sees a read behind it */
        assert_non_null(copy);
        memcpy(copy, malformed[i].bytes, malformed[i].n);
        int err =
            qv_vecfile_parse(malformed[i].name, (struct qv_bytes){copy, malformed[i].n}, &f, &msg);
        if (err != QV_EINVAL || strstr(msg.text, malformed[i].says) == NULL ||
            strstr(msg.text, malformed[i].name) != msg.text || strchr(msg.text, '\n') != NULL)
            fail_msg("row %zu, %s: %d '%s', not '%s'", i, malformed[i].name, err, msg.text,
                     malformed[i].says);
        free(copy);
    }
}

/* A header that claims far more than its packed bytes can hold is refused before memory is taken.
 */
static void test_bomb(void **state)
{
    struct qv_buf plain;
    struct qv_buf packed;
    struct qv_vecfile f;
    struct qv_errmsg msg;
    (void)state;
    qv_buf_init(&plain, 0);
    qv_buf_init(&packed, 0);
    put_big(&plain, 0x802);
    put_big(&plain, 1u << 30);
    put_big(&plain, 65536);
    pack(&plain, &packed);
    assert_int_equal(
        qv_vecfile_parse("a.idx.gz", (struct qv_bytes){packed.data, packed.len}, &f, &msg),
        QV_EINVAL);
    assert_non_null(strstr(msg.text, "packed ones can hold"));
    qv_buf_close(&plain);
    qv_buf_close(&packed);
}

static void test_not_finite(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct qv_vecfile f;
    struct qv_errmsg msg;
    float row[3];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct qv_buf b;
        float values[6] = {1, 2, 3, 4, bad[i], 6};
        qv_buf_init(&b, 0);
        qv_buf_u32(&b, 2);
        qv_buf_u32(&b, 3);
        qv_buf_append(&b, values, sizeof values);
        assert_int_equal(qv_vecfile_parse("x.fbin", (struct qv_bytes){b.data, b.len}, &f, &msg), 0);
        assert_int_equal(qv_vecfile_read_f32(&f, "x.fbin", 0, row, &msg), 0);
        assert_int_equal(qv_vecfile_read_f32(&f, "x.fbin", 1, row, &msg), QV_EINVAL);
        assert_non_null(strstr(msg.text, "x.fbin: row 1, element 1 (offset 24) is "));
        qv_vecfile_close(&f);
        qv_buf_close(&b);
    }
}

static void test_open(void **state)
{
    struct qv_vecfile f;
    struct qv_errmsg msg;
    (void)state;
    assert_int_equal(qv_vecfile_open("/nowhere/a.fbin", &f, &msg), QV_ENOTFOUND);
    assert_int_equal(qv_vecfile_open("/nowhere/a.txt", &f, &msg), QV_EINVAL);
    assert_int_equal(qv_vecfile_open("/dev/null.fbin", &f, &msg), QV_ENOTFOUND);
    char path[] = "/tmp/vecfile-XXXXXX.fbin";
    int fd = mkstemps(path, 5);
    assert_true(fd >= 0);
    assert_int_equal(qv_vecfile_open(path, &f, &msg), QV_EINVAL); /* empty */
    FILE *out = fdopen(fd, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite("\1\0\0\0\1\0\0\0\0\0\x80\x3f", 1, 12, out), 12);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(qv_vecfile_open(path, &f, &msg), 0);
    float row;
    assert_int_equal(qv_vecfile_read_f32(&f, path, 0, &row, &msg), 0);
    assert_true(row == 1.0f);
    qv_vecfile_close(&f);
    assert_int_equal(remove(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms), cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_bomb),  cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_open),
    };
    printf("seed %d\n", SEED);
    return RUN_SUITE(tests);
}
