#include "kernels/isa/simd/avx2.h"

#include "kernels/elementwise/row_ops_impl.h"

namespace lc::kernels {

const RowOps row_ops_avx2 = row_ops_of<simd::Avx2>();

} // namespace lc::kernels
