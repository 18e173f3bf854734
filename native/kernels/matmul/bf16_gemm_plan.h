// How a product of many rows is cut up for AMX.
//
// Rows are taken in row blocks, these in pairs of row tiles; columns in panels of two groups; k in chunks. A panel's chunk is
// dequantized once into a buffer that stays in L1 or L2 and used for all rows of a row block. An item is what a thread takes
// at a time: one row block times a few panels, chunk by chunk: the activations of a chunk are read from L2 by all panels,
// partial sums lie in L2, and each row of the result is written in one piece (its rows often lie powers of two apart: one
// panel at a time they would crowd a few sets of the caches).
#pragma once

#include "kernels/matmul/matmul.h"

#include <cstdint>

namespace lc::kernels {
namespace {

struct GemmPlan {
    int64_t n_rows;
    int64_t n_blocks;      // of k
    int64_t n_groups;      // of columns
    int64_t n_panels;
    int64_t tile_rows;     // rows of each row tile: rows are spread evenly over the tiles
    int64_t block_rows;    // rows of a row block, a multiple of tile_rows
    int64_t n_row_blocks;
    int64_t chunk;         // blocks of k in a chunk
    int64_t n_chunks;
    int64_t item_panels;
    int64_t n_items;

    int64_t rows_of(int64_t row_block) const {
        const int64_t left = n_rows - row_block * block_rows;
        return left < block_rows ? left : block_rows;
    }
    int64_t tiles_of(int64_t row_block) const { return (rows_of(row_block) + tile_rows - 1) / tile_rows; }
    bool    sums_stay() const { return item_panels == 1 && block_rows <= 32; }
    int64_t pairs() const { return (block_rows / tile_rows + 1) / 2; }
    int64_t row_tile_bytes() const { return tile_rows * 64; }
    int64_t items_per_row_block() const { return (n_panels + item_panels - 1) / item_panels; }
    int64_t panel_bytes() const { return chunk * 2 * 1024; }
    int64_t partial_bytes() const { return item_panels * pairs() * 4 * 1024; }
    int64_t activation_bytes() const { return n_row_blocks * block_rows * n_blocks * 64; }
    int64_t thread_bytes() const { return 2 * panel_bytes() + partial_bytes(); }
};

static inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static inline void plan_rows(GemmPlan * p, int64_t max_rows) {
    const int64_t rows  = ceil_div(p->n_rows, ceil_div(p->n_rows, max_rows));
    const int64_t tiles = ceil_div(rows, 16);
    p->tile_rows        = ceil_div(rows, tiles);
    p->block_rows       = tiles * p->tile_rows;
    p->n_row_blocks     = ceil_div(p->n_rows, p->block_rows);
}

// Fewer rows and panels an item, until there are enough items for the threads to share.
static inline void plan_items(GemmPlan * p, int n_threads) {
    constexpr int64_t MAX_ROWS   = 512;
    constexpr int64_t MIN_ROWS   = 128;
    constexpr int64_t MAX_PANELS = 8;
    const int64_t     wanted     = 4 * static_cast<int64_t>(n_threads);
    const auto        panels     = [&] { return ceil_div(p->n_panels, ceil_div(wanted, p->n_row_blocks)); };

    plan_rows(p, MAX_ROWS);
    for (int64_t rows = MAX_ROWS; rows > MIN_ROWS && panels() < MAX_PANELS / 2; rows /= 2) {
        plan_rows(p, rows / 2);
    }
    p->item_panels = p->block_rows <= 32 ? 1 : panels() < MAX_PANELS ? panels() : MAX_PANELS;
    p->item_panels = ceil_div(p->n_panels, ceil_div(p->n_panels, p->item_panels));
    p->n_items     = p->n_row_blocks * p->items_per_row_block();
}

static inline GemmPlan plan_gemm(const MatMul & m, int n_threads) {
    constexpr int64_t MAX_CHUNK   = 16;
    constexpr int64_t SMALL_CHUNK = 4;  // where sums stay in the registers from chunk to chunk

    GemmPlan p = {};
    p.n_rows   = m.n_rows;
    p.n_blocks = m.k / BLOCK;
    p.n_groups = ceil_div(m.n_cols, GROUP);
    p.n_panels = ceil_div(p.n_groups, 2);
    plan_items(&p, n_threads);
    const int64_t most = p.sums_stay() ? SMALL_CHUNK : MAX_CHUNK;
    p.chunk            = ceil_div(p.n_blocks, ceil_div(p.n_blocks, most));
    p.n_chunks         = ceil_div(p.n_blocks, p.chunk);
    return p;
}

} // namespace
} // namespace lc::kernels
