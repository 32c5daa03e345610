#include "cli/picture.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define GLYPH_ROWS 7u
#define GLYPH_COLUMNS 5u

/* Rows from the top; the highest of 5 bits is the left pixel. */
static const struct glyph {
    char c;
    uint8_t rows[GLYPH_ROWS];
} glyphs[] = {
    {'A', {0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11}},
    {'B', {0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e}},
    {'C', {0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e}},
    {'D', {0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e}},
    {'E', {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f}},
    {'F', {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10}},
    {'G', {0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0f}},
    {'H', {0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11}},
    {'I', {0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'J', {0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c}},
    {'K', {0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11}},
    {'L', {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f}},
    {'M', {0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11}},
    {'N', {0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11}},
    {'O', {0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
    {'P', {0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10}},
    {'Q', {0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d}},
    {'R', {0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11}},
    {'S', {0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e}},
    {'T', {0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04}},
    {'U', {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
    {'V', {0x11, 0x11, 0x11, 0x11, 0x11, 0x0a, 0x04}},
    {'W', {0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11}},
    {'X', {0x11, 0x0a, 0x04, 0x04, 0x04, 0x0a, 0x11}},
    {'Y', {0x11, 0x0a, 0x04, 0x04, 0x04, 0x04, 0x04}},
    {'Z', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f}},
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}},
    {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f}},
    {'3', {0x1e, 0x01, 0x01, 0x0e, 0x01, 0x01, 0x1e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}},
    {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x0e, 0x10, 0x10, 0x1e, 0x11, 0x11, 0x0e}},
    {'7', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08}},
    {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
    {'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x01, 0x0e}},
    {'-', {0x00, 0x00, 0x00, 0x0e, 0x00, 0x00, 0x00}},
    {':', {0x00, 0x04, 0x00, 0x00, 0x00, 0x04, 0x00}},
    {'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}},
    {',', {0x00, 0x00, 0x00, 0x00, 0x0c, 0x04, 0x08}},
    {'/', {0x01, 0x01, 0x02, 0x04, 0x08, 0x10, 0x10}},
    {'%', {0x18, 0x19, 0x02, 0x04, 0x08, 0x13, 0x03}},
    {'_', {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1f}},
    {'=', {0x00, 0x00, 0x1f, 0x00, 0x1f, 0x00, 0x00}},
    {'@', {0x0e, 0x11, 0x17, 0x15, 0x17, 0x10, 0x0e}},
    {'<', {0x02, 0x04, 0x08, 0x10, 0x08, 0x04, 0x02}},
    {'>', {0x08, 0x04, 0x02, 0x01, 0x02, 0x04, 0x08}},
};

int qv_picture_create(uint32_t width, uint32_t height, uint32_t colour, struct qv_picture *out)
{
    out->width = width;
    out->height = height;
    out->rgb = qv_mem_try_alloc((size_t)width * height * 3);
    if (out->rgb == NULL)
        return QV_ENOMEM;
    qv_picture_fill(out, 0, 0, width, height, colour);
    return 0;
}

void qv_picture_destroy(struct qv_picture *p)
{
    qv_mem_free(p->rgb);
    p->rgb = NULL;
}

void qv_picture_fill(struct qv_picture *p, uint32_t x, uint32_t y, uint32_t w, uint32_t h,
                     uint32_t colour)
{
    for (uint32_t row = y; row < p->height && row - y < h; row++) {
        for (uint32_t col = x; col < p->width && col - x < w; col++) {
            uint8_t *at = p->rgb + ((size_t)row * p->width + col) * 3;
            at[0] = (uint8_t)(colour >> 16);
            at[1] = (uint8_t)(colour >> 8);
            at[2] = (uint8_t)colour;
        }
    }
}

void qv_picture_image(struct qv_picture *p, uint32_t x, uint32_t y, const uint8_t *grey,
                      uint32_t side, uint32_t scale)
{
    for (uint32_t row = 0; row < side; row++) {
        for (uint32_t col = 0; col < side; col++) {
            uint32_t v = grey[row * side + col];
            qv_picture_fill(p, x + col * scale, y + row * scale, scale, scale,
                            v << 16 | v << 8 | v);
        }
    }
}

static const struct glyph *find_glyph(char c)
{
    for (size_t i = 0; i < sizeof glyphs / sizeof glyphs[0]; i++) {
        if (glyphs[i].c == toupper((unsigned char)c))
            return &glyphs[i];
    }
    return NULL;
}

void qv_picture_text(struct qv_picture *p, uint32_t x, uint32_t y, const char *text, uint32_t scale,
                     uint32_t colour)
{
    for (; *text != '\0'; text++, x += (GLYPH_COLUMNS + 1) * scale) {
        const struct glyph *g = find_glyph(*text);
        for (uint32_t row = 0; g != NULL && row < GLYPH_ROWS; row++) {
            for (uint32_t col = 0; col < GLYPH_COLUMNS; col++) {
                if ((g->rows[row] >> (GLYPH_COLUMNS - 1 - col) & 1) != 0)
                    qv_picture_fill(p, x + col * scale, y + row * scale, scale, scale, colour);
            }
        }
    }
}

void qv_picture_line(struct qv_picture *p, const int32_t from[2], const int32_t to[2],
                     uint32_t thick, uint32_t colour)
{
    const int32_t dx = to[0] - from[0];
    const int32_t dy = to[1] - from[1];
    const int32_t steps = abs(dx) > abs(dy) ? abs(dx) : abs(dy);
    for (int32_t i = 0; i <= steps; i++) {
        const int64_t x = from[0] + (steps == 0 ? 0 : (int64_t)dx * i / steps) - thick / 2;
        const int64_t y = from[1] + (steps == 0 ? 0 : (int64_t)dy * i / steps) - thick / 2;
        if (x >= 0 && y >= 0)
            qv_picture_fill(p, (uint32_t)x, (uint32_t)y, thick, thick, colour);
    }
}

/* ---- PNG (ISO/IEC 15948): signature, header, one deflated run of unfiltered rows, end ---- */

static void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static bool put_chunk(FILE *f, const char type[4], const uint8_t *data, uint32_t n)
{
    uint8_t length[4];
    uint8_t sum[4];
    put_be32(length, n);
    uLong crc = crc32(0, (const Bytef *)type, 4);
    if (n > 0)
        crc = crc32(crc, data, n);
    put_be32(sum, (uint32_t)crc);
    return fwrite(length, 4, 1, f) == 1 && fwrite(type, 4, 1, f) == 1 &&
           (n == 0 || fwrite(data, n, 1, f) == 1) && fwrite(sum, 4, 1, f) == 1;
}

/* Each row behind its filter byte, 0; deflated. NULL without memory. */
static uint8_t *deflate_rows(const struct qv_picture *p, uLong *n)
{
    const size_t row = (size_t)p->width * 3;
    const size_t raw_bytes = (row + 1) * p->height;
    uint8_t *raw = qv_mem_try_alloc(raw_bytes);
    *n = compressBound(raw_bytes);
    uint8_t *out = raw == NULL ? NULL : qv_mem_try_alloc(*n);
    for (uint32_t y = 0; out != NULL && y < p->height; y++) {
        raw[y * (row + 1)] = 0;
        memcpy(raw + y * (row + 1) + 1, p->rgb + y * row, row);
    }
    if (out != NULL && compress2(out, n, raw, raw_bytes, 9) != Z_OK) {
        qv_mem_free(out);
        out = NULL;
    }
    qv_mem_free(raw);
    return out;
}

int qv_picture_write(const struct qv_picture *p, const char *path, struct qv_errmsg *msg)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uint8_t head[13] = {[8] = 8, [9] = 2}; /* 8 bits, red green blue */
    uLong n;
    uint8_t *rows = deflate_rows(p, &n);
    if (rows == NULL)
        return qv_fail(msg, QV_ENOMEM, "%s: no memory", path);
    put_be32(head, p->width);
    put_be32(head + 4, p->height);
    FILE *f = fopen(path, "wb");
    bool good = f != NULL && fwrite(signature, sizeof signature, 1, f) == 1 &&
                put_chunk(f, "IHDR", head, sizeof head) &&
                put_chunk(f, "IDAT", rows, (uint32_t)n) && put_chunk(f, "IEND", NULL, 0);
    if (f != NULL)
        good = fclose(f) == 0 && good;
    qv_mem_free(rows);
    return good ? 0 : qv_fail(msg, QV_EIO, "%s: %s", path, strerror(errno));
}
