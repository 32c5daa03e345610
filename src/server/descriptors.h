/* The descriptors of the .proto files, as tables: made at build time by tools/embed_descriptors. */
#ifndef QV_SERVER_DESCRIPTORS_H
#define QV_SERVER_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

struct qv_descriptor_file {
    const char *name;     /* "quiver_points.proto" */
    const uint8_t *bytes; /* google.protobuf.FileDescriptorProto */
    size_t n;
    const uint16_t *needs; /* itself, then all it imports, each once: indexes of files */
    size_t need_count;
};

struct qv_descriptor_symbol {
    const char *name; /* "qdrant.Points.Upsert" */
    uint16_t file;
};

extern const struct qv_descriptor_file qv_descriptor_files[]; /* by name */
extern const size_t qv_descriptor_file_count;
extern const struct qv_descriptor_symbol qv_descriptor_symbols[]; /* by name */
extern const size_t qv_descriptor_symbol_count;
extern const char *const qv_descriptor_services[]; /* by name */
extern const size_t qv_descriptor_service_count;

#endif
