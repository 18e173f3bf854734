// Rows divided into tiles for the microkernel.
#pragma once

#include "kernels/isa/simd/simd.h"

#include <cstdint>

namespace lc::kernels {
namespace {

// Tiles of at most `max_rows` rows, as even as possible: the first n_larger tiles have one row more than the others.
struct RowTiles {
    int64_t n;
    int64_t rows;
    int64_t n_larger;
};

LC_INLINE RowTiles row_tiles_of(int64_t n_rows, int64_t max_rows) {
    const int64_t n = (n_rows + max_rows - 1) / max_rows;
    return {n, n_rows / n, n_rows % n};
}

// Returns the first row of a tile. For tile number `n`: the number of rows.
LC_INLINE int64_t tile_begin(const RowTiles & tiles, int64_t tile) {
    return tile * tiles.rows + (tile < tiles.n_larger ? tile : tiles.n_larger);
}

LC_INLINE int64_t tile_of_row(const RowTiles & tiles, int64_t row) {
    const int64_t in_larger = tiles.n_larger * (tiles.rows + 1);
    return row < in_larger ? row / (tiles.rows + 1) : tiles.n_larger + (row - in_larger) / tiles.rows;
}

} // namespace
} // namespace lc::kernels
