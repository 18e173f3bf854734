#include "kernels/isa/simd/avx2.h"
#include "kernels/peak/peak_impl.h"

namespace lc::kernels {

const Peak peak_avx2 = peak_of<simd::Avx2>();

} // namespace lc::kernels
