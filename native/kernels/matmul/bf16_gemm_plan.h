// How a bf16 product is cut up for AMX.
//
//   rows       row blocks of up to 512 rows; these in row tiles of up to 16 rows, taken two at a time
//   columns    strips of two panels, 32 columns
//   k          slices of up to 16 blocks, 512 values
//
// The smallest step multiplies two row tiles with a strip: 2 x 2 tile registers of sums. A slice of a strip is dequantized
// once, into a buffer that stays in L1 or L2, and used for all rows of a row block.
//
// A work item, taken by one thread, is a row block times a few strips, slice by slice. All its strips read a slice of the
// activations from L2; partial sums lie in L2; and each row of the result is written in one piece. (Rows of the result often
// lie a power of two apart: written strip by strip they would compete for a few sets of the caches.)
#pragma once

#include "kernels/matmul/matmul.h"

#include <cstdint>

namespace lc::kernels {
namespace {

struct Bf16GemmPlan {
    int64_t n_rows;
    int64_t n_blocks; // of k
    int64_t n_panels;
    int64_t n_strips;
    int64_t tile_rows;  // rows of each row tile: rows are spread evenly over the tiles
    int64_t block_rows; // rows of a row block, a multiple of tile_rows
    int64_t n_row_blocks;
    int64_t slice_blocks; // blocks of k in a slice
    int64_t n_slices;
    int64_t item_strips; // strips of a work item
    int64_t n_items;

    int64_t rows_of(int64_t row_block) const {
        const int64_t left = n_rows - row_block * block_rows;
        return left < block_rows ? left : block_rows;
    }
    int64_t tiles_of(int64_t row_block) const { return (rows_of(row_block) + tile_rows - 1) / tile_rows; }

    // True if sums stay in the tile registers from slice to slice: an item is one pair of row tiles times one strip.
    bool sums_stay() const { return item_strips == 1 && block_rows <= 32; }

    int64_t tile_pairs() const { return (block_rows / tile_rows + 1) / 2; }
    int64_t row_tile_bytes() const { return tile_rows * 64; }
    int64_t items_per_row_block() const { return (n_strips + item_strips - 1) / item_strips; }
    int64_t strip_buffer_bytes() const { return slice_blocks * 2 * 1024; }
    int64_t sums_bytes() const { return item_strips * tile_pairs() * 4 * 1024; }
    int64_t activation_bytes() const { return n_row_blocks * block_rows * n_blocks * 64; }
    int64_t thread_bytes() const { return 2 * strip_buffer_bytes() + sums_bytes(); }
};

static inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static inline void plan_rows(Bf16GemmPlan * p, int64_t max_rows) {
    const int64_t rows  = ceil_div(p->n_rows, ceil_div(p->n_rows, max_rows));
    const int64_t tiles = ceil_div(rows, 16);
    p->tile_rows        = ceil_div(rows, tiles);
    p->block_rows       = tiles * p->tile_rows;
    p->n_row_blocks     = ceil_div(p->n_rows, p->block_rows);
}

// Makes row blocks and items smaller, until there are about four items for each thread.
static inline void plan_items(Bf16GemmPlan * p, int n_threads) {
    constexpr int64_t MAX_ROWS   = 512;
    constexpr int64_t MIN_ROWS   = 128;
    constexpr int64_t MAX_STRIPS = 8;
    const int64_t     wanted     = 4 * static_cast<int64_t>(n_threads);
    const auto        strips     = [&] { return ceil_div(p->n_strips, ceil_div(wanted, p->n_row_blocks)); };

    plan_rows(p, MAX_ROWS);
    for (int64_t rows = MAX_ROWS; rows > MIN_ROWS && strips() < MAX_STRIPS / 2; rows /= 2) {
        plan_rows(p, rows / 2);
    }
    p->item_strips = p->block_rows <= 32 ? 1 : strips() < MAX_STRIPS ? strips() : MAX_STRIPS;
    p->item_strips = ceil_div(p->n_strips, ceil_div(p->n_strips, p->item_strips));
    p->n_items     = p->n_row_blocks * p->items_per_row_block();
}

static inline Bf16GemmPlan plan_bf16_gemm(const MatMul & m, int n_threads) {
    constexpr int64_t MAX_SLICE   = 16;
    constexpr int64_t SMALL_SLICE = 4; // where sums stay in registers, a slice costs nothing to begin

    Bf16GemmPlan p = {};
    p.n_rows       = m.n_rows;
    p.n_blocks     = m.k / BLOCK_K;
    p.n_panels     = panels_of(m.n_cols);
    p.n_strips     = ceil_div(p.n_panels, 2);
    plan_items(&p, n_threads);
    const int64_t max_blocks = p.sums_stay() ? SMALL_SLICE : MAX_SLICE;
    p.slice_blocks           = ceil_div(p.n_blocks, ceil_div(p.n_blocks, max_blocks));
    p.n_slices               = ceil_div(p.n_blocks, p.slice_blocks);
    return p;
}

} // namespace
} // namespace lc::kernels
