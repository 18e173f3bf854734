// Activations for the integer kernels: tiles of rows, quantized to int8. Part of int8_gemm_impl.h, local to each file as that is.
#pragma once

#include "kernels/matmul/int8_gemm.h"

#include <immintrin.h>
#include <string.h>

#define LC_INLINE static inline __attribute__((always_inline))

namespace lc::kernels {
namespace {

// How rows are divided into tiles of at most S::ROWS, as evenly as possible: the first n_larger ones have one row more.
struct Tiles {
    int64_t n;
    int64_t rows;
    int64_t n_larger;
};

LC_INLINE Tiles tiles_of(int64_t n_rows, int64_t most) {
    const int64_t n = (n_rows + most - 1) / most;
    return {n, n_rows / n, n_rows % n};
}

LC_INLINE int64_t tile_begin(const Tiles & tiles, int64_t tile) {
    return tile * tiles.rows + (tile < tiles.n_larger ? tile : tiles.n_larger);
}

LC_INLINE int64_t tile_with(const Tiles & tiles, int64_t row) {
    const int64_t in_larger = tiles.n_larger * (tiles.rows + 1);
    return row < in_larger ? row / (tiles.rows + 1) : tiles.n_larger + (row - in_larger) / tiles.rows;
}

// Magnitudes are compared by their bits, as integers: infinity is above every number there, and NaN above that, so neither is lost.
LC_INLINE __m256i magnitudes(__m256 v) {
    return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7FFFFFFF));
}

LC_INLINE float largest(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256i ab  = _mm256_max_epi32(magnitudes(a), magnitudes(b));
    const __m256i cd  = _mm256_max_epi32(magnitudes(c), magnitudes(d));
    const __m256i all = _mm256_max_epi32(ab, cd);
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    four         = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1))));
}

LC_INLINE int sum_of(__m128i v) {
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xB1)));
}

LC_INLINE __m256i rounded(__m256 v, __m256 times) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(v, times));
}

template <Format F> LC_INLINE void quantize(const float * x, Quants * out) {
    const __m256 a     = _mm256_loadu_ps(x);
    const __m256 b     = _mm256_loadu_ps(x + 8);
    const __m256 c     = _mm256_loadu_ps(x + 16);
    const __m256 d     = _mm256_loadu_ps(x + 24);
    const float  most  = largest(a, b, c, d);
    // Below that 127 / most is no number; it is nothing beside any weight. NaN and infinity become the scale, and so the results.
    const bool   some  = !(most < 1e-36f);
    const __m256 times = _mm256_set1_ps(some ? 127.0f / most : 0.0f);
    const __m256i ab   = _mm256_packs_epi32(rounded(a, times), rounded(b, times));
    const __m256i cd   = _mm256_packs_epi32(rounded(c, times), rounded(d, times));
    // Packing works within halves of registers: the words of four come out as 0 2 4 6 1 3 5 7.
    const __m256i q = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m256i fours = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), q), _mm256_set1_epi16(1));
    const int     first  = sum_of(_mm256_castsi256_si128(fours));
    const int     second = sum_of(_mm256_extracti128_si256(fours, 1));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(out->q), q);
    out->scale     = some ? most / 127.0f : 0.0f;
    out->shift     = -out->scale * static_cast<float>(first + second);
    out->starts[0] = F == Format::w6 ? -32 * first : -128 * (first + second);
    out->starts[1] = -32 * second;
}

// Quants begin..end-1, counted row by row.
template <Format F>
static void quantize_range(const MatMul & m, const Tiles & tiles, int64_t begin, int64_t end, Quants * out) {
    const int64_t n_blocks = m.k / BLOCK;
    for (int64_t i = begin; i < end;) {
        const int64_t row    = i / n_blocks;
        const int64_t tile   = tile_with(tiles, row);
        const int64_t first  = tile_begin(tiles, tile);
        const int64_t stride = tile_begin(tiles, tile + 1) - first;
        const int64_t until  = (row + 1) * n_blocks < end ? (row + 1) * n_blocks : end;
        Quants *      to     = out + first * n_blocks + (row - first);
        const float * x      = row_of_x(m, row);
        for (; i < until; i++) {
            const int64_t block = i - row * n_blocks;
            quantize<F>(x + block * BLOCK, to + block * stride);
        }
    }
}

} // namespace
} // namespace lc::kernels
