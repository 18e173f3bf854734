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
    const int32_t *        row_groups; // [n_tiles]: the spans of a tile are these times those of its parts
    int32_t                n_spans;
    int64_t                range_heads, n_ranges;
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

static inline bool is_gather_only(const AttentionPlan & p, int64_t tile) {
    for (int32_t e = p.begins[tile]; e < p.begins[tile + 1]; e++) {
        if (is_blocked(p.entries[e])) {
            return false;
        }
    }
    return true;
}

// From so many lines of a tile and one head on, computing takes longer than reading memory.
constexpr int64_t COMPUTE_BOUND_LINES = 64;

// Divides the heads of K and V into ranges. Several heads in an item read memory in order, which matters where few lines share it; there
// are as many as leave enough items.
static void divide_heads(const Attention & a, AttentionPlan & p) {
    int64_t units = 0;
    for (int64_t t = 0; t < a.n_tiles; t++) {
        const int64_t parts = rows_of_tile(a, t) * a.group < COMPUTE_BOUND_LINES ? parts_of_tile(p, t) : 1;
        units += is_gather_only(p, t) ? parts * rows_of_tile(a, t) : parts;
    }
    const int64_t fewest = (a.n_head_kv + a.max_range_heads - 1) / a.max_range_heads;
    const int64_t wanted = units == 0 ? 1 : (a.target_items + units - 1) / units;
    const int64_t ranges = wanted < fewest ? fewest : min_of(wanted, a.n_head_kv);
    p.range_heads        = (a.n_head_kv + ranges - 1) / ranges;
    p.n_ranges           = (a.n_head_kv + p.range_heads - 1) / p.range_heads;
}

// Cost of the tile's row that costs most, if it is computed by gather.
static inline int64_t largest_row_cost(const Attention & a, const AttentionIndex & index, int64_t tile) {
    const int32_t * begins  = index.row_begins + first_row_of_tile(a, tile);
    int64_t         largest = 0;
    for (int32_t row = 0; row < rows_of_tile(a, tile); row++) {
        int64_t cost = 0;
        for (int32_t i = begins[row]; i < begins[row + 1]; i++) {
            cost += 2 * __builtin_popcountll(index.row_blocks[i].visible) * a.group;
        }
        largest = cost > largest ? cost : largest;
    }
    return largest;
}

// Numbers of spans of a tile, of its rows and of its parts.
struct SpanCounts {
    int64_t of_rows, of_parts;
};

static SpanCounts count_spans(const Attention & a, const AttentionPlan & p, int64_t tile, int64_t span_cost) {
    const int64_t wanted  = (tile_cost(p, tile) + span_cost - 1) / span_cost;
    const int64_t n_parts = parts_of_tile(p, tile);
    if (wanted <= 1) {
        return {1, 1};
    }
    if (rows_of_tile(a, tile) == 1 || !is_gather_only(p, tile)) {
        return {1, min_of(wanted, n_parts)};
    }
    const int64_t of_largest = (largest_row_cost(a, p.index, tile) + span_cost / 2) / span_cost;
    return {min_of(wanted, rows_of_tile(a, tile)), min_of(of_largest < 1 ? 1 : of_largest, n_parts)};
}

// Every thread makes the same plan from the same index.
static AttentionPlan make_attention_plan(const Attention & a, const AttentionIndex & index, const Workspace & workspace) {
    int32_t *     begins     = workspace.tiles;
    int32_t *     spans      = begins + a.n_tiles + 1;
    int32_t *     slots      = spans + a.n_tiles + 1;
    int32_t *     row_groups = slots + a.n_tiles + 1;
    AttentionPlan p{index, workspace.entries, begins, spans, slots, row_groups, 0, 0, 0};
    int64_t       total = 0;
    begins[0]           = 0;
    for (int64_t t = 0; t < a.n_tiles; t++) {
        begins[t + 1] = list_entries(a, index, t, workspace, begins[t]);
        total += tile_cost(p, t);
    }
    divide_heads(a, p);
    const int64_t share     = (a.target_items + p.n_ranges - 1) / p.n_ranges;
    const int64_t span_cost = (total + share - 1) / share + (total == 0);
    int32_t       n_slots   = 0;
    for (int64_t t = 0; t < a.n_tiles; t++) {
        spans[t]              = p.n_spans;
        slots[t]              = n_slots;
        const int32_t    need = parts_of_tile(p, t);
        const SpanCounts n    = share == 1 ? SpanCounts{1, 1} : count_spans(a, p, t, span_cost);
        const bool       cuts = n.of_parts > 1 && n_slots + need <= a.max_slots;
        row_groups[t]         = static_cast<int32_t>(n.of_rows);
        n_slots += cuts ? need : 0;
        p.n_spans += static_cast<int32_t>(n.of_rows * (cuts ? n.of_parts : 1));
    }
    spans[a.n_tiles] = p.n_spans;
    slots[a.n_tiles] = n_slots;
    return p;
}

// The first entry of the span with this number, of n spans of a tile's parts, which have about equal cost. A span begins with a part.
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
