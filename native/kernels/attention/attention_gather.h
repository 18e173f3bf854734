// Gather: computes blocks row by row, with keys and values read from the cache directly. Included by the file of each instruction
// set; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_gather_kernels.h"
#include "kernels/attention/attention_item.h"

namespace lc::kernels {
namespace {

// Bytes of a vector of n numbers in the cache.
static inline int64_t vector_bytes(KvType type, int64_t n) {
    return type == KvType::q8_0 ? n / 32 * 34 : 2 * n;
}

// Prefetches vectors of all heads of the item from a cell on. Heads that lie side by side are one row.
static inline Prefetch prefetch_from(const StridedVectors & v, const WorkItem & item, int64_t cell, int64_t bytes) {
    const bool    is_row  = item.n_heads * v.head <= v.step;
    const int64_t n       = is_row ? (item.n_heads - 1) * v.head + bytes : bytes;
    const int64_t n_lines = ((n + 63) / 64 + item.n_heads - 1) / item.n_heads;
    return {head_of(v, item.stream, cell, item.head), v.step, item.n_heads, n_lines, 0};
}

static inline CellVectors cell_vectors(const StridedVectors & v, const WorkItem & item, int64_t head, Prefetch * prefetch) {
    return {head_of(v, item.stream, 0, item.head + head), v.step, prefetch};
}

// The blocks of a row from a block on.
static inline const RowBlock * row_blocks_from(const AttentionIndex & index, int64_t row, int32_t block) {
    const RowBlock * at  = index.row_blocks + index.row_begins[row];
    const RowBlock * end = index.row_blocks + index.row_begins[row + 1];
    while (at < end) {
        const RowBlock * middle = at + (end - at) / 2;
        middle->block < block ? at = middle + 1 : end = middle;
    }
    return at;
}

// Lists the cells of a block that a row sees. row: within the stream.
template <class S>
static void list_cells(const Attention & a, const AttentionIndex & index, int64_t stream, int64_t row, const RowBlock & rb,
                       CellList & list) {
    const CellBlock & block = block_at(index, rb.block);
    list.begin              = __builtin_ctzll(rb.visible) / S::LANES * S::LANES;
    list.end                = (63 - __builtin_clzll(rb.visible)) / S::LANES * S::LANES + S::LANES;
    list.has_bias           = index.is_biased[stream * a.n_rows + row] != 0;
    list.cell               = block.cell;
    if (rb.visible != ~uint64_t{0}) {
        const int32_t seen = block.cell[__builtin_ctzll(rb.visible)];
        for (int c = list.begin; c < list.end; c++) {
            const bool is_visible = (rb.visible >> c & 1) != 0;
            list.copy[c]          = is_visible ? block.cell[c] : seen;
            list.bias[c]          = is_visible ? 0.0f : -__builtin_inff();
            list.has_bias |= !is_visible;
        }
        list.cell = list.copy;
    }
    if (index.is_biased[stream * a.n_rows + row] != 0) {
        read_row_mask<S>(a, stream, row, block, rb.visible, list.bias);
    }
}

// Computes a block of a row for the row's lines of all heads of the item. next: the cell that will probably be read after it. state: of
// the item's lines.
template <class S>
static void gather_block(const Attention & a, const AttentionIndex & index, const WorkItem & item, int64_t row, const RowBlock & rb,
                         int64_t next, float * state, const Workspace & workspace) {
    CellList list;
    list_cells<S>(a, index, item.stream, item.row + row, rb, list);
    Prefetch keys   = prefetch_from(a.k, item, next, vector_bytes(a.k_type, a.dk));
    Prefetch values = prefetch_from(a.v, item, next, vector_bytes(a.v_type, a.dv));
    for (int64_t h = 0; h < item.n_heads; h++) {
        gather_group<S>(a, list,
                        {workspace.q + h * a.group * a.dk, workspace.slopes + h * a.group, cell_vectors(a.k, item, h, &keys),
                         cell_vectors(a.v, item, h, &values), state_of(a, state, h, row * a.group), workspace.scores});
    }
}

// The cell at which the next block of the row begins; after the last block, the next one in memory.
static inline int64_t next_cell(const AttentionIndex & index, const RowBlock * rb, const RowBlock * end) {
    if (rb + 1 < end) {
        return block_at(index, rb[1].block).cell[__builtin_ctzll(rb[1].visible)];
    }
    return block_at(index, rb->block).cell[63 - __builtin_clzll(rb->visible)] + 1;
}

// Copies a row's lines of the item's heads, times the scale, to workspace.q.
template <class S> static void scale_row(const Attention & a, const WorkItem & item, int64_t row, const Workspace & workspace) {
    float * out = workspace.q;
    for (int64_t h = 0; h < item.n_heads; h++) {
        for (int64_t g = 0; g < a.group; g++, out += a.dk) {
            const float * q = line_of(a, item, item.head + h, row * a.group + g);
            for (int64_t d = 0; d < a.dk; d += S::LANES) {
                S::store(out + d, S::mul(S::load(q + d), S::broadcast(a.scale)));
            }
        }
    }
}

// Computes entry `e` by gather, for all rows of the tile, whatever its flag.
template <class S> static void gather_entry(const Attention & a, const AttentionPlan & p, const WorkItem & item, int32_t e,
                                            float * state, const Workspace & workspace) {
    const int64_t first = first_row_of_tile(a, item.tile);
    const int32_t block = block_of(p.entries[e]);
    for (int64_t row = 0; row < item.n_rows; row++) {
        const RowBlock * rb  = row_blocks_from(p.index, first + row, block);
        const RowBlock * end = p.index.row_blocks + p.index.row_begins[first + row + 1];
        if (rb < end && rb->block == block) {
            scale_row<S>(a, item, row, workspace);
            gather_block<S>(a, p.index, item, row, *rb, next_cell(p.index, rb, end), state, workspace);
        }
    }
}

} // namespace
} // namespace lc::kernels
