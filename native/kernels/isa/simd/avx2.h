// Trait class of AVX2 with FMA, F16C and BMI2: vectors of 256 bits. simd.h documents the members.
#pragma once

#include "kernels/isa/simd/simd.h"

#include <immintrin.h>

namespace lc::kernels::simd {
namespace {

struct Avx2 {
    using F32                      = __m256;
    using I32                      = __m256i;
    using Mask                     = __m256;
    using Half                     = Avx2;
    static constexpr int  LANES    = 8;
    static constexpr int  BYTES    = 32;
    static constexpr bool HAS_VNNI = false;

    // --- Floats: load and store ---

    LC_INLINE F32 zero() { return _mm256_setzero_ps(); }
    LC_INLINE F32 broadcast(float x) { return _mm256_set1_ps(x); }
    LC_INLINE float first(F32 v) { return _mm256_cvtss_f32(v); }
    LC_INLINE F32 load(const float * p) { return _mm256_loadu_ps(p); }
    LC_INLINE F32 load_aligned(const float * p) { return _mm256_load_ps(p); }
    LC_INLINE void store(float * p, F32 v) { _mm256_storeu_ps(p, v); }
    LC_INLINE void store_aligned(float * p, F32 v) { _mm256_store_ps(p, v); }

    LC_INLINE void store_first(float * p, F32 v, int n) {
        if (n >= LANES) {
            _mm256_storeu_ps(p, v);
        } else if (n > 0) {
            const I32 lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes), v);
        }
    }

    template <int N> LC_INLINE F32 load_repeated(const float * p) {
        if constexpr (N == 2) {
            double two;
            memcpy(&two, p, sizeof(two));
            return _mm256_castpd_ps(_mm256_set1_pd(two));
        } else if constexpr (N == 4) {
            return _mm256_broadcast_ps(reinterpret_cast<const __m128 *>(p));
        } else {
            static_assert(N == LANES);
            return load(p);
        }
    }

    // --- Floats: converted from and to memory ---

