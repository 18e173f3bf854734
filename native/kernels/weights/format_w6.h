// Format w6: weight = scale * (quant - 32), quants of 6 bits, a scale for each 16 values of k. 7 bits a weight.
#pragma once

#include "kernels/weights/format_traits.h"

namespace lc::kernels {
namespace {

template <> struct FormatTraits<Format::w6> {
    static constexpr Format FORMAT     = Format::w6;
    static constexpr int    BITS       = 6;
    static constexpr int    N_SCALES   = 2;
    static constexpr bool   HAS_MIN    = false;
    static constexpr int    ZERO_POINT = 32;

    using GgmlTypes = BlockList<block_q6_K>;

    //   0    nibbles, 4 lines
    //   256  upper bits, 2 lines: byte 4c + i of line m holds the upper two bits of byte i of words 4m .. 4m + 3 of column c,
    //        word 4m in bits 0-1, word 4m + 3 in bits 6-7
    //   384  scales for k = 0..15, 32 bytes
    //   416  scales for k = 16..31, 32 bytes
    struct PackedBlock {
        Line     nibbles[4];
        Line     upper_bits[2];
        uint16_t scales[2][16];
    };
    static_assert(sizeof(PackedBlock) == 448);

    static void pack(const ColumnBlock & from, int64_t column, PackedBlock * to) {
        pack_nibbles(from, column, to->nibbles);
        for (int m = 0; m < 2; m++) {
            uint32_t word = 0;
            for (int j = 0; j < 4; j++) {
                word |= (from.quants[4 * m + j] >> 4 & LOWEST_PAIRS) << 2 * j;
            }
            std::memcpy(to->upper_bits[m] + 4 * column, &word, sizeof word);
            to->scales[m][column] = from.scales[m];
        }
    }

    static void unpack(const PackedBlock & from, int64_t column, ColumnBlock * to) {
        unpack_nibbles(from.nibbles, column, to);
        for (int m = 0; m < 2; m++) {
            uint32_t word;
            std::memcpy(&word, from.upper_bits[m] + 4 * column, sizeof word);
            for (int j = 0; j < 4; j++) {
                to->quants[4 * m + j] |= (word >> 2 * j & LOWEST_PAIRS) << 4;
            }
            to->scales[m] = from.scales[m][column];
        }
    }

    template <class S>
    LC_INLINE void load_quants(const PackedBlock & block, int line, int part, typename S::I32 * low, typename S::I32 * high) {
        const typename S::I32 both  = S::load_bytes(block.nibbles[line] + S::BYTES * part);
        const typename S::I32 upper = S::load_bytes(block.upper_bits[line / 2] + S::BYTES * part);
        *low                        = S::low_nibbles(both);
        *high                       = S::high_nibbles(both);
        if (line % 2 == 0) {
            *low  = add_upper_bits<S>(*low, S::template shift_left_i16<4>(upper));
            *high = add_upper_bits<S>(*high, S::template shift_left_i16<2>(upper));
        } else {
            *low  = add_upper_bits<S>(*low, upper);
            *high = add_upper_bits<S>(*high, S::template shift_right_i16<2>(upper));
        }
    }

    template <class T> LC_INLINE void to_bf16(const PackedBlock & block, typename T::Vector * tile) {
#pragma GCC unroll 2
        for (int m = 0; m < 2; m++) {
            const typename T::Affine affine = T::affine_with_zero_point(block.scales[m], ZERO_POINT);
            const typename T::Vector upper  = T::load(block.upper_bits[m]);
            const typename T::Vector first  = T::load(block.nibbles[2 * m]);
            const typename T::Vector second = T::load(block.nibbles[2 * m + 1]);
            typename T::Vector *     lines  = tile + 8 * m;
            put_word<T>(first, T::template shift_left<4>(upper), affine, lines);
            put_word<T>(T::template shift_right<4>(first), T::template shift_left<2>(upper), affine, lines + 2);
            put_word<T>(second, upper, affine, lines + 4);
            put_word<T>(T::template shift_right<4>(second), T::template shift_right<2>(upper), affine, lines + 6);
        }
    }

private:
    // `moved`: the upper two bits lie in bits 4 and 5 of each byte; its other bits are anything.
    template <class S> LC_INLINE typename S::I32 add_upper_bits(typename S::I32 nibbles, typename S::I32 moved) {
        return S::or_and(nibbles, moved, S::broadcast_i8(0x30));
    }

    template <class T>
    LC_INLINE void put_word(typename T::Vector nibbles, typename T::Vector moved, const typename T::Affine & affine,
                            typename T::Vector * lines) {
        T::template put_word<BITS>(T::join_nibbles(nibbles, moved), affine, lines);
    }
};

} // namespace
} // namespace lc::kernels
