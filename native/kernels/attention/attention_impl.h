// The attention operation over the SIMD traits S (isa/simd/simd.h) with these additional members:
//   GATHER_NR, BLOCKED_NR   vectors of a register tile (NR) for three and four lines in gather, and in blocked
//   HAS_TILES               blocked uses AMX where shapes allow it
// The file of each instruction set (attention_*.cpp) defines S and calls run_attention(). Everything here and in the included
// headers has internal linkage, because these files are compiled with different flags.
//
// A block of cells is computed in one of two ways:
//   gather    (attention_gather.h)   row by row from lists of visible cells, with keys and values read from the KV cache directly.
//             Never accesses a cell that is masked for the row.
//   blocked   (attention_blocked.h, with AMX attention_blocked_amx.h)   all lines of the tile together, with keys and values packed
//             once. Masked cells get a weight of 0, so a block whose values are not all finite is left to gather.
#pragma once

#include "kernels/attention/attention_blocked.h"

namespace lc::kernels {
namespace {

// The item with this number. Tiles are taken from the last to the first: in a causal chunk the later tiles take longer, and a long
// item at the end would leave threads idle.
static WorkItem item_at(const Attention & a, const AttentionPlan & p, const ThreadTeam & team, int64_t number,
                        const Workspace & workspace) {
    int64_t tile = a.n_tiles - 1;
    int64_t span = number / a.n_ranges;
    for (; span >= p.spans[tile + 1] - p.spans[tile]; tile--) {
        span -= p.spans[tile + 1] - p.spans[tile];
    }
    const int64_t n_spans = p.spans[tile + 1] - p.spans[tile];
    WorkItem      item;
    item.tile         = tile;
    item.stream       = tile / a.stream_tiles;
    item.row          = tile % a.stream_tiles * a.tile_rows;
    item.n_rows       = rows_of_tile(a, tile);
    item.head         = number % a.n_ranges * a.range_heads;
    item.n_heads      = min_of(a.range_heads, a.n_head_kv - item.head);
    item.is_only_span = n_spans == 1;
    item.state = item.is_only_span ? workspace.slot : state_of(a, slot_of(a, team, slots_before(p, tile) + span), item.head, 0).m;
    span_entries(p, tile, span, n_spans, &item.entry, &item.end);
    return item;
}

// In attention_blocked_amx.h. Only if S::HAS_TILES.
template <class S> static void run_blocked_entries_amx(const Attention & a, const WorkItem & item, const AttentionPlan & p,
                                                       const Workspace & workspace);

// A tile holds 32 numbers of a key and 16 of a value.
template <class S> static bool uses_tiles(const Attention & a) {
    return S::HAS_TILES && a.dk % 32 == 0 && a.dv % 16 == 0;
}

template <class S> static void run_item(const Attention & a, const AttentionPlan & p, const WorkItem & item,
                                        const Workspace & workspace) {
    for (int64_t i = 0; i < item.n_heads * a.group; i++) {
        workspace.slopes[i] = attention_slope(a, item.head * a.group + i);
    }
    clear_state(a, item);
    if constexpr (S::HAS_TILES) {
        uses_tiles<S>(a) ? run_blocked_entries_amx<S>(a, item, p, workspace) : run_blocked_entries<S>(a, item, p, workspace);
    } else {
        run_blocked_entries<S>(a, item, p, workspace);
    }
    run_gather_entries<S>(a, item, p, nullptr, workspace);
    if (!item.is_only_span) {
        return;
    }
    for (int64_t h = 0; h < item.n_heads; h++) {
        for (int64_t line = 0; line < item.n_rows * a.group; line++) {
            write_line<S>(a, item, item.head + h, line, state_of(a, item.state, h, line));
        }
    }
}

// Merges one line of n slots into the first of them.
template <class S> static LineState merge_line(const Attention & a, float * slot, int64_t n, int64_t head, int64_t line) {
    const LineState sum = state_of(a, slot, head, line);
    for (int64_t i = 1; i < n; i++) {
        const LineState s   = state_of(a, slot + i * a.slot_floats, head, line);
        const float     top = *s.m > *sum.m ? *s.m : *sum.m;
        if (*s.l == 0.0f) {
            continue; // no visible cells: m is minus infinity, perhaps in both
        }
        const float old_factor = scalar_exp<S>(*sum.m - top);
        const float factor     = scalar_exp<S>(*s.m - top);
        *sum.m                 = top;
        *sum.l                 = *sum.l * old_factor + *s.l * factor;
        for (int64_t d = 0; d < a.dv; d += S::LANES) {
            const typename S::F32 old = S::mul(S::load(sum.o + d), S::broadcast(old_factor));
            S::store(sum.o + d, S::fma(S::load(s.o + d), S::broadcast(factor), old));
        }
    }
    return sum;
}

template <class S> static void merge_slots(const Attention & a, const AttentionPlan & p, const ThreadTeam & team) {
    for (int64_t t = 0; t < a.n_tiles; t++) {
        const int64_t n_spans = p.spans[t + 1] - p.spans[t];
        if (n_spans == 1) {
            continue;
        }
        WorkItem item{};
        item.stream         = t / a.stream_tiles;
        item.row            = t % a.stream_tiles * a.tile_rows;
        const int64_t lines = rows_of_tile(a, t) * a.group;
        const int64_t n     = lines * a.n_head_kv;
        float *       slot  = slot_of(a, team, slots_before(p, t));
        for (int64_t i = n * team.ith / team.nth; i < n * (team.ith + 1) / team.nth; i++) {
            write_line<S>(a, item, i / lines, i % lines, merge_line<S>(a, slot, n_spans, i / lines, i % lines));
        }
    }
}

template <class S> static void run_attention(const Attention & a, const ThreadTeam & team) {
    Workspace workspace;
    attention_workspace(a, team.scratch + a.workspaces_at + team.ith * a.workspace_bytes, &workspace);
    const AttentionPlan p = make_attention_plan(a, find_all_block_states<S>(a, team), workspace);
    for (int64_t i = team_take(team, 0, 1); i < p.n_spans * a.n_ranges; i = team_take(team, 0, 1)) {
        run_item<S>(a, p, item_at(a, p, team, i, workspace), workspace);
    }
    if (p.n_spans > a.n_tiles) {
        team_barrier(team);
        merge_slots<S>(a, p, team);
    }
}

} // namespace
} // namespace lc::kernels