    LC_INLINE F32 load_f16(const void * p) { return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i *>(p))); }
    LC_INLINE F32 load_bf16(const void * p) {
        const __m128i x = _mm_loadu_si128(static_cast<const __m128i *>(p));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
    }
    LC_INLINE F32 load_i8(const void * p) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i *>(p))));
    }
    LC_INLINE void store_f16(void * p, F32 v) {
        _mm_storeu_si128(static_cast<__m128i *>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    LC_INLINE float half_to_float(uint16_t h) { return _cvtsh_ss(h); }
    LC_INLINE uint16_t float_to_half(float x) { return static_cast<uint16_t>(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)); }

    // --- Floats: arithmetic ---

    LC_INLINE F32 add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
    LC_INLINE F32 sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
    LC_INLINE F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
    LC_INLINE F32 div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
    LC_INLINE F32 fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
    LC_INLINE F32 max(F32 a, F32 b) { return _mm256_max_ps(a, b); }
    LC_INLINE F32 round(F32 x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    LC_INLINE F32 scale_by_power(F32 x, F32 n) {
        const I32 exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        return mul(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
    }
    LC_INLINE F32 bit_and(F32 a, F32 b) { return _mm256_and_ps(a, b); }
    LC_INLINE F32 bit_or(F32 a, F32 b) { return _mm256_or_ps(a, b); }
    LC_INLINE F32 bit_andnot(F32 a, F32 b) { return _mm256_andnot_ps(a, b); }
    LC_INLINE bool any_nan(F32 x) { return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0; }

    // --- Masks ---

    LC_INLINE Mask less(F32 a, F32 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
    LC_INLINE Mask equal(F32 a, F32 b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
    LC_INLINE Mask mask_of_bits(uint64_t bits) {
        const I32 lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        const I32 set  = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits & 0xff)), lane);
        return _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane));
    }
    LC_INLINE F32 select(Mask mask, F32 a, F32 b) { return _mm256_blendv_ps(b, a, mask); }
    LC_INLINE F32 zero_if(Mask mask, F32 x) { return _mm256_andnot_ps(mask, x); }

    // --- Floats: across lanes ---

    template <int D> LC_INLINE F32 swap_lanes(F32 x) {
        if constexpr (D < 4) {
            return _mm256_permute_ps(x, D == 1 ? 0xb1 : 0x4e);
        } else {
            return _mm256_permute2f128_ps(x, x, 1);
        }
    }

    LC_INLINE F32 horizontal_sums(const F32 (&x)[LANES]) {
        F32 four[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const F32 a = add(_mm256_unpacklo_ps(x[4 * i], x[4 * i + 1]), _mm256_unpackhi_ps(x[4 * i], x[4 * i + 1]));
            const F32 b = add(_mm256_unpacklo_ps(x[4 * i + 2], x[4 * i + 3]), _mm256_unpackhi_ps(x[4 * i + 2], x[4 * i + 3]));
            four[i]     = add(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
        }
        return add(_mm256_permute2f128_ps(four[0], four[1], 0x20), _mm256_permute2f128_ps(four[0], four[1], 0x31));
    }

    LC_INLINE void transpose(F32 (&x)[LANES]) {
        F32 y[LANES];
#pragma GCC unroll 2
        for (int i = 0; i < LANES; i += 4) { // 4 x 4 within halves
            const F32 a = _mm256_unpacklo_ps(x[i], x[i + 1]);
            const F32 b = _mm256_unpackhi_ps(x[i], x[i + 1]);
            const F32 c = _mm256_unpacklo_ps(x[i + 2], x[i + 3]);
            const F32 d = _mm256_unpackhi_ps(x[i + 2], x[i + 3]);
            y[i]        = _mm256_shuffle_ps(a, c, 0x44);
            y[i + 1]    = _mm256_shuffle_ps(a, c, 0xee);
            y[i + 2]    = _mm256_shuffle_ps(b, d, 0x44);
            y[i + 3]    = _mm256_shuffle_ps(b, d, 0xee);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) { // then the halves
            x[i]     = _mm256_permute2f128_ps(y[i], y[i + 4], 0x20);
            x[i + 4] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x31);
        }
    }

    // --- Integers ---

    LC_INLINE I32 zero_ints() { return _mm256_setzero_si256(); }
    LC_INLINE I32 broadcast_i8(int8_t x) { return _mm256_set1_epi8(x); }
    LC_INLINE I32 broadcast_i32(int32_t x) { return _mm256_set1_epi32(x); }
    LC_INLINE int32_t first_i32(I32 v) { return _mm_cvtsi128_si32(_mm256_castsi256_si128(v)); }
    LC_INLINE I32 load_bytes(const void * p) { return _mm256_loadu_si256(static_cast<const I32 *>(p)); }
    LC_INLINE I32 load_bytes_aligned(const void * p) { return _mm256_load_si256(static_cast<const I32 *>(p)); }
    LC_INLINE void store_bytes(void * p, I32 v) { _mm256_storeu_si256(static_cast<I32 *>(p), v); }
    LC_INLINE I32 bit_and(I32 a, I32 b) { return _mm256_and_si256(a, b); }
    LC_INLINE I32 bit_or(I32 a, I32 b) { return _mm256_or_si256(a, b); }
    LC_INLINE I32 bit_xor(I32 a, I32 b) { return _mm256_xor_si256(a, b); }
    LC_INLINE I32 or_and(I32 a, I32 b, I32 c) { return bit_or(a, bit_and(b, c)); }
    LC_INLINE I32 add_i32(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
    template <int N> LC_INLINE I32 shift_left_i16(I32 v) { return _mm256_slli_epi16(v, N); }
    template <int N> LC_INLINE I32 shift_right_i16(I32 v) { return _mm256_srli_epi16(v, N); }
    LC_INLINE I32 low_nibbles(I32 v) { return bit_and(v, broadcast_i8(0x0F)); }
    LC_INLINE I32 high_nibbles(I32 v) { return low_nibbles(shift_right_i16<4>(v)); }

    LC_INLINE I32 set_bits_where(I32 v, const uint8_t * bits, int8_t x) {
        int word;
        memcpy(&word, bits, sizeof(word));
        const I32 spread = _mm256_shuffle_epi8(
            _mm256_set1_epi32(word),
            _mm256_setr_epi64x(0x0000000000000000, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
        const I32 own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
        const I32 set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, own), own);
        return or_and(v, set, _mm256_set1_epi8(x));
    }

    LC_INLINE F32 to_floats(I32 v) { return _mm256_cvtepi32_ps(v); }
    LC_INLINE I32 to_ints(F32 x) { return _mm256_cvtps_epi32(x); }

    static inline uint64_t match_u16x64(const uint16_t * p, uint16_t value, uint16_t care) {
        const I32 x   = _mm256_set1_epi16(static_cast<short>(value));
        const I32 c   = _mm256_set1_epi16(static_cast<short>(care));
        uint64_t  out = 0;
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const I32 low   = load_bytes(p + 32 * i);
            const I32 high  = load_bytes(p + 32 * i + 16);
            const I32 equal = _mm256_packs_epi16(_mm256_cmpeq_epi16(_mm256_and_si256(low, c), x),
                                                 _mm256_cmpeq_epi16(_mm256_and_si256(high, c), x));
            const int mask  = _mm256_movemask_epi8(_mm256_permute4x64_epi64(equal, 0xd8));
            out |= static_cast<uint64_t>(static_cast<uint32_t>(mask)) << 32 * i;
        }
        return out;
    }

    // --- Dot products of bytes ---

    LC_INLINE I32 dot(I32 sum, I32 u, I32 s) { return add_i32(sum, widen_pairs(dot_pairs(u, s))); }
    LC_INLINE I32 dot_broadcast(I32 sum, I32 u, const int8_t * four) { return dot(sum, u, broadcast_4(four)); }

    // The steps of dot(), so that a kernel can add several pair sums in 16 bits where they fit, and widen them once.
    LC_INLINE I32 dot_pairs(I32 u, I32 s) { return _mm256_maddubs_epi16(u, s); }
    LC_INLINE I32 add_i16(I32 a, I32 b) { return _mm256_add_epi16(a, b); }
    LC_INLINE I32 widen_pairs(I32 pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

    // For signed times signed bytes: dot(sum, abs_i8(w), copy_sign_i8(x, w)). abs_i8(-128) is 128 as an unsigned byte.
    LC_INLINE I32 abs_i8(I32 v) { return _mm256_abs_epi8(v); }
    LC_INLINE I32 copy_sign_i8(I32 x, I32 sign) { return _mm256_sign_epi8(x, sign); }

    // The 4 bytes at p in every lane.
    LC_INLINE I32 broadcast_4(const int8_t * p) {
        int word;
        memcpy(&word, p, sizeof(word));
        return _mm256_set1_epi32(word);
    }

    // --- Quantization of 32 floats to bytes (all instruction sets use these, as S::Half or Avx2) ---

    // The largest magnitude of 32 floats. Magnitudes are compared as integers: infinity is above every number and NaN above
    // infinity, so neither is lost.
    LC_INLINE float max_magnitude(F32 a, F32 b, F32 c, F32 d) {
        const I32 all  = _mm256_max_epi32(_mm256_max_epi32(magnitudes(a), magnitudes(b)),
                                          _mm256_max_epi32(magnitudes(c), magnitudes(d)));
        __m128i   four = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
        four           = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
        return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1))));
    }

    // 32 integers of -128 to 127 as bytes, in order.
    LC_INLINE I32 pack_i8(I32 a, I32 b, I32 c, I32 d) {
        const I32 ab = _mm256_packs_epi32(a, b);
        const I32 cd = _mm256_packs_epi32(c, d);
        // Packing works within halves of registers: the words of four come out as 0 2 4 6 1 3 5 7.
        return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    }

    // The sums of the first and of the last 16 signed bytes.
    LC_INLINE void sum_halves_i8(I32 v, int32_t * low, int32_t * high) {
        const I32 fours = widen_pairs(dot_pairs(broadcast_i8(1), v));
        *low            = sum_i32x4(_mm256_castsi256_si128(fours));
        *high           = sum_i32x4(_mm256_extracti128_si256(fours, 1));
    }

private:
    LC_INLINE I32 magnitudes(F32 x) { return bit_and(_mm256_castps_si256(x), broadcast_i32(0x7FFFFFFF)); }

    LC_INLINE int32_t sum_i32x4(__m128i v) {
        v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4E));
        return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xB1)));
    }
};

} // namespace
} // namespace lc::kernels::simd
