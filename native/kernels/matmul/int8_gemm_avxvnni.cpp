// The int8 product with AVX-VNNI: AVX2 with products of bytes in one instruction.
#include "kernels/isa/simd/avxvnni.h"
#include "kernels/matmul/int8_gemm_impl.h"

namespace lc::kernels {
namespace {

// 16 registers.
struct AvxVnniKernel : simd::AvxVnni {
    static constexpr int MAX_MR      = 6;
    static constexpr int MAX_MR_WIDE = 2;
};

} // namespace

void int8_gemm_avxvnni(const MatMul & m, const ThreadTeam & team) {
    int8_gemm<AvxVnniKernel>(m, team);
}

} // namespace lc::kernels
