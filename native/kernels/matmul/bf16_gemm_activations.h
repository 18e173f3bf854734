// Activations as AMX reads them: tiles of bf16, in the order of k that bf16_gemm_dequantize.h gives the weights.
#pragma once

#include "kernels/matmul/bf16_gemm_dequantize.h"
#include "kernels/matmul/bf16_gemm_plan.h"

namespace lc::kernels {
namespace {

// Where the tile (row tile, block) lies. A pair of row tiles holds, block by block, its two tiles side by side.
static inline uint8_t * activation_tile(const GemmPlan & p, uint8_t * base, int64_t row_block, int64_t tile, int64_t block) {
    const int64_t width = tile / 2 * 2 + 1 < p.tiles_of(row_block) ? 2 : 1;
    uint8_t *     rows  = base + (row_block * p.block_rows + tile / 2 * 2 * p.tile_rows) * p.n_blocks * 64;
    return rows + (block * width + tile % 2) * p.row_tile_bytes();
}

static inline void pack_row(const float * x, int64_t n_blocks, uint8_t * out, int64_t stride) {
    const __m512i order = pack_order();
    for (int64_t b = 0; b < n_blocks; b++) {
        const __m512   low  = _mm512_loadu_ps(x + b * BLOCK);
        const __m512   high = _mm512_loadu_ps(x + b * BLOCK + 16);
        const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(out + b * stride, _mm512_permutexvar_epi16(order, reinterpret_cast<const __m512i &>(both)));
    }
}

static inline void zero_row(int64_t n_blocks, uint8_t * out, int64_t stride) {
    for (int64_t b = 0; b < n_blocks; b++) {
        _mm512_store_si512(out + b * stride, _mm512_setzero_si512());
    }
}

static inline void pack_tiles(const MatMul & m, const GemmPlan & p, uint8_t * base, int64_t row_block, int64_t tile,
                              int64_t block_begin) {
    constexpr int64_t SPAN     = 16;
    const int64_t     left     = p.n_blocks - block_begin;
    const int64_t     n_blocks = left < SPAN ? left : SPAN;
    uint8_t *         out      = activation_tile(p, base, row_block, tile, block_begin);
    const int64_t     stride   = activation_tile(p, base, row_block, tile, block_begin + 1) - out;
    for (int64_t r = 0; r < p.tile_rows; r++) {
        const int64_t row = tile * p.tile_rows + r;
        if (row < p.rows_of(row_block)) {
            const float * x = row_of_x(m, row_block * p.block_rows + row);
            pack_row(x + block_begin * BLOCK, n_blocks, out + 64 * r, stride);
        } else {
            zero_row(n_blocks, out + 64 * r, stride);
        }
    }
}

static inline void pack_activations(const MatMul & m, const GemmPlan & p, const Team & team, int counter) {
    constexpr int64_t SPAN    = 16;
    const int64_t     n_spans = ceil_div(p.n_blocks, SPAN);
    const int64_t     n_tiles = p.block_rows / p.tile_rows;
    const int64_t     n_units = p.n_row_blocks * n_tiles * n_spans;
    for (int64_t unit = team_take(team, counter, 1); unit < n_units; unit = team_take(team, counter, 1)) {
        const int64_t row_block = unit / n_spans / n_tiles;
        const int64_t tile      = unit / n_spans % n_tiles;
        if (tile < p.tiles_of(row_block)) {
            pack_tiles(m, p, team.scratch, row_block, tile, unit % n_spans * SPAN);
        }
    }
}

} // namespace
} // namespace lc::kernels
