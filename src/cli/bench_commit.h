/* What this binary was built from, for benches that start no server which could tell. */
#ifndef QV_CLI_BENCH_COMMIT_H
#define QV_CLI_BENCH_COMMIT_H

/* 40 hexadecimal characters: QV_COMMIT of base/build_info.h; static. */
const char *qv_bench_commit_own(void);

#endif
