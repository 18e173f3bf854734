// Packed weights: the layout that the kernels for one row and for many rows both read.
//
// A weight matrix has n_cols columns (ggml's ne[1], the outputs) of k values each (ne[0]). Columns are taken in groups of
// 16 (the last one is filled up with zeros), k in blocks of 32 (every type's k is a multiple of 32). A group is the
// sequence of its blocks' records, groups follow one another: record(group, block) = base + (group * n_blocks + block) *
// record_bytes(format). Inside a record, column c is 0..15 and k is 0..31:
//
//   w4  value = scale * q - min          256 bytes of nibbles, 16 f16 scales, 16 f16 mins: 320 bytes
//   w5  value = scale * q - min          256 bytes of nibbles, 64 bytes of fifth bits, 16 f16 scales, 16 f16 mins: 384
//   w6  value = scale * (q - 32)         256 bytes of nibbles, 128 bytes of upper bits, 2 x 16 f16 scales: 448
//   w8  value = scale * (q - 128)        512 bytes, 16 f16 scales: 544
//
// Nibbles: line l (0..3) of 64 bytes holds k = 8l..8l+7. Byte 4c + i: its low nibble is k = 8l + i, its high nibble k =
// 8l + 4 + i (i = 0..3).
// Fifth bits (w5): 8 words of 64 bits, word 2l for the low nibbles of line l, word 2l + 1 for the high ones; bit 4c + i
// belongs to byte 4c + i.
// Upper bits (w6): 2 lines of 64 bytes, line m for the lines 2m and 2m + 1 of nibbles. Byte 4c + i: bits 0-1 for the low
// nibble of line 2m, 2-3 for its high nibble, 4-5 for the low nibble of line 2m + 1, 6-7 for its high nibble.
// Scales of w6: 16 for k = 0..15, then 16 for k = 16..31.
// w8: line j (0..7) of 64 bytes; byte 4c + i is k = 4j + i, unsigned.
#pragma once

#include "ggml.h"

#include <cstddef>
#include <cstdint>

namespace lc::kernels {

enum class Format : int { none = 0, w4 = 1, w5 = 2, w6 = 3, w8 = 4 };

inline constexpr int64_t GROUP = 16;  // columns
inline constexpr int64_t BLOCK = 32;  // values of k

// The format that holds a type; Format::none for those that are not packed.
// Q4_0, Q4_1, Q4_K: w4. Q5_0, Q5_1, Q5_K: w5. Q6_K: w6. Q8_0: w8.
Format format_of(ggml_type type);

static constexpr int64_t record_bytes(Format format) {
    return format == Format::w4 ? 320 : format == Format::w5 ? 384 : format == Format::w6 ? 448 : format == Format::w8 ? 544 : 0;
}

static constexpr int64_t packed_bytes(Format format, int64_t k, int64_t n_cols) {
    return (n_cols + GROUP - 1) / GROUP * (k / BLOCK) * record_bytes(format);
}

// Packs the groups group_begin..group_end-1 of a matrix that lies in ggml's layout at `rows` (n_cols rows of k values).
// Several threads may pack different groups.
void pack(ggml_type type, const void * rows, int64_t k, int64_t n_cols, int64_t group_begin, int64_t group_end, void * packed);

} // namespace lc::kernels
