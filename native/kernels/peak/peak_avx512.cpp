#include "kernels/isa/simd/avx512.h"
#include "kernels/peak/peak_impl.h"

namespace lc::kernels {

const Peak peak_avx512 = peak_of<simd::Avx512>();

} // namespace lc::kernels
