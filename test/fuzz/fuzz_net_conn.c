/* One server connection fed with anything, which may or may not begin with the HTTP/2 preface: the
 * sniffing of it, and what both protocols share. The first byte is test/lib/net_fuzz.c's.
 * covers: src/net/conn.c src/net/call.c
 * options: -max_len=4096 */
#include "net_fuzz.h"
#include "net_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    net_fuzz_run(NULL, data, size);
    return 0;
}
