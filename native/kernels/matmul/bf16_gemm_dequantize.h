// Packed blocks as tiles of bf16, for FormatTraits<F>::to_bf16().
//
// A tile is the B operand of tdpbf16ps: 16 lines of 64 bytes, one pair of k for 16 columns each. Word w of the columns' quants
// (k = 4w .. 4w + 3) gives two lines:
//
//   line 2w        k = 4w,     4w + 2        for columns 0 .. 15
//   line 2w + 1    k = 4w + 1, 4w + 3
//
// Activations are packed in the same order of k (k_order()).
//
// A quant becomes a float without a conversion instruction: it is or'ed into the mantissa of 2^7, in which bit 16 counts one,
// or of 2^15, in which bit 8 counts one. Affine takes the power of two off again. The upper half of the resulting float is its
// bf16, truncated. Scales and mins are slightly enlarged, so that the error of truncating is zero on average and as small as
// that of rounding.
#pragma once

#include "kernels/isa/simd/simd.h"

#include <immintrin.h>

namespace lc::kernels {
namespace {

// Truncating loses half an ulp on average: 2^-8 of a mantissa of 1, 2^-9 of a mantissa of 2.
inline constexpr float TRUNCATION_FACTOR = 1.0f + 0.70f / 256.0f;

// Floats in whose mantissa bit 16 or bit 8 counts one.
inline constexpr int TWO_7  = 0x43000000;
inline constexpr int TWO_15 = 0x47000000;

// Permutation of 32 values of k to the order of the tiles' lines.
static inline __attribute__((always_inline)) __m512i k_order() {
    alignas(64) static const uint16_t order[32] = {0,  2,  1,  3,  4,  6,  5,  7,  8,  10, 9,  11, 12, 14, 13, 15,
                                                   16, 18, 17, 19, 20, 22, 21, 23, 24, 26, 25, 27, 28, 30, 29, 31};
    return _mm512_load_si512(order);
}

// The steps of to_bf16(). A Vector is a line of 64 bytes.
class Bf16TileWriter {
public:
    using Vector = __m512i;

    // weight = scale * float - offset_7 or offset_15, by the power of two in the float.
    struct Affine {
        __m512 scale;
        __m512 offset_7;
        __m512 offset_15;
    };

    LC_INLINE Affine affine_with_min(const uint16_t * scales, const uint16_t * mins) {
        const __m512 scale = load_factors(scales);
        const __m512 min   = load_factors(mins);
        return {scale, _mm512_fmadd_ps(scale, _mm512_set1_ps(128.0f), min), _mm512_fmadd_ps(scale, _mm512_set1_ps(32768.0f), min)};
    }

    LC_INLINE Affine affine_with_zero_point(const uint16_t * scales, int zero_point) {
        const __m512 scale = load_factors(scales);
        const float  zero  = static_cast<float>(zero_point);
        return {scale, _mm512_mul_ps(scale, _mm512_set1_ps(128.0f + zero)), _mm512_mul_ps(scale, _mm512_set1_ps(32768.0f + zero))};
    }

    LC_INLINE Vector load(const uint8_t * line) { return _mm512_loadu_si512(line); }
    template <int N> LC_INLINE Vector shift_left(Vector v) { return _mm512_slli_epi32(v, N); }
    template <int N> LC_INLINE Vector shift_right(Vector v) { return _mm512_srli_epi32(v, N); }

    // Returns bits 0-3 of each byte of `low` with bits 4-7 of `high`.
    LC_INLINE Vector join_nibbles(Vector low, Vector high) {
        return _mm512_ternarylogic_epi32(_mm512_set1_epi32(0x0F0F0F0F), low, high, 0xCA);
    }

    // Returns a byte of ones or of zeros for each of 64 bits.
    LC_INLINE Vector bytes_of_bits(const uint8_t * bits) {
        __mmask64 mask;
        __builtin_memcpy(&mask, bits, sizeof mask);
        return _mm512_movm_epi8(mask);
    }

    // Writes two lines of the tile from a word of each column. The lower BITS bits of its bytes are the quants; others are
    // ignored.
    template <int BITS> LC_INLINE void put_word(Vector word, const Affine & affine, Vector * lines) {
        if constexpr (BITS == 8) {
            // An eighth bit would lie in the exponent of 2^7.
            put_pair(value_15<BITS>(shift_left<8>(word), affine), value_15<BITS>(shift_right<8>(word), affine), lines);
            put_pair(value_15<BITS>(word, affine), value_15<BITS>(shift_right<16>(word), affine), lines + 1);
        } else {
            const Vector rotated = _mm512_rol_epi32(word, 16);
            put_pair(value_7<BITS>(rotated, affine), value_7<BITS>(word, affine), lines);
            put_pair(value_15<BITS>(word, affine), value_15<BITS>(rotated, affine), lines + 1);
        }
    }

private:
    LC_INLINE __m512 load_factors(const uint16_t * halves) {
        const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(halves));
        return _mm512_mul_ps(_mm512_cvtph_ps(bits), _mm512_set1_ps(TRUNCATION_FACTOR));
    }

    // Weights of the quants in byte 2 of each lane.
    template <int BITS> LC_INLINE Vector value_7(Vector word, const Affine & affine) {
        return weight(select(word, ((1 << BITS) - 1) << 16, TWO_7), affine.scale, affine.offset_7);
    }

    // Weights of the quants in byte 1 of each lane.
    template <int BITS> LC_INLINE Vector value_15(Vector word, const Affine & affine) {
        return weight(select(word, ((1 << BITS) - 1) << 8, TWO_15), affine.scale, affine.offset_15);
    }

    LC_INLINE Vector weight(Vector floats, __m512 scale, __m512 offset) {
        return _mm512_castps_si512(_mm512_fmsub_ps(_mm512_castsi512_ps(floats), scale, offset));
    }

    // (word & mask) | power
    LC_INLINE Vector select(Vector word, int mask, int power) {
        return _mm512_ternarylogic_epi32(word, _mm512_set1_epi32(mask), _mm512_set1_epi32(power), 0xEA);
    }

    // Writes a line of pairs: the upper half of `first` as each lane's lower half, the upper half of `second` as its upper
    // half.
    LC_INLINE void put_pair(Vector first, Vector second, Vector * line) {
        const Vector down = _mm512_set4_epi32(0x0F0E0F0E, 0x0B0A0B0A, 0x07060706, 0x03020302);
        _mm512_store_si512(line, _mm512_mask_shuffle_epi8(second, 0x3333333333333333, first, down));
    }
};

} // namespace
} // namespace lc::kernels
