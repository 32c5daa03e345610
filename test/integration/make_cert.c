/* Writes a certificate that signs itself, and its key: make_cert CERT KEY ALT_NAMES [CN], with the
 * names as OpenSSL writes them: "IP:127.0.0.1,DNS:localhost". For the tests that drive the binary.
 */
#include "net/throwaway_cert.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct qv_errmsg msg = {""};
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: make_cert CERT KEY ALT_NAMES [CN]\n");
        return 2;
    }
    struct qv_throwaway_cert cert = {.name = argc > 4 ? argv[4] : "quiver test",
                                     .alt_names = argv[3]};
    if (qv_throwaway_cert_make(&cert, argv[1], argv[2], &msg) == 0)
        return 0;
    fprintf(stderr, "make_cert: %s\n", msg.text);
    return 1;
}
