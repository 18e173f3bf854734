#include "kernels/weights/packed.h"

#include "kernels/weights/ggml_blocks.h"

#include <cstring>

namespace lc::kernels {
namespace {

void put_half(uint8_t * at, int64_t i, uint16_t value) {
    std::memcpy(at + 2 * i, &value, sizeof value);
}

void put_nibbles(const Piece & piece, int64_t column, uint8_t * record) {
    for (int l = 0; l < 4; l++) {
        const uint32_t word = (piece.words[2 * l] & 0x0F0F0F0F) | (piece.words[2 * l + 1] & 0x0F0F0F0F) << 4;
        std::memcpy(record + 64 * l + 4 * column, &word, sizeof word);
    }
}

// Two columns share a byte. The record is zero before its first column comes.
void put_fifth_bits(const Piece & piece, int64_t column, uint8_t * bits) {
    for (int j = 0; j < 8; j++) {
        // 0x10 in byte i meets 1 << i: bits 28 to 31 of the product.
        const uint32_t four = (piece.words[j] & 0x10101010) * 0x01020408u >> 28;
        bits[8 * j + column / 2] = static_cast<uint8_t>(bits[8 * j + column / 2] | four << 4 * (column & 1));
    }
}

void put_upper_bits(const Piece & piece, int64_t column, uint8_t * lines) {
    for (int m = 0; m < 2; m++) {
        uint32_t word = 0;
        for (int j = 0; j < 4; j++) {
            word |= (piece.words[4 * m + j] >> 4 & 0x03030303) << 2 * j;
        }
        std::memcpy(lines + 64 * m + 4 * column, &word, sizeof word);
    }
}

template <Format F> void put(const Piece & piece, int64_t column, uint8_t * record) {
    if (F == Format::w8) {
        for (int j = 0; j < 8; j++) {
            std::memcpy(record + 64 * j + 4 * column, &piece.words[j], sizeof piece.words[j]);
        }
        put_half(record + 512, column, piece.scales[0]);
        return;
    }
    put_nibbles(piece, column, record);
    if (F == Format::w6) {
        put_upper_bits(piece, column, record + 256);
        put_half(record + 384, column, piece.scales[0]);
        put_half(record + 416, column, piece.scales[1]);
        return;
    }
    if (F == Format::w5) {
        put_fifth_bits(piece, column, record + 256);
    }
    uint8_t * factors = record + (F == Format::w5 ? 320 : 256);
    put_half(factors, column, piece.scales[0]);
    put_half(factors + 32, column, piece.min);
}

// VALUES of k in one block of the type.
template <Format F, typename Block, int64_t VALUES>
void pack_group(const void * rows, int64_t k, int64_t col_begin, int64_t n_cols, uint8_t * group) {
    const int64_t n_blocks = k / BLOCK;
    std::memset(group, 0, static_cast<size_t>(n_blocks * record_bytes(F)));
    for (int64_t i = 0; i < k / VALUES; i++) {
        uint8_t * record = group + i * (VALUES / BLOCK) * record_bytes(F);
        for (int64_t column = 0; column < GROUP && col_begin + column < n_cols; column++) {
            const Block * row = static_cast<const Block *>(rows) + (col_begin + column) * (k / VALUES);
            Piece pieces[VALUES / BLOCK];
            take(row[i], pieces);
            for (int64_t b = 0; b < VALUES / BLOCK; b++) {
                put<F>(pieces[b], column, record + b * record_bytes(F));
            }
        }
    }
}

using PackGroup = void (*)(const void * rows, int64_t k, int64_t col_begin, int64_t n_cols, uint8_t * group);

PackGroup packer(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q4_0: return pack_group<Format::w4, block_q4_0, QK4_0>;
        case GGML_TYPE_Q4_1: return pack_group<Format::w4, block_q4_1, QK4_1>;
        case GGML_TYPE_Q4_K: return pack_group<Format::w4, block_q4_K, QK_K>;
        case GGML_TYPE_Q5_0: return pack_group<Format::w5, block_q5_0, QK5_0>;
        case GGML_TYPE_Q5_1: return pack_group<Format::w5, block_q5_1, QK5_1>;
        case GGML_TYPE_Q5_K: return pack_group<Format::w5, block_q5_K, QK_K>;
        case GGML_TYPE_Q6_K: return pack_group<Format::w6, block_q6_K, QK_K>;
        case GGML_TYPE_Q8_0: return pack_group<Format::w8, block_q8_0, QK8_0>;
        default:             return nullptr;
    }
}

} // namespace

Format format_of(ggml_type type) {
    switch (type) {
        case GGML_TYPE_Q4_0:
        case GGML_TYPE_Q4_1:
        case GGML_TYPE_Q4_K: return Format::w4;
        case GGML_TYPE_Q5_0:
        case GGML_TYPE_Q5_1:
        case GGML_TYPE_Q5_K: return Format::w5;
        case GGML_TYPE_Q6_K: return Format::w6;
        case GGML_TYPE_Q8_0: return Format::w8;
        default:             return Format::none;
    }
}

void pack(ggml_type type, const void * rows, int64_t k, int64_t n_cols, int64_t group_begin, int64_t group_end, void * packed) {
    const PackGroup pack_one    = packer(type);
    const int64_t   group_bytes = k / BLOCK * record_bytes(format_of(type));
    for (int64_t group = group_begin; group < group_end; group++) {
        pack_one(rows, k, group * GROUP, n_cols, static_cast<uint8_t *>(packed) + group * group_bytes);
    }
}

} // namespace lc::kernels
