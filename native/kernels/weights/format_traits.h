// FormatTraits<F>: all that a weight format is. A specialization (format_w4.h, ...) has
//
//   FORMAT                F
//   BITS                  bits of a quant, which is unsigned: 0 .. 2^BITS - 1
//   N_SCALES              scales of a column in a block: 1, or 2 for k < 16 and k >= 16
//   HAS_MIN, ZERO_POINT   weight = scale * (quant - ZERO_POINT), minus the column's min if HAS_MIN
//   GgmlTypes             the types that are packed to this format, by their blocks (ggml_blocks.h, ggml_k_blocks.h)
//   PackedBlock           the layout of 16 columns times 32 values of k. Members that products read: scales[N_SCALES][16] and,
//                         if HAS_MIN, mins[16], in f16
//   pack, unpack          one column's block to a PackedBlock that was all zero before, and back
//
//   load_quants<S>(block, line, part, &low, &high)
//     For the int8 products. Two vectors of quants as bytes, of the columns S::LANES * part .. S::LANES * (part + 1) - 1:
//     words 2 * line and 2 * line + 1 of the columns' quants (ColumnBlock). S: a trait class of isa/simd.
//   to_bf16<T>(block, tile)
//     For the AMX product. The block's weights as a tile of bf16. T: Bf16TileWriter (matmul/bf16_gemm_dequantize.h).
//
// Products are templates over FormatTraits<F> and depend on a format through it only. A new format is one more specialization,
// one line in formats.h and its test (README.md, "Add a quantization type").
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

// The nibbles of w4, w5 and w6: line l holds k = 8l .. 8l + 7. Column c has bytes 4c .. 4c + 3, in which byte 4c + i holds k =
// 8l + i in the low nibble and k = 8l + 4 + i in the high one:
//
//             column 0                        column 1                ...   column 15
//   byte      0       1       2       3       4       5                     63
//   low       k=8l    8l+1    8l+2    8l+3    8l      8l+1                  8l+3
//   high      8l+4    8l+5    8l+6    8l+7    8l+4    8l+5                  8l+7
//
// So the low nibbles of a line are word 2l of each column's quants (ColumnBlock), the high ones word 2l + 1. Products take the
// four values of a word at once: one lane of vpdpbusd.
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
