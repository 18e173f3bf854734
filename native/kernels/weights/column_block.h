// One block of one column: the form between a block of ggml's and a packed block.
//
//   ggml's block  --GgmlBlock<>::read-->  ColumnBlock  --FormatTraits<>::pack-->    packed block
//   ggml's block  <--GgmlBlock<>::write-- ColumnBlock  <--FormatTraits<>::unpack--  packed block
#pragma once

#include <cstdint>

namespace lc::kernels {
namespace {

// 32 weights of one column. Every format has weight = scale * (quant - zero point) - min, with the fields that it needs.
struct ColumnBlock {
    uint32_t quants[8]; // unsigned bytes, four a word: byte i of word j is k = 4j + i
    uint16_t scales[2]; // f16. Two scales: k < 16, k >= 16. One scale: the first
    uint16_t min;       // f16
};

// Bits of four bytes.
inline constexpr uint32_t LOW_NIBBLES  = 0x0F0F0F0F;
inline constexpr uint32_t FIFTH_BITS   = 0x10101010;
inline constexpr uint32_t LOWEST_BITS  = 0x01010101;
inline constexpr uint32_t LOWEST_PAIRS = 0x03030303;

// Returns the fifth bit of each byte of `word`: byte i's is bit i of the result.
inline uint32_t gather_fifth_bits(uint32_t word) {
    // The product moves bit 4 of byte i to bit 28 + i.
    return (word & FIFTH_BITS) * 0x01020408u >> 28;
}

// The inverse: bit i of `four` becomes the fifth bit of byte i.
inline uint32_t spread_fifth_bits(uint32_t four) {
    // The product holds four copies, 7 bits apart, so that bit i of copy i is the lowest bit of byte i.
    return (four * 0x00204081 & LOWEST_BITS) << 4;
}

} // namespace
} // namespace lc::kernels
