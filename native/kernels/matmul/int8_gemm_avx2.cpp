// The int8 product with AVX2: products of bytes without VNNI.
#include "kernels/isa/simd/avx2.h"
#include "kernels/matmul/int8_gemm_impl.h"

namespace lc::kernels {
namespace {

// 16 registers. A sum takes two of them, in 16 and in 32 bits.
struct Avx2Kernel : simd::Avx2 {
    static constexpr int MAX_MR      = 4;
    static constexpr int MAX_MR_WIDE = 2;
};

} // namespace

void int8_gemm_avx2(const MatMul & m, const ThreadTeam & team) {
    int8_gemm<Avx2Kernel>(m, team);
}

} // namespace lc::kernels
