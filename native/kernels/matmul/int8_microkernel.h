// The microkernel of the int8 product: MR rows times one panel of 16 columns, over all of k.
//
//   for each block of 32 values of k:
//     sums[MR][16]  = quants of activations times quants of weights, in 32-bit integers       (Int8Accumulator)
//     y[MR][16]    += sums * (scale of the weights * scale of the activations) [+ min * min_factor]
//
// Vectors hold S::LANES columns, so a panel has 16 / S::LANES parts. The sums of MR rows and NV parts stay in registers. If all
// parts do not fit, the panel is passed over once for each part.
//
// A kernel class K is a trait class S of isa/simd with two constants for its registers:
//   MAX_MR        rows of the largest tile
//   MAX_MR_WIDE   rows of the largest tile that has all parts of the panel in registers
#pragma once

#include "kernels/matmul/int8_accumulator.h"
#include "kernels/matmul/int8_gemm.h"

namespace lc::kernels {
namespace {

// Bytes ahead of their use that weights are prefetched. Measured, one row from memory: 1.3 KB 20.5 GB/s, 5 KB 23.3, 10 KB 21.9.
inline constexpr int64_t PREFETCH_AHEAD = 5120;

// Adds N_LINES lines of the block, from `first` on, to the sums.
template <class S, class F, int MR, int NV, int N_LINES>
LC_INLINE void dot_lines(const typename F::PackedBlock & block, int first, int part, const Q8Block * x,
                         Int8Accumulator<S, F> (*sums)[NV]) {
#pragma GCC unroll 4
    for (int l = 0; l < N_LINES; l++) {
        typename S::I32 low[NV];
        typename S::I32 high[NV];
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            F::template load_quants<S>(block, first + l, part + v, &low[v], &high[v]);
            low[v]  = Int8Accumulator<S, F>::prepare(low[v]);
            high[v] = Int8Accumulator<S, F>::prepare(high[v]);
        }
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++) {
                sums[r][v].add(2 * l, low[v], x[r].quants + 8 * (first + l));
            }
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++) {
                sums[r][v].add(2 * l + 1, high[v], x[r].quants + 8 * (first + l) + 4);
            }
        }
    }
}

// Adds the products with one scale of the block: lines of the `half`, or all where the format has one scale.
template <class S, class F, int MR, int NV>
LC_INLINE void accumulate_scale(const typename F::PackedBlock & block, int half, int part, const Q8Block * x,
                                typename S::F32 (*y)[NV]) {
    constexpr int         N_LINES = 4 / F::N_SCALES;
    Int8Accumulator<S, F> sums[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < MR * NV; i++) {
        if constexpr (F::ZERO_POINT != 0 && !Int8Accumulator<S, F>::IS_SIGNED) {
            sums[i / NV][i % NV].begin(&x[i / NV].sum_starts[half]);
        } else {
            sums[i / NV][i % NV].begin();
        }
    }
    dot_lines<S, F, MR, NV, N_LINES>(block, N_LINES * half, part, x, sums);
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) {
        const typename S::F32 scale = S::load_f16(block.scales[half] + S::LANES * (part + v));
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) {
            y[r][v] = S::fma(S::to_floats(sums[r][v].total()), S::mul(scale, S::broadcast(x[r].scale)), y[r][v]);
        }
    }
}

// Adds a block's products to y.
template <class S, class F, int MR, int NV>
LC_INLINE void accumulate_block(const typename F::PackedBlock & block, int part, const Q8Block * x, typename S::F32 (*y)[NV]) {
#pragma GCC unroll 2
    for (int half = 0; half < F::N_SCALES; half++) {
        accumulate_scale<S, F, MR, NV>(block, half, part, x, y);
    }
    if constexpr (F::HAS_MIN) {
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
            const typename S::F32 min = S::load_f16(block.mins + S::LANES * (part + v));
#pragma GCC unroll 16
            for (int r = 0; r < MR; r++) {
                y[r][v] = S::fma(min, S::broadcast(x[r].min_factor), y[r][v]);
            }
        }
    }
}

template <class Block> LC_INLINE void prefetch_ahead(const Block & block) {
    const char * ahead = reinterpret_cast<const char *>(&block) + PREFETCH_AHEAD;
#pragma GCC unroll 9
    for (int line = 0; line < static_cast<int>((sizeof(Block) + 63) / 64); line++) {
        __builtin_prefetch(ahead + 64 * line);
    }
}

// NV parts of the panel, from `part` on.
template <class S, class F, int MR, int NV>
LC_INLINE void multiply_parts(const typename F::PackedBlock * panel, int64_t n_blocks, const Q8Block * x, int part, float * y,
                              int64_t y_stride, int n_cols) {
    typename S::F32 sums[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < MR * NV; i++) {
        sums[i / NV][i % NV] = S::zero();
    }
    for (int64_t b = 0; b < n_blocks; b++) {
        prefetch_ahead(panel[b]);
        accumulate_block<S, F, MR, NV>(panel[b], part, x + b * MR, sums);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR * NV; i++) {
        const int column = S::LANES * (part + i % NV);
        S::store_first(y + i / NV * y_stride + column, sums[i / NV][i % NV], n_cols - column);
    }
}

// y[MR][n_cols] = x * panel, where n_cols of the panel's 16 columns exist. Block b of row r is x[b * MR + r].
template <class K, class F, int MR>
static __attribute__((noinline)) void microkernel(const void * panel, int64_t n_blocks, const Q8Block * x, float * y,
                                                  int64_t y_stride, int n_cols) {
    constexpr int N_PARTS = static_cast<int>(PANEL_COLS) / K::LANES;
    constexpr int NV      = MR <= K::MAX_MR_WIDE ? N_PARTS : 1;
    for (int part = 0; part < N_PARTS; part += NV) {
        const auto * blocks = static_cast<const typename F::PackedBlock *>(panel);
        multiply_parts<K, F, MR, NV>(blocks, n_blocks, x, part, y, y_stride, n_cols);
    }
}

using Microkernel = void (*)(const void * panel, int64_t n_blocks, const Q8Block * x, float * y, int64_t y_stride, int n_cols);

// The microkernel for a tile of 1 to K::MAX_MR rows.
template <class K, class F> LC_INLINE Microkernel microkernel_for(int64_t n_rows) {
    static_assert(K::MAX_MR <= 8);
    constexpr auto               fit        = [](int mr) { return mr <= K::MAX_MR ? mr : 1; };
    static constexpr Microkernel kernels[8] = {
        microkernel<K, F, 1>,      microkernel<K, F, fit(2)>, microkernel<K, F, fit(3)>, microkernel<K, F, fit(4)>,
        microkernel<K, F, fit(5)>, microkernel<K, F, fit(6)>, microkernel<K, F, fit(7)>, microkernel<K, F, fit(8)>,
    };
    return kernels[n_rows - 1];
}

} // namespace
} // namespace lc::kernels
