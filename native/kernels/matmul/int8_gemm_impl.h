// The int8 product around the microkernel, for the file of each instruction set. Everything is local to the file that includes
// it: the linker must not take one instruction set's code for another's.
//
//   quantize x; barrier (unless each thread quantizes for itself)
//   for each work item (column block, range of row tiles), taken from a shared counter:
//     for each row tile:
//       for each panel of the column block: microkernel                     y tile [MR][16] = x tile * panel
//
// A product of one row tile has no items to choose from: each thread has a fixed run of panels, the rest is taken dynamically.
#pragma once

#include "kernels/matmul/int8_microkernel.h"
#include "kernels/matmul/int8_quantize.h"
#include "kernels/weights/formats.h"

namespace lc::kernels {
namespace {

// The team's counters.
inline constexpr int QUANTIZED_BLOCKS = 0;
inline constexpr int WORK_ITEMS       = 1;

// Bytes of weights in a column block: they stay in L2 while the row tiles pass.
inline constexpr int64_t COLUMN_BLOCK_BYTES = 192 * 1024;

// Blocks of activations that a thread quantizes at a time.
inline constexpr int64_t QUANTIZE_AT_ONCE = 64;

// Quantizes all of x, shared with the team or for this thread alone.
template <class F> LC_INLINE const Q8Block * quantize_x(const MatMul & m, const RowTiles & tiles, const ThreadTeam & team) {
    const int64_t n   = m.n_rows * (m.k / BLOCK_K);
    Q8Block *     out = reinterpret_cast<Q8Block *>(team.scratch);
    if (quantizes_privately(m, team.nth)) {
        out += team.ith * n;
        quantize_range<F>(m, tiles, 0, n, out);
        return out;
    }
    for (int64_t i = team_take(team, QUANTIZED_BLOCKS, QUANTIZE_AT_ONCE); i < n;
         i         = team_take(team, QUANTIZED_BLOCKS, QUANTIZE_AT_ONCE)) {
        quantize_range<F>(m, tiles, i, i + QUANTIZE_AT_ONCE < n ? i + QUANTIZE_AT_ONCE : n, out);
    }
    team_barrier(team);
    return out;
}

struct PanelRange {
    int64_t begin;
    int64_t end;
};

struct TileRange {
    int64_t begin;
    int64_t end;
};

template <class K, class F>
static void multiply_panels(const MatMul & m, const RowTiles & tiles, const Q8Block * x, PanelRange panels, TileRange range) {
    const int64_t n_blocks    = m.k / BLOCK_K;
    const int64_t panel_bytes = n_blocks * static_cast<int64_t>(sizeof(typename F::PackedBlock));
    for (int64_t tile = range.begin; tile < range.end; tile++) {
        const int64_t     row    = tile_begin(tiles, tile);
        const Microkernel kernel = microkernel_for<K, F>(tile_begin(tiles, tile + 1) - row);
        for (int64_t panel = panels.begin; panel < panels.end; panel++) {
            const int64_t left   = m.n_cols - panel * PANEL_COLS;
            const int     n_cols = static_cast<int>(left < PANEL_COLS ? left : PANEL_COLS);
            kernel(static_cast<const uint8_t *>(m.weights) + panel * panel_bytes, n_blocks, x + row * n_blocks,
                   m.y + row * m.y_stride + panel * PANEL_COLS, m.y_stride, n_cols);
        }
    }
}

// The work items of a product: column blocks (the last one may be smaller) times ranges of row tiles. Column blocks are few
// enough to stay in L2 and many enough that every thread takes several. Rows are divided only if there are too few column
// blocks.
struct WorkGrid {
    int64_t block_panels;
    int64_t n_column_blocks;
    int64_t n_tile_ranges;
};

LC_INLINE WorkGrid work_grid_of(int64_t n_panels, int64_t panel_bytes, int64_t n_tiles, int64_t n_wanted) {
    const int64_t fit      = COLUMN_BLOCK_BYTES / panel_bytes;
    const int64_t share    = (n_panels + n_wanted - 1) / n_wanted;
    const int64_t smaller  = share < fit ? share : fit;
    const int64_t block    = smaller > 1 ? smaller : 1;
    const int64_t n_blocks = (n_panels + block - 1) / block;
    const int64_t n_ranges = (n_wanted + n_blocks - 1) / n_blocks;
    return {block, n_blocks, n_ranges < n_tiles ? n_ranges : n_tiles};
}

// A product of one row tile: one pass over the weights.
template <class K, class F>
LC_INLINE void multiply_one_tile(const MatMul & m, const RowTiles & tiles, const Q8Block * x, const ThreadTeam & team) {
    const int64_t n_panels = panels_of(m.n_cols);
    const int64_t n_fixed  = n_fixed_panels(n_panels, team.nth);
    multiply_panels<K, F>(m, tiles, x, {n_fixed * team.ith, n_fixed * (team.ith + 1)}, {0, 1});
    const int64_t first = n_fixed * team.nth;
    const int64_t share = (n_panels - first) / (4 * team.nth);
    const int64_t n     = share > 1 ? share : 1;
    for (int64_t i = first + team_take(team, WORK_ITEMS, n); i < n_panels; i = first + team_take(team, WORK_ITEMS, n)) {
        multiply_panels<K, F>(m, tiles, x, {i, i + n < n_panels ? i + n : n_panels}, {0, 1});
    }
}

template <class K, class F> static void multiply(const MatMul & m, const ThreadTeam & team) {
    const RowTiles  tiles    = row_tiles_of(m.n_rows, K::MAX_MR);
    const Q8Block * x        = quantize_x<F>(m, tiles, team);
    const int64_t   n_panels = panels_of(m.n_cols);
    if (tiles.n == 1) {
        return multiply_one_tile<K, F>(m, tiles, x, team);
    }
    const int64_t  panel_bytes = m.k / BLOCK_K * static_cast<int64_t>(sizeof(typename F::PackedBlock));
    const WorkGrid grid        = work_grid_of(n_panels, panel_bytes, tiles.n, 4 * team.nth);
    const int64_t  n           = grid.n_column_blocks * grid.n_tile_ranges;
    for (int64_t i = team_take(team, WORK_ITEMS, 1); i < n; i = team_take(team, WORK_ITEMS, 1)) {
        const int64_t begin = i / grid.n_tile_ranges * grid.block_panels;
        const int64_t end   = begin + grid.block_panels < n_panels ? begin + grid.block_panels : n_panels;
        const int64_t range = i % grid.n_tile_ranges;
        multiply_panels<K, F>(m, tiles, x, {begin, end},
                              {range * tiles.n / grid.n_tile_ranges, (range + 1) * tiles.n / grid.n_tile_ranges});
    }
}

// `K`: see int8_microkernel.h.
template <class K> LC_INLINE void int8_gemm(const MatMul & m, const ThreadTeam & team) {
    visit_format(m.format, [&](auto traits) { multiply<K, decltype(traits)>(m, team); });
}

} // namespace
} // namespace lc::kernels
