// Records of packed weights (packed.h) to tiles of bf16.
//
// A tile holds a block of one group: line p is pair p of k for 16 columns. Word w (k = 4w..4w+3) of the columns gives two
// lines, (4w, 4w+2) and (4w+1, 4w+3); activations are packed in that order (pack_order()).
//
// A quant becomes a float without a conversion: or'ed into the mantissa of 2^7 (from bits 16 and up) or of 2^15 (from bits
// 8 and up) it counts in ones, and the constant that is subtracted from scale * float takes the power of two off again. The
// upper half of the float is its bf16, cut off; scale and minimum are larger by the factor that makes the error of cutting
// as small as that of rounding, on average zero.
#pragma once

#include "kernels/weights/packed.h"

#include <immintrin.h>

namespace lc::kernels {
namespace {

// Cutting loses half an ulp on average: 2^-8 of a mantissa of 1, 2^-9 of a mantissa of 2.
inline constexpr float CUT_COMPENSATION = 1.0f + 0.70f / 256.0f;

// Floats in whose mantissa bit 16 or bit 8 counts one.
inline constexpr int TWO_7  = 0x43000000;
inline constexpr int TWO_15 = 0x47000000;

static inline __attribute__((always_inline)) __m512i pack_order() {
    alignas(64) static const uint16_t order[32] = {0,  2,  1,  3,  4,  6,  5,  7,  8,  10, 9,  11, 12, 14, 13, 15,
                                                   16, 18, 17, 19, 20, 22, 21, 23, 24, 26, 25, 27, 28, 30, 29, 31};
    return _mm512_load_si512(order);
}

static inline __attribute__((always_inline)) __m512 halves_at(const uint8_t * at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(at)));
}

// value = scale * float - offset_7 or offset_15, by the power of two in the float.
struct Factors {
    __m512 scale;
    __m512 offset_7;
    __m512 offset_15;
};

static inline __attribute__((always_inline)) Factors factors_of(const uint8_t * scales, __m512 min) {
    const __m512 scale = _mm512_mul_ps(halves_at(scales), _mm512_set1_ps(CUT_COMPENSATION));
    return {scale, _mm512_fmadd_ps(scale, _mm512_set1_ps(128.0f), min), _mm512_fmadd_ps(scale, _mm512_set1_ps(32768.0f), min)};
}

// With the minima of w4 and w5.
static inline __attribute__((always_inline)) Factors factors_with_min(const uint8_t * scales, const uint8_t * mins) {
    return factors_of(scales, _mm512_mul_ps(halves_at(mins), _mm512_set1_ps(CUT_COMPENSATION)));
}

// With a zero point in units of the scale.
static inline __attribute__((always_inline)) Factors factors_with_zero(const uint8_t * scales, float zero) {
    const __m512 scale = _mm512_mul_ps(halves_at(scales), _mm512_set1_ps(CUT_COMPENSATION));
    return {scale, _mm512_mul_ps(scale, _mm512_set1_ps(128.0f + zero)), _mm512_mul_ps(scale, _mm512_set1_ps(32768.0f + zero))};
}

static inline __attribute__((always_inline)) __m512i value_bits(__m512i quants, __m512 scale, __m512 offset) {
    return _mm512_castps_si512(_mm512_fmsub_ps(_mm512_castsi512_ps(quants), scale, offset));
}

// The upper half of `first` goes into the lower half of `second`.
static inline __attribute__((always_inline)) void put_pair(__m512i first, __m512i second, __m512i * line) {
    const __m512i down = _mm512_set4_epi32(0x0F0E0F0E, 0x0B0A0B0A, 0x07060706, 0x03020302);
    _mm512_store_si512(line, _mm512_mask_shuffle_epi8(second, 0x3333333333333333, first, down));
}

// (word & mask) | magic
static inline __attribute__((always_inline)) __m512i select(__m512i word, int mask, int magic) {
    return _mm512_ternarylogic_epi32(word, _mm512_set1_epi32(mask), _mm512_set1_epi32(magic), 0xEA);
}

// A word of each column, of whose bytes the lower BITS bits are the quants, gives two lines of the tile.
template <int BITS> static inline __attribute__((always_inline)) void put_word(__m512i word, const Factors & f, __m512i * lines) {
    static_assert(BITS <= 7, "an eighth bit would lie in the exponent of 2^7");
    constexpr int UPPER   = ((1 << BITS) - 1) << 16;
    constexpr int LOWER   = ((1 << BITS) - 1) << 8;
    const __m512i rotated = _mm512_rol_epi32(word, 16);
    put_pair(value_bits(select(rotated, UPPER, TWO_7), f.scale, f.offset_7),
             value_bits(select(word, UPPER, TWO_7), f.scale, f.offset_7), lines);
    put_pair(value_bits(select(word, LOWER, TWO_15), f.scale, f.offset_15),
             value_bits(select(rotated, LOWER, TWO_15), f.scale, f.offset_15), lines + 1);
}

