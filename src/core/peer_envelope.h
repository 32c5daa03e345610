/* The envelope that every message between nodes wears, as bytes and as the rules that its receiver
 * holds it against.
 *
 * One protobuf message, quiver.internal.v1.Message (proto/quiver_internal_peer.proto), for requests
 * and answers alike. Its body is the last field, so a message is written as a head followed by the
 * body's own bytes, which are never copied; read, the body lies inside the message. The head is
 * padded so that, behind the five bytes that gRPC puts before a message, the body lies at a
 * multiple of 16 from where they begin: vectors are used where they lie. Unknown fields are passed
 * over; what is there twice counts as it comes last.
 *
 * Pure; any thread. */
#ifndef QV_CORE_PEER_ENVELOPE_H
#define QV_CORE_PEER_ENVELOPE_H

#include "core/peer.h"

#define QV_PEER_HEAD_BYTES_MAX 640u /* of a message without its body */
#define QV_PEER_NONCE_BYTES 16
#define QV_PEER_PROOF_BYTES 32

struct qv_peer_envelope {
    uint8_t cluster[QV_CLUSTER_ID_BYTES]; /* all zero: not said (answers) */
    uint32_t protocol;
    uint32_t feature_level; /* the sender's */
    uint64_t from, from_incarnation;
    uint64_t to, to_incarnation; /* 0: any, not checked */
    uint16_t method;
    uint8_t priority;
    uint64_t left_ns; /* of the deadline, when it was sent; 0: none */
    uint64_t tenant, trace[2];
    /* answers */
    int err;
    uint32_t err_number, err_class; /* as read; err is made of them */
    bool refused;                   /* err was found before any handler had the request */
    char text[QV_PEER_TEXT_BYTES_MAX];
    struct qv_bytes body; /* borrowed */
};

/* Writes all but the body's own bytes; returns how many. */
size_t qv_peer_envelope_encode(const struct qv_peer_envelope *e,
                               uint8_t out[QV_PEER_HEAD_BYTES_MAX]);
/* QV_EPROTO: no such message, or a field out of its range; body borrows from the input. */
QV_MUST_USE int qv_peer_envelope_decode(struct qv_bytes in, struct qv_peer_envelope *out,
                                        struct qv_errmsg *msg);

/* What a receiver holds a request against. QV_EFORBIDDEN another cluster, QV_EPROTO a version not
 * spoken here, QV_EUNAVAILABLE meant for another node or another life of this one, QV_EINVAL. */
QV_MUST_USE int qv_peer_envelope_check(const struct qv_peer_envelope *e,
                                       const struct qv_peer_self *self, struct qv_errmsg *msg);
/* What a caller holds an answer against: it is from whom was asked, in a version spoken here. */
QV_MUST_USE int qv_peer_envelope_check_answer(const struct qv_peer_envelope *e,
                                              const struct qv_peer_self *self, uint64_t asked,
                                              struct qv_errmsg *msg);

/* The greeting, and the answer to it: quiver.internal.v1.Hello. Its form never changes, whatever
 * the protocol's version; fields may be added. */
struct qv_peer_hello {
    uint8_t cluster[QV_CLUSTER_ID_BYTES];
    uint64_t from, from_incarnation;
    uint64_t to; /* whom the caller means to reach */
    uint32_t protocol_min, protocol_max;
    uint32_t feature_level;
    uint8_t nonce[QV_PEER_NONCE_BYTES];
    uint8_t proof[QV_PEER_PROOF_BYTES]; /* answer: all zero where there is no secret */
    int err;                            /* answer */
    uint32_t err_number, err_class;     /* as read; err is made of them */
    char text[QV_PEER_TEXT_BYTES_MAX];
};

#define QV_PEER_HELLO_BYTES_MAX 640u

size_t qv_peer_hello_encode(const struct qv_peer_hello *h, uint8_t out[QV_PEER_HELLO_BYTES_MAX]);
QV_MUST_USE int qv_peer_hello_decode(struct qv_bytes in, struct qv_peer_hello *out,
                                     struct qv_errmsg *msg);
/* Either side of a greeting: same cluster, `found` is the node that was `meant`, and *version is
 * the newest that both speak. The errors of qv_peer_envelope_check. */
struct qv_peer_meeting {
    uint64_t meant; /* asked: h->to; asking: whom was asked */
    uint64_t found; /* asked: this node; asking: h->from */
};
QV_MUST_USE int qv_peer_hello_check(const struct qv_peer_hello *h, const struct qv_peer_self *self,
                                    struct qv_peer_meeting who, uint32_t *version,
                                    struct qv_errmsg *msg);
/* self's zeros become this build's. */
void qv_peer_self_fill(struct qv_peer_self *self);
/* limits' zeros become the defaults. */
void qv_peer_limits_fill(struct qv_peer_limits *limits);

#endif
