/* A picture in memory, drawn upon and written as a PNG. One thread. */
#ifndef QV_CLI_PICTURE_H
#define QV_CLI_PICTURE_H

#include "base/err.h"

#include <stdint.h>

struct qv_picture {
    uint32_t width, height;
    uint8_t *rgb; /* 3 bytes a pixel, rows from the top; owned */
};

/* All of one colour (0xRRGGBB). QV_ENOMEM. */
QV_MUST_USE int qv_picture_create(uint32_t width, uint32_t height, uint32_t colour,
                                  struct qv_picture *out);
void qv_picture_destroy(struct qv_picture *p); /* may be called twice */

/* What lies outside is cut off. */
void qv_picture_fill(struct qv_picture *p, uint32_t x, uint32_t y, uint32_t w, uint32_t h,
                     uint32_t colour);
/* A grey image of side x side, each pixel scale x scale. */
void qv_picture_image(struct qv_picture *p, uint32_t x, uint32_t y, const uint8_t *grey,
                      uint32_t side, uint32_t scale);
/* A line between two points, as thick as that. */
void qv_picture_line(struct qv_picture *p, const int32_t from[2], const int32_t to[2],
                     uint32_t thick, uint32_t colour);
/* Letters (drawn as capitals), digits and -:.,/%_=@<>; others leave a gap. 6 x scale a letter wide,
 * 7 x scale high. */
void qv_picture_text(struct qv_picture *p, uint32_t x, uint32_t y, const char *text, uint32_t scale,
                     uint32_t colour);

/* QV_EIO; msg names the file. */
QV_MUST_USE int qv_picture_write(const struct qv_picture *p, const char *path,
                                 struct qv_errmsg *msg);

#endif
