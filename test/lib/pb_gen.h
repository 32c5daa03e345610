/* Random protobuf messages by descriptor, as bytes: what a client could send, and a bit more. */
#ifndef QV_TEST_PB_GEN_H
#define QV_TEST_PB_GEN_H

#include "base/buf.h"
#include "base/rng.h"

#include <protobuf-c/protobuf-c.h>

struct pb_gen {
    struct qv_rng *rng;
    unsigned depth_max;      /* of submessages below the outermost */
    unsigned repeat_max;     /* elements of a repeated field */
    unsigned presence;       /* per cent of the fields that are given */
    unsigned unpacked;       /* per cent of packable arrays that come element by element */
    unsigned unknown;        /* per cent of the messages with a field the descriptor lacks */
    unsigned second_variant; /* per cent of the oneofs given twice, by different members */
};

/* Appends the content of one message. Valid: qv_pb_guard passes it (sizes aside). */
void pb_gen_message(const struct pb_gen *g, const ProtobufCMessageDescriptor *desc,
                    struct qv_buf *out);
/* Changes one to four bytes, or cuts, or doubles a piece. */
void pb_gen_mutate(struct qv_rng *rng, struct qv_buf *b);

#endif
