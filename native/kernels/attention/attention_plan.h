// Scans the mask and plans the work: which blocks of a tile are not empty, whether they are computed by gather or blocked, and how
// they are divided into spans. Included by the file of each instruction set; see attention_impl.h.
//
// The state of a block for a row is one byte: the number of visible cells (0: empty, CELLS: full, else partial), | HAS_BIAS if some
// visible cell has a mask value other than 0.
#pragma once

#include "kernels/attention/attention_shape.h"

#include <string.h>

namespace lc::kernels {
namespace {

constexpr uint8_t  HAS_BIAS   = 0x80;
constexpr int32_t  BLOCKED    = int32_t{1} << 30; // flag in BlockEntry::block: blocked, not gather
constexpr uint16_t MASKED_F16 = 0xfc00;           // mask value of a cell that is not visible: minus infinity

struct AttentionPlan {
    const uint8_t *    states;  // [stream][row][block]
    const BlockEntry * entries; // tile after tile, the blocks that are not empty for all of its rows
    const int32_t *    begins;  // [n_tiles + 1]: the first entry of each tile
    const int32_t *    spans;   // [n_tiles + 1]: number of spans before each tile
    int32_t            n_spans;
};

// A row's mask of one block: the visible cells as bits, and the values (NULL without a mask).
struct BlockMask {
    const uint16_t * values;
    uint64_t         visible;
    uint16_t         copy[CELLS];
};

static inline int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t block_cells(const Attention & a, int64_t block) {
    return min_of(CELLS, a.n_cells - block * CELLS);
}

template <class S>
static inline void read_block_mask(const Attention & a, int64_t stream, int64_t row, int64_t block, BlockMask & out) {
    const int64_t n = block_cells(a, block);
    if (a.mask == nullptr) {
        out.values  = nullptr;
        out.visible = n == CELLS ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
        return;
    }
    out.values = reinterpret_cast<const uint16_t *>(a.mask + stream * a.mask_stream + row * a.mask_row) + block * CELLS;
    if (n < CELLS) {
        for (int64_t i = 0; i < CELLS; i++) {
            out.copy[i] = i < n ? out.values[i] : MASKED_F16;
        }
        out.values = out.copy;
    }
    out.visible = ~S::match_u16x64(out.values, MASKED_F16, 0xffff);
}

template <class S> static void find_block_states(const Attention & a, int64_t stream, int64_t row, uint8_t * states) {
    BlockMask m;
    for (int64_t b = 0; b < a.n_blocks; b++) {
        read_block_mask<S>(a, stream, row, b, m);
        const int  visible     = __builtin_popcountll(m.visible);
        const bool is_unbiased = m.values == nullptr || (m.visible & ~S::match_u16x64(m.values, 0, 0x7fff)) == 0;
        states[b]              = static_cast<uint8_t>(visible | (is_unbiased ? 0 : HAS_BIAS));
    }
}

template <class S> static const uint8_t * find_all_block_states(const Attention & a, const ThreadTeam & team) {
    uint8_t *     states = team.scratch + (a.is_scan_private ? team.ith * a.states_bytes : 0);
    const int64_t n      = a.n_streams * a.n_rows;
    const int64_t begin  = a.is_scan_private ? 0 : n * team.ith / team.nth;
    const int64_t end    = a.is_scan_private ? n : n * (team.ith + 1) / team.nth;
    for (int64_t i = begin; i < end; i++) {
        find_block_states<S>(a, i / a.n_rows, i % a.n_rows, states + i * a.n_blocks);
    }
    if (!a.is_scan_private) {
        team_barrier(team);
    }
    return states;
}

// With fewer lines, a block is computed by gather. Blocked converts keys and values once for all lines.
constexpr int64_t MIN_BLOCKED_LINES = 16;

// Estimated cost of one block of a tile of `n` rows; 0 if it is empty for all of them. Decides between blocked and gather.
static inline int32_t block_cost(const Attention & a, const uint8_t * states, int64_t n, bool * is_blocked) {
    int32_t rows    = 0;
    int32_t visible = 0;
    for (int64_t r = 0; r < n; r++) {
        const int32_t cells = states[r * a.n_blocks] & ~HAS_BIAS;
        rows += cells > 0;
        visible += cells;
    }
    const int32_t group = static_cast<int32_t>(a.group);
    const int32_t cells = static_cast<int32_t>(CELLS);
    *is_blocked         = rows * group >= MIN_BLOCKED_LINES && 3 * visible >= rows * cells;
    return *is_blocked ? (rows * group + 8) * cells : 2 * visible * group;
}

static inline int32_t rows_of_tile(const Attention & a, int64_t tile) {
    return static_cast<int32_t>(min_of(a.tile_rows, a.n_rows - tile % a.stream_tiles * a.tile_rows));
}

static inline const uint8_t * states_of_tile(const Attention & a, const uint8_t * states, int64_t tile) {
    return states + (tile / a.stream_tiles * a.n_rows + tile % a.stream_tiles * a.tile_rows) * a.n_blocks;
}

static inline int64_t tile_cost(const AttentionPlan & p, int64_t tile) {
    int64_t cost = 0;
    for (int32_t e = p.begins[tile]; e < p.begins[tile + 1]; e++) {
        cost += p.entries[e].cost;
    }
    return cost;
}

// Every thread makes the same plan from the same states.
static AttentionPlan make_attention_plan(const Attention & a, const uint8_t * states, const Workspace & workspace) {
    int32_t * begins = workspace.tiles;
    int32_t * spans  = workspace.tiles + a.n_tiles + 1;
    int32_t   n      = 0;
    int64_t   total  = 0;
    for (int64_t t = 0; t < a.n_tiles; t++) {
        begins[t]                   = n;
        const uint8_t * tile_states = states_of_tile(a, states, t);
        for (int64_t b = 0; b < a.n_blocks; b++) {
            bool          is_blocked;
            const int32_t cost = block_cost(a, tile_states + b, rows_of_tile(a, t), &is_blocked);
            total += cost;
            if (cost > 0) {
                workspace.entries[n++] = {static_cast<int32_t>(b) | (is_blocked ? BLOCKED : 0), cost};
            }
        }
    }
    begins[a.n_tiles] = n;
    AttentionPlan p{states, workspace.entries, begins, spans, 0};
    const int64_t share     = (a.target_items + a.n_ranges - 1) / a.n_ranges;
    const int64_t span_cost = (total + share - 1) / share + (total == 0);
    for (int64_t t = 0; t < a.n_tiles; t++) {
        spans[t]             = p.n_spans;
        const int64_t wanted = share == 1 ? 1 : (tile_cost(p, t) + span_cost - 1) / span_cost;
        const int64_t most   = min_of(wanted, begins[t + 1] - begins[t]);
        p.n_spans += static_cast<int32_t>(most < 1 ? 1 : most);
    }
    spans[a.n_tiles] = p.n_spans;
    return p;
}

// The first entry, from `e` on, whose middle does not lie before share / n, in units of cost. Updates `sum`, the cost of all entries
// before `e`.
static inline int32_t skip_share(const BlockEntry * entries, int32_t e, int32_t end, int64_t share, int64_t n, int64_t * sum) {
    while (e < end && (2 * *sum + entries[e].cost) * n < 2 * share) {
        *sum += entries[e++].cost;
    }
    return e;
}

// The entries of span `s` of a tile's n spans, which have about equal cost.
static inline void span_entries(const AttentionPlan & p, int64_t tile, int64_t s, int64_t n, int32_t * begin, int32_t * end) {
    const int64_t cost = tile_cost(p, tile);
    int64_t       sum  = 0;
    *begin             = skip_share(p.entries, p.begins[tile], p.begins[tile + 1], cost * s, n, &sum);
    *end = s + 1 == n ? p.begins[tile + 1] : skip_share(p.entries, *begin, p.begins[tile + 1], cost * (s + 1), n, &sum);
}

} // namespace
} // namespace lc::kernels
