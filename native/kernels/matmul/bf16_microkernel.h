// The microkernel of the bf16 product: one or two row tiles times one or two panels (a strip), over a slice of k, in tile
// registers.
//
//   registers            panel 0 (6)    panel 1 (7)      weights
//   row tile 0 (4)       sums 0         sums 1
//   row tile 1 (5)       sums 2         sums 3
//   activations
#pragma once

#include "kernels/isa/amx_tiles.h"
#include "kernels/matmul/bf16_gemm_plan.h"
#include "kernels/matmul/bf16_gemm_strips.h"

namespace lc::kernels {
namespace {

// Sums of a pair of row tiles lie in memory in the order of their registers.
constexpr int64_t PAIR_BYTES = 4 * TILE_BYTES;

inline TileRows tile_register_rows(const Bf16GemmPlan & p) {
    const uint8_t rows = static_cast<uint8_t>(p.tile_rows);
    return {{rows, rows, rows, rows, rows, rows, 16, 16}};
}

template <int N_TILES, int N_PANELS> static inline __attribute__((always_inline)) void zero_sums() {
    tile_zero<0>();
    if constexpr (N_PANELS > 1) {
        tile_zero<1>();
    }
    if constexpr (N_TILES > 1) {
        tile_zero<2>();
        if constexpr (N_PANELS > 1) {
            tile_zero<3>();
        }
    }
}

template <int N_TILES, int N_PANELS> static inline __attribute__((always_inline)) void load_sums(const uint8_t * sums) {
    tile_load<0>(sums, 64);
    if constexpr (N_PANELS > 1) {
        tile_load<1>(sums + TILE_BYTES, 64);
    }
    if constexpr (N_TILES > 1) {
        tile_load<2>(sums + 2 * TILE_BYTES, 64);
        if constexpr (N_PANELS > 1) {
            tile_load<3>(sums + 3 * TILE_BYTES, 64);
        }
    }
}

template <int N_TILES, int N_PANELS> static inline __attribute__((always_inline)) void store_sums(uint8_t * sums) {
    tile_store<0>(sums, 64);
    if constexpr (N_PANELS > 1) {
        tile_store<1>(sums + TILE_BYTES, 64);
    }
    if constexpr (N_TILES > 1) {
        tile_store<2>(sums + 2 * TILE_BYTES, 64);
        if constexpr (N_PANELS > 1) {
            tile_store<3>(sums + 3 * TILE_BYTES, 64);
        }
    }
}

// One block of k. The second row tile of x and the second panel of w follow the first ones.
template <int N_TILES, int N_PANELS>
static inline __attribute__((always_inline)) void multiply_block(const uint8_t * x, const uint8_t * w, int64_t row_tile_bytes) {
    tile_load<6>(w, 64);
    tile_stream<4>(x, 64);
    tile_product<0, 4, 6>();
    if constexpr (N_PANELS > 1) {
        tile_load<7>(w + TILE_BYTES, 64);
        tile_product<1, 4, 7>();
    }
    if constexpr (N_TILES > 1) {
        tile_stream<5>(x + row_tile_bytes, 64);
        tile_product<2, 5, 6>();
        if constexpr (N_PANELS > 1) {
            tile_product<3, 5, 7>();
        }
    }
}

// A slice of k. Meanwhile the sums of the next pair of row tiles, which follow `sums`, are prefetched, a few lines a block, and
// the next slice is dequantized.
template <int N_TILES, int N_PANELS>
void multiply_slice(const uint8_t * x, const uint8_t * w, int64_t row_tile_bytes, int64_t n_blocks, const uint8_t * sums,
                    StripDequantizer * next_slice) {
    const int64_t bytes_a_block = ceil_div(PAIR_BYTES, n_blocks * 64) * 64;
    for (int64_t b = 0; b < n_blocks; b++) {
        for (int64_t line = 0; line < bytes_a_block; line += 64) {
            __builtin_prefetch(sums + PAIR_BYTES + b * bytes_a_block + line, 1);
        }
        multiply_block<N_TILES, N_PANELS>(x + b * N_TILES * row_tile_bytes, w + b * N_PANELS * TILE_BYTES, row_tile_bytes);
        next_slice->step();
    }
}

} // namespace
} // namespace lc::kernels
