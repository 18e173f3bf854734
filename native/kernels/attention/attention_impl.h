// The attention operation over the SIMD traits S (isa/simd/simd.h) with these additional members:
//   GATHER_NR, BLOCKED_NR   vectors of a register tile (NR) for three and four lines in gather, and for values in blocked
//   SCORES_NR               the same for scores in blocked, where two tiles are computed at once
//   HAS_TILES               blocked uses AMX where shapes allow it
// The file of each instruction set (attention_*.cpp) defines S and calls run_attention(). Everything here and in the included
// headers has internal linkage, because these files are compiled with different flags.
//
// A block of cells is computed in one of two ways, which give the same bits (but AMX does not):
//   gather    (attention_gather.h)   row by row, with keys and values read from the KV cache directly. Never accesses a cell that is
//             masked for the row.
//   blocked   (attention_blocked.h, with AMX attention_blocked_amx.h)   all lines of the tile together, with keys and values packed
//             once. Masked cells get a weight of 0, so a block whose values are not all finite is left to gather.
// The blocks of a part are computed in the order of positions, one added to the other (online softmax). Parts begin anew, and are added
// in the order of positions (add_part()). So the result of a row depends neither on its cells, nor on threads, nor on other rows.
#pragma once

#include "kernels/attention/attention_blocked.h"

