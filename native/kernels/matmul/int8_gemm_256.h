// What AVX2 and AVX-VNNI share: 256-bit vectors, half a group of columns each.
#pragma once

#include "kernels/matmul/int8_gemm_impl.h"

namespace lc::kernels {
namespace {

struct Vectors256 {
    using I = __m256i;
    using V = __m256;
    static constexpr int LANES = 8;

    LC_INLINE I load(const uint8_t * at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at)); }
    LC_INLINE I low_nibbles(I v) { return _mm256_and_si256(v, _mm256_set1_epi8(0x0F)); }
    LC_INLINE I high_nibbles(I v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }
    LC_INLINE I flip_sign(I v) { return _mm256_xor_si256(v, _mm256_set1_epi8(-128)); }

    // Bit n of the 32 bits is byte n's 16.
    LC_INLINE I add_fifth(I low, const uint8_t * bits) {
        int word;
        memcpy(&word, bits, sizeof word);
        const I spread = _mm256_shuffle_epi8(_mm256_set1_epi32(word),
            _mm256_setr_epi64x(0x0000000000000000, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
        const I own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
        const I set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, own), own);
        return _mm256_or_si256(low, _mm256_and_si256(set, _mm256_set1_epi8(16)));
    }

    // Bits 2N and 2N + 1 of every byte of `upper` become bits 4 and 5.
    template <int N> LC_INLINE I add_upper(I low, I upper) {
        const I moved = N < 2 ? _mm256_slli_epi16(upper, 4 - 2 * (N < 2 ? N : 0)) : _mm256_srli_epi16(upper, N == 3 ? 2 : 0);
        return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(0x30)));
    }

    LC_INLINE V zero() { return _mm256_setzero_ps(); }
    LC_INLINE V all(const float * value) { return _mm256_broadcast_ss(value); }
    LC_INLINE V halves(const uint8_t * at) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(at))); }
    LC_INLINE V to_floats(I v) { return _mm256_cvtepi32_ps(v); }
    LC_INLINE V mul(V a, V b) { return _mm256_mul_ps(a, b); }
    LC_INLINE V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }

    // The first n lanes.
    LC_INLINE void store(float * to, V v, int n) {
        if (n >= LANES) {
            _mm256_storeu_ps(to, v);
        } else if (n > 0) {
            const I lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes), v);
        }
    }
};

} // namespace
} // namespace lc::kernels
