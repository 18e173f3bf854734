// Gather: for each row and head, makes lists of the row's visible cells and computes them. Included by the file of each instruction
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

static inline CellVectors cell_vectors(const StridedVectors & v, const WorkItem & item, int64_t head, int64_t cell,
                                       Prefetch * prefetch) {
    return {head_of(v, item.stream, cell, item.head + head), v.step, prefetch};
}

// Computes the listed cells for the row's lines of all heads of the item. Empties the list.
template <class S>
static void run_cell_list(const Attention & a, const WorkItem & item, int64_t row, CellList & list, const Workspace & workspace) {
    if (list.n == 0) {
        return;
    }
    for (int i = list.n; i % S::LANES != 0; i++) {
        list.cell[i]  = list.cell[list.n - 1];
        list.bias[i]  = -__builtin_inff();
        list.has_bias = true;
    }
    // The cells of the next list mostly follow the last cell of this one.
    const int64_t next   = list.cell[list.n - 1] + 1;
    Prefetch      keys   = prefetch_from(a.k, item, next, vector_bytes(a.k_type, a.dk));
    Prefetch      values = prefetch_from(a.v, item, next, vector_bytes(a.v_type, a.dv));
    for (int64_t h = 0; h < item.n_heads; h++) {
        gather_group<S>(a, list,
                        {workspace.q + h * a.group * a.dk, workspace.slopes + h * a.group, cell_vectors(a.k, item, h, 0, &keys),
                         cell_vectors(a.v, item, h, 0, &values), state_of(a, item.state, h, row * a.group), workspace.scores});
    }
    list.n        = 0;
    list.has_bias = false;
}

// Adds the cells `visible` of a block to the list until it is full. Returns those that are left.
template <class S>
static inline uint64_t add_cells(const BlockMask & m, uint64_t visible, int64_t block, bool has_bias, CellList & list) {
    const int32_t first = static_cast<int32_t>(block * CELLS);
    int           n     = list.n;
    if (visible == ~uint64_t{0} && n == 0) {
        for (int i = 0; i < CELLS; i++) {
            list.cell[i] = first + i;
        }
        n       = CELLS;
        visible = 0;
    }
    for (; visible != 0 && n < CELLS; visible &= visible - 1) {
        list.cell[n++] = first + __builtin_ctzll(visible);
    }
    for (int i = list.n; i < n; i++) {
        list.bias[i] = has_bias ? S::half_to_float(m.values[list.cell[i] - first]) : 0.0f;
    }
    list.has_bias |= has_bias;
    list.n = n;
    return visible;
}

template <class S>
static void gather_block(const Attention & a, const WorkItem & item, int64_t row, int64_t block, uint8_t state, CellList & list,
                         const Workspace & workspace) {
    BlockMask m;
    read_block_mask<S>(a, item.stream, item.row + row, block, m);
    for (uint64_t visible = m.visible; visible != 0;) {
        visible = add_cells<S>(m, visible, block, (state & HAS_BIAS) != 0, list);
        if (list.n == CELLS) {
            run_cell_list<S>(a, item, row, list, workspace);
        }
    }
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

// Computes the item's entries that are not BLOCKED; if `only` is not NULL, that entry alone, whatever its flag.
template <class S>
static void run_gather_entries(const Attention & a, const WorkItem & item, const AttentionPlan & p, const int32_t * only,
                               const Workspace & workspace) {
    const uint8_t * tile_states = states_of_tile(a, p.states, item.tile);
    CellList        list;
    list.n        = 0;
    list.has_bias = false;
    for (int64_t row = 0; row < item.n_rows; row++) {
        bool is_scaled = false;
        for (int32_t e = only != nullptr ? *only : item.entry; e < (only != nullptr ? *only + 1 : item.end); e++) {
            const int64_t block = p.entries[e].block & ~BLOCKED;
            const uint8_t state = tile_states[row * a.n_blocks + block];
            if (state == 0 || (only == nullptr && (p.entries[e].block & BLOCKED) != 0)) {
                continue;
            }
            if (!is_scaled) {
                scale_row<S>(a, item, row, workspace);
                is_scaled = true;
            }
            gather_block<S>(a, item, row, block, state, list, workspace);
        }
        run_cell_list<S>(a, item, row, list, workspace);
    }
}

} // namespace
} // namespace lc::kernels