namespace lc::kernels {
namespace {

// The item with this number. Tiles are taken from the last to the first: in a causal chunk the later tiles take longer, and a long
// item at the end would leave threads idle.
static WorkItem item_at(const Attention & a, const AttentionPlan & p, const ThreadTeam & team, int64_t number) {
    int64_t tile = a.n_tiles - 1;
    int64_t span = number / p.n_ranges;
    for (; span >= p.spans[tile + 1] - p.spans[tile]; tile--) {
        span -= p.spans[tile + 1] - p.spans[tile];
    }
    const int64_t n_groups = p.row_groups[tile];
    const int64_t n_spans  = (p.spans[tile + 1] - p.spans[tile]) / n_groups;
    const int64_t group    = span / n_spans;
    WorkItem      item;
    item.tile    = tile;
    item.stream  = tile / a.stream_tiles;
    item.row     = tile % a.stream_tiles * a.tile_rows;
    item.n_rows  = rows_of_tile(a, tile);
    item.from    = item.n_rows * group / n_groups;
    item.to      = item.n_rows * (group + 1) / n_groups;
    item.head    = number % p.n_ranges * p.range_heads;
    item.n_heads = min_of(p.range_heads, a.n_head_kv - item.head);
    item.slots   = n_spans == 1 ? nullptr : state_of(a, slot_of(a, team, p.slots[tile]), item.head, 0).m;
    item.entry   = span_begin(p, tile, span % n_spans, n_spans);
    item.end     = span_begin(p, tile, span % n_spans + 1, n_spans);
    return item;
}

// Adds the state of lines in a part to the sums in workspace.slot, unless it is there: that of the first part, and those of parts
// that have slots of their own.
template <class S> static void end_part(const Attention & a, const WorkItem & item, const float * state, int64_t line, int64_t n,
                                        const Workspace & workspace) {
    for (int64_t h = 0; state == workspace.part && h < item.n_heads; h++) {
        add_part<S>(state_of(a, workspace.slot, h, line), state_of(a, workspace.part, h, line), n, a.dv);
    }
}

// An item without BLOCKED entries: row by row, so that memory is read in order.
template <class S>
static void run_gather_item(const Attention & a, const AttentionPlan & p, const WorkItem & item, const Workspace & workspace) {
    const int64_t first = first_row_of_tile(a, item.tile);
    for (int32_t e = item.entry; item.slots != nullptr && e < item.end; e++) {
        if (e == item.entry || p.entries[e].part != p.entries[e - 1].part) {
            clear_lines(a, part_state(a, item, p.entries[e].part, false, workspace), item.n_heads, item.from * a.group,
                        (item.to - item.from) * a.group);
        }
    }
    for (int64_t row = item.from; row < item.to; row++) {
        const RowBlock * rb   = row_blocks_from(p.index, first + row, block_of(p.entries[item.entry]));
        const RowBlock * end  = p.index.row_blocks + p.index.row_begins[first + row + 1];
        int32_t          part  = -1;
        float *          state = workspace.slot;
        scale_row<S>(a, item, row, workspace);
        for (int32_t e = item.entry; e < item.end && rb < end; e++) {
            if (rb->block != block_of(p.entries[e])) {
                continue;
            }
            if (p.entries[e].part != part) {
                end_part<S>(a, item, state, row * a.group, a.group, workspace);
                state = part_state(a, item, p.entries[e].part, part < 0, workspace);
                part  = p.entries[e].part;
                if (state == workspace.part) {
                    clear_lines(a, state, item.n_heads, row * a.group, a.group);
                }
            }
            gather_block<S>(a, p.index, item, row, *rb, next_cell(p.index, rb, end), state, workspace);
            rb++;
        }
        end_part<S>(a, item, state, row * a.group, a.group, workspace);
    }
}

// In attention_blocked_amx.h. Only if S::HAS_TILES. Computes the BLOCKED entries from `e` to `end`, all of one part.
template <class S> static void run_part_amx(const Attention & a, const AttentionPlan & p, const WorkItem & item, int32_t e, int32_t end,
                                            float * state, const Workspace & workspace);

// A tile holds 32 numbers of a key and 16 of a value.
template <class S> static bool uses_tiles(const Attention & a) {
    return S::HAS_TILES && a.dk % 32 == 0 && a.dv % 16 == 0;
}

// The entries from `e` to `end` are those of a part.
template <class S> static void run_part(const Attention & a, const AttentionPlan & p, const WorkItem & item, int32_t e, int32_t end,
                                        LineList & lines, float * state, const Workspace & workspace) {
    if constexpr (S::HAS_TILES) {
        if (uses_tiles<S>(a)) {
            run_part_amx<S>(a, p, item, e, end, state, workspace);
            for (; e < end; e++) {
                if (!is_blocked(p.entries[e])) {
                    gather_entry<S>(a, p, item, e, state, workspace);
                }
            }
            return;
        }
    }
    for (; e < end; e++) {
        if (is_blocked(p.entries[e])) {
            blocked_entry<S>(a, p, item, e, lines, state, workspace);
        } else {
            gather_entry<S>(a, p, item, e, state, workspace);
        }
    }
}

// An item with BLOCKED entries: part by part.
template <class S>
static void run_mixed_item(const Attention & a, const AttentionPlan & p, const WorkItem & item, const Workspace & workspace) {
    const int64_t n_lines = item.n_rows * a.group;
    LineList      lines{-1, 0, workspace.lines, workspace.rows};
    begin_cursors(p.index, item, first_row_of_tile(a, item.tile), block_of(p.entries[item.entry]), workspace.cursors);
    for (int32_t e = item.entry; e < item.end;) {
        const int32_t part = p.entries[e].part;
        int32_t       end  = e + 1;
        while (end < item.end && p.entries[end].part == part) {
            end++;
        }
        float * state = part_state(a, item, part, e == item.entry, workspace);
        if (state != workspace.slot) {
            clear_lines(a, state, item.n_heads, 0, n_lines);
        }
        run_part<S>(a, p, item, e, end, lines, state, workspace);
        end_part<S>(a, item, state, 0, n_lines, workspace);
        e = end;
    }
}

template <class S> static void run_item(const Attention & a, const AttentionPlan & p, const WorkItem & item,
                                        const Workspace & workspace) {
    for (int64_t i = 0; i < item.n_heads * a.group; i++) {
        workspace.slopes[i] = attention_slope(a, item.head * a.group + i);
    }
    if (item.slots == nullptr) {
        clear_lines(a, workspace.slot, item.n_heads, item.from * a.group, (item.to - item.from) * a.group);
    }
    bool has_blocked = false;
    for (int32_t e = item.entry; e < item.end; e++) {
        has_blocked |= is_blocked(p.entries[e]);
    }
    if (has_blocked) {
        run_mixed_item<S>(a, p, item, workspace);
    } else if (item.entry < item.end) {
        run_gather_item<S>(a, p, item, workspace);
    }
    for (int64_t h = 0; item.slots == nullptr && h < item.n_heads; h++) {
        for (int64_t line = item.from * a.group; line < item.to * a.group; line++) {
            write_line<S>(a, item, item.head + h, line, state_of(a, workspace.slot, h, line));
        }
    }
}

template <class S> static void merge_slots(const Attention & a, const AttentionPlan & p, const ThreadTeam & team) {
    for (int64_t t = 0; t < a.n_tiles; t++) {
        const int64_t n_slots = p.slots[t + 1] - p.slots[t];
        if (n_slots == 0) {
            continue;
        }
        WorkItem item{};
        item.stream         = t / a.stream_tiles;
        item.row            = t % a.stream_tiles * a.tile_rows;
        const int64_t lines = rows_of_tile(a, t) * a.group;
        const int64_t n     = lines * a.n_head_kv;
        float *       slot  = slot_of(a, team, p.slots[t]);
        const int64_t end   = n * (team.ith + 1) / team.nth;
        for (int64_t i = n * team.ith / team.nth; i < end;) {
            const int64_t   head = i / lines, line = i % lines;
            const int64_t   left = min_of(lines - line, end - i);
            const LineState sum  = state_of(a, slot, head, line);
            for (int64_t part = 1; part < n_slots; part++) {
                add_part<S>(sum, state_of(a, slot + part * a.slot_floats, head, line), left, a.dv);
            }
            for (int64_t j = 0; j < left; j++) {
                write_line<S>(a, item, head, line + j, state_of(a, slot, head, line + j));
            }
            i += left;
        }
    }
}

template <class S> static void run_attention(const Attention & a, const AttentionIndex & index, const ThreadTeam & team) {
    Workspace workspace;
    attention_workspace(a, team.scratch + a.workspaces_at + team.ith * a.workspace_bytes, &workspace);
    const AttentionPlan p = make_attention_plan(a, index, workspace);
    for (int64_t i = team_take(team, 0, 1); i < p.n_spans * p.n_ranges; i = team_take(team, 0, 1)) {
        run_item<S>(a, p, item_at(a, p, team, i), workspace);
    }
    if (p.slots[a.n_tiles] > 0) {
        team_barrier(team);
        merge_slots<S>(a, p, team);
    }
}

} // namespace
} // namespace lc::kernels
