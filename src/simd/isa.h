/* Private to src/simd: what this machine can run. */
#ifndef QV_SIMD_ISA_H
#define QV_SIMD_ISA_H

#include <stdbool.h>

struct qv_isa_features {
    bool avx2;   /* AVX2, FMA and F16C, and the system saves their registers */
    bool avx512; /* F, BW, DQ and VL besides, and the system saves those registers */
    bool vnni;   /* AVX-512 VNNI; only with avx512 */
};

/* Constant over a process's life; any thread. */
struct qv_isa_features qv_isa_probe(void);

#endif
