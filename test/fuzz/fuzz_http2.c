/* One server connection, HTTP/2, fed with anything: no crash, no leak, nothing left charged, and
 * the handler sees only well-formed requests. The first byte is test/lib/net_fuzz.c's.
 * covers: src/net/http2.c src/net/unpack.c
 * options: -max_len=4096 */
#include "net_fuzz.h"
#include "net_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    net_fuzz_run("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", data, size);
    return 0;
}
