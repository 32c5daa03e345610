/* Files of vectors from anywhere, the first byte choosing the form: what is accepted can be read to
 * its last byte.
 * covers: src/cli/vecfile.c src/cli/npy.c */
#include "cli/vecfile.h"

#include "base/qv_assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"a.fbin", "a.u8bin", "a.fvecs",  "a.bvecs",
                                        "a.npy",  "a.idx",   "a.idx.gz", "a.txt"};
    static float row[65536];
    struct qv_vecfile f;
    struct qv_errmsg msg = {""};
    if (size == 0)
        return 0;
    const char *name = names[data[0] % 8];
    if (qv_vecfile_parse(name, (struct qv_bytes){data + 1, size - 1}, &f, &msg) != 0) {
        QV_ASSERT(msg.text[0] == 'a');
        return 0;
    }
    QV_ASSERT(f.rows >= 1 && f.dim >= 1 && f.dim <= 65536 && data[0] % 8 != 7);
    for (uint32_t i = 0; i < f.rows && i < 1000 && f.type != QV_VECFILE_I32; i++) {
        int err = qv_vecfile_read_f32(&f, name, i == 999 ? f.rows - 1 : i, row, &msg);
        QV_ASSERT(err == 0 || err == QV_EINVAL);
    }
    const volatile uint8_t *last = qv_vecfile_row(&f, f.rows - 1);
    (void)last[f.dim * qv_vecfile_element_bytes(f.type) - 1];
    qv_vecfile_close(&f);
    return 0;
}
