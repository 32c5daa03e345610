/* What this machine's processor can run, and which of it is in force: process-wide facts about
 * hardware, here because no other folder may hold such state. They decide speed only, never a
 * result that leaves the process. simd/kernels.h is the face of it; nothing else asks. */
#ifndef QV_BASE_ISA_H
#define QV_BASE_ISA_H

#include <stdbool.h>

/* x86-64 in order: a machine that has AVX-512 has AVX2. NEON: 64-bit ARM, where it is always there.
 */
enum qv_isa { QV_ISA_SERIAL, QV_ISA_AVX2, QV_ISA_AVX512, QV_ISA_NEON, QV_ISA_COUNT };

struct qv_isa_features {
    bool avx2;      /* AVX2, FMA and F16C, and the system saves their registers */
    bool avx512;    /* F, BW, DQ and VL besides, and the system saves those registers */
    bool vnni;      /* AVX-512 VNNI; only with avx512 */
    bool vpopcntdq; /* AVX-512 VPOPCNTDQ; only with avx512 */
    bool neon;
};

/* Constant over a process's life; any thread. */
struct qv_isa_features qv_isa_probe(void);
enum qv_isa qv_isa_best(void);
bool qv_isa_have(enum qv_isa isa); /* can this machine run it? */

#define QV_FOR_EACH_ISA(isa)                                                                       \
    for (int isa = 0; isa < QV_ISA_COUNT; ++isa)                                                   \
        if (qv_isa_have((enum qv_isa)isa))

/* The best until qv_isa_force; any thread. */
enum qv_isa qv_isa_in_force(void);
/* isa: one that this machine has. Before other threads start. */
void qv_isa_force(enum qv_isa isa);

#endif
