// The int8 product: activations quantized to int8 times packed weights, for any number of rows. One entry for each instruction
// set, all made of the templates in int8_gemm_impl.h.
#pragma once

#include "kernels/matmul/matmul.h"

namespace lc::kernels {

// 32 values of a row of activations: x = scale * quants. Lies in scratch.
struct Q8Block {
    int8_t  quants[32];
    float   scale;
    float   min_factor;    // -scale * (sum of quants): the weights' min times this is min's share of the product
    int32_t sum_starts[2]; // -ZERO_POINT * (sum of quants), for each of F::N_SCALES: the integer sums begin with it
};

// Up to this many values of x, every thread quantizes all of them for itself: that is quicker than a barrier.
inline constexpr int64_t MAX_PRIVATE_VALUES = 4096;

static inline __attribute__((always_inline)) bool quantizes_privately(const MatMul & m, int n_threads) {
    return n_threads == 1 || m.n_rows * m.k <= MAX_PRIVATE_VALUES;
}

static inline size_t int8_gemm_scratch(const MatMul & m, int n_threads) {
    const int64_t n_copies = quantizes_privately(m, n_threads) ? n_threads : 1;
    return static_cast<size_t>(n_copies * m.n_rows * (m.k / BLOCK_K)) * sizeof(Q8Block);
}

// Number of panels that are assigned to each thread in a product with one row tile: thread i computes panels i * n .. (i + 1) *
// n - 1. They are known before the product begins, so they can be prefetched. The remaining quarter is shared dynamically: a
// thread that gets less CPU time takes fewer.
static inline __attribute__((always_inline)) int64_t n_fixed_panels(int64_t n_panels, int n_threads) {
    return n_panels * 3 / (4 * n_threads);
}

void int8_gemm_avx2(const MatMul & m, const ThreadTeam & team);
void int8_gemm_avxvnni(const MatMul & m, const ThreadTeam & team);
void int8_gemm_avx512(const MatMul & m, const ThreadTeam & team);

} // namespace lc::kernels
