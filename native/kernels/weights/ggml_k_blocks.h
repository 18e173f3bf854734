// ggml's K-quants, blocks of 256 weights, read into eight ColumnBlocks and written back: Q4_K, Q5_K, Q6_K.
//
// A block that is written back stands for the same weights and packs to the same bytes as the file's. It need not be the same
// bytes: see common_scale.h.
#pragma once

#include "kernels/weights/common_scale.h"
#include "kernels/weights/ggml_blocks.h"

namespace lc::kernels {
namespace {

// Q4_K and Q5_K have 8 scales and 8 mins of 6 bits in 12 bytes. The first four of each lie in the lower 6 bits of bytes 0-7.
// Bytes 8-11 hold the lower 4 bits of the last four (scale in the low nibble, min in the high one); their upper 2 bits lie
// above the first four.
template <typename Block> void read_scales(const Block & from, ColumnBlock * to) {
    const uint8_t * in    = from.scales;
    const float     scale = from_half(from.d);
    const float     min   = from_half(from.dmin);
    for (int j = 0; j < 4; j++) {
        const int upper_scale = in[j] >> 6 << 4;
        const int upper_min   = in[4 + j] >> 6 << 4;
        to[j].scales[0]       = to_half(scale * static_cast<float>(in[j] & 0x3F));
        to[j].min             = to_half(min * static_cast<float>(in[4 + j] & 0x3F));
        to[4 + j].scales[0]   = to_half(scale * static_cast<float>((in[8 + j] & 0xF) | upper_scale));
        to[4 + j].min         = to_half(min * static_cast<float>(in[8 + j] >> 4 | upper_min));
    }
}

template <typename Block> void write_scales(const ColumnBlock * from, Block * to) {
    uint16_t scales[8], mins[8];
    for (int j = 0; j < 8; j++) {
        scales[j] = from[j].scales[0];
        mins[j]   = from[j].min;
    }
    const CommonScale scale = find_common_scale(scales, 8, SIX_BITS), min = find_common_scale(mins, 8, SIX_BITS);
    const int *       s = scale.multipliers;
    const int *       m = min.multipliers;
    to->d               = scale.scale;
    to->dmin            = min.scale;
    for (int j = 0; j < 4; j++) {
        to->scales[j]     = static_cast<uint8_t>(s[j] | s[4 + j] >> 4 << 6);
        to->scales[4 + j] = static_cast<uint8_t>(m[j] | m[4 + j] >> 4 << 6);
        to->scales[8 + j] = static_cast<uint8_t>((s[4 + j] & 0xF) | (m[4 + j] & 0xF) << 4);
    }
}

// Q4_K and Q5_K: 32 bytes hold two ColumnBlocks, the first one in the low nibbles.
inline void read_paired_nibbles(const uint8_t * bytes, ColumnBlock * to) {
    for (int pair = 0; pair < 4; pair++) {
        uint32_t in[8];
        std::memcpy(in, bytes + 32 * pair, sizeof in);
        for (int j = 0; j < 8; j++) {
            to[2 * pair].quants[j]     = in[j] & LOW_NIBBLES;
            to[2 * pair + 1].quants[j] = in[j] >> 4 & LOW_NIBBLES;
        }
    }
}

inline void write_paired_nibbles(const ColumnBlock * from, uint8_t * bytes) {
    for (int pair = 0; pair < 4; pair++) {
        uint32_t out[8];
        for (int j = 0; j < 8; j++) {
            out[j] = (from[2 * pair].quants[j] & LOW_NIBBLES) | (from[2 * pair + 1].quants[j] & LOW_NIBBLES) << 4;
        }
        std::memcpy(bytes + 32 * pair, out, sizeof out);
    }
}

// weight = d * scale * quant - dmin * min
template <> struct GgmlBlock<block_q4_K> {
    using Block                                = block_q4_K;
    static constexpr ggml_type TYPE            = GGML_TYPE_Q4_K;
    static constexpr int       N_COLUMN_BLOCKS = 8;

    static void read(const block_q4_K & from, ColumnBlock * to) {
        read_paired_nibbles(from.qs, to);
        read_scales(from, to);
    }

    static void write(const ColumnBlock * from, block_q4_K * to) {
        write_paired_nibbles(from, to->qs);
        write_scales(from, to);
    }
};

// weight = d * scale * quant - dmin * min. Bit b of byte k of qh is the fifth bit of value k of ColumnBlock b.
template <> struct GgmlBlock<block_q5_K> {
    using Block                                = block_q5_K;
    static constexpr ggml_type TYPE            = GGML_TYPE_Q5_K;
    static constexpr int       N_COLUMN_BLOCKS = 8;

    static void read(const block_q5_K & from, ColumnBlock * to) {
        read_paired_nibbles(from.qs, to);
        read_scales(from, to);
        uint32_t bits[8];
        std::memcpy(bits, from.qh, sizeof bits);
        for (int b = 0; b < 8; b++) {
            for (int j = 0; j < 8; j++) {
                to[b].quants[j] |= (bits[j] >> b & LOWEST_BITS) << 4;
            }
        }
    }

    static void write(const ColumnBlock * from, block_q5_K * to) {
        write_paired_nibbles(from, to->qs);
        write_scales(from, to);
        uint32_t bits[8] = {};
        for (int b = 0; b < 8; b++) {
            for (int j = 0; j < 8; j++) {
                bits[j] |= (from[b].quants[j] >> 4 & LOWEST_BITS) << b;
            }
        }
        std::memcpy(to->qh, bits, sizeof bits);
    }
};

// weight = d * scale * (quant - 32), with a scale for each 16 weights. Each half of the block (four ColumnBlocks) has 64 bytes
// of nibbles, ColumnBlocks 0 and 1 in the low ones, 2 and 3 in the high ones, and 32 bytes with the upper two bits of each
// ColumnBlock.
template <> struct GgmlBlock<block_q6_K> {
    using Block                                = block_q6_K;
    static constexpr ggml_type TYPE            = GGML_TYPE_Q6_K;
    static constexpr int       N_COLUMN_BLOCKS = 8;

    static void read(const block_q6_K & from, ColumnBlock * to) {
        for (int half = 0; half < 2; half++) {
            read_half(from.ql + 64 * half, from.qh + 32 * half, to + 4 * half);
        }
        const float scale = from_half(from.d);
        for (int i = 0; i < 16; i++) {
            to[i / 2].scales[i % 2] = to_half(scale * static_cast<float>(from.scales[i]));
        }
    }

    static void write(const ColumnBlock * from, block_q6_K * to) {
        for (int half = 0; half < 2; half++) {
            write_half(from + 4 * half, to->ql + 64 * half, to->qh + 32 * half);
        }
        uint16_t scales[16];
        for (int i = 0; i < 16; i++) {
            scales[i] = from[i / 2].scales[i % 2];
        }
        const CommonScale scale = find_common_scale(scales, 16, SIGNED_BYTES);
        to->d                   = scale.scale;
        for (int i = 0; i < 16; i++) {
            to->scales[i] = static_cast<int8_t>(scale.multipliers[i]);
        }
    }

private:
    static void read_half(const uint8_t * nibbles, const uint8_t * upper_bits, ColumnBlock * to) {
        uint32_t low[16], upper[8];
        std::memcpy(low, nibbles, sizeof low);
        std::memcpy(upper, upper_bits, sizeof upper);
        for (int b = 0; b < 4; b++) {
            for (int j = 0; j < 8; j++) {
                const uint32_t nibbles = low[8 * (b & 1) + j] >> 4 * (b >> 1) & LOW_NIBBLES;
                to[b].quants[j]        = nibbles | (upper[j] >> 2 * b & LOWEST_PAIRS) << 4;
            }
        }
    }

    static void write_half(const ColumnBlock * from, uint8_t * nibbles, uint8_t * upper_bits) {
        uint32_t low[16] = {}, upper[8] = {};
        for (int b = 0; b < 4; b++) {
            for (int j = 0; j < 8; j++) {
                low[8 * (b & 1) + j] |= (from[b].quants[j] & LOW_NIBBLES) << 4 * (b >> 1);
                upper[j] |= (from[b].quants[j] >> 4 & LOWEST_PAIRS) << 2 * b;
            }
        }
        std::memcpy(nibbles, low, sizeof low);
        std::memcpy(upper_bits, upper, sizeof upper);
    }
};

} // namespace
} // namespace lc::kernels