// The same of eight bits.
static inline __attribute__((always_inline)) void put_bytes(__m512i word, const Factors & f, __m512i * lines) {
    constexpr int LOWER = 0xFF00;
    const auto    value = [&](__m512i at_8) { return value_bits(select(at_8, LOWER, TWO_15), f.scale, f.offset_15); };
    put_pair(value(_mm512_slli_epi32(word, 8)), value(_mm512_srli_epi32(word, 8)), lines);
    put_pair(value(word), value(_mm512_srli_epi32(word, 16)), lines + 1);
}

// Bits 0-3 of each byte of `low`, all others of `high`.
static inline __attribute__((always_inline)) __m512i join_nibble(__m512i low, __m512i high) {
    return _mm512_ternarylogic_epi32(_mm512_set1_epi32(0x0F0F0F0F), low, high, 0xCA);
}

static inline __attribute__((always_inline)) __m512i line_at(const uint8_t * record, int line) {
    return _mm512_loadu_si512(record + 64 * line);
}

static inline __attribute__((always_inline)) void dequant_w4(const uint8_t * record, __m512i * tile) {
    const Factors f = factors_with_min(record + 256, record + 288);
#pragma GCC unroll 4
    for (int l = 0; l < 4; l++) {
        const __m512i nibbles = line_at(record, l);
        put_word<4>(nibbles, f, tile + 4 * l);
        put_word<4>(_mm512_srli_epi32(nibbles, 4), f, tile + 4 * l + 2);
    }
}

static inline __attribute__((always_inline)) __m512i fifth_bits_at(const uint8_t * record, int word) {
    __mmask64 bits;
    __builtin_memcpy(&bits, record + 256 + 8 * word, sizeof bits);
    return _mm512_movm_epi8(bits);
}

static inline __attribute__((always_inline)) void dequant_w5(const uint8_t * record, __m512i * tile) {
    const Factors f = factors_with_min(record + 320, record + 352);
#pragma GCC unroll 4
    for (int l = 0; l < 4; l++) {
        const __m512i nibbles = line_at(record, l);
        put_word<5>(join_nibble(nibbles, fifth_bits_at(record, 2 * l)), f, tile + 4 * l);
        put_word<5>(join_nibble(_mm512_srli_epi32(nibbles, 4), fifth_bits_at(record, 2 * l + 1)), f, tile + 4 * l + 2);
    }
}

static inline __attribute__((always_inline)) void dequant_w6(const uint8_t * record, __m512i * tile) {
#pragma GCC unroll 2
    for (int m = 0; m < 2; m++) {
        const Factors f      = factors_with_zero(record + 384 + 32 * m, 32.0f);
        const __m512i upper  = line_at(record, 4 + m);
        const __m512i first  = line_at(record, 2 * m);
        const __m512i second = line_at(record, 2 * m + 1);
        __m512i *     lines  = tile + 8 * m;
        put_word<6>(join_nibble(first, _mm512_slli_epi32(upper, 4)), f, lines);
        put_word<6>(join_nibble(_mm512_srli_epi32(first, 4), _mm512_slli_epi32(upper, 2)), f, lines + 2);
        put_word<6>(join_nibble(second, upper), f, lines + 4);
        put_word<6>(join_nibble(_mm512_srli_epi32(second, 4), _mm512_srli_epi32(upper, 2)), f, lines + 6);
    }
}

static inline __attribute__((always_inline)) void dequant_w8(const uint8_t * record, __m512i * tile) {
    const Factors f = factors_with_zero(record + 512, 128.0f);
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        put_bytes(line_at(record, j), f, tile + 2 * j);
    }
}

template <Format F> static inline __attribute__((always_inline)) void dequant_record(const uint8_t * record, void * tile) {
    __m512i * lines = static_cast<__m512i *>(tile);
    if constexpr (F == Format::w4) {
        dequant_w4(record, lines);
    } else if constexpr (F == Format::w5) {
        dequant_w5(record, lines);
    } else if constexpr (F == Format::w6) {
        dequant_w6(record, lines);
    } else {
        dequant_w8(record, lines);
    }
}

} // namespace
} // namespace lc::kernels
