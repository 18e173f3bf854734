// Trait class of AVX-512 (F, BW, DQ, VL and VNNI): vectors of 512 bits. simd.h documents the members.
#pragma once

// gcc 12 warns of its own headers' _mm512_undefined_ps() (gcc's bug 105593), wherever they are inlined.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/isa/simd/avx2.h"

namespace lc::kernels::simd {
namespace {

struct Avx512 {
    using F32                      = __m512;
    using I32                      = __m512i;
    using Mask                     = __mmask16;
    using Half                     = Avx2;
    static constexpr int  LANES    = 16;
    static constexpr int  BYTES    = 64;
    static constexpr bool HAS_VNNI = true;

    // --- Floats: load and store ---

    LC_INLINE F32 zero() { return _mm512_setzero_ps(); }
    LC_INLINE F32 broadcast(float x) { return _mm512_set1_ps(x); }
    LC_INLINE float first(F32 v) { return _mm512_cvtss_f32(v); }
    LC_INLINE F32 load(const float * p) { return _mm512_loadu_ps(p); }
    LC_INLINE F32 load_aligned(const float * p) { return _mm512_load_ps(p); }
    LC_INLINE void store(float * p, F32 v) { _mm512_storeu_ps(p, v); }
    LC_INLINE void store_aligned(float * p, F32 v) { _mm512_store_ps(p, v); }

    LC_INLINE void store_first(float * p, F32 v, int n) {
        if (n >= LANES) {
            _mm512_storeu_ps(p, v);
        } else if (n > 0) {
            _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
        }
    }

    template <int N> LC_INLINE F32 load_repeated(const float * p) {
        if constexpr (N == 4) {
            return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
        } else if constexpr (N == 8) {
            return _mm512_broadcast_f32x8(_mm256_loadu_ps(p));
        } else {
            static_assert(N == LANES);
            return load(p);
        }
    }

    // --- Floats: converted from and to memory ---

