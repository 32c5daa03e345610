/* net/peer_tcp.h: what every network between nodes must do (test/lib/peer_cases.c), plain and under
 * TLS. */
#include "peer_cases.h"
#include "suite.h"

#include <signal.h>

static peer_world_make_f *tcp_world = peer_world_tcp;
static peer_world_make_f *tls_world = peer_world_tls;

int main(void)
{
    const struct CMUnitTest tests[] = {PEER_CASES(&tcp_world), PEER_CASES(&tls_world)};
    signal(SIGPIPE, SIG_IGN);
    return RUN_SUITE(tests);
}
