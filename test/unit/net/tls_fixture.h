/* TLS for the net suites: certificates made for the run, and a relay that lets a test speak
 * plaintext to a TLS port over a descriptor. */
#ifndef QV_TEST_TLS_FIXTURE_H
#define QV_TEST_TLS_FIXTURE_H

#include "net/tls.h"

/* PEM files in a temporary directory that goes when the process ends; made at the first call. */
struct tls_files {
    char dir[64];
    char ca[96], ca_key[96];
    char cert[96], key[96]; /* of a server: localhost, 127.0.0.1, ::1; signed by ca */
    char client[96], client_key[96];
    char other_ca[96], other_ca_key[96]; /* signed nobody */
};
const struct tls_files *tls_files(void);

struct qv_tls_ctx *tls_server_ctx(bool verify_client); /* gives; the files above */

/* Takes a connected socket; gives a descriptor whose bytes travel over it under TLS. Its end and
 * the socket's are passed on. */
int tls_relay(int fd);
void tls_relays_wait(void); /* until the relays whose descriptors are closed have ended */

#endif
