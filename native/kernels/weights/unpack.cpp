#include "kernels/weights/unpack.h"

#include "kernels/weights/whole_blocks.h"

namespace lc::kernels {
namespace {

uint16_t half_at(const uint8_t * halves, int64_t i) {
    uint16_t value;
    std::memcpy(&value, halves + 2 * i, sizeof value);
    return value;
}

uint32_t word_at(const uint8_t * bytes) {
    uint32_t word;
    std::memcpy(&word, bytes, sizeof word);
    return word;
}

void get_nibbles(const uint8_t * record, int64_t column, Piece * out) {
    for (int l = 0; l < 4; l++) {
        const uint32_t word   = word_at(record + 64 * l + 4 * column);
        out->words[2 * l]     = word & 0x0F0F0F0F;
        out->words[2 * l + 1] = word >> 4 & 0x0F0F0F0F;
    }
}

void get_fifth_bits(const uint8_t * bytes, int64_t column, Piece * out) {
    for (int j = 0; j < 8; j++) {
        const uint32_t four = bytes[8 * j + column / 2] >> 4 * (column & 1) & 0xF;
        out->words[j] |= (four * 0x00204081 & 0x01010101) << 4;
    }
}

void get_upper_bits(const uint8_t * lines, int64_t column, Piece * out) {
    for (int m = 0; m < 2; m++) {
        const uint32_t word = word_at(lines + 64 * m + 4 * column);
        for (int j = 0; j < 4; j++) {
            out->words[4 * m + j] |= (word >> 2 * j & 0x03030303) << 4;
        }
    }
}

// The inverse of packed.cpp's put().
template <Format F> Piece get(const uint8_t * record, int64_t column) {
    Piece out = {};
    if (F == Format::w8) {
        for (int j = 0; j < 8; j++) {
            out.words[j] = word_at(record + 64 * j + 4 * column);
        }
        out.scales[0] = half_at(record + 512, column);
        return out;
    }
    get_nibbles(record, column, &out);
    if (F == Format::w6) {
        get_upper_bits(record + 256, column, &out);
        out.scales[0] = half_at(record + 384, column);
        out.scales[1] = half_at(record + 416, column);
        return out;
    }
    if (F == Format::w5) {
        get_fifth_bits(record + 256, column, &out);
    }
    const uint8_t * factors = record + (F == Format::w5 ? 320 : 256);
    out.scales[0] = half_at(factors, column);
    out.min       = half_at(factors + 32, column);
    return out;
}

// VALUES of k in one block of the type.
template <Format F, typename Block, int64_t VALUES>
void unpack_group(const uint8_t * group, int64_t k, int64_t n_cols, void * rows) {
    for (int64_t column = 0; column < n_cols; column++) {
        Block * row = static_cast<Block *>(rows) + column * (k / VALUES);
        for (int64_t i = 0; i < k / VALUES; i++) {
            const uint8_t * record = group + i * (VALUES / BLOCK) * record_bytes(F);
            Piece pieces[VALUES / BLOCK];
            for (int64_t b = 0; b < VALUES / BLOCK; b++) {
                pieces[b] = get<F>(record + b * record_bytes(F), column);
            }
            give(pieces, row[i]);
        }
    }
}

} // namespace

void unpack(ggml_type type, const void * packed, int64_t k, int64_t n_cols, int64_t group, void * rows) {
    const int64_t left = n_cols - group * GROUP, n = left < GROUP ? left : GROUP;
    const auto *  at   = static_cast<const uint8_t *>(packed) + group * (k / BLOCK) * record_bytes(format_of(type));
    switch (type) {
        case GGML_TYPE_Q4_0: return unpack_group<Format::w4, block_q4_0, QK4_0>(at, k, n, rows);
        case GGML_TYPE_Q4_1: return unpack_group<Format::w4, block_q4_1, QK4_1>(at, k, n, rows);
        case GGML_TYPE_Q4_K: return unpack_group<Format::w4, block_q4_K, QK_K>(at, k, n, rows);
        case GGML_TYPE_Q5_0: return unpack_group<Format::w5, block_q5_0, QK5_0>(at, k, n, rows);
        case GGML_TYPE_Q5_1: return unpack_group<Format::w5, block_q5_1, QK5_1>(at, k, n, rows);
        case GGML_TYPE_Q5_K: return unpack_group<Format::w5, block_q5_K, QK_K>(at, k, n, rows);
        case GGML_TYPE_Q6_K: return unpack_group<Format::w6, block_q6_K, QK_K>(at, k, n, rows);
        case GGML_TYPE_Q8_0: return unpack_group<Format::w8, block_q8_0, QK8_0>(at, k, n, rows);
        default:             GGML_ABORT("%s is not packed", ggml_type_name(type));
    }
}

} // namespace lc::kernels
