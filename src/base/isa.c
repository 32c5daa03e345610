/* The run-time probe. CPUID says what the processor has, XGETBV what the system saves on a context
 * switch: both are needed. Read directly because the compilers' own built-ins know different
 * lists of features. Source: Intel SDM vol. 1, 14.3 and 15.2-15.4. */
#include "base/isa.h"

#include "base/qv_assert.h"

#include <stdatomic.h>
#include <stdint.h>

#ifdef __x86_64__

#include <cpuid.h>

#define LEAF1_ECX_FMA (1u << 12)
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF1_ECX_AVX (1u << 28)
#define LEAF1_ECX_F16C (1u << 29)
#define LEAF7_EBX_AVX2 (1u << 5)
#define LEAF7_EBX_AVX512F (1u << 16)
#define LEAF7_EBX_AVX512DQ (1u << 17)
#define LEAF7_EBX_AVX512BW (1u << 30)
#define LEAF7_EBX_AVX512VL (1u << 31)
#define LEAF7_ECX_AVX512VNNI (1u << 11)
#define LEAF7_ECX_AVX512VPOPCNTDQ (1u << 14)
#define XCR0_AVX 0x06u    /* SSE and AVX state */
#define XCR0_AVX512 0xE6u /* opmasks and both halves of the zmm registers besides */

static bool has_all(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

static uint32_t read_xcr0(void)
{
    uint32_t low;
    uint32_t high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
}

static struct qv_isa_features ask_processor(void)
{
    struct qv_isa_features f = {false};
    uint32_t eax = 0;
    uint32_t ebx = 0;
    uint32_t ecx = 0;
    uint32_t edx = 0;

    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        return f;
    if (!has_all(ecx, LEAF1_ECX_FMA | LEAF1_ECX_OSXSAVE | LEAF1_ECX_AVX | LEAF1_ECX_F16C))
        return f;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        return f;
    const uint32_t xcr0 = read_xcr0();

    f.avx2 = has_all(xcr0, XCR0_AVX) && has_all(ebx, LEAF7_EBX_AVX2);
    f.avx512 = f.avx2 && has_all(xcr0, XCR0_AVX512) &&
               has_all(ebx, LEAF7_EBX_AVX512F | LEAF7_EBX_AVX512DQ | LEAF7_EBX_AVX512BW |
                                LEAF7_EBX_AVX512VL);
    f.vnni = f.avx512 && has_all(ecx, LEAF7_ECX_AVX512VNNI);
    f.vpopcntdq = f.avx512 && has_all(ecx, LEAF7_ECX_AVX512VPOPCNTDQ);
    return f;
}

#else

static struct qv_isa_features ask_processor(void)
{
#ifdef __aarch64__
    return (struct qv_isa_features){.neon = true};
#else
    return (struct qv_isa_features){false};
#endif
}

#endif

#define KNOWN 8u
#define HAS_AVX2 1u
#define HAS_AVX512 2u
#define HAS_VNNI 4u
#define HAS_VPOPCNTDQ 16u
#define HAS_NEON 32u

/* Under a hypervisor CPUID costs microseconds, so the answer is kept. Threads that ask at the same
 * time store the same value. */
static atomic_uint kept_features;

struct qv_isa_features qv_isa_probe(void)
{
    unsigned bits = atomic_load_explicit(&kept_features, memory_order_relaxed);

    if (bits == 0) {
        const struct qv_isa_features f = ask_processor();
        bits = KNOWN | (f.avx2 ? HAS_AVX2 : 0) | (f.avx512 ? HAS_AVX512 : 0) |
               (f.vnni ? HAS_VNNI : 0) | (f.vpopcntdq ? HAS_VPOPCNTDQ : 0) |
               (f.neon ? HAS_NEON : 0);
        atomic_store_explicit(&kept_features, bits, memory_order_relaxed);
    }
    return (struct qv_isa_features){.avx2 = (bits & HAS_AVX2) != 0,
                                    .avx512 = (bits & HAS_AVX512) != 0,
                                    .vnni = (bits & HAS_VNNI) != 0,
                                    .vpopcntdq = (bits & HAS_VPOPCNTDQ) != 0,
                                    .neon = (bits & HAS_NEON) != 0};
}

enum qv_isa qv_isa_best(void)
{
    const struct qv_isa_features f = qv_isa_probe();
    return f.avx512 ? QV_ISA_AVX512 : f.avx2 ? QV_ISA_AVX2 : f.neon ? QV_ISA_NEON : QV_ISA_SERIAL;
}

bool qv_isa_have(enum qv_isa isa)
{
    const struct qv_isa_features f = qv_isa_probe();
    return isa == QV_ISA_SERIAL || (isa == QV_ISA_AVX2 && f.avx2) ||
           (isa == QV_ISA_AVX512 && f.avx512) || (isa == QV_ISA_NEON && f.neon);
}

/* -1: nobody chose. */
static atomic_int forced = -1;

enum qv_isa qv_isa_in_force(void)
{
    const int isa = atomic_load_explicit(&forced, memory_order_relaxed);
    return isa < 0 ? qv_isa_best() : (enum qv_isa)isa;
}

void qv_isa_force(enum qv_isa isa)
{
    QV_ASSERT(qv_isa_have(isa));
    atomic_store_explicit(&forced, (int)isa, memory_order_relaxed);
}
