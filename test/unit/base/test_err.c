/* The numbers that stand for errors in messages between nodes. */
#include "suite.h"

#include "base/err.h"

static const struct {
    int err;
    unsigned number;
} table[] = {
#define X(name, number, class, text) {QV_##name, number},
    QV_ERRORS(X)
#undef X
};
#define COUNT (sizeof table / sizeof table[0])

static void every_error_comes_back(void **state)
{
    (void)state;
    assert_int_equal(qv_err_number(QV_OK), 0);
    assert_int_equal(qv_err_from_number(0, QV_CLASS_FATAL), QV_OK);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(qv_err_number(table[i].err), table[i].number);
        assert_int_equal(qv_err_from_number(table[i].number, QV_CLASS_OK), table[i].err);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(table[i].number, table[j].number);
    }
}

/* Nodes of two versions speak with each other: these stay for ever. */
static void numbers_stay(void **state)
{
    (void)state;
    assert_int_equal(qv_err_number(QV_EINVAL), 1);
    assert_int_equal(qv_err_number(QV_ETIMEOUT), 14);
    assert_int_equal(qv_err_number(QV_ESTALE), 17);
    assert_int_equal(qv_err_number(QV_EUNKNOWN), 19);
    assert_int_equal(qv_err_number(QV_EINTERNAL), 25);
    assert_int_equal(QV_CLASS_TRANSIENT, 1);
    assert_int_equal(QV_CLASS_PERMANENT, 2);
    assert_int_equal(QV_CLASS_FATAL, 3);
}

static void what_is_not_known_keeps_its_class(void **state)
{
    (void)state;
    assert_int_equal(qv_err_from_number(4000, QV_CLASS_TRANSIENT), QV_EUNKNOWN);
    assert_int_equal(qv_err_from_number(4000, QV_CLASS_PERMANENT), QV_EPROTO);
    assert_int_equal(qv_err_from_number(4000, QV_CLASS_FATAL), QV_EINTERNAL);
    assert_int_equal(qv_err_from_number(4000, 77), QV_EINTERNAL);
    assert_int_equal(qv_err_number(-5), qv_err_number(QV_EINTERNAL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_comes_back),
        cmocka_unit_test(numbers_stay),
        cmocka_unit_test(what_is_not_known_keeps_its_class),
    };
    return RUN_SUITE(tests);
}
