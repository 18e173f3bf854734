// Microkernels of gather: up to four lines (query heads of one row that share a head of K and V) x a list of cells, whose keys and
// values are read from the KV cache directly. Included by the file of each instruction set; see attention_impl.h.
//
// A tile of scores is MR lines x NC cells and fills one vector: lane = line * NC + cell. Scores keep that order (one vector for
// every NC cells), so that the softmax needs no operations across lanes until the end. With three lines the last lanes are unused.
//
// Sums are taken in the same order as by blocked, so that both give the same bits: a score is LANES sums over every LANES-th number,
// which horizontal_sums() adds up; the sum of weights is LANES sums over every LANES-th place, added up by halves; an output is a sum
// over the places one after the other.
#pragma once

#include "kernels/attention/attention_item.h"

namespace lc::kernels {
namespace {

// NC
template <class S> constexpr int tile_cells(int n_lines) {
    return n_lines == 1 ? S::LANES : n_lines == 2 ? S::LANES / 2 : S::LANES / 4;
}

// The places begin to end - 1 of a block: whole vectors that hold all cells which the row sees. At other places stands a copy of one
// of these.
struct CellList {
    int             begin, end;
    bool            has_bias;
    const int32_t * cell;        // by place
    float           bias[CELLS]; // if has_bias, by place: the mask values; minus infinity for copies
    int32_t         copy[CELLS]; // where `cell` points, unless the row sees all cells of the block
};

// Memory to prefetch: rows, each divided into n_parts parts of n_lines cache lines, which are prefetched one after the other.
// Memory is fastest if it is read in order, and the vectors of one head alone are not in order.
struct Prefetch {
    const uint8_t * row;
    int64_t         step; // from row to row, in bytes
    int64_t         n_parts;
    int64_t         n_lines;
    int64_t         part; // the next one of the row
};

static inline __attribute__((always_inline)) void prefetch_next(Prefetch & f) {
    const uint8_t * p = f.row + 64 * f.n_lines * f.part;
    for (int64_t i = 0; i < f.n_lines; i++) {
        __builtin_prefetch(p + 64 * i, 0, 2);
    }
    if (++f.part == f.n_parts) {
        f.part = 0;
        f.row += f.step;
    }
}

// Keys or values of one head.
struct CellVectors {
    const uint8_t * data;     // of the first cell
    int64_t         step;     // from cell to cell, in bytes
    Prefetch *      prefetch; // one part is prefetched with each cell; NULL: none
};

// scores: (list.end - list.begin) / NC vectors of MR x NC. q: MR lines of dk. In one piece, since gcc allocates registers worse if the inner loops
// are a function, even an inlined one.
template <class S, KvType T, int MR>
static void gather_scores(const float * q, int64_t dk, const CellVectors & keys, const CellList & list, float * scores) {
    using F32             = typename S::F32;
    constexpr int NC      = tile_cells<S>(MR);
    constexpr int STEP    = T == KvType::q8_0 ? 32 : S::LANES;
    constexpr int AT_ONCE = NC < 8 ? NC : 8; // more keys would compete for one set of L1 if a cell has 4 KB
    const int32_t * cell = list.cell;
    for (int c = list.begin; c < list.end; c += NC, scores += S::LANES) {
        F32 sum[S::LANES];
#pragma GCC unroll 16
        for (int i = 0; i < S::LANES; i++) {
            sum[i] = S::zero();
        }
#pragma GCC unroll 2
        for (int first = 0; first < NC; first += AT_ONCE) {
            const uint8_t * key[AT_ONCE];
#pragma GCC unroll 8
            for (int j = 0; j < AT_ONCE; j++) {
                key[j] = keys.data + cell[c + first + j] * keys.step;
                if (keys.prefetch != nullptr) {
                    prefetch_next(*keys.prefetch);
                }
            }
            for (int64_t d = 0; d < dk; d += STEP) {
                F32 scale[AT_ONCE];
#pragma GCC unroll 8
                for (int j = 0; j < AT_ONCE; j++) {
                    scale[j] = kv_scale<S, T>(key[j], d);
                }
#pragma GCC unroll 4
                for (int64_t e = d; e < d + STEP; e += S::LANES) {
                    F32 k[AT_ONCE];
#pragma GCC unroll 8
                    for (int j = 0; j < AT_ONCE; j++) {
                        k[j] = load_kv<S, T>(key[j], e, scale[j]);
                    }
#pragma GCC unroll 4
                    for (int i = 0; i < MR; i++) {
                        const F32 line = S::load(q + i * dk + e);
#pragma GCC unroll 8
                        for (int j = 0; j < AT_ONCE; j++) {
                            sum[i * NC + first + j] = S::fma(line, k[j], sum[i * NC + first + j]);
                        }
                    }
                }
            }
        }
        S::store(scores, S::horizontal_sums(sum));
    }
}

// The number of each line, in all lanes of that line.
template <class S, int MR> static inline typename S::F32 lines_to_lanes(const float * lines) {
    constexpr int NC              = tile_cells<S>(MR);
    float         lanes[S::LANES] = {};
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
        for (int j = 0; j < NC; j++) {
            lanes[i * NC + j] = lines[i];
        }
    }
    return S::load(lanes);
}

// The first lane of each line.
template <class S, int MR> static inline void lanes_to_lines(typename S::F32 v, float * lines) {
    constexpr int NC = tile_cells<S>(MR);
    float         lanes[S::LANES];
    S::store(lanes, v);
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
        lines[i] = lanes[i * NC];
    }
}

