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
            for (int64_t d = 0; d < a.dk; d++) {
                out[d * BLOCKED_MR + j] = q == nullptr ? 0.0f : q[d] * a.scale;
            }
        }
    }
}

// Lists the lines for which the block is not empty. True if they are not those that were listed before.
static bool find_lines(const Attention & a, const WorkItem & item, const uint8_t * states, LineList & lines) {
    const int32_t group   = static_cast<int32_t>(a.group);
    bool          changed = false;
    int64_t       n       = 0;
    for (int32_t row = 0; row < item.n_rows; row++) {
        if (states[row * a.n_blocks] == 0) {
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

template <class S>
static void online_softmax_lines(const Attention & a, const WorkItem & item, int64_t h, int64_t block, const uint8_t * states,
                                 const LineList & lines, const Workspace & workspace) {
    float         bias[CELLS];
    int64_t       bias_row = -1;
    const float * slopes   = workspace.slopes + h * a.group;
    for (int64_t i = 0; i < lines.n; i++) {
        const int64_t row        = lines.row[i];
        const bool    is_partial = states[row * a.n_blocks] != CELLS;
        if (is_partial && row != bias_row) {
            BlockMask m;
            read_block_mask<S>(a, item.stream, item.row + row, block, m);
            for (int64_t c = 0; c < CELLS; c += S::LANES) {
                S::store(bias + c, m.values != nullptr ? S::load_f16(m.values + c) : visible_bias<S>(m.visible >> c));
            }
            bias_row = row;
        }
        const float     slope = slopes[lines.line[i] - row * a.group];
        const LineState s     = state_of(a, item.state, h, lines.line[i]);
        workspace.factor[i]   = blocked_online_softmax<S>(workspace.scores + i * CELLS, is_partial ? bias : nullptr, slope,
                                                          a.soft_cap, s.m, s.l);
    }
    for (int64_t i = lines.n; i < lines.n_pad; i++) {
        workspace.factor[i] = 0.0f;
    }
}

template <class S> static void convert_keys_of_type(const Attention & a, const CellVectors & keys, int64_t n, float * out) {
    switch (a.k_type) {
        case KvType::f16:  return convert_keys<S, KvType::f16>(keys, n, a.dk, out);
        case KvType::bf16: return convert_keys<S, KvType::bf16>(keys, n, a.dk, out);
        case KvType::q8_0: return convert_keys<S, KvType::q8_0>(keys, n, a.dk, out);
    }
}

template <class S> static bool convert_values_of_type(const Attention & a, const CellVectors & values, int64_t n, float * out) {
    switch (a.v_type) {
        case KvType::f16:  return convert_values<S, KvType::f16>(values, n, a.dv, out);
        case KvType::bf16: return convert_values<S, KvType::bf16>(values, n, a.dv, out);
        default:           return convert_values<S, KvType::q8_0>(values, n, a.dv, out);
    }
}

// Computes one block of head `h` of the item. Masked cells get a weight of 0, which makes their values harmless only if these are
// finite: returns false, with nothing done, if they are not.
template <class S>
static bool run_block(const Attention & a, const WorkItem & item, int64_t h, int64_t block, const uint8_t * states,
                      const LineList & lines, Prefetch * prefetch, const Workspace & workspace) {
    const int64_t n = block_cells(a, block);
    if (!convert_values_of_type<S>(a, cell_vectors(a.v, item, h, block * CELLS, &prefetch[1]), n, workspace.values)) {
        return false;
    }
    convert_keys_of_type<S>(a, cell_vectors(a.k, item, h, block * CELLS, &prefetch[0]), n, workspace.keys);
    blocked_scores<S>(workspace.q_packed + h * a.line_pad * a.dk, lines.n_pad, a.dk, workspace.keys, workspace.scores);
    online_softmax_lines<S>(a, item, h, block, states, lines, workspace);
    for (int64_t i = 0; i < lines.n_pad; i += BLOCKED_MR) {
        float * o[BLOCKED_MR];
        for (int64_t j = 0; j < BLOCKED_MR; j++) {
            const int32_t line = lines.line[i + j];
            o[j]               = line < 0 ? workspace.spare : state_of(a, item.state, h, line).o;
        }
        blocked_values<S>(workspace.scores + i * CELLS, workspace.values, a.dv, workspace.factor + i, o);
    }
    return true;
}

template <class S>
static void pack_queries_of_heads(const Attention & a, const WorkItem & item, const LineList & lines, const Workspace & workspace) {
    for (int64_t h = 0; h < item.n_heads; h++) {
        pack_queries<S>(a, item, item.head + h, lines, workspace.q_packed + h * a.line_pad * a.dk);
    }
}

// Computes the item's entries that are BLOCKED. Blocks that run_block() refuses are computed by gather.
template <class S> static void run_blocked_entries(const Attention & a, const WorkItem & item, const AttentionPlan & p,
                                                   const Workspace & workspace) {
    const uint8_t * tile_states = states_of_tile(a, p.states, item.tile);
    LineList        lines{-1, 0, workspace.lines, workspace.rows};
    for (int32_t e = item.entry; e < item.end; e++) {
        if ((p.entries[e].block & BLOCKED) == 0) {
            continue;
        }
        const int64_t block = p.entries[e].block & ~BLOCKED;
        if (find_lines(a, item, tile_states + block, lines)) {
            pack_queries_of_heads<S>(a, item, lines, workspace);
        }
        Prefetch prefetch[2] = {prefetch_from(a.k, item, (block + 1) * CELLS, vector_bytes(a.k_type, a.dk)),
                                prefetch_from(a.v, item, (block + 1) * CELLS, vector_bytes(a.v_type, a.dv))};
        for (int64_t h = 0; h < item.n_heads; h++) {
            if (!run_block<S>(a, item, h, block, tile_states + block, lines, prefetch, workspace)) {
                WorkItem one = item;
                one.head += h;
                one.n_heads       = 1;
                one.state         = state_of(a, item.state, h, 0).m;
                Workspace of_head = workspace;
                of_head.slopes += h * a.group;
                run_gather_entries<S>(a, one, p, &e, of_head);
            }
        }
    }
}

} // namespace
} // namespace lc::kernels
