// The attention operation over an instruction set I. Each level's file defines I and calls run_attention(); everything here
// and in the headers below has internal linkage, because each file is compiled with its level's flags.
//
// Two ways through a block of cells: row by row, by lists of open cells, read straight from the cache (attention_gather.h), or
// all lines of the tile together from converted keys and values (attention_blocked.h). The first never touches a cell that is
// closed for the row. The second multiplies what is closed for some lines by a weight of 0, so a block whose values are not
// all finite is left to the first.
#pragma once

#include "kernels/attention/attention_blocked_lines.h"

namespace lc::kernels {
namespace {

// The item with a number. Tiles go from the last to the first: in a causal chunk the later ones have more to do, and a long
// item at the end would leave threads idle.
static Item item_at(const Attention & a, const Plan & p, const ThreadTeam & team, int64_t number, const Local & local) {
    int64_t tile = a.n_tiles - 1;
    int64_t span = number / a.n_ranges;
    for (; span >= p.spans[tile + 1] - p.spans[tile]; tile--) {
        span -= p.spans[tile + 1] - p.spans[tile];
    }
    const int64_t n_spans = p.spans[tile + 1] - p.spans[tile];
    Item item;
    item.tile = tile;
    item.stream = tile / a.stream_tiles;
    item.row = tile % a.stream_tiles * a.tile_rows;
    item.n_rows = rows_of_tile(a, tile);
    item.head = number % a.n_ranges * a.range_heads;
    item.n_heads = least(a.range_heads, a.n_head_kv - item.head);
    item.is_whole = n_spans == 1;
    item.state = item.is_whole ? local.slot : state_of(a, slot_of(a, team, slots_before(p, tile) + span), item.head, 0).m;
    span_entries(p, tile, span, n_spans, &item.entry, &item.end);
    return item;
}

// attention_tiles.h: entries_by_lines() with AMX. Only where I::TILES.
template <class I> static void entries_by_tiles(const Attention & a, const Item & item, const Plan & p, const Local & local);

// AMX takes 32 numbers of a key at once and 16 of a value.
template <class I> static bool has_tiles(const Attention & a) {
    return I::TILES && a.dk % 32 == 0 && a.dv % 16 == 0;
}

template <class I> static void run_item(const Attention & a, const Plan & p, const Item & item, const Local & local) {
    for (int64_t i = 0; i < item.n_heads * a.group; i++) {
        local.slopes[i] = attention_slope(a, item.head * a.group + i);
    }
    clear_state(a, item);
    if constexpr (I::TILES) {
        has_tiles<I>(a) ? entries_by_tiles<I>(a, item, p, local) : entries_by_lines<I>(a, item, p, local);
    } else {
        entries_by_lines<I>(a, item, p, local);
    }
    entries_by_row<I>(a, item, p, nullptr, local);
    if (!item.is_whole) {
        return;
    }
    for (int64_t h = 0; h < item.n_heads; h++) {
        for (int64_t line = 0; line < item.n_rows * a.group; line++) {
            write_line<I>(a, item, item.head + h, line, state_of(a, item.state, h, line));
        }
    }
}

// Adds up one line of n slots in the first of them.
template <class I> static State merge_line(const Attention & a, float * slot, int64_t n, int64_t head, int64_t line) {
    const State sum = state_of(a, slot, head, line);
    for (int64_t i = 1; i < n; i++) {
        const State s = state_of(a, slot + i * a.slot_floats, head, line);
        const float top = *s.m > *sum.m ? *s.m : *sum.m;
        if (*s.l == 0.0f) {
            continue;  // no open cells: m is minus infinity, perhaps in both
        }
        const float old_factor = exp_of_one<I>(*sum.m - top);
        const float factor = exp_of_one<I>(*s.m - top);
        *sum.m = top;
        *sum.l = *sum.l * old_factor + *s.l * factor;
        for (int64_t d = 0; d < a.dv; d += I::W) {
            const typename I::V old = I::mul(I::load(sum.o + d), I::set1(old_factor));
            I::store(sum.o + d, I::fma(I::load(s.o + d), I::set1(factor), old));
        }
    }
    return sum;
}

template <class I> static void merge_slots(const Attention & a, const Plan & p, const ThreadTeam & team) {
    for (int64_t t = 0; t < a.n_tiles; t++) {
        const int64_t n_spans = p.spans[t + 1] - p.spans[t];
        if (n_spans == 1) {
            continue;
        }
        Item item{};
        item.stream = t / a.stream_tiles;
        item.row = t % a.stream_tiles * a.tile_rows;
        const int64_t lines = rows_of_tile(a, t) * a.group;
        const int64_t n = lines * a.n_head_kv;
        float * slot = slot_of(a, team, slots_before(p, t));
        for (int64_t i = n * team.ith / team.nth; i < n * (team.ith + 1) / team.nth; i++) {
            write_line<I>(a, item, i / lines, i % lines, merge_line<I>(a, slot, n_spans, i / lines, i % lines));
        }
    }
}

template <class I> static void run_attention(const Attention & a, const ThreadTeam & team) {
    Local local;
    attention_local(a, team.scratch + a.local_at + team.ith * a.local_bytes, &local);
    const Plan p = make_plan(a, find_all_states<I>(a, team), local);
    for (int64_t i = team_take(team, 0, 1); i < p.n_spans * a.n_ranges; i = team_take(team, 0, 1)) {
        run_item<I>(a, p, item_at(a, p, team, i, local), local);
    }
    if (p.n_spans > a.n_tiles) {
        team_barrier(team);
        merge_slots<I>(a, p, team);
    }
}

} // namespace
} // namespace lc::kernels
