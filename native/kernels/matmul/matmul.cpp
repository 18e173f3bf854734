#include "kernels/matmul/matmul.h"

#include "kernels/matmul/bf16_gemm_amx.h"
#include "kernels/matmul/int8_gemm.h"

#include "ggml.h"

#include <atomic>

namespace lc::kernels {
namespace {

std::atomic<int64_t> min_rows_for_amx{16};

using Int8Gemm = void (*)(const MatMul & m, const ThreadTeam & team);

constexpr Variant<Int8Gemm> INT8_GEMMS[] = {
    {AVX2 | AVX512, int8_gemm_avx512},
    {AVX2 | AVX_VNNI, int8_gemm_avxvnni},
    {AVX2, int8_gemm_avx2},
};

// Rows that every int8 microkernel computes in one pass over the weights: the smallest of their MAX_MR.
constexpr int64_t MAX_ONE_PASS_ROWS = 4;

bool uses_amx(Isa isa, const MatMul & m) {
    return has_all(isa_features(isa), AMX_BF16 | AVX512_BF16) && m.n_rows >= amx_min_rows();
}

} // namespace

void set_amx_min_rows(int64_t n_rows) {
    min_rows_for_amx.store(n_rows, std::memory_order_relaxed);
}

int64_t amx_min_rows() {
    return min_rows_for_amx.load(std::memory_order_relaxed);
}

size_t matmul_scratch(Isa isa, const MatMul & m, int n_threads) {
    return uses_amx(isa, m) ? bf16_gemm_scratch(m, n_threads) : int8_gemm_scratch(m, n_threads);
}

const void * matmul_first_weights(Isa isa, const MatMul & m, int ith, int n_threads) {
    if (m.n_rows > MAX_ONE_PASS_ROWS || uses_amx(isa, m)) {
        return nullptr;
    }
    const int64_t panel = n_fixed_panels(panels_of(m.n_cols), n_threads) * ith;
    return static_cast<const uint8_t *>(m.weights) + panel * (m.k / BLOCK_K) * packed_block_bytes(m.format);
}

void matmul(Isa isa, const MatMul & m, const ThreadTeam & team) {
    GGML_ASSERT(isa != Isa::none);
    if (uses_amx(isa, m)) {
        bf16_gemm_amx(m, team);
    } else {
        choose(INT8_GEMMS, isa_features(isa))(m, team);
    }
}

} // namespace lc::kernels
