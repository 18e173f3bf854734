// Blocks that the lines of a tile take together. Included by each level's file; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_blocked.h"
#include "kernels/attention/attention_rows.h"

namespace lc::kernels {
namespace {

// The lines that take a block together, by their numbers and rows in the tile; filled up to a multiple of LINES with -1.
struct Lines {
    int64_t n, n_pad;
    int32_t * line;
    int32_t * row;
};

template <class I>
static void pack_lines(const Attention & a, const Item & item, int64_t head, const Lines & lines, float * out) {
    for (int64_t i = 0; i < lines.n_pad; i += LINES, out += LINES * a.dk) {
        for (int64_t j = 0; j < LINES; j++) {
            const float * q = lines.line[i + j] < 0 ? nullptr : line_of(a, item, head, lines.line[i + j]);
            for (int64_t d = 0; d < a.dk; d++) {
                out[d * LINES + j] = q == nullptr ? 0.0f : q[d] * a.scale;
            }
        }
    }
}

// True if the lines are others than before.
static bool find_lines(const Attention & a, const Item & item, const uint8_t * states, Lines & lines) {
    const int32_t group = static_cast<int32_t>(a.group);
    bool changed = false;
    int64_t n = 0;
    for (int32_t row = 0; row < item.n_rows; row++) {
        if (states[row * a.n_blocks] == 0) {
            continue;
        }
        changed |= n >= lines.n || lines.row[n] != row;
        for (int32_t i = 0; i < group; i++, n++) {
            lines.line[n] = row * group + i;
            lines.row[n] = row;
        }
    }
    changed |= n != lines.n;
    lines.n = n;
    while (n % LINES != 0) {
        lines.line[n++] = -1;
    }
    lines.n_pad = n;
    return changed;
}

template <class I>
static void soften_lines(const Attention & a, const Item & item, int64_t h, int64_t block, const uint8_t * states,
                         const Lines & lines, const Local & local) {
    float bias[CELLS];
    int64_t bias_row = -1;
    const float * slopes = local.slopes + h * a.group;
    for (int64_t i = 0; i < lines.n; i++) {
        const int64_t row = lines.row[i];
        const bool mixed = states[row * a.n_blocks] != CELLS;
        if (mixed && row != bias_row) {
            BlockMask m;
            read_block_mask<I>(a, item.stream, item.row + row, block, m);
            for (int64_t c = 0; c < CELLS; c += I::W) {
                I::store(bias + c, m.values != nullptr ? I::halves(m.values + c) : I::open_bits(m.open >> c));
            }
            bias_row = row;
        }
        const float slope = slopes[lines.line[i] - row * a.group];
        const State s = state_of(a, item.state, h, lines.line[i]);
        local.factor[i] = many_softmax<I>(local.scores + i * CELLS, mixed ? bias : nullptr, slope, a.soft_cap, s.m, s.l);
    }
    for (int64_t i = lines.n; i < lines.n_pad; i++) {
        local.factor[i] = 0.0f;
    }
}

template <class I> static void convert_keys_of(const Attention & a, const Cells & keys, int64_t n, float * out) {
    switch (a.k_type) {
        case KvType::f16:  return convert_keys<I, KvType::f16>(keys, n, a.dk, out);
        case KvType::bf16: return convert_keys<I, KvType::bf16>(keys, n, a.dk, out);
        case KvType::q8_0: return convert_keys<I, KvType::q8_0>(keys, n, a.dk, out);
    }
}

template <class I> static bool convert_values_of(const Attention & a, const Cells & values, int64_t n, float * out) {
    switch (a.v_type) {
        case KvType::f16:  return convert_values<I, KvType::f16>(values, n, a.dv, out);
        case KvType::bf16: return convert_values<I, KvType::bf16>(values, n, a.dv, out);
        default:           return convert_values<I, KvType::q8_0>(values, n, a.dv, out);
    }
}

// One block of head `h` of the item by the tile's lines together. False, with nothing done, if closed cells' values must not be
// multiplied by 0.
template <class I>
static bool block_by_lines(const Attention & a, const Item & item, int64_t h, int64_t block, const uint8_t * states,
                           const Lines & lines, Fetch * soon, const Local & local) {
    const int64_t n = block_cells(a, block);
    if (!convert_values_of<I>(a, cells_of(a.v, item, h, block * CELLS, &soon[1]), n, local.values)) {
        return false;
    }
    convert_keys_of<I>(a, cells_of(a.k, item, h, block * CELLS, &soon[0]), n, local.keys);
    many_scores<I>(local.q_packed + h * a.line_pad * a.dk, lines.n_pad, a.dk, local.keys, local.scores);
    soften_lines<I>(a, item, h, block, states, lines, local);
    for (int64_t i = 0; i < lines.n_pad; i += LINES) {
        float * o[LINES];
        for (int64_t j = 0; j < LINES; j++) {
            const int32_t line = lines.line[i + j];
            o[j] = line < 0 ? local.spare : state_of(a, item.state, h, line).o;
        }
        many_values<I>(local.scores + i * CELLS, local.values, a.dv, local.factor + i, o);
    }
    return true;
}

template <class I>
static void pack_heads(const Attention & a, const Item & item, const Lines & lines, const Local & local) {
    for (int64_t h = 0; h < item.n_heads; h++) {
        pack_lines<I>(a, item, item.head + h, lines, local.q_packed + h * a.line_pad * a.dk);
    }
}

// What block_by_lines() refuses is done row by row.
template <class I> static void entries_by_lines(const Attention & a, const Item & item, const Plan & p, const Local & local) {
    const uint8_t * tile_states = states_of_tile(a, p.states, item.tile);
    Lines lines{-1, 0, local.lines, local.rows};
    for (int32_t e = item.entry; e < item.end; e++) {
        if ((p.entries[e].block & BY_LINES) == 0) {
            continue;
        }
        const int64_t block = p.entries[e].block & ~BY_LINES;
        if (find_lines(a, item, tile_states + block, lines)) {
            pack_heads<I>(a, item, lines, local);
        }
        Fetch soon[2] = {fetch_from(a.k, item, (block + 1) * CELLS, bytes_of(a.k_type, a.dk)),
                         fetch_from(a.v, item, (block + 1) * CELLS, bytes_of(a.v_type, a.dv))};
        for (int64_t h = 0; h < item.n_heads; h++) {
            if (!block_by_lines<I>(a, item, h, block, tile_states + block, lines, soon, local)) {
                Item one = item;
                one.head += h;
                one.n_heads = 1;
                one.state = state_of(a, item.state, h, 0).m;
                Local of_head = local;
                of_head.slopes += h * a.group;
                entries_by_row<I>(a, one, p, &e, of_head);
            }
        }
    }
}

} // namespace
} // namespace lc::kernels
