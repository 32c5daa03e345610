#include "net/peer_auth.h"

#include "base/qv_assert.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <string.h>

static void hmac(const void *key, size_t key_bytes, const uint8_t *p, size_t n,
                 uint8_t out[QV_PEER_PROOF_BYTES])
{
    unsigned bytes = 0;
    const unsigned char *done = HMAC(EVP_sha256(), key, (int)key_bytes, p, n, out, &bytes);
    QV_ASSERT(done != NULL && bytes == QV_PEER_PROOF_BYTES);
}

static uint8_t *put(uint8_t *p, const void *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}

void qv_peer_auth_random(uint8_t *out, size_t n)
{
    int rv = RAND_bytes(out, (int)n);
    QV_ASSERT(rv == 1);
}

void qv_peer_auth_nonce(const uint8_t key[QV_PEER_KEY_BYTES], struct qv_peer_pair who,
                        const uint8_t nonce[QV_PEER_NONCE_BYTES], uint8_t out[QV_PEER_NONCE_BYTES])
{
    uint8_t text[16 + QV_PEER_NONCE_BYTES], full[QV_PEER_PROOF_BYTES];
    uint8_t *p = put(text, &who.caller, 8);
    p = put(p, &who.caller_incarnation, 8);
    p = put(p, nonce, QV_PEER_NONCE_BYTES);
    hmac(key, QV_PEER_KEY_BYTES, text, (size_t)(p - text), full);
    memcpy(out, full, QV_PEER_NONCE_BYTES);
}

void qv_peer_auth_proof(const char *secret, enum qv_peer_auth_side side, struct qv_peer_pair who,
                        const uint8_t caller_nonce[QV_PEER_NONCE_BYTES],
                        const uint8_t called_nonce[QV_PEER_NONCE_BYTES],
                        uint8_t out[QV_PEER_PROOF_BYTES])
{
    static const char names[2][24] = {"quiver peer 1, called", "quiver peer 1, caller"};
    uint8_t text[sizeof names[0] + 32 + 2 * QV_PEER_NONCE_BYTES];
    uint8_t *p = put(text, names[side], sizeof names[0]);
    p = put(p, &who.caller, 8);
    p = put(p, &who.caller_incarnation, 8);
    p = put(p, &who.called, 8);
    p = put(p, &who.called_incarnation, 8);
    p = put(p, caller_nonce, QV_PEER_NONCE_BYTES);
    p = put(p, called_nonce, QV_PEER_NONCE_BYTES);
    QV_ASSERT(p == text + sizeof text);
    hmac(secret, strlen(secret), text, sizeof text, out);
}

bool qv_peer_auth_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

static char *put_hex(char *out, const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
    return out;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(const char **text, void *bytes, size_t n)
{
    uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++) {
        int high = digit((*text)[0]);
        int low = high < 0 ? -1 : digit((*text)[1]);
        if (low < 0)
            return false;
        p[i] = (uint8_t)(high << 4 | low);
        *text += 2;
    }
    return true;
}

void qv_peer_auth_format(struct qv_peer_pair who, const uint8_t nonce[QV_PEER_NONCE_BYTES],
                         const uint8_t token[QV_PEER_PROOF_BYTES], char out[QV_PEER_SESSION_TEXT])
{
    char *p = put_hex(out, &who.caller, 8);
    p = put_hex(p, &who.caller_incarnation, 8);
    p = put_hex(p, nonce, QV_PEER_NONCE_BYTES);
    p = put_hex(p, token, QV_PEER_PROOF_BYTES);
    *p = '\0';
}

bool qv_peer_auth_check(const char *secret, const uint8_t key[QV_PEER_KEY_BYTES],
                        const struct qv_peer_self *self, const char *text, struct qv_peer_pair *who)
{
    uint8_t nonce[QV_PEER_NONCE_BYTES], ours[QV_PEER_NONCE_BYTES];
    uint8_t token[QV_PEER_PROOF_BYTES], want[QV_PEER_PROOF_BYTES];
    if (strlen(text) != QV_PEER_SESSION_TEXT - 1 || !take_hex(&text, &who->caller, 8) ||
        !take_hex(&text, &who->caller_incarnation, 8) || !take_hex(&text, nonce, sizeof nonce) ||
        !take_hex(&text, token, sizeof token))
        return false;
    who->called = self->id;
    who->called_incarnation = self->incarnation;
    qv_peer_auth_nonce(key, *who, nonce, ours);
    qv_peer_auth_proof(secret, QV_PEER_AUTH_CALLER, *who, nonce, ours, want);
    return qv_peer_auth_equal(token, want, sizeof want);
}
