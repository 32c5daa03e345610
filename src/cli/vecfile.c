#include "cli/vecfile.h"

#include "base/mem.h"
#include "base/qv_assert.h"
#include "cli/mapped.h"
#include "cli/npy.h"
#include "simd/convert.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

#define ROWS_MAX (1u << 31)
#define DIM_MAX 65536u
#define UNPACKED_MAX ((size_t)16 << 30)
#define INFLATE_RATIO_MAX 1032u /* of zlib's format: what a header may claim of a packed file */
#define IDX_AXES_MAX 4u
#define PART_BYTES ((size_t)1 << 30) /* zlib counts in 32 bits */

enum form { BIN, VECS, NPY, IDX, IDX_GZ };

static const struct known {
    const char *end;
    enum form form;
    enum qv_vecfile_type type;
} known[] = {
    {".fbin", BIN, QV_VECFILE_F32},      {".ibin", BIN, QV_VECFILE_I32},
    {".u8bin", BIN, QV_VECFILE_U8},      {".fvecs", VECS, QV_VECFILE_F32},
    {".ivecs", VECS, QV_VECFILE_I32},    {".bvecs", VECS, QV_VECFILE_U8},
    {".npy", NPY, QV_VECFILE_F32},       {".idx", IDX, QV_VECFILE_U8},
    {"ubyte", IDX, QV_VECFILE_U8},       {".idx.gz", IDX_GZ, QV_VECFILE_U8},
    {"ubyte.gz", IDX_GZ, QV_VECFILE_U8},
};

static const struct known *find_type(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t m = strlen(known[i].end);
        if (n >= m && strcmp(path + n - m, known[i].end) == 0)
            return &known[i];
    }
    return NULL;
}

bool qv_vecfile_knows(const char *path)
{
    return find_type(path) != NULL;
}

/* Takes the shape in wide numbers, so that nothing a header says is cut before it is judged. */
static int set_shape(const char *path, uint64_t rows, uint64_t dim, struct qv_vecfile *f,
                     struct qv_errmsg *msg)
{
    if (rows == 0 || rows > ROWS_MAX || dim == 0 || dim > DIM_MAX)
        return qv_fail(msg, QV_EINVAL,
                       "%s: %llu rows of %llu elements; allowed: 1 to %u rows of 1 to %u", path,
                       (unsigned long long)rows, (unsigned long long)dim, ROWS_MAX, DIM_MAX);
    f->rows = (uint32_t)rows;
    f->dim = (uint32_t)dim;
    f->stride_bytes = (size_t)dim * qv_vecfile_element_bytes(f->type);
    return 0;
}

static int check_bytes(const char *path, const struct qv_vecfile *f, uint64_t have,
                       struct qv_errmsg *msg)
{
    uint64_t want = (uint64_t)f->rows * f->stride_bytes;
    if (want == have)
        return 0;
    return qv_fail(msg, QV_EINVAL,
                   "%s: %u rows of %u elements take %llu bytes behind offset %llu; the file holds "
                   "%llu",
                   path, f->rows, f->dim, (unsigned long long)want, (unsigned long long)f->offset,
                   (unsigned long long)have);
}

static void set_data(struct qv_vecfile *f, struct qv_bytes file, size_t offset)
{
    f->data = file.p + offset;
    f->offset = offset;
}

static int parse_bin(const char *path, struct qv_bytes file, struct qv_vecfile *f,
                     struct qv_errmsg *msg)
{
    struct qv_rd r;
    qv_rd_init(&r, file.p, file.n);
    uint32_t rows = qv_rd_u32(&r);
    uint32_t dim = qv_rd_u32(&r);
    if (r.failed)
        return qv_fail(msg, QV_EINVAL, "%s: %zu bytes; a header takes 8", path, file.n);
    set_data(f, file, 8);
    int err = set_shape(path, rows, dim, f, msg);
    return err != 0 ? err : check_bytes(path, f, file.n - 8, msg);
}

static int parse_vecs(const char *path, struct qv_bytes file, struct qv_vecfile *f,
                      struct qv_errmsg *msg)
{
    struct qv_rd r;
    qv_rd_init(&r, file.p, file.n);
    uint32_t dim = qv_rd_u32(&r);
    uint64_t stride = 4 + (uint64_t)dim * qv_vecfile_element_bytes(f->type);
    if (r.failed)
        return qv_fail(msg, QV_EINVAL, "%s: %zu bytes; a row's length takes 4", path, file.n);
    int err = set_shape(path, file.n / stride, dim, f, msg);
    if (err != 0)
        return err;
    if (file.n % stride != 0)
        return qv_fail(msg, QV_EINVAL,
                       "%s: %zu bytes is no multiple of the %llu that a row of %u elements takes",
                       path, file.n, (unsigned long long)stride, dim);
    f->stride_bytes = (size_t)stride;
    set_data(f, file, 4);
    for (uint32_t i = 1; i < f->rows; i++) {
        uint64_t at = i * stride;
        uint32_t n;
        memcpy(&n, file.p + at, sizeof n);
        if (n != dim)
            return qv_fail(msg, QV_EINVAL,
                           "%s: row %u (offset %llu) has %u elements; allowed: %u, as row 0", path,
                           i, (unsigned long long)at, n, dim);
    }
    return 0;
}

