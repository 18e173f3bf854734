// The int8 product with AVX-512 VNNI: a vector holds a line, all 16 columns of a panel.
#include "kernels/isa/simd/avx512.h"
#include "kernels/matmul/int8_gemm_impl.h"

namespace lc::kernels {
namespace {

// 32 registers.
struct Avx512Kernel : simd::Avx512 {
    static constexpr int MAX_MR      = 8;
    static constexpr int MAX_MR_WIDE = 8;
};

} // namespace

void int8_gemm_avx512(const MatMul & m, const ThreadTeam & team) {
    int8_gemm<Avx512Kernel>(m, team);
}

} // namespace lc::kernels