// Replaces scores by weights and updates m and l. Returns in `factor` by how much each line's output so far has to be multiplied.
// The list has a visible cell, so the maximum is finite.
template <class S, int MR>
static void gather_online_softmax(float * scores, const CellList & list, const float * slopes, float cap, const LineState & s,
                                  float * factor) {
    using F32           = typename S::F32;
    constexpr int NC    = tile_cells<S>(MR);
    const F32     slope = lines_to_lanes<S, MR>(slopes);
    const F32     old   = lines_to_lanes<S, MR>(s.m);
    F32           top   = S::broadcast(-__builtin_inff());
    float *       x     = scores;
    for (int c = list.begin; c < list.end; c += NC, x += S::LANES) {
        F32 v = S::load(x);
        v     = cap != 0.0f ? apply_soft_cap<S>(v, cap) : v;
        v     = list.has_bias ? add_mask<S>(v, S::template load_repeated<NC>(list.bias + c), slope) : v;
        S::store(x, v);
        top = S::max(v, top);
    }
    constexpr int N = S::LANES / NC; // vectors of LANES cells
    F32           sums[N];
    top = S::max(old, max_of_groups<S, NC>(top));
    x   = scores;
#pragma GCC unroll 4
    for (F32 & sum : sums) {
        sum = S::zero();
    }
    for (int c = list.begin; c < list.end; c += S::LANES) {
#pragma GCC unroll 4
        for (int i = 0; i < N; i++, x += S::LANES) {
            const F32 v = vector_exp<S>(S::sub(S::load(x), top));
            S::store(x, v);
            sums[i] = S::add(sums[i], v);
        }
    }
#pragma GCC unroll 2
    for (int half = N / 2; half > 0; half /= 2) {
#pragma GCC unroll 2
        for (int i = 0; i < half; i++) {
            sums[i] = S::add(sums[i], sums[i + half]);
        }
    }
    const F32 f = vector_exp<S>(S::sub(old, top));
    lanes_to_lines<S, MR>(top, s.m);
    lanes_to_lines<S, MR>(f, factor);
    lanes_to_lines<S, MR>(S::fma(lines_to_lanes<S, MR>(s.l), f, sum_of_groups<S, NC>(sums[0])), s.l);
}

