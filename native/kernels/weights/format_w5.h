// Format w5: weight = scale * quant - min, quants of 5 bits. 6 bits a weight.
#pragma once

#include "kernels/weights/format_traits.h"

namespace lc::kernels {
namespace {

template <> struct FormatTraits<Format::w5> {
    static constexpr Format FORMAT     = Format::w5;
    static constexpr int    BITS       = 5;
    static constexpr int    N_SCALES   = 1;
    static constexpr bool   HAS_MIN    = true;
    static constexpr int    ZERO_POINT = 0;

    using GgmlTypes = BlockList<block_q5_0, block_q5_1, block_q5_K>;

    //   0    nibbles, 4 lines
    //   256  fifth bits, 8 times 64: bit 4c + i of the j-th 64 is for byte i of word j of column c
    //   320  scales, 32 bytes
    //   352  mins, 32 bytes
    struct PackedBlock {
        Line     nibbles[4];
        uint8_t  fifth_bits[8][8];
        uint16_t scales[1][16];
        uint16_t mins[16];
    };
    static_assert(sizeof(PackedBlock) == 384);

    static void pack(const ColumnBlock & from, int64_t column, PackedBlock * to) {
        pack_nibbles(from, column, to->nibbles);
        for (int j = 0; j < 8; j++) {
            // Two columns share a byte.
            uint8_t & byte = to->fifth_bits[j][column / 2];
            byte           = static_cast<uint8_t>(byte | gather_fifth_bits(from.quants[j]) << 4 * (column & 1));
        }
        to->scales[0][column] = from.scales[0];
        to->mins[column]      = from.min;
    }

    static void unpack(const PackedBlock & from, int64_t column, ColumnBlock * to) {
        unpack_nibbles(from.nibbles, column, to);
        for (int j = 0; j < 8; j++) {
            to->quants[j] |= spread_fifth_bits(from.fifth_bits[j][column / 2] >> 4 * (column & 1) & 0xF);
        }
        to->scales[0] = from.scales[0][column];
        to->min       = from.mins[column];
    }

    template <class S>
    LC_INLINE void load_quants(const PackedBlock & block, int line, int part, typename S::I32 * low, typename S::I32 * high) {
        const typename S::I32 both = S::load_bytes(block.nibbles[line] + S::BYTES * part);
        // A bit for each byte of the vector.
        const int bits = S::BYTES / 8 * part;
        *low           = S::low_nibbles(both);
        *high          = S::high_nibbles(both);
        *low           = S::set_bits_where(*low, block.fifth_bits[2 * line] + bits, 16);
        *high          = S::set_bits_where(*high, block.fifth_bits[2 * line + 1] + bits, 16);
    }

    template <class T> LC_INLINE void to_bf16(const PackedBlock & block, typename T::Vector * tile) {
        const typename T::Affine affine = T::affine_with_min(block.scales[0], block.mins);
#pragma GCC unroll 4
        for (int l = 0; l < 4; l++) {
            const typename T::Vector low  = T::load(block.nibbles[l]);
            const typename T::Vector high = T::template shift_right<4>(low);
            T::template put_word<BITS>(T::join_nibbles(low, T::bytes_of_bits(block.fifth_bits[2 * l])), affine, tile + 4 * l);
            T::template put_word<BITS>(T::join_nibbles(high, T::bytes_of_bits(block.fifth_bits[2 * l + 1])), affine,
                                       tile + 4 * l + 2);
        }
    }
};

} // namespace
} // namespace lc::kernels
