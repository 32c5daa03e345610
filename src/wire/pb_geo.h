/* Areas and time ranges of filters, from protobuf. Each fills the type and value of a condition
 * whose key is set. Private to the protobuf half of wire. */
#ifndef QV_WIRE_PB_GEO_H
#define QV_WIRE_PB_GEO_H

#include "wire/pb_parts.h"

QV_MUST_USE int qv_pb_geo_box(struct qv_pb_ctx *c, const QvPb__GeoBoundingBox *m,
                              struct qv_cond *out);
QV_MUST_USE int qv_pb_geo_radius(struct qv_pb_ctx *c, const QvPb__GeoRadius *m,
                                 struct qv_cond *out);
QV_MUST_USE int qv_pb_geo_polygon(struct qv_pb_ctx *c, const QvPb__GeoPolygon *m,
                                  struct qv_cond *out);
/* Microseconds since 1970. */
QV_MUST_USE int qv_pb_micros(struct qv_pb_ctx *c, const QvPb__Timestamp *m, int64_t *out);
QV_MUST_USE int qv_pb_datetime_range(struct qv_pb_ctx *c, const QvPb__DatetimeRange *m,
                                     struct qv_cond *out);

#endif
