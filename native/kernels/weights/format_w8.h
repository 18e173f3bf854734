// Format w8: weight = scale * (quant - 128), quants of 8 bits. 8.5 bits a weight.
#pragma once

#include "kernels/weights/format_traits.h"

namespace lc::kernels {
namespace {

template <> struct FormatTraits<Format::w8> {
    static constexpr Format FORMAT     = Format::w8;
    static constexpr int    BITS       = 8;
    static constexpr int    N_SCALES   = 1;
    static constexpr bool   HAS_MIN    = false;
    static constexpr int    ZERO_POINT = 128;

    using GgmlTypes = BlockList<block_q8_0>;

    //   0    bytes, 8 lines: byte 4c + i of line j holds k = 4j + i of column c
    //   512  scales, 32 bytes
    struct PackedBlock {
        Line     bytes[8];
        uint16_t scales[1][16];
    };
    static_assert(sizeof(PackedBlock) == 544);

    static void pack(const ColumnBlock & from, int64_t column, PackedBlock * to) {
        for (int j = 0; j < 8; j++) {
            std::memcpy(to->bytes[j] + 4 * column, &from.quants[j], sizeof from.quants[j]);
        }
        to->scales[0][column] = from.scales[0];
    }

    static void unpack(const PackedBlock & from, int64_t column, ColumnBlock * to) {
        for (int j = 0; j < 8; j++) {
            std::memcpy(&to->quants[j], from.bytes[j] + 4 * column, sizeof to->quants[j]);
        }
        to->scales[0] = from.scales[0][column];
    }

    template <class S>
    LC_INLINE void load_quants(const PackedBlock & block, int line, int part, typename S::I32 * low, typename S::I32 * high) {
        *low  = S::load_bytes(block.bytes[2 * line] + S::BYTES * part);
        *high = S::load_bytes(block.bytes[2 * line + 1] + S::BYTES * part);
    }

    template <class T> LC_INLINE void to_bf16(const PackedBlock & block, typename T::Vector * tile) {
        const typename T::Affine affine = T::affine_with_zero_point(block.scales[0], ZERO_POINT);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            T::template put_word<BITS>(T::load(block.bytes[j]), affine, tile + 2 * j);
        }
    }
};

} // namespace
} // namespace lc::kernels
