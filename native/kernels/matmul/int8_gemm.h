// The integer kernels: int8 activations times packed weights, for any number of rows. One file a level (rows_*.cpp), all
// made of int8_gemm_impl.h.
#pragma once

#include "kernels/matmul/matmul.h"

namespace lc::kernels {

// 32 values of a row of activations: x = scale * q. Lies in scratch.
struct Quants {
    int8_t  q[32];
    float   scale;
    float   shift;      // -scale * (sum of q): what the weights' minima are multiplied by
    int32_t starts[2];  // what the integer sums (w6: of each half; w8: the first) begin with, for the weights' offset
};

// Up to so many values of x every thread quantizes them all for itself, which is quicker than to wait for the others.
inline constexpr int64_t PRIVATE_VALUES = 4096;

static inline __attribute__((always_inline)) bool rows_private(const MatMul & m, int n_threads) {
    return n_threads == 1 || m.n_rows * m.k <= PRIVATE_VALUES;
}

static inline size_t rows_scratch(const MatMul & m, int n_threads) {
    const int64_t n_quants = m.n_rows * (m.k / BLOCK) * (rows_private(m, n_threads) ? n_threads : 1);
    return static_cast<size_t>(n_quants) * sizeof(Quants);
}

// Where few rows make a pass over the weights brief, each thread has a part of the groups for its own, in one piece, so that what it
// asks the memory for ahead of time is what it will need. The rest is taken as it comes: a thread without a core takes less.
static inline __attribute__((always_inline)) int64_t rows_own_groups(int64_t n_groups, int n_threads) {
    return n_groups * 3 / (4 * n_threads);
}

void rows_avx2(const MatMul & m, const Team & team);
void rows_avxvnni(const MatMul & m, const Team & team);
void rows_avx512(const MatMul & m, const Team & team);

} // namespace lc::kernels
