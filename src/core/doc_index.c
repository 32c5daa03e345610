#include "core/doc_index.h"

#include "base/mem.h"
#include "base/qv_assert.h"

#include <stdlib.h>

static int compare_entries(const void *a, const void *b)
{
    return qv_str_compare(((const struct qv_doc_entry *)a)->key,
                          ((const struct qv_doc_entry *)b)->key);
}

static int compare_keys(const void *a, const void *b)
{
    return qv_str_compare(*(const struct qv_str *)a, *(const struct qv_str *)b);
}

int qv_doc_index_init(struct qv_doc_index *x, struct qv_doc object)
{
    struct qv_doc_iter it;
    struct qv_str key;
    struct qv_doc value;

    x->entries = NULL;
    x->count = 0;
    if (object.p == NULL || qv_doc_count(object) == 0)
        return 0;
    const uint32_t count = qv_doc_count(object);
    x->entries = qv_mem_try_calloc(count, sizeof *x->entries);
    if (x->entries == NULL)
        return QV_ENOMEM;
    qv_doc_iter_init(&it, object);
    while (qv_doc_next(&it, &key, &value))
        x->entries[x->count++] = (struct qv_doc_entry){key, value};
    QV_ASSERT(x->count == count);
    qsort(x->entries, x->count, sizeof *x->entries, compare_entries);
    return 0;
}

void qv_doc_index_close(struct qv_doc_index *x)
{
    qv_mem_free(x->entries);
    x->entries = NULL;
    x->count = 0;
}

bool qv_doc_index_find(const struct qv_doc_index *x, struct qv_str key, struct qv_doc *out)
{
    const struct qv_doc_entry want = {.key = key};
    const struct qv_doc_entry *hit =
        x->count == 0 ? NULL
                      : bsearch(&want, x->entries, x->count, sizeof *x->entries, compare_entries);
    if (hit == NULL)
        return false;
    *out = hit->value;
    return true;
}

bool qv_doc_keys_distinct(struct qv_str *keys, size_t n)
{
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n; i++) {
        if (qv_str_equal(keys[i - 1], keys[i]))
            return false;
    }
    return true;
}