static int set_npy_type(const char *path, const char *descr, struct qv_vecfile *f,
                        struct qv_errmsg *msg)
{
    static const struct {
        const char *descr;
        enum qv_vecfile_type type;
    } types[] = {{"<f4", QV_VECFILE_F32},
                 {"<f2", QV_VECFILE_F16},
                 {"|u1", QV_VECFILE_U8},
                 {"<i4", QV_VECFILE_I32}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(descr, types[i].descr) == 0) {
            f->type = types[i].type;
            return 0;
        }
    }
    return qv_fail(msg, QV_EINVAL, "%s: elements of type '%s'; allowed: <f4 <f2 |u1 <i4", path,
                   descr);
}

static int parse_npy(const char *path, struct qv_bytes file, struct qv_vecfile *f,
                     struct qv_errmsg *msg)
{
    struct qv_npy head;
    int err = qv_npy_read_header(path, file, &head, msg);
    if (err == 0)
        err = set_npy_type(path, head.descr, f, msg);
    if (err != 0)
        return err;
    if (head.axes < 2)
        return qv_fail(msg, QV_EINVAL, "%s: %u axes; allowed: 2 or more, rows first", path,
                       head.axes);
    uint64_t dim = 1;
    for (uint32_t i = 1; i < head.axes && dim <= DIM_MAX; i++)
        dim = head.shape[i] > DIM_MAX ? DIM_MAX + 1 : dim * head.shape[i];
    set_data(f, file, head.header_bytes);
    err = set_shape(path, head.shape[0], dim, f, msg);
    return err != 0 ? err : check_bytes(path, f, file.n - head.header_bytes, msg);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* 0, 0, type 8 (unsigned byte), axes, then so many u32 sizes. *bytes = of the header. */
static int parse_idx_head(const char *path, struct qv_bytes file, struct qv_vecfile *f,
                          size_t *bytes, struct qv_errmsg *msg)
{
    const uint8_t *p = file.p;
    if (file.n < 4 || p[0] != 0 || p[1] != 0 || p[2] != 8 || p[3] == 0 || p[3] > IDX_AXES_MAX)
        return qv_fail(msg, QV_EINVAL, "%s: not an IDX file of unsigned bytes with 1 to %u axes",
                       path, IDX_AXES_MAX);
    uint32_t axes = p[3];
    *bytes = 4 + (size_t)axes * 4;
    if (file.n < *bytes)
        return qv_fail(msg, QV_EINVAL, "%s: %zu bytes; a header of %u axes takes %zu", path, file.n,
                       axes, *bytes);
    uint64_t dim = 1;
    for (uint32_t i = 1; i < axes && dim <= DIM_MAX; i++)
        dim *= big_endian(p + 4 + (size_t)i * 4);
    f->offset = *bytes;
    return set_shape(path, big_endian(p + 4), dim, f, msg);
}

static int parse_idx(const char *path, struct qv_bytes file, struct qv_vecfile *f,
                     struct qv_errmsg *msg)
{
    size_t head = 0;
    int err = parse_idx_head(path, file, f, &head, msg);
    if (err != 0)
        return err;
    set_data(f, file, head);
    return check_bytes(path, f, file.n - head, msg);
}

struct unpack {
    const char *path;
    z_stream z;
    struct qv_bytes in; /* not given to zlib yet */
    struct qv_errmsg *msg;
};

/* Inflates up to n bytes; *got of them. Less than n: the packed data ended. */
static int inflate_some(struct unpack *u, uint8_t *to, size_t n, size_t *got)
{
    *got = 0;
    while (*got < n) {
        if (u->z.avail_in == 0 && u->in.n > 0) {
            size_t part = u->in.n < PART_BYTES ? u->in.n : PART_BYTES;
            u->z.next_in = (Bytef *)(uintptr_t)u->in.p;
            u->z.avail_in = (uInt)part;
            u->in.p += part;
            u->in.n -= part;
        }
        size_t room = n - *got < PART_BYTES ? n - *got : PART_BYTES;
        u->z.next_out = to + *got;
        u->z.avail_out = (uInt)room;
        int state = inflate(&u->z, Z_NO_FLUSH);
        *got += room - u->z.avail_out;
        if (state == Z_STREAM_END)
            return 0;
        if (state != Z_OK && !(state == Z_BUF_ERROR && u->z.avail_in == 0 && u->in.n > 0))
            return qv_fail(u->msg, QV_EINVAL,
                           "%s: packed data is damaged or cut off near offset %lu", u->path,
                           u->z.total_in);
    }
    return 0;
}

static int unpack_idx(struct unpack *u, struct qv_vecfile *f)
{
    uint8_t head[4 + IDX_AXES_MAX * 4] = {0};
    size_t head_bytes = 0;
    size_t got = 0;
    size_t sizes = 0;
    const size_t packed = u->in.n;
    int err = inflate_some(u, head, 4, &got);
    size_t more = got == 4 && head[3] <= IDX_AXES_MAX ? (size_t)head[3] * 4 : 0;
    if (err == 0 && more > 0)
        err = inflate_some(u, head + 4, more, &sizes);
    if (err == 0)
        err = parse_idx_head(u->path, (struct qv_bytes){head, got + sizes}, f, &head_bytes, u->msg);
    if (err != 0)
        return err;
    size_t bytes = (size_t)f->rows * f->stride_bytes;
    if (bytes / INFLATE_RATIO_MAX > packed)
        return qv_fail(u->msg, QV_EINVAL,
                       "%s: its header claims %zu bytes, more than %zu packed "
                       "ones can hold",
                       u->path, bytes, packed);
    if (bytes > UNPACKED_MAX || (f->owned = qv_mem_try_alloc(bytes + 1)) == NULL)
        return qv_fail(u->msg, QV_ENOMEM, "%s: no memory for %zu bytes", u->path, bytes);
    err = inflate_some(u, f->owned, bytes + 1, &got);
    if (err != 0)
        return err;
    f->data = f->owned;
    /* one more byte than wanted shows that there are more */
    return check_bytes(u->path, f, got, u->msg);
}

static int parse_idx_gz(const char *path, struct qv_bytes file, struct qv_vecfile *f,
                        struct qv_errmsg *msg)
{
    struct unpack u = {.path = path, .in = file, .msg = msg};
    if (inflateInit2(&u.z, 16 + MAX_WBITS) != Z_OK) /* 16: gzip's frame */
        return qv_fail(msg, QV_ENOMEM, "%s: no memory to unpack it", path);
    int err = unpack_idx(&u, f);
    (void)inflateEnd(&u.z);
    return err;
}

int qv_vecfile_parse(const char *name, struct qv_bytes file, struct qv_vecfile *out,
                     struct qv_errmsg *msg)
{
    static int (*const parsers[])(const char *, struct qv_bytes, struct qv_vecfile *,
                                  struct qv_errmsg *) = {[BIN] = parse_bin,
                                                         [VECS] = parse_vecs,
                                                         [NPY] = parse_npy,
                                                         [IDX] = parse_idx,
                                                         [IDX_GZ] = parse_idx_gz};
    const struct known *k = find_type(name);
    memset(out, 0, sizeof *out);
    if (k == NULL)
        return qv_fail(msg, QV_EINVAL,
                       "%s: unknown type; known by name: .fbin .ibin .u8bin .fvecs .ivecs .bvecs "
                       ".npy .idx *-ubyte (these two also .gz)",
                       name);
    out->type = k->type;
    int err = parsers[k->form](name, file, out, msg);
    if (err != 0)
        qv_vecfile_close(out);
    return err;
}

int qv_vecfile_open(const char *path, struct qv_vecfile *out, struct qv_errmsg *msg)
{
    struct qv_bytes map = {NULL, 0};
    memset(out, 0, sizeof *out);
    int err = qv_vecfile_knows(path) ? qv_mapped_open(path, &map, msg) : 0;
    if (err != 0)
        return err;
    err = qv_vecfile_parse(path, map, out, msg);
    if (err != 0 || out->owned != NULL)
        qv_mapped_close(&map);
    out->map = map;
    return err;
}

void qv_vecfile_close(struct qv_vecfile *f)
{
    qv_mapped_close(&f->map);
    qv_mem_free(f->owned);
    memset(f, 0, sizeof *f);
}

int qv_vecfile_read_f32(const struct qv_vecfile *f, const char *path, uint32_t row, float *out,
                        struct qv_errmsg *msg)
{
    const uint8_t *p = qv_vecfile_row(f, row);
    QV_ASSERT(row < f->rows && f->type != QV_VECFILE_I32);
    if (f->type == QV_VECFILE_U8) {
        qv_simd_u8_to_f32(p, out, f->dim);
        return 0;
    }
    qv_simd_to_f32(f->type == QV_VECFILE_F16 ? QV_DTYPE_F16 : QV_DTYPE_F32, p, out, f->dim);
    uint32_t bad = 0;
    for (uint32_t i = 0; i < f->dim; i++)
        bad |= isfinite(out[i]) ? 0u : 1u;
    for (uint32_t i = 0; bad != 0 && i < f->dim; i++) {
        uint64_t at = f->offset + (uint64_t)row * f->stride_bytes;
        at += (uint64_t)i * qv_vecfile_element_bytes(f->type);
        if (!isfinite(out[i]))
            return qv_fail(msg, QV_EINVAL,
                           "%s: row %u, element %u (offset %llu) is %g; allowed: finite numbers",
                           path, row, i, (unsigned long long)at, (double)out[i]);
    }
    return 0;
}
