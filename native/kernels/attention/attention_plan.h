// What the mask closes, and what is left to do. Included by each level's file; see attention_impl.h.
//
// The state of a block for a row: how many of its cells are open, | BIASED if some open cell has a value other than 0.
#pragma once

#include "kernels/attention/attention_shape.h"

#include <immintrin.h>
#include <string.h>

namespace lc::kernels {
namespace {

constexpr uint8_t  BIASED = 0x80;
constexpr int32_t  BY_LINES = int32_t{1} << 30;  // in Entry::block: all lines of the tile take the block together
constexpr uint16_t CLOSED = 0xfc00;              // minus infinity

struct Plan {
    const uint8_t * states;  // [stream][row][block]
    const Entry *   entries; // blocks that are not closed for every row of the tile, tile after tile
    const int32_t * begins;  // [n_tiles + 1]: of a tile's entries
    const int32_t * spans;   // [n_tiles + 1]: spans before the tile
    int32_t n_spans;
};

// The open cells of a block, as bits, and the values of its mask.
struct BlockMask {
    const uint16_t * values;
    uint64_t open;
    uint16_t copy[CELLS];
};

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t block_cells(const Attention & a, int64_t block) {
    return least(CELLS, a.n_cells - block * CELLS);
}

template <class I>
static inline void read_block_mask(const Attention & a, int64_t stream, int64_t row, int64_t block, BlockMask & out) {
    const int64_t n = block_cells(a, block);
    if (a.mask == nullptr) {
        out.values = nullptr;
        out.open = n == CELLS ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
        return;
    }
    out.values = reinterpret_cast<const uint16_t *>(a.mask + stream * a.mask_stream + row * a.mask_row) + block * CELLS;
    if (n < CELLS) {
        for (int64_t i = 0; i < CELLS; i++) {
            out.copy[i] = i < n ? out.values[i] : CLOSED;
        }
        out.values = out.copy;
    }
    out.open = ~I::equal_halves(out.values, CLOSED, 0xffff);
}

template <class I> static void find_states(const Attention & a, int64_t stream, int64_t row, uint8_t * states) {
    BlockMask m;
    for (int64_t b = 0; b < a.n_blocks; b++) {
        read_block_mask<I>(a, stream, row, b, m);
        const int open = __builtin_popcountll(m.open);
        const bool plain = m.values == nullptr || (m.open & ~I::equal_halves(m.values, 0, 0x7fff)) == 0;
        states[b] = static_cast<uint8_t>(open | (plain ? 0 : BIASED));
    }
}

template <class I> static const uint8_t * find_all_states(const Attention & a, const ThreadTeam & team) {
    uint8_t * states = team.scratch + (a.scan_alone ? team.ith * a.states_bytes : 0);
    const int64_t n = a.n_streams * a.n_rows;
    const int64_t begin = a.scan_alone ? 0 : n * team.ith / team.nth;
    const int64_t end = a.scan_alone ? n : n * (team.ith + 1) / team.nth;
    for (int64_t i = begin; i < end; i++) {
        find_states<I>(a, i / a.n_rows, i % a.n_rows, states + i * a.n_blocks);
    }
    if (!a.scan_alone) {
        team_barrier(team);
    }
    return states;
}

// From how many lines on a block is taken by all of them together (its keys and values are then converted once).
constexpr int64_t MANY_LINES = 16;

// One block of a tile, `n` rows: 0 if it is closed, else about what it costs. `by_lines` as in BY_LINES.
static inline int32_t block_cost(const Attention & a, const uint8_t * states, int64_t n, bool * by_lines) {
    int32_t rows = 0;
    int32_t open = 0;
    for (int64_t r = 0; r < n; r++) {
        const int32_t cells = states[r * a.n_blocks] & ~BIASED;
        rows += cells > 0;
        open += cells;
    }
    const int32_t group = static_cast<int32_t>(a.group);
    const int32_t cells = static_cast<int32_t>(CELLS);
    *by_lines = rows * group >= MANY_LINES && 3 * open >= rows * cells;
    return *by_lines ? (rows * group + 8) * cells : 2 * open * group;
}

static inline int32_t rows_of_tile(const Attention & a, int64_t tile) {
    return static_cast<int32_t>(least(a.tile_rows, a.n_rows - tile % a.stream_tiles * a.tile_rows));
}

static inline const uint8_t * states_of_tile(const Attention & a, const uint8_t * states, int64_t tile) {
    return states + (tile / a.stream_tiles * a.n_rows + tile % a.stream_tiles * a.tile_rows) * a.n_blocks;
}

static inline int64_t tile_cost(const Plan & p, int64_t tile) {
    int64_t cost = 0;
    for (int32_t e = p.begins[tile]; e < p.begins[tile + 1]; e++) {
        cost += p.entries[e].cost;
    }
    return cost;
}

// Every thread makes the same plan from the same states.
static Plan make_plan(const Attention & a, const uint8_t * states, const Local & local) {
    int32_t * begins = local.tiles;
    int32_t * spans = local.tiles + a.n_tiles + 1;
    int32_t n = 0;
    int64_t total = 0;
    for (int64_t t = 0; t < a.n_tiles; t++) {
        begins[t] = n;
        const uint8_t * tile_states = states_of_tile(a, states, t);
        for (int64_t b = 0; b < a.n_blocks; b++) {
            bool by_lines;
            const int32_t cost = block_cost(a, tile_states + b, rows_of_tile(a, t), &by_lines);
            total += cost;
            if (cost > 0) {
                local.entries[n++] = {static_cast<int32_t>(b) | (by_lines ? BY_LINES : 0), cost};
            }
        }
    }
    begins[a.n_tiles] = n;
    Plan p{states, local.entries, begins, spans, 0};
    const int64_t share = (a.n_goal + a.n_ranges - 1) / a.n_ranges;
    const int64_t span_cost = (total + share - 1) / share + (total == 0);
    for (int64_t t = 0; t < a.n_tiles; t++) {
        spans[t] = p.n_spans;
        const int64_t wanted = share == 1 ? 1 : (tile_cost(p, t) + span_cost - 1) / span_cost;
        const int64_t most = least(wanted, begins[t + 1] - begins[t]);
        p.n_spans += static_cast<int32_t>(most < 1 ? 1 : most);
    }
    spans[a.n_tiles] = p.n_spans;
    return p;
}

// From the entry `e` on, those whose middle lies before the share `s` of n of the tile's cost. `sum`: the cost before `e`.
static inline int32_t skip_share(const Entry * entries, int32_t e, int32_t end, int64_t share, int64_t n, int64_t * sum) {
    while (e < end && (2 * *sum + entries[e].cost) * n < 2 * share) {
        *sum += entries[e++].cost;
    }
    return e;
}

// The entries of a tile's span `s` of n, by equal shares of the cost.
static inline void span_entries(const Plan & p, int64_t tile, int64_t s, int64_t n, int32_t * begin, int32_t * end) {
    const int64_t cost = tile_cost(p, tile);
    int64_t sum = 0;
    *begin = skip_share(p.entries, p.begins[tile], p.begins[tile + 1], cost * s, n, &sum);
    *end = s + 1 == n ? p.begins[tile + 1] : skip_share(p.entries, *begin, p.begins[tile + 1], cost * (s + 1), n, &sum);
}

} // namespace
} // namespace lc::kernels
