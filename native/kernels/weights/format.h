// What the specializations of FormatTraits<> (format_traits.h) have in common.
#pragma once

#include "kernels/isa/simd/simd.h"
#include "kernels/weights/ggml_blocks.h"
#include "kernels/weights/ggml_k_blocks.h"
#include "kernels/weights/packed.h"

namespace lc::kernels {
namespace {

template <Format F> struct FormatTraits;

template <typename... Blocks> struct BlockList {};

// 64 bytes, four for each of 16 columns: a vector of AVX-512, or two of AVX2.
using Line = uint8_t[64];

// The nibbles of w4, w5 and w6: line l holds k = 8l .. 8l + 7. Column c has bytes 4c .. 4c + 3, in which byte 4c + i holds k = 8l + i in
// the low nibble and k = 8l + 4 + i in the high one:
//
//             column 0                        column 1                ...   column 15
//   byte      0       1       2       3       4       5                     63
//   low       k=8l    8l+1    8l+2    8l+3    8l      8l+1                  8l+3
//   high      8l+4    8l+5    8l+6    8l+7    8l+4    8l+5                  8l+7
//
// So the low nibbles of a line are word 2l of each column's quants (ColumnBlock), the high ones word 2l + 1. Products take the four
// values of a word at once: one lane of vpdpbusd.
inline void pack_nibbles(const ColumnBlock & from, int64_t column, Line * lines) {
    for (int l = 0; l < 4; l++) {
        const uint32_t word = (from.quants[2 * l] & LOW_NIBBLES) | (from.quants[2 * l + 1] & LOW_NIBBLES) << 4;
        std::memcpy(lines[l] + 4 * column, &word, sizeof word);
    }
}

inline void unpack_nibbles(const Line * lines, int64_t column, ColumnBlock * to) {
    for (int l = 0; l < 4; l++) {
        uint32_t word;
        std::memcpy(&word, lines[l] + 4 * column, sizeof word);
        to->quants[2 * l]     = word & LOW_NIBBLES;
        to->quants[2 * l + 1] = word >> 4 & LOW_NIBBLES;
    }
}

} // namespace
} // namespace lc::kernels
