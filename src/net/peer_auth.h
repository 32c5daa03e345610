/* How nodes that share a secret prove it to each other without saying it.
 *
 * The caller greets with a fresh nonce. Whoever answers gives a nonce of its own, made from the
 * caller's by a key that lives as long as its process, and a proof: HMAC-SHA256 of both nonces and
 * both identities under the secret. The caller checks that, and from then on shows with each call a
 * session: its nonce, its identity, and a token: the same HMAC under another name. The other side
 * makes both nonces again from what it is shown, so it keeps nothing, and a session of its former
 * life does not pass.
 *
 * What it gives: whoever does not know the secret can neither call nor answer, and can't learn the
 * secret. What it does not give: over plain TCP a session can be read from the wire, and used until
 * that node starts again; bodies can be read and changed. Where the wire isn't trusted: TLS. */
#ifndef QV_NET_PEER_AUTH_H
#define QV_NET_PEER_AUTH_H

#include "core/peer_envelope.h"

#define QV_PEER_SESSION_TEXT (2 * (8 + 8 + QV_PEER_NONCE_BYTES + QV_PEER_PROOF_BYTES) + 1)
#define QV_PEER_KEY_BYTES 32

struct qv_peer_pair {
    uint64_t caller, caller_incarnation;
    uint64_t called, called_incarnation;
};

void qv_peer_auth_random(uint8_t *out, size_t n); /* that nobody can guess */
/* The answering side's nonce. */
void qv_peer_auth_nonce(const uint8_t key[QV_PEER_KEY_BYTES], struct qv_peer_pair who,
                        const uint8_t nonce[QV_PEER_NONCE_BYTES], uint8_t out[QV_PEER_NONCE_BYTES]);
enum qv_peer_auth_side { QV_PEER_AUTH_CALLED, QV_PEER_AUTH_CALLER };
/* What either side can only make with the secret. */
void qv_peer_auth_proof(const char *secret, enum qv_peer_auth_side side, struct qv_peer_pair who,
                        const uint8_t caller_nonce[QV_PEER_NONCE_BYTES],
                        const uint8_t called_nonce[QV_PEER_NONCE_BYTES],
                        uint8_t out[QV_PEER_PROOF_BYTES]);
/* In the time that all of it takes, whatever differs. */
bool qv_peer_auth_equal(const uint8_t *a, const uint8_t *b, size_t n);

/* A session as the text of a header. */
void qv_peer_auth_format(struct qv_peer_pair who, const uint8_t nonce[QV_PEER_NONCE_BYTES],
                         const uint8_t token[QV_PEER_PROOF_BYTES], char out[QV_PEER_SESSION_TEXT]);
/* Whether it was made by a node that knows the secret and greeted this life of ours; *caller: who.
 */
bool qv_peer_auth_check(const char *secret, const uint8_t key[QV_PEER_KEY_BYTES],
                        const struct qv_peer_self *self, const char *text,
                        struct qv_peer_pair *who);

#endif
