#include "kernels/isa/simd/avx512.h"

#include "kernels/elementwise/row_ops_impl.h"

namespace lc::kernels {

const RowOps row_ops_avx512 = row_ops_of<simd::Avx512>();

} // namespace lc::kernels
