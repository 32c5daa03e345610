#include "cli/vecfile.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define ROWS_MAX (1u << 31)
#define DIM_MAX 65536u
#define UNPACKED_MAX ((size_t)16 << 30)
#define IDX_DIMS_MAX 4u

static int ends_with(const char *s, const char *end)
{
    size_t n = strlen(s);
    size_t m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int map_file(const char *path, struct qv_vecfile *f, struct qv_errmsg *msg)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return qv_fail(msg, qv_err_from_errno(errno), "%s: %s", path, strerror(errno));
    int err = 0;
    if (fstat(fd, &st) != 0)
        err = qv_fail(msg, qv_err_from_errno(errno), "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode) || st.st_size == 0)
        err = qv_fail(msg, QV_EINVAL, "%s: not a file with something in it", path);
    if (err == 0) {
        f->map_bytes = (size_t)st.st_size;
        f->map = mmap(NULL, f->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (f->map == MAP_FAILED) {
            err = qv_fail(msg, QV_ENOMEM, "%s: can't be mapped: %s", path, strerror(errno));
            f->map = NULL;
        }
    }
    (void)close(fd);
    return err;
}

static int check_shape(const char *path, const struct qv_vecfile *f, uint64_t payload_bytes,
                       struct qv_errmsg *msg)
{
    if (f->rows == 0 || f->rows > ROWS_MAX || f->dim == 0 || f->dim > DIM_MAX)
        return qv_fail(msg, QV_EINVAL,
                       "%s: %u rows of %u elements; allowed: 1 to %u rows of 1 to %u", path,
                       f->rows, f->dim, ROWS_MAX, DIM_MAX);
    uint64_t want = (uint64_t)f->rows * f->dim * qv_vecfile_element_bytes(f->type);
    if (want != payload_bytes)
        return qv_fail(
            msg, QV_EINVAL, "%s: %u rows of %u elements take %llu bytes; the file holds %llu", path,
            f->rows, f->dim, (unsigned long long)want, (unsigned long long)payload_bytes);
    return 0;
}

/* int32 rows, int32 dim, then the values, little-endian. */
static int open_bin(const char *path, struct qv_vecfile *f, struct qv_errmsg *msg)
{
    int err = map_file(path, f, msg);
    if (err != 0)
        return err;
    if (f->map_bytes < 8)
        return qv_fail(msg, QV_EINVAL, "%s: %zu bytes; a header takes 8", path, f->map_bytes);
    memcpy(&f->rows, f->map, 4);
    memcpy(&f->dim, (const uint8_t *)f->map + 4, 4);
    f->data = (const uint8_t *)f->map + 8;
    return check_shape(path, f, f->map_bytes - 8, msg);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Reads n bytes of a plain or gzipped file. */
static int gz_exact(const char *path, gzFile gz, uint8_t *to, size_t n, struct qv_errmsg *msg)
{
    while (n > 0) {
        unsigned part = n < (1u << 20) ? (unsigned)n : 1u << 20;
        int got = gzread(gz, to, part);
        if (got <= 0)
            return qv_fail(msg, QV_EINVAL, "%s: %zu bytes short of what its header says", path, n);
        to += got;
        n -= (size_t)got;
    }
    return 0;
}

/* Big-endian: 0, 0, type 8 (unsigned byte), dimensions, then so many u32 sizes; a row is all but
 * the first. */
static int read_idx(const char *path, gzFile gz, struct qv_vecfile *f, struct qv_errmsg *msg)
{
    uint8_t head[4];
    uint8_t sizes[IDX_DIMS_MAX * 4];
    int err = gz_exact(path, gz, head, sizeof head, msg);
    if (err != 0)
        return err;
    if (head[0] != 0 || head[1] != 0 || head[2] != 8 || head[3] == 0 || head[3] > IDX_DIMS_MAX)
        return qv_fail(msg, QV_EINVAL, "%s: not an IDX file of unsigned bytes", path);
    err = gz_exact(path, gz, sizes, head[3] * 4u, msg);
    if (err != 0)
        return err;
    f->rows = big_endian(sizes);
    uint64_t dim = 1;
    for (unsigned i = 1; i < head[3] && dim <= DIM_MAX; i++)
        dim *= big_endian(sizes + (size_t)i * 4);
    f->dim = dim > DIM_MAX ? DIM_MAX + 1 : (uint32_t)dim;
    uint64_t bytes = (uint64_t)f->rows * f->dim;
    err = check_shape(path, f, bytes, msg);
    if (err != 0)
        return err;
    if (bytes > UNPACKED_MAX || (f->owned = qv_mem_try_alloc((size_t)bytes)) == NULL)
        return qv_fail(msg, QV_ENOMEM, "%s: no memory for %llu bytes", path,
                       (unsigned long long)bytes);
    f->data = f->owned;
    err = gz_exact(path, gz, f->owned, (size_t)bytes, msg);
    uint8_t more;
    if (err == 0 && gzread(gz, &more, 1) != 0)
        err = qv_fail(msg, QV_EINVAL, "%s: bytes behind the last row", path);
    return err;
}

static int open_idx(const char *path, struct qv_vecfile *f, struct qv_errmsg *msg)
{
    gzFile gz = gzopen(path, "rb");
    if (gz == NULL)
        return qv_fail(msg, qv_err_from_errno(errno), "%s: %s", path, strerror(errno));
    int err = read_idx(path, gz, f, msg);
    (void)gzclose(gz);
    return err;
}

int qv_vecfile_open(const char *path, struct qv_vecfile *out, struct qv_errmsg *msg)
{
    memset(out, 0, sizeof *out);
    int err;
    if (ends_with(path, ".fbin")) {
        out->type = QV_VECFILE_F32;
        err = open_bin(path, out, msg);
    } else if (ends_with(path, ".ibin")) {
        out->type = QV_VECFILE_I32;
        err = open_bin(path, out, msg);
    } else if (ends_with(path, ".u8bin")) {
        out->type = QV_VECFILE_U8;
        err = open_bin(path, out, msg);
    } else if (ends_with(path, "ubyte") || ends_with(path, "ubyte.gz") || ends_with(path, ".idx") ||
               ends_with(path, ".idx.gz")) {
        out->type = QV_VECFILE_U8;
        err = open_idx(path, out, msg);
    } else {
        err = qv_fail(msg, QV_EINVAL,
                      "%s: unknown type; known by name: .fbin .ibin .u8bin .idx *-ubyte (these two "
                      "also .gz)",
                      path);
    }
    if (err != 0)
        qv_vecfile_close(out);
    return err;
}

void qv_vecfile_close(struct qv_vecfile *f)
{
    if (f->map != NULL)
        (void)munmap(f->map, f->map_bytes);
    qv_mem_free(f->owned);
    memset(f, 0, sizeof *f);
}
