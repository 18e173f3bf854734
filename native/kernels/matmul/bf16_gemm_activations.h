// Activations of the bf16 product: row tiles of bf16, the A operand of tdpbf16ps, in the order of k of bf16_gemm_dequantize.h.
#pragma once

#include "kernels/matmul/bf16_gemm_dequantize.h"
#include "kernels/matmul/bf16_gemm_plan.h"

namespace lc::kernels {
namespace {

// Blocks of k that a thread packs at a time.
inline constexpr int64_t PACK_BLOCKS = 16;

// Returns the place of one block of a row tile. The two tiles of a pair lie side by side, block by block:
//
//   pair 0: (tile 0, block 0) (tile 1, block 0) (tile 0, block 1) (tile 1, block 1) ...   pair 1: ...
static inline uint8_t * activation_tile(const Bf16GemmPlan & p, uint8_t * base, int64_t row_block, int64_t tile, int64_t block) {
    const int64_t first_tile = tile / 2 * 2;
    const int64_t n_in_pair  = first_tile + 1 < p.tiles_of(row_block) ? 2 : 1;
    uint8_t *     pair       = base + (row_block * p.block_rows + first_tile * p.tile_rows) * p.n_blocks * 64;
    return pair + (block * n_in_pair + tile % 2) * p.row_tile_bytes();
}

// Blocks are `stride` bytes apart in `out`.
static inline void pack_row(const float * x, int64_t n_blocks, uint8_t * out, int64_t stride) {
    const __m512i order = k_order();
    for (int64_t b = 0; b < n_blocks; b++) {
        const __m512   low  = _mm512_loadu_ps(x + b * BLOCK_K);
        const __m512   high = _mm512_loadu_ps(x + b * BLOCK_K + 16);
        const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(out + b * stride, _mm512_permutexvar_epi16(order, reinterpret_cast<const __m512i &>(both)));
    }
}

static inline void zero_row(int64_t n_blocks, uint8_t * out, int64_t stride) {
    for (int64_t b = 0; b < n_blocks; b++) {
        _mm512_store_si512(out + b * stride, _mm512_setzero_si512());
    }
}

// Packs up to PACK_BLOCKS blocks of a row tile, from `first_block` on. Rows beyond the last are zeros.
static inline void pack_row_tile(const MatMul & m, const Bf16GemmPlan & p, uint8_t * base, int64_t row_block, int64_t tile,
                                 int64_t first_block) {
    const int64_t left     = p.n_blocks - first_block;
    const int64_t n_blocks = left < PACK_BLOCKS ? left : PACK_BLOCKS;
    uint8_t *     out      = activation_tile(p, base, row_block, tile, first_block);
    const int64_t stride   = activation_tile(p, base, row_block, tile, first_block + 1) - out;
    for (int64_t r = 0; r < p.tile_rows; r++) {
        const int64_t row = tile * p.tile_rows + r;
        if (row < p.rows_of(row_block)) {
            const float * x = x_row(m, row_block * p.block_rows + row);
            pack_row(x + first_block * BLOCK_K, n_blocks, out + 64 * r, stride);
        } else {
            zero_row(n_blocks, out + 64 * r, stride);
        }
    }
}

// Packs all of x, together with the team's other threads. Complete after a barrier.
static inline void pack_activations(const MatMul & m, const Bf16GemmPlan & p, const ThreadTeam & team, int counter) {
    const int64_t n_parts = ceil_div(p.n_blocks, PACK_BLOCKS);
    const int64_t n_tiles = p.block_rows / p.tile_rows;
    const int64_t n_units = p.n_row_blocks * n_tiles * n_parts;
    for (int64_t unit = team_take(team, counter, 1); unit < n_units; unit = team_take(team, counter, 1)) {
        const int64_t row_block = unit / n_parts / n_tiles;
        const int64_t tile      = unit / n_parts % n_tiles;
        if (tile < p.tiles_of(row_block)) {
            pack_row_tile(m, p, team.scratch, row_block, tile, unit % n_parts * PACK_BLOCKS);
        }
    }
}

} // namespace
} // namespace lc::kernels
