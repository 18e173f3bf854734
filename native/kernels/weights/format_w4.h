// Format w4: weight = scale * quant - min, quants of 4 bits. 5 bits a weight.
#pragma once

#include "kernels/weights/format_traits.h"

namespace lc::kernels {
namespace {

template <> struct FormatTraits<Format::w4> {
    static constexpr Format FORMAT     = Format::w4;
    static constexpr int    BITS       = 4;
    static constexpr int    N_SCALES   = 1;
    static constexpr bool   HAS_MIN    = true;
    static constexpr int    ZERO_POINT = 0;

    using GgmlTypes = BlockList<block_q4_0, block_q4_1, block_q4_K>;

    //   0    nibbles, 4 lines
    //   256  scales, 32 bytes
    //   288  mins, 32 bytes
    struct PackedBlock {
        Line     nibbles[4];
        uint16_t scales[1][16];
        uint16_t mins[16];
    };
    static_assert(sizeof(PackedBlock) == 320);

    static void pack(const ColumnBlock & from, int64_t column, PackedBlock * to) {
        pack_nibbles(from, column, to->nibbles);
        to->scales[0][column] = from.scales[0];
        to->mins[column]      = from.min;
    }

    static void unpack(const PackedBlock & from, int64_t column, ColumnBlock * to) {
        unpack_nibbles(from.nibbles, column, to);
        to->scales[0] = from.scales[0][column];
        to->min       = from.mins[column];
    }

    template <class S>
    LC_INLINE void load_quants(const PackedBlock & block, int line, int part, typename S::I32 * low, typename S::I32 * high) {
        const typename S::I32 both = S::load_bytes(block.nibbles[line] + S::BYTES * part);
        *low                       = S::low_nibbles(both);
        *high                      = S::high_nibbles(both);
    }

    template <class T> LC_INLINE void to_bf16(const PackedBlock & block, typename T::Vector * tile) {
        const typename T::Affine affine = T::affine_with_min(block.scales[0], block.mins);
#pragma GCC unroll 4
        for (int l = 0; l < 4; l++) {
            const typename T::Vector nibbles = T::load(block.nibbles[l]);
            T::template put_word<BITS>(nibbles, affine, tile + 4 * l);
            T::template put_word<BITS>(T::template shift_right<4>(nibbles), affine, tile + 4 * l + 2);
        }
    }
};

} // namespace
} // namespace lc::kernels