// MR lines x NR vectors of the output from d on: o = o * factor + weights * values.
template <class S, KvType T, int MR, int NR>
static inline __attribute__((always_inline)) void gather_values_tile(const float * weights, const CellList & list, const CellVectors & values, int64_t d,
                                      const float * factor, float * o, int64_t dv) {
    using F32                 = typename S::F32;
    constexpr int    NC       = tile_cells<S>(MR);
    Prefetch * const prefetch = d == 0 ? values.prefetch : nullptr;
    const auto       line     = [=](int i) { return o + i * dv + d; };
    F32              sum[MR][NR];
    load_tile_scaled<S>(sum, factor, line);
    const int32_t * cell = list.cell;
    const int       end  = list.end;
    for (int c = list.begin; c < end; c += NC, weights += S::LANES) {
#pragma GCC unroll 4
        for (int k = 0; k < NC; k++) {
            const uint8_t * value = values.data + cell[c + k] * values.step;
            if (prefetch != nullptr) {
                prefetch_next(*prefetch);
            }
            F32 v[NR];
            F32 scale = kv_scale<S, T>(value, d);
#pragma GCC unroll 4
            for (int j = 0; j < NR; j++) {
                scale = j > 0 && j * S::LANES % 32 == 0 ? kv_scale<S, T>(value, d + j * S::LANES) : scale;
                v[j]  = load_kv<S, T>(value, d + j * S::LANES, scale);
            }
#pragma GCC unroll 4
            for (int i = 0; i < MR; i++) {
                const F32 w = S::broadcast(weights[i * NC + k]);
#pragma GCC unroll 4
                for (int j = 0; j < NR; j++) {
                    sum[i][j] = S::fma(w, v[j], sum[i][j]);
                }
            }
        }
    }
    store_tile<S>(sum, line);
}

template <class S, KvType T, int MR>
static void gather_values(const float * weights, const CellList & list, const CellVectors & values, const float * factor, float * o,
                          int64_t dv) {
    constexpr int NR = MR > 2 ? S::GATHER_NR : 4;
    int64_t       d  = 0;
    for (; d + NR * S::LANES <= dv; d += NR * S::LANES) {
        gather_values_tile<S, T, MR, NR>(weights, list, values, d, factor, o, dv);
    }
    for (; d + 2 * S::LANES <= dv; d += 2 * S::LANES) {
        gather_values_tile<S, T, MR, 2>(weights, list, values, d, factor, o, dv);
    }
    for (; d < dv; d += S::LANES) {
        gather_values_tile<S, T, MR, 1>(weights, list, values, d, factor, o, dv);
    }
}

// Lines of one head of K and V.
struct GatherLines {
    const float * q;      // lines of dk
    const float * slopes; // of each line
    CellVectors   keys, values;
    LineState     state;
    float *       scores; // room for 4 * CELLS
};

template <class S, int MR> static void gather_lines(const Attention & a, const CellList & list, const GatherLines & f) {
    float factor[4];
    switch (a.k_type) {
        case KvType::f16:  gather_scores<S, KvType::f16, MR>(f.q, a.dk, f.keys, list, f.scores); break;
        case KvType::bf16: gather_scores<S, KvType::bf16, MR>(f.q, a.dk, f.keys, list, f.scores); break;
        case KvType::q8_0: gather_scores<S, KvType::q8_0, MR>(f.q, a.dk, f.keys, list, f.scores); break;
    }
    gather_online_softmax<S, MR>(f.scores, list, f.slopes, a.soft_cap, f.state, factor);
    float * o = f.state.o;
    switch (a.v_type) {
        case KvType::f16:  gather_values<S, KvType::f16, MR>(f.scores, list, f.values, factor, o, a.dv); break;
        case KvType::bf16: gather_values<S, KvType::bf16, MR>(f.scores, list, f.values, factor, o, a.dv); break;
        case KvType::q8_0: gather_values<S, KvType::q8_0, MR>(f.scores, list, f.values, factor, o, a.dv); break;
    }
}

// All lines of a group, at most four at a time.
template <class S> static void gather_group(const Attention & a, const CellList & list, GatherLines f) {
    for (int64_t left = a.group; left > 0;) {
        const int64_t n = left == 5 || left == 6 ? 3 : left > 4 ? 4 : left;
        switch (n) {
            case 1:  gather_lines<S, 1>(a, list, f); break;
            case 2:  gather_lines<S, 2>(a, list, f); break;
            case 3:  gather_lines<S, 3>(a, list, f); break;
            default: gather_lines<S, 4>(a, list, f); break;
        }
        left -= n;
        f.keys.prefetch = f.values.prefetch = nullptr;
        f.q += n * a.dk;
        f.slopes += n;
        f.state.m += n;
        f.state.l += n;
        f.state.o += n * a.dv;
    }
}

} // namespace
} // namespace lc::kernels
