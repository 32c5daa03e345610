/* What this machine's processor can run, and which of it is in force: process-wide facts about
 * hardware, here because no other folder may hold such state. They decide speed only, never a
 * result that leaves the process. simd/kernels.h is the face of it; nothing else asks. */
#ifndef QV_BASE_ISA_H
#define QV_BASE_ISA_H

#include <stdbool.h>

/* In order: a machine that has one has those before it. */
enum qv_isa { QV_ISA_SERIAL, QV_ISA_AVX2, QV_ISA_AVX512, QV_ISA_COUNT };

struct qv_isa_features {
    bool avx2;   /* AVX2, FMA and F16C, and the system saves their registers */
    bool avx512; /* F, BW, DQ and VL besides, and the system saves those registers */
    bool vnni;   /* AVX-512 VNNI; only with avx512 */
};

/* Constant over a process's life; any thread. */
struct qv_isa_features qv_isa_probe(void);
enum qv_isa qv_isa_best(void);

/* The best until qv_isa_force; any thread. */
enum qv_isa qv_isa_in_force(void);
/* isa: at most the best. Before other threads start. */
void qv_isa_force(enum qv_isa isa);

#endif
