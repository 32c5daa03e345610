/* `quiver bench index` alone, for profiling the graph without the rest of the program. */
#include "cli/bench_index.h"
#include "simd/kernels.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct qv_errmsg msg;
    if (qv_simd_select(getenv("QUIVER_ISA"), &msg) != 0) {
        fprintf(stderr, "QUIVER_ISA: %s\n", msg.text);
        return 2;
    }
    return qv_cli_bench_index(argc, argv);
}
