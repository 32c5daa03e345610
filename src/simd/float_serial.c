/* Plain C kernels for f32 and f16 rows: the sums of simd/score.h in its order, so on a machine
 * with nothing wider, walk and score agree to the bit. */
#include "simd/batch.h"
#include "simd/kernel_list.h"
#include "simd/serial.h"

QV_SERIAL_DEFINE(f32)
QV_SERIAL_DEFINE(f16)

#define DEFINE_DTYPE(dt, width)                                                                    \
    QV_KERNEL_DEFINE(l2, dt, serial, qv_serial_l2_##dt, width, )                                   \
    QV_KERNEL_DEFINE(dot, dt, serial, qv_serial_dot_##dt, width, )                                 \
    QV_KERNEL_DEFINE(cosine, dt, serial, qv_serial_cosine_##dt, width, )                           \
    QV_KERNEL_DEFINE(l1, dt, serial, qv_serial_l1_##dt, width, )

DEFINE_DTYPE(f32, 4)
DEFINE_DTYPE(f16, 2)
