#include "cli/bench_commit.h"

#include "base/build_info.h"

const char *qv_bench_commit_own(void)
{
    return QV_COMMIT;
}
