#include "packed.h"

#define GGML_COMMON_DECL_C
#include "ggml-common.h"

#include <cstring>

namespace lc::kernels {
namespace {

// A block of one column: its quants, unsigned, four a word (k = 4j in the lowest byte of word j), and its factors in f16.
struct Piece {
    uint32_t words[8];
    uint16_t scales[2];  // w6: for each half of k; else the first alone
    uint16_t min;
};

float from_half(uint16_t h) {
    return ggml_fp16_to_fp32(h);
}

// To nearest, ties to even. Beyond f16's range: infinity.
uint16_t to_half(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
    bits &= 0x7FFFFFFF;
    if (bits < 0x38800000) {
        // Below f16's normal numbers: 0.5 has the spacing that f16 has there.
        float magnitude;
        std::memcpy(&magnitude, &bits, sizeof bits);
        magnitude += 0.5f;
        std::memcpy(&bits, &magnitude, sizeof bits);
        return static_cast<uint16_t>(sign | (bits - 0x3F000000));
    }
    if (bits > 0x7F800000) {
        return static_cast<uint16_t>(sign | 0x7E00);
    }
    const uint32_t half = (bits - 0x38000000 + 0xFFF + (bits >> 13 & 1)) >> 13;
    return static_cast<uint16_t>(sign | (half < 0x7C00 ? half : 0x7C00));
}

uint16_t negated(uint16_t half) {
    return half ^ 0x8000;
}

// Half a word each: k = 0..15 lie in the low nibbles of 16 bytes, k = 16..31 in the high ones.
void split_nibbles(const uint8_t * bytes, uint32_t * words) {
    uint32_t in[4];
    std::memcpy(in, bytes, sizeof in);
    for (int j = 0; j < 4; j++) {
        words[j]     = in[j] & 0x0F0F0F0F;
        words[4 + j] = in[j] >> 4 & 0x0F0F0F0F;
    }
}

// Bit 4j + i of `bits` becomes bit 4 of byte i of word j.
void add_fifth_bits(uint32_t bits, uint32_t * words) {
    for (int j = 0; j < 8; j++) {
        // The four bits, 7 apart from one another's copies, so that each meets its byte.
        words[j] |= ((bits >> 4 * j & 0xF) * 0x00204081 & 0x01010101) << 4;
    }
}

void take(const block_q4_0 & block, Piece * out) {
    split_nibbles(block.qs, out->words);
    out->scales[0] = block.d;
    out->min       = to_half(8.0f * from_half(block.d));
}

void take(const block_q4_1 & block, Piece * out) {
    split_nibbles(block.qs, out->words);
    out->scales[0] = block.d;
    out->min       = negated(block.m);
}

void take(const block_q5_0 & block, Piece * out) {
    uint32_t bits;
    std::memcpy(&bits, block.qh, sizeof bits);
    split_nibbles(block.qs, out->words);
    add_fifth_bits(bits, out->words);
    out->scales[0] = block.d;
    out->min       = to_half(16.0f * from_half(block.d));
}

void take(const block_q5_1 & block, Piece * out) {
    uint32_t bits;
    std::memcpy(&bits, block.qh, sizeof bits);
    split_nibbles(block.qs, out->words);
    add_fifth_bits(bits, out->words);
    out->scales[0] = block.d;
    out->min       = negated(block.m);
}

void take(const block_q8_0 & block, Piece * out) {
    std::memcpy(out->words, block.qs, sizeof out->words);
    for (uint32_t & word : out->words) {
        word ^= 0x80808080;
    }
    out->scales[0] = block.d;
}

// Scales and minima of Q4_K and Q5_K: 6 bits each, 8 of both in 12 bytes.
void take_scales(const uint8_t * in, uint16_t d, uint16_t dmin, Piece * out) {
    const float scale = from_half(d);
    const float min   = from_half(dmin);
    for (int j = 0; j < 4; j++) {
        const int upper_scale = in[j] >> 6 << 4;
        const int upper_min   = in[4 + j] >> 6 << 4;
        out[j].scales[0]     = to_half(scale * static_cast<float>(in[j] & 0x3F));
        out[j].min           = to_half(min * static_cast<float>(in[4 + j] & 0x3F));
        out[4 + j].scales[0] = to_half(scale * static_cast<float>((in[8 + j] & 0xF) | upper_scale));
        out[4 + j].min       = to_half(min * static_cast<float>(in[8 + j] >> 4 | upper_min));
    }
}

// Q4_K and Q5_K: 32 bytes hold two blocks, the first in the low nibbles.
void take_nibbles(const uint8_t * bytes, Piece * out) {
    for (int pair = 0; pair < 4; pair++) {
        uint32_t in[8];
        std::memcpy(in, bytes + 32 * pair, sizeof in);
        for (int j = 0; j < 8; j++) {
            out[2 * pair].words[j]     = in[j] & 0x0F0F0F0F;
            out[2 * pair + 1].words[j] = in[j] >> 4 & 0x0F0F0F0F;
        }
    }
}

void take(const block_q4_K & block, Piece * out) {
    take_nibbles(block.qs, out);
    take_scales(block.scales, block.d, block.dmin, out);
}

void take(const block_q5_K & block, Piece * out) {
    take_nibbles(block.qs, out);
    take_scales(block.scales, block.d, block.dmin, out);
    uint32_t bits[8];
    std::memcpy(bits, block.qh, sizeof bits);
    for (int b = 0; b < 8; b++) {
        for (int j = 0; j < 8; j++) {
            out[b].words[j] |= (bits[j] >> b & 0x01010101) << 4;
        }
    }
}

// Q6_K: each half of 128 values has 64 bytes of nibbles (blocks 0 and 1 in the low ones, 2 and 3 in the high ones) and 32
// bytes with 2 upper bits of each block.
void take(const block_q6_K & block, Piece * out) {
    const float scale = from_half(block.d);
    for (int half = 0; half < 2; half++) {
        uint32_t low[16];
        uint32_t upper[8];
        std::memcpy(low, block.ql + 64 * half, sizeof low);
        std::memcpy(upper, block.qh + 32 * half, sizeof upper);
        Piece * piece = out + 4 * half;
        for (int b = 0; b < 4; b++) {
            for (int j = 0; j < 8; j++) {
                piece[b].words[j] = (low[8 * (b & 1) + j] >> 4 * (b >> 1) & 0x0F0F0F0F) | (upper[j] >> 2 * b & 0x03030303) << 4;
            }
        }
    }
    for (int b = 0; b < 8; b++) {
        for (int half = 0; half < 2; half++) {
            out[b].scales[half] = to_half(scale * static_cast<float>(block.scales[2 * b + half]));
        }
    }
}

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

float half_at(const uint8_t * at, int64_t i) {
    uint16_t half;
    std::memcpy(&half, at + 2 * i, sizeof half);
    return from_half(half);
}

int nibble_at(const uint8_t * record, int64_t column, int k) {
    const int byte = record[64 * (k / 8) + 4 * column + k % 4];
    return k % 8 < 4 ? byte & 0xF : byte >> 4;
}

float value_at(Format format, const uint8_t * record, int64_t column, int k) {
    if (format == Format::w8) {
        const int q = record[64 * (k / 4) + 4 * column + k % 4];
        return half_at(record + 512, column) * static_cast<float>(q - 128);
    }
    int q = nibble_at(record, column, k);
    if (format == Format::w6) {
        const int byte = record[256 + 64 * (k / 16) + 4 * column + k % 4];
        q |= (byte >> 2 * (k % 16 / 4) & 3) << 4;
        return half_at(record + 384 + 32 * (k / 16), column) * static_cast<float>(q - 32);
    }
    const uint8_t * factors = record + 256;
    if (format == Format::w5) {
        const int64_t bit = 4 * column + k % 4;
        q |= (factors[8 * (k / 4) + bit / 8] >> bit % 8 & 1) << 4;
        factors += 64;
    }
    return half_at(factors, column) * static_cast<float>(q) - half_at(factors + 32, column);
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

void unpack(Format format, const void * packed, int64_t k, int64_t n_cols, int64_t col, float * out) {
    (void) n_cols;
    const int64_t   n_blocks = k / BLOCK;
    const uint8_t * group    = static_cast<const uint8_t *>(packed) + col / GROUP * n_blocks * record_bytes(format);
    for (int64_t i = 0; i < k; i++) {
        out[i] = value_at(format, group + i / BLOCK * record_bytes(format), col % GROUP, static_cast<int>(i % BLOCK));
    }
}

} // namespace lc::kernels
