// ggml's blocks of weights, put together again from ggml_blocks.h's: the inverse of take().
//
// Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 come back bit for bit. K-quants have a scale for each 16 or 32 values that is a whole number times
// the block's; packed, only the rounded product is left. The numbers that come back give the same products, so that the block packs to
// the same bytes and stands for the same weights, but it may differ from the file's in the last bit of its scale.
#pragma once

#include "kernels/weights/ggml_blocks.h"

#include <cmath>
#include <cstdlib>

namespace lc::kernels {
namespace {

// Bit 4j + i is bit 4 of byte i of word j.
inline uint32_t fifth_bits(const uint32_t * words) {
    uint32_t bits = 0;
    for (int j = 0; j < 8; j++) {
        bits |= ((words[j] & 0x10101010) * 0x01020408u >> 28) << 4 * j;
    }
    return bits;
}

inline void join_nibbles(const uint32_t * words, uint8_t * bytes) {
    for (int j = 0; j < 4; j++) {
        const uint32_t word = (words[j] & 0x0F0F0F0F) | (words[4 + j] & 0x0F0F0F0F) << 4;
        std::memcpy(bytes + 4 * j, &word, sizeof word);
    }
}

inline void give(const Piece * in, block_q4_0 & block) {
    join_nibbles(in->words, block.qs);
    block.d = in->scales[0];
}

inline void give(const Piece * in, block_q4_1 & block) {
    join_nibbles(in->words, block.qs);
    block.d = in->scales[0];
    block.m = negated(in->min);
}

inline void give(const Piece * in, block_q5_0 & block) {
    const uint32_t bits = fifth_bits(in->words);
    join_nibbles(in->words, block.qs);
    std::memcpy(block.qh, &bits, sizeof bits);
    block.d = in->scales[0];
}

inline void give(const Piece * in, block_q5_1 & block) {
    const uint32_t bits = fifth_bits(in->words);
    join_nibbles(in->words, block.qs);
    std::memcpy(block.qh, &bits, sizeof bits);
    block.d = in->scales[0];
    block.m = negated(in->min);
}

inline void give(const Piece * in, block_q8_0 & block) {
    uint32_t words[8];
    for (int j = 0; j < 8; j++) {
        words[j] = in->words[j] ^ 0x80808080;
    }
    std::memcpy(block.qs, words, sizeof words);
    block.d = in->scales[0];
}

// Products that were rounded to f16, as a common scale times whole numbers.
struct Factors {
    uint16_t scale;
    int      numbers[16];
};

// Whole numbers that a format allows. The largest product mostly has `first`, since quantization makes use of the range.
struct Range {
    int least, most, first;
};

inline bool is_finite(uint16_t half) {
    return (half & 0x7C00) != 0x7C00;
}

// Whether each product is a whole number times `scale`.
inline bool factors_by(const uint16_t * products, int n, const Range & range, uint16_t scale, Factors * out) {
    const float value = from_half(scale);
    out->scale        = scale;
    for (int i = 0; i < n; i++) {
        const float ratio  = value == 0.0f ? 0.0f : from_half(products[i]) / value;
        const int   number = static_cast<int>(std::lrint(ratio));
        if (std::fabs(ratio) > 256.0f || number < range.least || number > range.most ||
            to_half(value * static_cast<float>(number)) != products[i]) {
            return false;
        }
        out->numbers[i] = number;
    }
    return true;
}

// Tries `number` for the product `largest`: the scale is then known to about one place.
inline bool factors_with(const uint16_t * products, int n, const Range & range, uint16_t largest, int number, Factors * out) {
    if (number == 0) {
        return false;
    }
    const uint16_t near = to_half(from_half(largest) / static_cast<float>(number));
    constexpr int STEPS[] = {0, -1, 1};
    for (const int step : STEPS) {
        const auto scale = static_cast<uint16_t>(near + step);
        if (is_finite(scale) && factors_by(products, n, range, scale, out)) {
            return true;
        }
    }
    return false;
}

// No finite scale has such products: they were not numbers in the file either.
inline Factors factors_of_none(const uint16_t * products, int n, uint16_t largest) {
    Factors out = {largest, {}};
    for (int i = 0; i < n; i++) {
        out.numbers[i] = products[i] == largest ? 1 : 0;
    }
    return out;
}

inline Factors factors_of(const uint16_t * products, int n, const Range & range) {
    uint16_t largest = products[0];
    for (int i = 1; i < n; i++) {
        largest = (products[i] & 0x7FFF) > (largest & 0x7FFF) ? products[i] : largest;
    }
    Factors out = {};
    if ((largest & 0x7FFF) == 0) {
        // Zeros have signs too.
        out.scale = largest;
        for (int i = 0; i < n; i++) {
            out.numbers[i] = products[i] != largest && range.least < 0 ? -1 : 0;
        }
        return out;
    }
    if (!is_finite(largest)) {
        return factors_of_none(products, n, largest);
    }
    if (factors_with(products, n, range, largest, range.first, &out)) {
        return out;
    }
    for (int number = range.most; number >= range.least; number--) {
        if (factors_with(products, n, range, largest, number, &out)) {
            return out;
        }
    }
    return factors_of_none(products, n, largest);
}

inline constexpr Range SIX_BITS = {0, 63, 63}, EIGHT_BITS = {-128, 127, -128};

// The inverse of take_scales().
template <typename Block> void give_scales(const Piece * in, Block & block) {
    uint16_t scales[8], mins[8];
    for (int j = 0; j < 8; j++) {
        scales[j] = in[j].scales[0];
        mins[j]   = in[j].min;
    }
    const Factors s = factors_of(scales, 8, SIX_BITS), m = factors_of(mins, 8, SIX_BITS);
    block.d    = s.scale;
    block.dmin = m.scale;
    for (int j = 0; j < 4; j++) {
        block.scales[j]     = static_cast<uint8_t>(s.numbers[j] | s.numbers[4 + j] >> 4 << 6);
        block.scales[4 + j] = static_cast<uint8_t>(m.numbers[j] | m.numbers[4 + j] >> 4 << 6);
        block.scales[8 + j] = static_cast<uint8_t>((s.numbers[4 + j] & 0xF) | (m.numbers[4 + j] & 0xF) << 4);
    }
}

// The inverse of take_nibbles().
inline void give_nibbles(const Piece * in, uint8_t * bytes) {
    for (int pair = 0; pair < 4; pair++) {
        uint32_t out[8];
        for (int j = 0; j < 8; j++) {
            out[j] = (in[2 * pair].words[j] & 0x0F0F0F0F) | (in[2 * pair + 1].words[j] & 0x0F0F0F0F) << 4;
        }
        std::memcpy(bytes + 32 * pair, out, sizeof out);
    }
}

inline void give(const Piece * in, block_q4_K & block) {
    give_nibbles(in, block.qs);
    give_scales(in, block);
}

inline void give(const Piece * in, block_q5_K & block) {
    give_nibbles(in, block.qs);
    give_scales(in, block);
    uint32_t bits[8] = {};
    for (int b = 0; b < 8; b++) {
        for (int j = 0; j < 8; j++) {
            bits[j] |= (in[b].words[j] >> 4 & 0x01010101) << b;
        }
    }
    std::memcpy(block.qh, bits, sizeof bits);
}

inline void give(const Piece * in, block_q6_K & block) {
    for (int half = 0; half < 2; half++) {
        uint32_t      low[16] = {}, upper[8] = {};
        const Piece * piece   = in + 4 * half;
        for (int b = 0; b < 4; b++) {
            for (int j = 0; j < 8; j++) {
                low[8 * (b & 1) + j] |= (piece[b].words[j] & 0x0F0F0F0F) << 4 * (b >> 1);
                upper[j] |= (piece[b].words[j] >> 4 & 0x03030303) << 2 * b;
            }
        }
        std::memcpy(block.ql + 64 * half, low, sizeof low);
        std::memcpy(block.qh + 32 * half, upper, sizeof upper);
    }
    uint16_t scales[16];
    for (int i = 0; i < 16; i++) {
        scales[i] = in[i / 2].scales[i % 2];
    }
    const Factors factors = factors_of(scales, 16, EIGHT_BITS);
    block.d = factors.scale;
    for (int i = 0; i < 16; i++) {
        block.scales[i] = static_cast<int8_t>(factors.numbers[i]);
    }
}

} // namespace
} // namespace lc::kernels
