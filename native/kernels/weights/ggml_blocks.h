// ggml's blocks of weights, taken apart for packed.cpp.
#pragma once

#define GGML_COMMON_DECL_C
#include "ggml-common.h"

#include "ggml.h"

#include <cstdint>
#include <cstring>

namespace lc::kernels {
namespace {

// A block of one column: its quants, unsigned, four a word (k = 4j in the lowest byte of word j), and its factors in f16.
struct Piece {
    uint32_t words[8];
    uint16_t scales[2];  // w6: for each half of k; else the first alone
    uint16_t min;
};

inline float from_half(uint16_t h) {
    return ggml_fp16_to_fp32(h);
}

// To nearest, ties to even. Beyond f16's range: infinity.
inline uint16_t to_half(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
    bits &= 0x7FFFFFFF;
    if (bits < 0x38800000) {
        // Below f16's normal numbers: 0.5 has the spacing that f16 has there.
        float magnitude;
        std::memcpy(&magnitude, &bits, sizeof bits);
        magnitude += 0.5f;
        std::memcpy(&bits, &magnitude, sizeof bits);
        return static_cast<uint16_t>(sign | (bits - 0x3F000000));
    }
    if (bits > 0x7F800000) {
        return static_cast<uint16_t>(sign | 0x7E00);
    }
    const uint32_t half = (bits - 0x38000000 + 0xFFF + (bits >> 13 & 1)) >> 13;
    return static_cast<uint16_t>(sign | (half < 0x7C00 ? half : 0x7C00));
}

inline uint16_t negated(uint16_t half) {
    return half ^ 0x8000;
}

// Half a word each: k = 0..15 lie in the low nibbles of 16 bytes, k = 16..31 in the high ones.
inline void split_nibbles(const uint8_t * bytes, uint32_t * words) {
    uint32_t in[4];
    std::memcpy(in, bytes, sizeof in);
    for (int j = 0; j < 4; j++) {
        words[j]     = in[j] & 0x0F0F0F0F;
        words[4 + j] = in[j] >> 4 & 0x0F0F0F0F;
    }
}

// Bit 4j + i of `bits` becomes bit 4 of byte i of word j.
inline void add_fifth_bits(uint32_t bits, uint32_t * words) {
    for (int j = 0; j < 8; j++) {
        // The four bits, 7 apart from one another's copies, so that each meets its byte.
        words[j] |= ((bits >> 4 * j & 0xF) * 0x00204081 & 0x01010101) << 4;
    }
}

inline void take(const block_q4_0 & block, Piece * out) {
    split_nibbles(block.qs, out->words);
    out->scales[0] = block.d;
    out->min       = to_half(8.0f * from_half(block.d));
}

inline void take(const block_q4_1 & block, Piece * out) {
    split_nibbles(block.qs, out->words);
    out->scales[0] = block.d;
    out->min       = negated(block.m);
}

inline void take(const block_q5_0 & block, Piece * out) {
    uint32_t bits;
    std::memcpy(&bits, block.qh, sizeof bits);
    split_nibbles(block.qs, out->words);
    add_fifth_bits(bits, out->words);
    out->scales[0] = block.d;
    out->min       = to_half(16.0f * from_half(block.d));
}

inline void take(const block_q5_1 & block, Piece * out) {
    uint32_t bits;
    std::memcpy(&bits, block.qh, sizeof bits);
    split_nibbles(block.qs, out->words);
    add_fifth_bits(bits, out->words);
    out->scales[0] = block.d;
    out->min       = negated(block.m);
}

inline void take(const block_q8_0 & block, Piece * out) {
    std::memcpy(out->words, block.qs, sizeof out->words);
    for (uint32_t & word : out->words) {
        word ^= 0x80808080;
    }
    out->scales[0] = block.d;
}

// Scales and minima of Q4_K and Q5_K: 6 bits each, 8 of both in 12 bytes.
inline void take_scales(const uint8_t * in, uint16_t d, uint16_t dmin, Piece * out) {
    const float scale = from_half(d);
    const float min   = from_half(dmin);
    for (int j = 0; j < 4; j++) {
        const int upper_scale = in[j] >> 6 << 4;
        const int upper_min   = in[4 + j] >> 6 << 4;
        out[j].scales[0]     = to_half(scale * static_cast<float>(in[j] & 0x3F));
        out[j].min           = to_half(min * static_cast<float>(in[4 + j] & 0x3F));
        out[4 + j].scales[0] = to_half(scale * static_cast<float>((in[8 + j] & 0xF) | upper_scale));
        out[4 + j].min       = to_half(min * static_cast<float>(in[8 + j] >> 4 | upper_min));
    }
}

// Q4_K and Q5_K: 32 bytes hold two blocks, the first in the low nibbles.
inline void take_nibbles(const uint8_t * bytes, Piece * out) {
    for (int pair = 0; pair < 4; pair++) {
        uint32_t in[8];
        std::memcpy(in, bytes + 32 * pair, sizeof in);
        for (int j = 0; j < 8; j++) {
            out[2 * pair].words[j]     = in[j] & 0x0F0F0F0F;
            out[2 * pair + 1].words[j] = in[j] >> 4 & 0x0F0F0F0F;
        }
    }
}

inline void take(const block_q4_K & block, Piece * out) {
    take_nibbles(block.qs, out);
    take_scales(block.scales, block.d, block.dmin, out);
}

inline void take(const block_q5_K & block, Piece * out) {
    take_nibbles(block.qs, out);
    take_scales(block.scales, block.d, block.dmin, out);
    uint32_t bits[8];
    std::memcpy(bits, block.qh, sizeof bits);
    for (int b = 0; b < 8; b++) {
        for (int j = 0; j < 8; j++) {
            out[b].words[j] |= (bits[j] >> b & 0x01010101) << 4;
        }
    }
}

// Q6_K: each half of 128 values has 64 bytes of nibbles (blocks 0 and 1 in the low ones, 2 and 3 in the high ones) and 32
// bytes with 2 upper bits of each block.
inline void take(const block_q6_K & block, Piece * out) {
    const float scale = from_half(block.d);
    for (int half = 0; half < 2; half++) {
        uint32_t low[16];
        uint32_t upper[8];
        std::memcpy(low, block.ql + 64 * half, sizeof low);
        std::memcpy(upper, block.qh + 32 * half, sizeof upper);
        Piece * piece = out + 4 * half;
        for (int b = 0; b < 4; b++) {
            for (int j = 0; j < 8; j++) {
                piece[b].words[j] = (low[8 * (b & 1) + j] >> 4 * (b >> 1) & 0x0F0F0F0F) | (upper[j] >> 2 * b & 0x03030303) << 4;
            }
        }
    }
    for (int b = 0; b < 8; b++) {
        for (int half = 0; half < 2; half++) {
            out[b].scales[half] = to_half(scale * static_cast<float>(block.scales[2 * b + half]));
        }
    }
}

} // namespace
} // namespace lc::kernels
