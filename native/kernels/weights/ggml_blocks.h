// ggml's quantized blocks of 32 weights, read into ColumnBlocks and written back: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. (The K-quants
// are in ggml_k_blocks.h.) These five are written back bit for bit.
//
// A specialization of GgmlBlock<Block> has
//   Block            ggml's struct
//   TYPE             ggml's number of the type
//   N_COLUMN_BLOCKS  ColumnBlocks in one block of ggml's: 1, or 8 for K-quants
//   read, write      conversions from and to N_COLUMN_BLOCKS ColumnBlocks; read() leaves unused fields as they are
#pragma once

#define GGML_COMMON_DECL_C
#include "ggml-common.h"

#include "kernels/weights/column_block.h"
#include "kernels/weights/half.h"

#include "ggml.h"

#include <cstdint>
#include <cstring>

namespace lc::kernels {
namespace {

template <typename Block> struct GgmlBlock;

// 16 bytes hold k = 0..15 in their low nibbles and k = 16..31 in their high ones.
inline void read_nibbles(const uint8_t * bytes, uint32_t * quants) {
    uint32_t in[4];
    std::memcpy(in, bytes, sizeof in);
    for (int j = 0; j < 4; j++) {
        quants[j]     = in[j] & LOW_NIBBLES;
        quants[4 + j] = in[j] >> 4 & LOW_NIBBLES;
    }
}

inline void write_nibbles(const uint32_t * quants, uint8_t * bytes) {
    for (int j = 0; j < 4; j++) {
        const uint32_t word = (quants[j] & LOW_NIBBLES) | (quants[4 + j] & LOW_NIBBLES) << 4;
        std::memcpy(bytes + 4 * j, &word, sizeof word);
    }
}

// 4 bytes hold the fifth bits of k = 0..31, in order.
inline void read_fifth_bits(const uint8_t * bytes, uint32_t * quants) {
    uint32_t bits;
    std::memcpy(&bits, bytes, sizeof bits);
    for (int j = 0; j < 8; j++) {
        quants[j] |= spread_fifth_bits(bits >> 4 * j & 0xF);
    }
}

inline void write_fifth_bits(const uint32_t * quants, uint8_t * bytes) {
    uint32_t bits = 0;
    for (int j = 0; j < 8; j++) {
        bits |= gather_fifth_bits(quants[j]) << 4 * j;
    }
    std::memcpy(bytes, &bits, sizeof bits);
}

// weight = d * (quant - 8)
template <> struct GgmlBlock<block_q4_0> {
    using Block                                = block_q4_0;
    static constexpr ggml_type TYPE            = GGML_TYPE_Q4_0;
    static constexpr int       N_COLUMN_BLOCKS = 1;

    static void read(const block_q4_0 & from, ColumnBlock * to) {
        read_nibbles(from.qs, to->quants);
        to->scales[0] = from.d;
        to->min       = to_half(8.0f * from_half(from.d));
    }

    static void write(const ColumnBlock * from, block_q4_0 * to) {
        write_nibbles(from->quants, to->qs);
        to->d = from->scales[0];
    }
};

// weight = d * quant + m
template <> struct GgmlBlock<block_q4_1> {
    using Block                                = block_q4_1;
    static constexpr ggml_type TYPE            = GGML_TYPE_Q4_1;
    static constexpr int       N_COLUMN_BLOCKS = 1;

    static void read(const block_q4_1 & from, ColumnBlock * to) {
        read_nibbles(from.qs, to->quants);
        to->scales[0] = from.d;
        to->min       = negated(from.m);
    }

    static void write(const ColumnBlock * from, block_q4_1 * to) {
        write_nibbles(from->quants, to->qs);
        to->d = from->scales[0];
        to->m = negated(from->min);
    }
};

// weight = d * (quant - 16)
template <> struct GgmlBlock<block_q5_0> {
    using Block                                = block_q5_0;
    static constexpr ggml_type TYPE            = GGML_TYPE_Q5_0;
    static constexpr int       N_COLUMN_BLOCKS = 1;

    static void read(const block_q5_0 & from, ColumnBlock * to) {
        read_nibbles(from.qs, to->quants);
        read_fifth_bits(from.qh, to->quants);
        to->scales[0] = from.d;
        to->min       = to_half(16.0f * from_half(from.d));
    }

    static void write(const ColumnBlock * from, block_q5_0 * to) {
        write_nibbles(from->quants, to->qs);
        write_fifth_bits(from->quants, to->qh);
        to->d = from->scales[0];
    }
};

// weight = d * quant + m
template <> struct GgmlBlock<block_q5_1> {
    using Block                                = block_q5_1;
    static constexpr ggml_type TYPE            = GGML_TYPE_Q5_1;
    static constexpr int       N_COLUMN_BLOCKS = 1;

    static void read(const block_q5_1 & from, ColumnBlock * to) {
        read_nibbles(from.qs, to->quants);
        read_fifth_bits(from.qh, to->quants);
        to->scales[0] = from.d;
        to->min       = negated(from.m);
    }

    static void write(const ColumnBlock * from, block_q5_1 * to) {
        write_nibbles(from->quants, to->qs);
        write_fifth_bits(from->quants, to->qh);
        to->d = from->scales[0];
        to->m = negated(from->min);
    }
};

// weight = d * quant, where quant is signed: stored with 128 added, that is, its sign bit flipped.
template <> struct GgmlBlock<block_q8_0> {
    using Block                                = block_q8_0;
    static constexpr ggml_type TYPE            = GGML_TYPE_Q8_0;
    static constexpr int       N_COLUMN_BLOCKS = 1;
    static constexpr uint32_t  SIGN_BITS       = 0x80808080;

    static void read(const block_q8_0 & from, ColumnBlock * to) {
        std::memcpy(to->quants, from.qs, sizeof to->quants);
        for (uint32_t & word : to->quants) {
            word ^= SIGN_BITS;
        }
        to->scales[0] = from.d;
    }

    static void write(const ColumnBlock * from, block_q8_0 * to) {
        uint32_t words[8];
        for (int j = 0; j < 8; j++) {
            words[j] = from->quants[j] ^ SIGN_BITS;
        }
        std::memcpy(to->qs, words, sizeof words);
        to->d = from->scales[0];
    }
};

} // namespace
} // namespace lc::kernels
