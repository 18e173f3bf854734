// Blocked with AMX: computes blocks of cells for 16 lines of a tile at a time. Lines for which a block is empty are included with
// weights of 0. Included by attention_amx.cpp.
#pragma once

#include "kernels/attention/attention_blocked.h"
#include "kernels/attention/attention_blocked_amx_kernels.h"

namespace lc::kernels {
namespace {

// One head of the item.
struct TileHead {
    int64_t   h;
    int64_t   n_lines;
    uint8_t * q;
    float *   state; // line_pad maxima, line_pad sums, tiles of output
};

static inline TileHead tile_head(const Attention & a, const WorkItem & item, int64_t h, const Workspace & workspace) {
    return {h, item.n_rows * a.group, reinterpret_cast<uint8_t *>(workspace.q_packed + h * a.line_pad * a.dk),
            workspace.sums + h * a.line_pad * (2 + a.dv)};
}

// t: the number of the 16 lines.
static inline TileState tile_state(const Attention & a, const TileHead & head, int64_t t) {
    return {head.state + 16 * t, head.state + a.line_pad + 16 * t, head.state + 2 * a.line_pad + 16 * t * a.dv};
}

static inline int64_t line_tiles(const TileHead & head) {
    return (head.n_lines + 15) / 16;
}

template <class S> static void pack_queries_of_head(const Attention & a, const WorkItem & item, const TileHead & head) {
    for (int64_t t = 0; t < line_tiles(head); t++) {
        const float * q[16];
        for (int64_t j = 0; j < 16; j++) {
            q[j] = 16 * t + j < head.n_lines ? line_of(a, item, item.head + head.h, 16 * t + j) : nullptr;
        }
        pack_query_tiles<S>(q, a.dk, a.soft_cap != 0.0f ? a.scale : a.scale * LOG2_E, head.q + t * (a.dk / 32) * TILE_BYTES);
    }
}

// The state of lines that have seen no cells.
static inline void clear_tile_state(const Attention & a, const TileHead & head) {
    for (int64_t t = 0; t < line_tiles(head); t++) {
        const TileState to = tile_state(a, head, t);
        for (int64_t j = 0; j < 16; j++) {
            to.top[j] = -__builtin_inff();
            to.sum[j] = 0.0f;
        }
        memset(to.tiles, 0, static_cast<size_t>(16 * a.dv) * sizeof(float));
    }
}

// Converts the state of all lines from the layout of state_of() to that of TileState.
template <class S> static void load_tile_state(const Attention & a, float * state, const TileHead & head) {
    for (int64_t t = 0; t < line_tiles(head); t++) {
        const TileState to   = tile_state(a, head, t);
        const int64_t   n    = min_of(16, head.n_lines - 16 * t);
        const LineState from = state_of(a, state, head.h, 16 * t);
        for (int64_t j = 0; j < 16; j++) {
            to.top[j] = j < n ? from.m[j] * LOG2_E : -__builtin_inff();
            to.sum[j] = j < n ? from.l[j] : 0.0f;
        }
        for (int64_t d = 0; d < a.dv; d += 16) {
            __m512 x[16];
#pragma GCC unroll 16
            for (int64_t j = 0; j < 16; j++) {
                x[j] = j < n ? _mm512_loadu_ps(from.o + j * a.dv + d) : _mm512_setzero_ps();
            }
            S::transpose(x);
#pragma GCC unroll 16
            for (int64_t j = 0; j < 16; j++) {
                _mm512_store_ps(to.tiles + 16 * (d + j), x[j]);
            }
        }
    }
}

// The inverse of load_tile_state().
template <class S> static void store_tile_state(const Attention & a, float * state, const TileHead & head) {
    for (int64_t t = 0; t < line_tiles(head); t++) {
        const TileState from = tile_state(a, head, t);
        const int64_t   n    = min_of(16, head.n_lines - 16 * t);
        const LineState to   = state_of(a, state, head.h, 16 * t);
        for (int64_t j = 0; j < n; j++) {
            to.m[j] = from.top[j] * (1 / LOG2_E);
            to.l[j] = from.sum[j];
        }
        for (int64_t d = 0; d < a.dv; d += 16) {
            __m512 x[16];
#pragma GCC unroll 16
            for (int64_t j = 0; j < 16; j++) {
                x[j] = _mm512_load_ps(from.tiles + 16 * (d + j));
            }
            S::transpose(x);
            for (int64_t j = 0; j < n; j++) {
                _mm512_storeu_ps(to.o + j * a.dv + d, x[j]);
            }
        }
    }
}

// A block, for the rows of 16 lines together.
enum class Coverage { empty, full, partial };

static inline Coverage coverage_of(const Attention & a, const AttentionIndex & index, const WorkItem & item, int32_t block,
                                   const int32_t * cursors, const TileHead & head, int64_t t) {
    const int64_t first    = 16 * t / a.group;
    const int64_t last     = (min_of(16 * t + 16, head.n_lines) - 1) / a.group;
    bool          is_empty = true;
    bool          is_full  = true;
    for (int64_t row = first; row <= last; row++) {
        const RowBlock * rb        = row_block(index, first_row_of_tile(a, item.tile), row, block, cursors);
        const bool       is_biased = index.is_biased[item.stream * a.n_rows + item.row + row] != 0;
        is_empty                   = is_empty && rb == nullptr;
        is_full                    = is_full && rb != nullptr && rb->visible == ~uint64_t{0} && !is_biased;
    }
    return is_empty ? Coverage::empty : is_full ? Coverage::full : Coverage::partial;
}

// The mask of 16 lines, transposed like the scores. For padding lines every cell is visible.
template <class S> static void read_tile_bias(const Attention & a, const AttentionIndex & index, const WorkItem & item,
                                              int32_t block, const int32_t * cursors, const TileHead & head, int64_t t, float * bias) {
    alignas(64) float lines[16][CELLS];
    int64_t           known = -1;
    for (int64_t j = 0; j < 16; j++) {
        const int64_t row = (16 * t + j) / a.group;
        if (16 * t + j >= head.n_lines) {
            memset(lines[j], 0, sizeof(lines[j]));
        } else if (row == known) {
            memcpy(lines[j], lines[j - 1], sizeof(lines[j]));
        } else {
            const RowBlock * rb = row_block(index, first_row_of_tile(a, item.tile), row, block, cursors);
            read_bias<S>(a, index, item.stream, item.row + row, rb == nullptr ? RowBlock{0, 0} : *rb, lines[j]);
            known = row;
        }
    }
    for (int64_t c = 0; c < CELLS; c += 16) {
        __m512 x[16];
#pragma GCC unroll 16
        for (int64_t j = 0; j < 16; j++) {
            x[j] = _mm512_load_ps(lines[j] + c);
        }
        S::transpose(x);
#pragma GCC unroll 16
        for (int64_t j = 0; j < 16; j++) {
            _mm512_store_ps(bias + 16 * (c + j), x[j]);
        }
    }
}

// The slopes of 16 lines, in units of log2(e) like the scores.
static inline __m512 tile_slopes(const Attention & a, const TileHead & head, int64_t t, const Workspace & workspace) {
    alignas(64) float slopes[16];
    const float *     of_group = workspace.slopes + head.h * a.group;
    int64_t           i        = 16 * t % a.group;
    for (int64_t j = 0; j < 16; j++) {
        slopes[j] = of_group[i] * LOG2_E;
        i         = i + 1 < a.group ? i + 1 : 0;
    }
    return _mm512_load_ps(slopes);
}

// A block of cells whose keys and values are packed as tiles.
struct TileBlock {
    int32_t         block;
    const int32_t * cursors; // see find_lines()
    const uint8_t * keys;
    const uint8_t * values;
    uint8_t *       scores;
};

// 32 lines, or the last 16, on their way through a block. The memory of their scores, later weights, is used again by the pair after
// the next one, so that it stays in the cache.
struct TilePair {
    int64_t   t, n;
    uint8_t * scores;
    Coverage  coverage[2];
};

static inline TileProduct score_product(const Attention & a, const TileHead & head, const TileBlock & b, const TilePair & pair) {
    const int64_t n_k = a.dk / 32;
    return {pair.scores, TILE_BYTES, SCORE_BYTES, b.keys, n_k * TILE_BYTES, head.q + pair.t * n_k * TILE_BYTES, n_k * TILE_BYTES,
            n_k,         CELLS / 16, pair.n,      false};
}

static inline TileProduct value_product(const Attention & a, const TileHead & head, const TileBlock & b, const TilePair & pair) {
    constexpr int64_t N_K = CELLS / 32;
    return {reinterpret_cast<uint8_t *>(tile_state(a, head, pair.t).tiles),
            TILE_BYTES,
            16 * a.dv * 4,
            b.values,
            N_K * TILE_BYTES,
            pair.scores,
            SCORE_BYTES,
            N_K,
            a.dv / 16,
            pair.n,
            true};
}

template <class S>
static void online_softmax_pair(const Attention & a, const AttentionIndex & index, const WorkItem & item, const TileHead & head,
                                const TileBlock & b, const TilePair & pair, const Workspace & workspace, TileWork & work) {
    for (int64_t i = 0; i < pair.n; i++) {
        const int64_t   t      = pair.t + i;
        float *         scores = reinterpret_cast<float *>(pair.scores + i * SCORE_BYTES);
        const TileState state  = tile_state(a, head, t);
        if (pair.coverage[i] == Coverage::empty) {
            memset(scores, 0, SCORE_BYTES / 2);
        } else if (pair.coverage[i] == Coverage::full) {
            online_softmax_tile<S>(scores, nullptr, _mm512_setzero_ps(), a.soft_cap, a.dv, state, work);
        } else {
            alignas(64) float bias[CELLS * 16];
            read_tile_bias<S>(a, index, item, b.block, b.cursors, head, t, bias);
            online_softmax_tile<S>(scores, bias, tile_slopes(a, head, t, workspace), a.soft_cap, a.dv, state, work);
        }
    }
}

// The next pair from `t` on for which the block is not empty; n is 0 if there is none.
static inline TilePair next_pair(const Attention & a, const AttentionIndex & index, const WorkItem & item, const TileHead & head,
                                 const TileBlock & b, int64_t t, int64_t number) {
    TilePair      pair{t, 0, b.scores + number % PAIRS_IN_FLIGHT * 2 * SCORE_BYTES, {}};
    const int64_t n = line_tiles(head);
    for (; pair.t < n; pair.t += 2) {
        pair.n = min_of(2, n - pair.t);
        for (int64_t i = 0; i < pair.n; i++) {
            pair.coverage[i] = coverage_of(a, index, item, b.block, b.cursors, head, pair.t + i);
        }
        if (pair.coverage[0] != Coverage::empty || (pair.n > 1 && pair.coverage[1] != Coverage::empty)) {
            return pair;
        }
    }
    pair.n = 0;
    return pair;
}

// A software pipeline: during the softmax of one pair, the scores of the next pair are computed and the values of the previous one
// are added.
template <class S>
static void run_block_amx(const Attention & a, const AttentionIndex & index, const WorkItem & item, const TileHead & head,
                          const TileBlock & b, const Workspace & workspace) {
    TileWork work;
    TilePair before{};
    TilePair now = next_pair(a, index, item, head, b, 0, 0);
    if (now.n == 0) {
        return;
    }
    work.add(score_product(a, head, b, now));
    work.finish();
    for (int64_t number = 1; now.n > 0; number++) {
        const TilePair next = next_pair(a, index, item, head, b, now.t + 2, number);
        if (next.n > 0) {
            work.add(score_product(a, head, b, next));
        }
        if (before.n > 0) {
            work.add(value_product(a, head, b, before));
        }
        online_softmax_pair<S>(a, index, item, head, b, now, workspace, work);
        work.finish();
        before = now;
        now    = next;
    }
    work.add(value_product(a, head, b, before));
    work.finish();
}

template <class S>
static bool pack_cell_tiles(const Attention & a, const CellVectors & keys, const CellVectors & values, const int32_t * cell,
                            uint8_t * k, uint8_t * v) {
    switch (a.k_type) {
        case KvType::f16:  pack_key_tiles<S, KvType::f16>(keys, cell, a.dk, k); break;
        case KvType::bf16: pack_key_tiles<S, KvType::bf16>(keys, cell, a.dk, k); break;
        case KvType::q8_0: pack_key_tiles<S, KvType::q8_0>(keys, cell, a.dk, k); break;
    }
    switch (a.v_type) {
        case KvType::f16:  return pack_value_tiles<S, KvType::f16>(values, cell, a.dv, v);
        case KvType::bf16: return pack_value_tiles<S, KvType::bf16>(values, cell, a.dv, v);
        default:           return pack_value_tiles<S, KvType::q8_0>(values, cell, a.dv, v);
    }
}

// Computes a block whose values are not all finite by gather.
template <class S>
static void gather_head(const Attention & a, const AttentionPlan & p, const WorkItem & item, int32_t e, const TileHead & head,
                        float * state, const Workspace & workspace) {
    store_tile_state<S>(a, state, head);
    gather_entry<S>(a, p, item_of_head(item, head.h), e, state_of(a, state, head.h, 0).m, workspace_of_head(a, workspace, head.h));
    load_tile_state<S>(a, state, head);
}

template <class S> static void run_part_amx(const Attention & a, const AttentionPlan & p, const WorkItem & item, int32_t e, int32_t end,
                                            float * state, const Workspace & workspace) {
    uint8_t *         keys   = reinterpret_cast<uint8_t *>(workspace.keys);
    uint8_t *         values = reinterpret_cast<uint8_t *>(workspace.values);
    const TileSession session(TileRows{{16, 16, 16, 16, 16, 16, 16, 16}});
    LineList          lines{-1, 0, workspace.lines, workspace.rows};
    bool              is_begun = false;
    for (; e < end; e++) {
        if (!is_blocked(p.entries[e])) {
            continue;
        }
        const CellBlock & block       = block_at(p.index, block_of(p.entries[e]));
        const int64_t     next        = cell_after(p, item, e);
        Prefetch          prefetch[2] = {prefetch_from(a.k, item, next, vector_bytes(a.k_type, a.dk)),
                                         prefetch_from(a.v, item, next, vector_bytes(a.v_type, a.dv))};
        find_lines(a, p.index, item, block_of(p.entries[e]), lines, workspace.cursors);
        for (int64_t h = 0; h < item.n_heads; h++) {
            const TileHead head = tile_head(a, item, h, workspace);
            if (!is_begun) {
                pack_queries_of_head<S>(a, item, head);
                clear_tile_state(a, head);
            }
            const CellVectors k = cell_vectors(a.k, item, h, &prefetch[0]);
            const CellVectors v = cell_vectors(a.v, item, h, &prefetch[1]);
            if (pack_cell_tiles<S>(a, k, v, block.cell, keys, values)) {
                const TileBlock b{block_of(p.entries[e]), workspace.cursors, keys, values, reinterpret_cast<uint8_t *>(workspace.scores)};
                run_block_amx<S>(a, p.index, item, head, b, workspace);
            } else {
                gather_head<S>(a, p, item, e, head, state, workspace);
            }
        }
        is_begun = true;
    }
    for (int64_t h = 0; is_begun && h < item.n_heads; h++) {
        store_tile_state<S>(a, state, tile_head(a, item, h, workspace));
    }
}

} // namespace
} // namespace lc::kernels