    LC_INLINE F32 load_f16(const void * p) { return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i *>(p))); }
    LC_INLINE F32 load_bf16(const void * p) {
        const __m256i x = _mm256_loadu_si256(static_cast<const __m256i *>(p));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
    }
    LC_INLINE F32 load_i8(const void * p) {
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i *>(p))));
    }
    LC_INLINE void store_f16(void * p, F32 v) {
        _mm256_storeu_si256(static_cast<__m256i *>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    LC_INLINE float half_to_float(uint16_t h) { return Half::half_to_float(h); }
    LC_INLINE uint16_t float_to_half(float x) { return Half::float_to_half(x); }

    // --- Floats: arithmetic ---

    LC_INLINE F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
    LC_INLINE F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
    LC_INLINE F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
    LC_INLINE F32 div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
    LC_INLINE F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
    LC_INLINE F32 max(F32 a, F32 b) { return _mm512_max_ps(a, b); }
    LC_INLINE F32 round(F32 x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    LC_INLINE F32 scale_by_power(F32 x, F32 n) { return _mm512_scalef_ps(x, n); }
    LC_INLINE F32 bit_and(F32 a, F32 b) { return _mm512_and_ps(a, b); }
    LC_INLINE F32 bit_or(F32 a, F32 b) { return _mm512_or_ps(a, b); }
    LC_INLINE F32 bit_andnot(F32 a, F32 b) { return _mm512_andnot_ps(a, b); }
    LC_INLINE bool any_nan(F32 x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0; }

    // --- Masks ---

    LC_INLINE Mask less(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
    LC_INLINE Mask equal(F32 a, F32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
    LC_INLINE Mask mask_of_bits(uint64_t bits) { return static_cast<Mask>(bits); }
    LC_INLINE F32 select(Mask mask, F32 a, F32 b) { return _mm512_mask_mov_ps(b, mask, a); }
    LC_INLINE F32 zero_if(Mask mask, F32 x) { return _mm512_mask_mov_ps(x, mask, zero()); }

    // --- Floats: across lanes ---

    template <int D> LC_INLINE F32 swap_lanes(F32 x) {
        if constexpr (D < 4) {
            return _mm512_permute_ps(x, D == 1 ? 0xb1 : 0x4e);
        } else {
            return _mm512_shuffle_f32x4(x, x, D == 4 ? 0xb1 : 0x4e);
        }
    }

    LC_INLINE F32 horizontal_sums(const F32 (&x)[LANES]) {
        F32 four[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            const F32 a = add(_mm512_unpacklo_ps(x[4 * i], x[4 * i + 1]), _mm512_unpackhi_ps(x[4 * i], x[4 * i + 1]));
            const F32 b = add(_mm512_unpacklo_ps(x[4 * i + 2], x[4 * i + 3]), _mm512_unpackhi_ps(x[4 * i + 2], x[4 * i + 3]));
            four[i]     = add(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
        }
        const F32 low  = add(_mm512_shuffle_f32x4(four[0], four[1], 0x88), _mm512_shuffle_f32x4(four[0], four[1], 0xdd));
        const F32 high = add(_mm512_shuffle_f32x4(four[2], four[3], 0x88), _mm512_shuffle_f32x4(four[2], four[3], 0xdd));
        return add(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
    }

    LC_INLINE void transpose(F32 (&x)[LANES]) {
        F32 y[LANES];
#pragma GCC unroll 4
        for (int i = 0; i < LANES; i += 4) { // 4 x 4 within quarters
            const F32 a = _mm512_unpacklo_ps(x[i], x[i + 1]);
            const F32 b = _mm512_unpackhi_ps(x[i], x[i + 1]);
            const F32 c = _mm512_unpacklo_ps(x[i + 2], x[i + 3]);
            const F32 d = _mm512_unpackhi_ps(x[i + 2], x[i + 3]);
            y[i]        = _mm512_shuffle_ps(a, c, 0x44);
            y[i + 1]    = _mm512_shuffle_ps(a, c, 0xee);
            y[i + 2]    = _mm512_shuffle_ps(b, d, 0x44);
            y[i + 3]    = _mm512_shuffle_ps(b, d, 0xee);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) { // then the quarters
            const F32 a = _mm512_shuffle_f32x4(y[i], y[i + 4], 0x88);
            const F32 b = _mm512_shuffle_f32x4(y[i], y[i + 4], 0xdd);
            const F32 c = _mm512_shuffle_f32x4(y[i + 8], y[i + 12], 0x88);
            const F32 d = _mm512_shuffle_f32x4(y[i + 8], y[i + 12], 0xdd);
            x[i]        = _mm512_shuffle_f32x4(a, c, 0x88);
            x[i + 4]    = _mm512_shuffle_f32x4(b, d, 0x88);
            x[i + 8]    = _mm512_shuffle_f32x4(a, c, 0xdd);
            x[i + 12]   = _mm512_shuffle_f32x4(b, d, 0xdd);
        }
    }

    // --- Integers ---

    LC_INLINE I32 zero_ints() { return _mm512_setzero_si512(); }
    LC_INLINE I32 broadcast_i8(int8_t x) { return _mm512_set1_epi8(x); }
    LC_INLINE I32 broadcast_i32(int32_t x) { return _mm512_set1_epi32(x); }
    LC_INLINE int32_t first_i32(I32 v) { return _mm_cvtsi128_si32(_mm512_castsi512_si128(v)); }
    LC_INLINE I32 load_bytes(const void * p) { return _mm512_loadu_si512(p); }
    LC_INLINE I32 load_bytes_aligned(const void * p) { return _mm512_load_si512(p); }
    LC_INLINE void store_bytes(void * p, I32 v) { _mm512_storeu_si512(p, v); }
    LC_INLINE I32 bit_and(I32 a, I32 b) { return _mm512_and_si512(a, b); }
    LC_INLINE I32 bit_or(I32 a, I32 b) { return _mm512_or_si512(a, b); }
    LC_INLINE I32 bit_xor(I32 a, I32 b) { return _mm512_xor_si512(a, b); }
    LC_INLINE I32 or_and(I32 a, I32 b, I32 c) { return _mm512_ternarylogic_epi32(a, b, c, 0xF8); }
    LC_INLINE I32 add_i32(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
    template <int N> LC_INLINE I32 shift_left_i16(I32 v) { return _mm512_slli_epi16(v, N); }
    template <int N> LC_INLINE I32 shift_right_i16(I32 v) { return _mm512_srli_epi16(v, N); }
    LC_INLINE I32 low_nibbles(I32 v) { return bit_and(v, broadcast_i8(0x0F)); }
    LC_INLINE I32 high_nibbles(I32 v) { return low_nibbles(shift_right_i16<4>(v)); }

    LC_INLINE I32 set_bits_where(I32 v, const uint8_t * bits, int8_t x) {
        uint64_t word;
        memcpy(&word, bits, sizeof(word));
        return _mm512_mask_add_epi8(v, _cvtu64_mask64(word), v, _mm512_set1_epi8(x));
    }

    LC_INLINE F32 to_floats(I32 v) { return _mm512_cvtepi32_ps(v); }
    LC_INLINE I32 to_ints(F32 x) { return _mm512_cvtps_epi32(x); }

    static inline uint64_t match_u16x64(const uint16_t * p, uint16_t value, uint16_t care) {
        const I32      x    = _mm512_set1_epi16(static_cast<short>(value));
        const I32      c    = _mm512_set1_epi16(static_cast<short>(care));
        const uint64_t low  = _mm512_cmpeq_epi16_mask(_mm512_and_si512(load_bytes(p), c), x);
        const uint64_t high = _mm512_cmpeq_epi16_mask(_mm512_and_si512(load_bytes(p + 32), c), x);
        return low | high << 32;
    }

    // --- Dot products of bytes ---

    LC_INLINE I32 dot(I32 sum, I32 u, I32 s) { return _mm512_dpbusd_epi32(sum, u, s); }

    // Inline assembly: gcc 12 makes a load of its own of the broadcast, which costs a quarter of a product's time.
    LC_INLINE I32 dot_broadcast(I32 sum, I32 u, const int8_t * four) {
        __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(u), "m"(*reinterpret_cast<const Word *>(four)));
        return sum;
    }

private:
    typedef int32_t __attribute__((may_alias)) Word;
};

} // namespace
} // namespace lc::kernels::simd
