#include "kernels/matmul/matmul.h"

#include "kernels/matmul/bf16_gemm_amx.h"
#include "kernels/matmul/int8_gemm.h"

#include "ggml.h"

#include <atomic>

namespace lc::kernels {
namespace {

std::atomic<int64_t> min_rows_for_amx{16};

// Rows that one pass over the weights computes at every level: the smallest MAX_MR of the int8 microkernels.
constexpr int64_t MAX_ONE_PASS_ROWS = 4;

bool uses_amx(Level level, const MatMul & m) {
    return level == Level::amx && m.n_rows >= amx_min_rows();
}

} // namespace

void set_amx_min_rows(int64_t n_rows) {
    min_rows_for_amx.store(n_rows, std::memory_order_relaxed);
}

int64_t amx_min_rows() {
    return min_rows_for_amx.load(std::memory_order_relaxed);
}

#if defined(__x86_64__)

size_t matmul_scratch(Level level, const MatMul & m, int n_threads) {
    return uses_amx(level, m) ? bf16_gemm_scratch(m, n_threads) : int8_gemm_scratch(m, n_threads);
}

const void * matmul_first_weights(Level level, const MatMul & m, int ith, int n_threads) {
    if (m.n_rows > MAX_ONE_PASS_ROWS || uses_amx(level, m)) {
        return nullptr;
    }
    const int64_t panel = n_fixed_panels(panels_of(m.n_cols), n_threads) * ith;
    return static_cast<const uint8_t *>(m.weights) + panel * (m.k / BLOCK_K) * packed_block_bytes(m.format);
}

void matmul(Level level, const MatMul & m, const Team & team) {
    switch (level) {
        case Level::avx2:    return int8_gemm_avx2(m, team);
        case Level::avxvnni: return int8_gemm_avxvnni(m, team);
        case Level::avx512:  return int8_gemm_avx512(m, team);
        case Level::amx:     return uses_amx(level, m) ? bf16_gemm_amx(m, team) : int8_gemm_avx512(m, team);
        default:             GGML_ABORT("kernels: no level runs here");
    }
}

#else

size_t matmul_scratch(Level, const MatMul &, int) {
    return 0;
}

const void * matmul_first_weights(Level, const MatMul &, int, int) {
    return nullptr;
}

void matmul(Level, const MatMul &, const Team &) {
    GGML_ABORT("kernels: no level runs here");
}

#endif

} // namespace lc::kernels
