// Packed weights: the layout of weight matrices that all products read.
//
// A weight matrix has n_cols columns (the outputs; ggml's ne[1]) of k values each (the inputs; ggml's ne[0]).
//
//   panel         16 columns, all of k. The last panel is filled up with zeros.
//   block         32 values of k
//   packed block  one panel times one block: the quants and scales of 16 x 32 weights
//
// A matrix is its panels one after another; a panel is its packed blocks one after another:
//
//             block 0     block 1     ...  block k/32 - 1
//   panel 0   0           1                k/32 - 1             number of the packed block in memory
//   panel 1   k/32        k/32 + 1         2 * k/32 - 1
//
// A product reads whole panels, so each thread reads memory in one direction. The layout within a packed block belongs to the
// format: format_w4.h, format_w5.h, format_w6.h, format_w8.h.
#pragma once

#include "ggml.h"

#include <cstdint>

namespace lc::kernels {

// Each format is a specialization of FormatTraits<> (format_traits.h), listed in formats.h. The number in the name: bits of a
// quant.
enum class Format : int {
    none = 0, // not packed
    w4   = 1, // weight = scale * quant - min
    w5   = 2, // scale * quant - min
    w6   = 3, // scale * (quant - 32), a scale for each 16 values of k
    w8   = 4, // scale * (quant - 128)
};

inline constexpr int64_t PANEL_COLS = 16;
inline constexpr int64_t BLOCK_K    = 32;

static constexpr int64_t panels_of(int64_t n_cols) {
    return (n_cols + PANEL_COLS - 1) / PANEL_COLS;
}

// Returns the format that a type is packed to, or Format::none.
Format format_of(ggml_type type);

int64_t packed_block_bytes(Format format);

// Size of a packed matrix in bytes.
int64_t packed_bytes(Format format, int64_t k, int64_t n_cols);

// Packs the panels panel_begin..panel_end - 1 of the matrix at `rows`, which has ggml's layout: n_cols rows of k values.
// Several threads may pack different panels.
void pack(ggml_type type, const void * rows, int64_t k, int64_t n_cols, int64_t panel_begin, int64_t panel_end, void * packed);

// Writes the columns of one panel to `rows` in ggml's layout: 16 rows, fewer for the last panel. `k` and `n_cols` are those of
// the matrix. The rows pack to the same bytes again. They are the original bytes for all types but K-quants (common_scale.h).
void unpack(ggml_type type, const void * packed, int64_t k, int64_t n_cols, int64_t panel, void * rows);

} // namespace lc::kernels
