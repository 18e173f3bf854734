// Plans the work: which blocks of a tile are computed by gather and which blocked, and how its parts are divided into spans. Included by
// the file of each instruction set; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_index.h"

#include <string.h>

namespace lc::kernels {
namespace {

constexpr int32_t BLOCKED = int32_t{1} << 30; // flag in BlockEntry::block: blocked, not gather

struct AttentionPlan {
    const AttentionIndex & index;
    const BlockEntry *     entries; // tile after tile, the blocks that are not empty for all of its rows, in the order of positions
    const int32_t *        begins;  // [n_tiles + 1]: the first entry of each tile
    const int32_t *        spans;   // [n_tiles + 1]: number of spans before each tile
    const int32_t *        slots;   // [n_tiles + 1]: number of slots before each tile; a tile with one span has none
    int32_t                n_spans;
};

static inline int64_t min_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int32_t block_of(const BlockEntry & entry) {
    return entry.block & ~BLOCKED;
}

static inline bool is_blocked(const BlockEntry & entry) {
    return (entry.block & BLOCKED) != 0;
}

static inline int32_t rows_of_tile(const Attention & a, int64_t tile) {
    return static_cast<int32_t>(min_of(a.tile_rows, a.n_rows - tile % a.stream_tiles * a.tile_rows));
}

// The number of a tile's first row, in all streams.
static inline int64_t first_row_of_tile(const Attention & a, int64_t tile) {
    return tile / a.stream_tiles * a.n_rows + tile % a.stream_tiles * a.tile_rows;
}

static inline int32_t parts_of_tile(const AttentionPlan & p, int64_t tile) {
    return p.begins[tile] == p.begins[tile + 1] ? 0 : p.entries[p.begins[tile + 1] - 1].part + 1;
}

static inline int64_t tile_cost(const AttentionPlan & p, int64_t tile) {
    int64_t cost = 0;
    for (int32_t e = p.begins[tile]; e < p.begins[tile + 1]; e++) {
        cost += p.entries[e].cost;
    }
    return cost;
}

// The mask of a row: the visible cells as bits, and the values by place. Only places with a visible cell have a value.
template <class S> static void read_row_mask(const Attention & a, int64_t stream, int64_t row, const CellBlock & block,
                                             uint64_t visible, float * values) {
    const auto * mask = reinterpret_cast<const uint16_t *>(a.mask + stream * a.mask_stream + row * a.mask_row);
    for (; visible != 0; visible &= visible - 1) {
        const int place = __builtin_ctzll(visible);
        values[place]   = S::half_to_float(mask[block.cell[place]]);
    }
}

template <class S> static bool read_mask(const uint16_t * mask, int64_t n, uint64_t * visible) {
    constexpr uint16_t MASKED_F16 = 0xfc00; // minus infinity
    uint64_t           biased     = 0;
    for (int64_t c = 0; c < n; c += CELLS, mask += CELLS, visible++) {
        uint16_t         copy[CELLS];
        const uint16_t * values = mask;
        if (n - c < CELLS) {
            for (int64_t i = 0; i < CELLS; i++) {
                copy[i] = i < n - c ? mask[i] : MASKED_F16;
            }
            values = copy;
        }
        *visible = ~S::match_u16x64(values, MASKED_F16, 0xffff);
        biased |= *visible & ~S::match_u16x64(values, 0, 0x7fff);
    }
    return biased != 0;
}

// With fewer lines, a block is computed by gather. Blocked converts keys and values once for all lines.
constexpr int64_t MIN_BLOCKED_LINES = 16;

// Lists the blocks of a tile, with their estimated costs, and decides between blocked and gather. Returns the end of the list.
static int32_t list_entries(const Attention & a, const AttentionIndex & index, int64_t tile, const Workspace & workspace, int32_t n) {
    int32_t * const rows    = workspace.counts;
    int32_t * const visible = workspace.counts + a.max_blocks;
    memset(rows, 0, static_cast<size_t>(index.n_blocks) * sizeof(int32_t));
    memset(visible, 0, static_cast<size_t>(index.n_blocks) * sizeof(int32_t));
    const int32_t * begins = index.row_begins + first_row_of_tile(a, tile);
    for (int32_t i = begins[0]; i < begins[rows_of_tile(a, tile)]; i++) {
        rows[index.row_blocks[i].block]++;
        visible[index.row_blocks[i].block] += __builtin_popcountll(index.row_blocks[i].visible);
    }
    const int32_t group = static_cast<int32_t>(a.group);
    const int32_t cells = static_cast<int32_t>(CELLS);
    int32_t       part  = -1;
    int32_t       last  = -1; // number of the last part among all
    for (int32_t b = 0; b < index.n_blocks; b++) {
        if (rows[b] == 0) {
            continue;
        }
        const int32_t number  = block_at(index, b).number / static_cast<int32_t>(a.part_blocks);
        const bool    blocked = rows[b] * group >= MIN_BLOCKED_LINES && 3 * visible[b] >= rows[b] * cells;
        part += number != last;
        last                 = number;
        workspace.entries[n] = {b | (blocked ? BLOCKED : 0), blocked ? (rows[b] * group + 8) * cells : 2 * visible[b] * group, part};
        n++;
    }
    return n;
}

// Every thread makes the same plan from the same index.
static AttentionPlan make_attention_plan(const Attention & a, const AttentionIndex & index, const Workspace & workspace) {
    int32_t *     begins = workspace.tiles;
    int32_t *     spans  = begins + a.n_tiles + 1;
    int32_t *     slots  = spans + a.n_tiles + 1;
    AttentionPlan p{index, workspace.entries, begins, spans, slots, 0};
    int64_t       total = 0;
    begins[0]           = 0;
    for (int64_t t = 0; t < a.n_tiles; t++) {
        begins[t + 1] = list_entries(a, index, t, workspace, begins[t]);
        total += tile_cost(p, t);
    }
    const int64_t share     = (a.target_items + a.n_ranges - 1) / a.n_ranges;
    const int64_t span_cost = (total + share - 1) / share + (total == 0);
    int32_t       n_slots   = 0;
    for (int64_t t = 0; t < a.n_tiles; t++) {
        spans[t]              = p.n_spans;
        slots[t]              = n_slots;
        const int32_t n_parts = parts_of_tile(p, t);
        const int64_t wanted  = share == 1 ? 1 : min_of((tile_cost(p, t) + span_cost - 1) / span_cost, n_parts);
        const bool    divides = wanted > 1 && n_slots + n_parts <= a.max_slots;
        n_slots += divides ? n_parts : 0;
        p.n_spans += divides ? static_cast<int32_t>(wanted) : 1;
    }
    spans[a.n_tiles] = p.n_spans;
    slots[a.n_tiles] = n_slots;
    return p;
}

// The first entry of the span with this number, of a tile's n spans, which have about equal cost. A span begins with a part.
static inline int32_t span_begin(const AttentionPlan & p, int64_t tile, int64_t s, int64_t n) {
    const int32_t end = p.begins[tile + 1];
    if (s == n) {
        return end;
    }
    const int64_t share = tile_cost(p, tile) * s;
    int64_t       sum   = 0;
    int32_t       begin = p.begins[tile];
    while (begin < end) {
        int64_t cost = 0;
        int32_t e    = begin;
        for (; e < end && p.entries[e].part == p.entries[begin].part; e++) {
            cost += p.entries[e].cost;
        }
        if ((2 * sum + cost) * n >= 2 * share) { // the middle of the part does not lie before the share
            break;
        }
        sum += cost;
        begin = e;
    }
    return begin;
}

} // namespace
} // namespace lc::kernels
