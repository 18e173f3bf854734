// AVX-512 as an instruction set for attention_impl.h. Included by the files of the levels that have it.
#pragma once

#include "kernels/attention/attention_plan.h"

#include <immintrin.h>

namespace lc::kernels {
namespace {

struct Avx512 {
    using V = __m512;
    static constexpr int W = 16;
    static constexpr int FEW_VECTORS = 4;   // of an output, for up to four lines
    static constexpr int MANY_VECTORS = 4;
    static constexpr bool TILES = false;

    static inline V zero() { return _mm512_setzero_ps(); }
    static inline V set1(float x) { return _mm512_set1_ps(x); }
    static inline V load(const float * p) { return _mm512_loadu_ps(p); }
    static inline void store(float * p, V x) { _mm512_storeu_ps(p, x); }
    static inline float first(V x) { return _mm512_cvtss_f32(x); }
    static inline V add(V a, V b) { return _mm512_add_ps(a, b); }
    static inline V sub(V a, V b) { return _mm512_sub_ps(a, b); }
    static inline V mul(V a, V b) { return _mm512_mul_ps(a, b); }
    static inline V div(V a, V b) { return _mm512_div_ps(a, b); }
    static inline V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
    static inline V max(V a, V b) { return _mm512_max_ps(a, b); }  // b if either is NaN
    static inline V bit_and(V a, V b) { return _mm512_and_ps(a, b); }
    static inline V bit_andnot(V a, V b) { return _mm512_andnot_ps(a, b); }
    static inline V bit_or(V a, V b) { return _mm512_or_ps(a, b); }
    static inline V round(V x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static inline V scale2(V x, V n) { return _mm512_scalef_ps(x, n); }
    static inline bool any_nan(V x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0; }

    // x, but 0 where `by` is below `low`.
    static inline V zero_below(V x, V by, V low) {
        return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(by, low, _CMP_LT_OQ), zero());
    }

    // x + slope * bias, but minus infinity, whatever x is, where the bias is that.
    static inline V masked(V x, V bias, V slope) {
        const __mmask16 closed = _mm512_cmp_ps_mask(bias, set1(-__builtin_inff()), _CMP_EQ_OQ);
        return _mm512_mask_mov_ps(fma(slope, bias, x), closed, bias);
    }

    // W numbers of a vector in the cache, from number d on.
    template <KvType T> static inline V numbers(const uint8_t * p, int64_t d, [[maybe_unused]] V scale) {
        if constexpr (T == KvType::f16) {
            return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p + 2 * d)));
        } else if constexpr (T == KvType::bf16) {
            const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p + 2 * d));
            return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
        } else {
            const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p + d / 32 * 34 + 2 + d % 32));
            return mul(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(x)), scale);
        }
    }

    static inline V halves(const uint16_t * p) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
    }

    // 0 where a bit is set, minus infinity elsewhere.
    static inline V open_bits(uint64_t bits) {
        return _mm512_mask_mov_ps(set1(-__builtin_inff()), static_cast<__mmask16>(bits), zero());
    }

    // Bit i: p[i] & bits == value, for i = 0..63.
    static inline uint64_t equal_halves(const uint16_t * p, uint16_t value, uint16_t bits) {
        const __m512i x = _mm512_set1_epi16(static_cast<short>(value));
        const __m512i b = _mm512_set1_epi16(static_cast<short>(bits));
        const uint64_t low = _mm512_cmpeq_epi16_mask(_mm512_and_si512(_mm512_loadu_si512(p), b), x);
        const uint64_t high = _mm512_cmpeq_epi16_mask(_mm512_and_si512(_mm512_loadu_si512(p + 32), b), x);
        return low | high << 32;
    }

    // Lane i: x's lane i ^ D.
    template <int D> static inline V swapped(V x) {
        if constexpr (D < 4) {
            return _mm512_permute_ps(x, D == 1 ? 0xb1 : 0x4e);
        } else {
            return _mm512_shuffle_f32x4(x, x, D == 4 ? 0xb1 : 0x4e);
        }
    }

    // N numbers, again and again.
    template <int N> static inline V repeat(const float * p) {
        if constexpr (N == 4) {
            return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
        } else if constexpr (N == 8) {
            return _mm512_broadcast_f32x8(_mm256_loadu_ps(p));
        } else {
            return load(p);
        }
    }

    // Lane i: the sum of x[i].
    __attribute__((always_inline)) static inline V sums(const V (&x)[W]) {
        V four[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const V a = add(_mm512_unpacklo_ps(x[4 * i], x[4 * i + 1]), _mm512_unpackhi_ps(x[4 * i], x[4 * i + 1]));
            const V b = add(_mm512_unpacklo_ps(x[4 * i + 2], x[4 * i + 3]), _mm512_unpackhi_ps(x[4 * i + 2], x[4 * i + 3]));
            four[i] = add(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
        }
        const V low = add(_mm512_shuffle_f32x4(four[0], four[1], 0x88), _mm512_shuffle_f32x4(four[0], four[1], 0xdd));
        const V high = add(_mm512_shuffle_f32x4(four[2], four[3], 0x88), _mm512_shuffle_f32x4(four[2], four[3], 0xdd));
        return add(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
    }

    __attribute__((always_inline)) static inline void transpose(V (&x)[W]) {
        V y[W];
#pragma GCC unroll 4
        for (int i = 0; i < W; i += 4) {  // 4 x 4 within quarters
            const V a = _mm512_unpacklo_ps(x[i], x[i + 1]);
            const V b = _mm512_unpackhi_ps(x[i], x[i + 1]);
            const V c = _mm512_unpacklo_ps(x[i + 2], x[i + 3]);
            const V d = _mm512_unpackhi_ps(x[i + 2], x[i + 3]);
            y[i] = _mm512_shuffle_ps(a, c, 0x44);
            y[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
            y[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
            y[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {     // then the quarters
            const V a = _mm512_shuffle_f32x4(y[i], y[i + 4], 0x88);
            const V b = _mm512_shuffle_f32x4(y[i], y[i + 4], 0xdd);
            const V c = _mm512_shuffle_f32x4(y[i + 8], y[i + 12], 0x88);
            const V d = _mm512_shuffle_f32x4(y[i + 8], y[i + 12], 0xdd);
            x[i] = _mm512_shuffle_f32x4(a, c, 0x88);
            x[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
            x[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
            x[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
        }
    }
};

} // namespace
} // namespace lc::kernels
