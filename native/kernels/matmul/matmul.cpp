#include "kernels/matmul/matmul.h"

#include "kernels/matmul/bf16_gemm_amx.h"
#include "kernels/matmul/int8_gemm.h"

#include "ggml.h"

#include <atomic>

namespace lc::kernels {
namespace {

std::atomic<int64_t> amx_rows{16};

// Rows that one pass over the weights serves at every level.
constexpr int64_t MOST_BRIEF = 4;

bool by_amx(Level level, const MatMul & m) {
    return level == Level::amx && m.n_rows >= matmul_amx_rows();
}

} // namespace

void matmul_set_amx_rows(int64_t n_rows) {
    amx_rows.store(n_rows, std::memory_order_relaxed);
}

int64_t matmul_amx_rows() {
    return amx_rows.load(std::memory_order_relaxed);
}

#if defined(__x86_64__)

size_t matmul_scratch(Level level, const MatMul & m, int n_threads) {
    return by_amx(level, m) ? gemm_amx_scratch(m, n_threads) : rows_scratch(m, n_threads);
}

const void * matmul_first(Level level, const MatMul & m, int ith, int n_threads) {
    if (m.n_rows > MOST_BRIEF || by_amx(level, m)) {
        return nullptr;
    }
    const int64_t n_groups = (m.n_cols + GROUP - 1) / GROUP;
    const int64_t group    = rows_own_groups(n_groups, n_threads) * ith;
    return static_cast<const uint8_t *>(m.weights) + group * (m.k / BLOCK) * record_bytes(m.format);
}

void matmul(Level level, const MatMul & m, const Team & team) {
    switch (level) {
        case Level::avx2:    return rows_avx2(m, team);
        case Level::avxvnni: return rows_avxvnni(m, team);
        case Level::avx512:  return rows_avx512(m, team);
        case Level::amx:     return by_amx(level, m) ? gemm_amx(m, team) : rows_avx512(m, team);
        default:             GGML_ABORT("kernels: no level runs here");
    }
}

#else

size_t matmul_scratch(Level, const MatMul &, int) {
    return 0;
}

const void * matmul_first(Level, const MatMul &, int, int) {
    return nullptr;
}

void matmul(Level, const MatMul &, const Team &) {
    GGML_ABORT("kernels: no level runs here");
}

#endif

} // namespace lc::kernels
