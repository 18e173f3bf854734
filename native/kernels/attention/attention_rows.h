// Rows taken alone, by lists of their open cells. Included by each level's file; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_gather.h"
#include "kernels/attention/attention_item.h"

namespace lc::kernels {
namespace {

static inline int64_t bytes_of(KvType type, int64_t n) {
    return type == KvType::q8_0 ? n / 32 * 34 : 2 * n;
}

// From a cell on. Heads side by side are fetched together.
static inline Fetch fetch_from(const Vectors & v, const Item & item, int64_t cell, int64_t bytes) {
    const bool is_row = item.n_heads * v.head <= v.step;
    const int64_t n = is_row ? (item.n_heads - 1) * v.head + bytes : bytes;
    const int64_t n_lines = ((n + 63) / 64 + item.n_heads - 1) / item.n_heads;
    return {head_of(v, item.stream, cell, item.head), v.step, item.n_heads, n_lines, 0};
}

static inline Cells cells_of(const Vectors & v, const Item & item, int64_t head, int64_t cell, Fetch * soon) {
    return {head_of(v, item.stream, cell, item.head + head), v.step, soon};
}

// The listed cells by the row's lines of all heads of the item. Empties the list.
template <class I>
static void list_by_row(const Attention & a, const Item & item, int64_t row, CellList & list, const Local & local) {
    if (list.n == 0) {
        return;
    }
    for (int i = list.n; i % I::W != 0; i++) {
        list.cell[i] = list.cell[list.n - 1];
        list.bias[i] = -__builtin_inff();
        list.masked = true;
    }
    // What the next list names is, mostly, the cells that follow this one's last.
    const int64_t next = list.cell[list.n - 1] + 1;
    Fetch keys = fetch_from(a.k, item, next, bytes_of(a.k_type, a.dk));
    Fetch values = fetch_from(a.v, item, next, bytes_of(a.v_type, a.dv));
    for (int64_t h = 0; h < item.n_heads; h++) {
        few_group<I>(a, list, {local.q + h * a.group * a.dk, local.slopes + h * a.group, cells_of(a.k, item, h, 0, &keys),
                               cells_of(a.v, item, h, 0, &values), state_of(a, item.state, h, row * a.group), local.scores});
    }
    list.n = 0;
    list.masked = false;
}

// Adds open cells of a block to the list, from bit `open` on, until it is full. Returns those left.
static inline uint64_t add_cells(const BlockMask & m, uint64_t open, int64_t block, bool biased, CellList & list) {
    const int32_t first = static_cast<int32_t>(block * CELLS);
    int n = list.n;
    if (open == ~uint64_t{0} && n == 0) {
        for (int i = 0; i < CELLS; i++) {
            list.cell[i] = first + i;
        }
        n = CELLS;
        open = 0;
    }
    for (; open != 0 && n < CELLS; open &= open - 1) {
        list.cell[n++] = first + __builtin_ctzll(open);
    }
    for (int i = list.n; i < n; i++) {
        list.bias[i] = biased ? _cvtsh_ss(m.values[list.cell[i] - first]) : 0.0f;
    }
    list.masked |= biased;
    list.n = n;
    return open;
}

template <class I>
static void block_by_row(const Attention & a, const Item & item, int64_t row, int64_t block, uint8_t state, CellList & list,
                         const Local & local) {
    BlockMask m;
    read_block_mask<I>(a, item.stream, item.row + row, block, m);
    for (uint64_t open = m.open; open != 0;) {
        open = add_cells(m, open, block, (state & BIASED) != 0, list);
        if (list.n == CELLS) {
            list_by_row<I>(a, item, row, list, local);
        }
    }
}

// A row's lines of the item's heads, scaled, into local.q.
template <class I> static void read_row(const Attention & a, const Item & item, int64_t row, const Local & local) {
    float * out = local.q;
    for (int64_t h = 0; h < item.n_heads; h++) {
        for (int64_t g = 0; g < a.group; g++, out += a.dk) {
            const float * q = line_of(a, item, item.head + h, row * a.group + g);
            for (int64_t d = 0; d < a.dk; d += I::W) {
                I::store(out + d, I::mul(I::load(q + d), I::set1(a.scale)));
            }
        }
    }
}

// The entries that are not BY_LINES; with `only` an entry, just that one.
template <class I>
static void entries_by_row(const Attention & a, const Item & item, const Plan & p, const int32_t * only, const Local & local) {
    const uint8_t * tile_states = states_of_tile(a, p.states, item.tile);
    CellList list;
    list.n = 0;
    list.masked = false;
    for (int64_t row = 0; row < item.n_rows; row++) {
        bool is_read = false;
        for (int32_t e = only != nullptr ? *only : item.entry; e < (only != nullptr ? *only + 1 : item.end); e++) {
            const int64_t block = p.entries[e].block & ~BY_LINES;
            const uint8_t state = tile_states[row * a.n_blocks + block];
            if (state == 0 || (only == nullptr && (p.entries[e].block & BY_LINES) != 0)) {
                continue;
            }
            if (!is_read) {
                read_row<I>(a, item, row, local);
                is_read = true;
            }
            block_by_row<I>(a, item, row, block, state, list, local);
        }
        list_by_row<I>(a, item, row, list, local);
    }
}

} // namespace
} // namespace lc::kernels
