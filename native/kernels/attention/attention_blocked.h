// Blocked: computes a block of cells for all lines of a tile for which it is not empty. Included by the file of each instruction
// set; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_blocked_kernels.h"
#include "kernels/attention/attention_gather.h"

namespace lc::kernels {
namespace {

// The lines that a block is computed for, padded to a multiple of BLOCKED_MR.
struct LineList {
    int64_t   n, n_pad;
    int32_t * line; // number within the tile; -1 for padding
    int32_t * row;  // row within the tile
};

// The queries of one head as blocked_scores() reads them.
template <class S>
static void pack_queries(const Attention & a, const WorkItem & item, int64_t head, const LineList & lines, float * out) {
    for (int64_t i = 0; i < lines.n_pad; i += BLOCKED_MR, out += BLOCKED_MR * a.dk) {
        for (int64_t j = 0; j < BLOCKED_MR; j++) {
            const float * q = lines.line[i + j] < 0 ? nullptr : line_of(a, item, head, lines.line[i + j]);
            for (int64_t d = 0; d < a.dk; d += S::LANES) {
                float scaled[S::LANES];
                S::store(scaled, q == nullptr ? S::zero() : S::mul(S::load(q + d), S::broadcast(a.scale)));
#pragma GCC unroll 16
                for (int64_t lane = 0; lane < S::LANES; lane++) {
                    out[packed_number<S>(d + lane, a.dk) * BLOCKED_MR + j] = scaled[lane];
                }
            }
        }
    }
}

// Sets the cursors to each row's first block from `block` on.
static void begin_cursors(const AttentionIndex & index, const WorkItem & item, int64_t first, int32_t block, int32_t * cursors) {
    for (int64_t row = 0; row < item.n_rows; row++) {
        cursors[row] = static_cast<int32_t>(row_blocks_from(index, first + row, block) - index.row_blocks);
    }
}

// The block of a row of the tile, if the cursors are there; NULL if the row does not see it. first: the tile's first row.
static inline const RowBlock * row_block(const AttentionIndex & index, int64_t first, int64_t row, int32_t block,
                                         const int32_t * cursors) {
    const RowBlock * rb = index.row_blocks + cursors[row];
    return cursors[row] < index.row_begins[first + row + 1] && rb->block == block ? rb : nullptr;
}

// Moves the cursors on to a block, and lists the lines of the rows that see it. True if they are not those that were listed before.
static bool find_lines(const Attention & a, const AttentionIndex & index, const WorkItem & item, int32_t block, LineList & lines,
                       int32_t * cursors) {
    const int64_t first   = first_row_of_tile(a, item.tile);
    const int32_t group   = static_cast<int32_t>(a.group);
    bool          changed = false;
    int64_t       n       = 0;
    for (int32_t row = 0; row < item.n_rows; row++) {
        while (cursors[row] < index.row_begins[first + row + 1] && index.row_blocks[cursors[row]].block < block) {
            cursors[row]++;
        }
        if (row_block(index, first, row, block, cursors) == nullptr) {
            continue;
        }
        changed |= n >= lines.n || lines.row[n] != row;
        for (int32_t i = 0; i < group; i++, n++) {
            lines.line[n] = row * group + i;
            lines.row[n]  = row;
        }
    }
    changed |= n != lines.n;
    lines.n = n;
    while (n % BLOCKED_MR != 0) {
        lines.line[n++] = -1;
    }
    lines.n_pad = n;
    return changed;
}

// The mask values of a row in a block, by place; minus infinity for cells that it does not see.
template <class S>
static void read_bias(const Attention & a, const AttentionIndex & index, int64_t stream, int64_t row, const RowBlock & rb,
                      float * bias) {
    for (int64_t c = 0; c < CELLS; c += S::LANES) {
        S::store(bias + c, visible_bias<S>(rb.visible >> c));
    }
    if (index.is_biased[stream * a.n_rows + row] != 0) {
        read_row_mask<S>(a, stream, row, block_at(index, rb.block), rb.visible, bias);
    }
}

template <class S>
static void online_softmax_lines(const Attention & a, const AttentionIndex & index, const WorkItem & item, int64_t h, float * state,
                                 const LineList & lines, const Workspace & workspace) {
    float         bias[CELLS];
    const float * slopes = workspace.slopes + h * a.group;
    for (int64_t i = 0; i < lines.n; i += a.group) {
        const int64_t    row        = lines.row[i];
        const RowBlock & rb         = index.row_blocks[workspace.cursors[row]];
        const bool       is_partial = rb.visible != ~uint64_t{0} || index.is_biased[item.stream * a.n_rows + item.row + row] != 0;
        if (is_partial) {
            read_bias<S>(a, index, item.stream, item.row + row, rb, bias);
        }
        for (int64_t j = 0; j < a.group; j++) {
            const LineState s       = state_of(a, state, h, lines.line[i + j]);
            workspace.factor[i + j] = blocked_online_softmax<S>(workspace.scores + (i + j) * CELLS, is_partial ? bias : nullptr,
                                                                slopes[j], a.soft_cap, s.m, s.l);
        }
    }
    for (int64_t i = lines.n; i < lines.n_pad; i++) {
        workspace.factor[i] = 0.0f;
    }
}

template <class S> static void convert_keys_of_type(const Attention & a, const CellVectors & keys, const int32_t * cell, float * out) {
    switch (a.k_type) {
        case KvType::f16:  return convert_keys<S, KvType::f16>(keys, cell, a.dk, out);
        case KvType::bf16: return convert_keys<S, KvType::bf16>(keys, cell, a.dk, out);
        case KvType::q8_0: return convert_keys<S, KvType::q8_0>(keys, cell, a.dk, out);
    }
}

template <class S> static bool convert_values_of_type(const Attention & a, const CellVectors & values, const int32_t * cell, float * out) {
    switch (a.v_type) {
        case KvType::f16:  return convert_values<S, KvType::f16>(values, cell, a.dv, out);
        case KvType::bf16: return convert_values<S, KvType::bf16>(values, cell, a.dv, out);
        default:           return convert_values<S, KvType::q8_0>(values, cell, a.dv, out);
    }
}

// Computes one block of head `h` of the item. Masked cells get a weight of 0, which makes their values harmless only if these are
// finite: returns false, with nothing done, if they are not.
template <class S>
static bool run_block(const Attention & a, const AttentionIndex & index, const WorkItem & item, int64_t h, const CellBlock & block,
                      float * state, const LineList & lines, Prefetch * prefetch, const Workspace & workspace) {
    if (!convert_values_of_type<S>(a, cell_vectors(a.v, item, h, &prefetch[1]), block.cell, workspace.values)) {
        return false;
    }
    convert_keys_of_type<S>(a, cell_vectors(a.k, item, h, &prefetch[0]), block.cell, workspace.keys);
    blocked_scores<S>(workspace.q_packed + h * a.line_pad * a.dk, lines.n_pad, a.dk, workspace.keys, workspace.scores);
    online_softmax_lines<S>(a, index, item, h, state, lines, workspace);
    for (int64_t i = 0; i < lines.n_pad; i += BLOCKED_MR) {
        float * o[BLOCKED_MR];
        for (int64_t j = 0; j < BLOCKED_MR; j++) {
            const int32_t line = lines.line[i + j];
            o[j]               = line < 0 ? workspace.spare : state_of(a, state, h, line).o;
        }
        blocked_values<S>(workspace.scores + i * CELLS, workspace.values, a.dv, workspace.factor + i, o);
    }
    return true;
}

// The item's head `h` alone.
static inline WorkItem item_of_head(const WorkItem & item, int64_t h) {
    WorkItem one = item;
    one.head += h;
    one.n_heads = 1;
    return one;
}

static inline Workspace workspace_of_head(const Attention & a, const Workspace & workspace, int64_t h) {
    Workspace of_head = workspace;
    of_head.slopes += h * a.group;
    return of_head;
}

// The cells that will probably be read after entry `e`: its own end, or the next entry.
static inline int64_t cell_after(const AttentionPlan & p, const WorkItem & item, int32_t e) {
    return e + 1 < item.end ? block_at(p.index, block_of(p.entries[e + 1])).cell[0]
                            : block_at(p.index, block_of(p.entries[e])).cell[CELLS - 1] + 1;
}

// Computes entry `e` blocked. A head for which run_block() refuses is computed by gather.
template <class S> static void blocked_entry(const Attention & a, const AttentionPlan & p, const WorkItem & item, int32_t e,
                                             LineList & lines, float * state, const Workspace & workspace) {
    const int32_t block = block_of(p.entries[e]);
    if (find_lines(a, p.index, item, block, lines, workspace.cursors)) {
        for (int64_t h = 0; h < item.n_heads; h++) {
            pack_queries<S>(a, item, item.head + h, lines, workspace.q_packed + h * a.line_pad * a.dk);
        }
    }
    const int64_t next        = cell_after(p, item, e);
    Prefetch      prefetch[2] = {prefetch_from(a.k, item, next, vector_bytes(a.k_type, a.dk)),
                                 prefetch_from(a.v, item, next, vector_bytes(a.v_type, a.dv))};
    for (int64_t h = 0; h < item.n_heads; h++) {
        if (!run_block<S>(a, p.index, item, h, block_at(p.index, block), state, lines, prefetch, workspace)) {
            gather_entry<S>(a, p, item_of_head(item, h), e, state_of(a, state, h, 0).m, workspace_of_head(a, workspace, h));
        }
    }
}

} // namespace
} // namespace lc::kernels
