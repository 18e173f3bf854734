// Activations of the int8 product: quantized to int8 and packed by row tiles. Included by int8_gemm_impl.h.
#pragma once

#include "kernels/isa/simd/avx2.h"
#include "kernels/matmul/int8_gemm.h"
#include "kernels/matmul/row_tiles.h"

namespace lc::kernels {
namespace {

// Magnitudes below this quantize to zero: 127 / magnitude would overflow.
inline constexpr float MIN_MAGNITUDE = 1e-36f;

// 32 floats. If one of them is NaN or infinite, so is the scale, and with it the results of this row.
template <class F> LC_INLINE void quantize(const float * x, Q8Block * out) {
    using V                = simd::Avx2;
    const V::F32 a         = V::load(x);
    const V::F32 b         = V::load(x + 8);
    const V::F32 c         = V::load(x + 16);
    const V::F32 d         = V::load(x + 24);
    const float  magnitude = V::max_magnitude(a, b, c, d);
    const bool   is_zero   = magnitude < MIN_MAGNITUDE;
    const V::F32 inverse   = V::broadcast(is_zero ? 0.0f : 127.0f / magnitude);
    const V::I32 quants = V::pack_i8(V::to_ints(V::mul(a, inverse)), V::to_ints(V::mul(b, inverse)), V::to_ints(V::mul(c, inverse)),
                                     V::to_ints(V::mul(d, inverse)));
    int32_t      first, second;
    V::sum_halves_i8(quants, &first, &second);
    V::store_bytes(out->quants, quants);
    out->scale      = is_zero ? 0.0f : magnitude / 127.0f;
    out->min_factor = -out->scale * static_cast<float>(first + second);
    if constexpr (F::N_SCALES == 2) {
        out->sum_starts[0] = -F::ZERO_POINT * first;
        out->sum_starts[1] = -F::ZERO_POINT * second;
    } else if constexpr (F::ZERO_POINT != 0) {
        out->sum_starts[0] = -F::ZERO_POINT * (first + second);
    }
}

// Quantizes blocks begin..end - 1, counted row by row. The microkernel reads a tile block by block: block b of row r of a tile
// with n rows is number b * n + r of the tile.
template <class F>
static void quantize_range(const MatMul & m, const RowTiles & tiles, int64_t begin, int64_t end, Q8Block * out) {
    const int64_t n_blocks = m.k / BLOCK_K;
    for (int64_t i = begin; i < end;) {
        const int64_t row       = i / n_blocks;
        const int64_t tile      = tile_of_row(tiles, row);
        const int64_t first_row = tile_begin(tiles, tile);
        const int64_t stride    = tile_begin(tiles, tile + 1) - first_row;
        const int64_t row_end   = (row + 1) * n_blocks < end ? (row + 1) * n_blocks : end;
        Q8Block *     to        = out + first_row * n_blocks + (row - first_row);
        const float * x         = x_row(m, row);
        for (; i < row_end; i++) {
            const int64_t block = i - row * n_blocks;
            quantize<F>(x + block * BLOCK_K, to + block * stride);
        }
    }
}

} // namespace
} // namespace lc::kernels
