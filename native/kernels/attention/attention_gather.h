// A few lines (one row's heads of a group) by a list of cells, straight from the cache: for one row, and for the cells that a
// row does not share with others. Included by each level's file; see attention_impl.h.
//
// NL lines take NC cells at a time, so that their NL * NC products fill one vector: lane = line * NC + cell. Scores stay in
// that order (one vector for every NC cells), which makes the softmax vertical. Three lines leave the last lanes unused.
#pragma once

#include "kernels/attention/attention_item.h"

namespace lc::kernels {
namespace {

template <class I> constexpr int cells_at_once(int n_lines) {
    return n_lines == 1 ? I::W : n_lines == 2 ? I::W / 2 : I::W / 4;
}

// The open cells of one row, up to CELLS of them, filled up to whole vectors with copies of the last one.
struct CellList {
    int     n;
    bool    masked;         // `bias` has to be looked at
    int32_t cell[CELLS];
    float   bias[CELLS];    // minus infinity for what only fills up
};

// Memory that is wanted soon: rows, each in n_parts parts of n_lines cache lines, fetched one after the other. Memory is
// fastest when it is read in order, and a head's vectors alone are not in order.
struct Fetch {
    const uint8_t * row;
    int64_t step;       // from row to row
    int64_t n_parts;
    int64_t n_lines;
    int64_t part;       // the next one
};

static inline __attribute__((always_inline)) void fetch(Fetch & f) {
    const uint8_t * p = f.row + 64 * f.n_lines * f.part;
    for (int64_t i = 0; i < f.n_lines; i++) {
        _mm_prefetch(reinterpret_cast<const char *>(p + 64 * i), _MM_HINT_T1);
    }
    if (++f.part == f.n_parts) {
        f.part = 0;
        f.row += f.step;
    }
}

// Keys or values of one head.
struct Cells {
    const uint8_t * data;   // the head in the first cell
    int64_t step;
    Fetch * soon;           // a part for each cell; or NULL
};

template <class I, KvType T, int NL>
static void few_scores(const float * q, int64_t dk, const Cells & keys, const CellList & list, float * scores) {
    using V = typename I::V;
    constexpr int NC = cells_at_once<I>(NL);
    constexpr int STEP = T == KvType::q8_0 ? 32 : I::W;
    constexpr int AT_ONCE = NC < 8 ? NC : 8;  // more would compete for one set of the first cache where a cell is 4 KB
    for (int c = 0; c < list.n; c += NC, scores += I::W) {
        V sum[I::W];
#pragma GCC unroll 16
        for (int i = 0; i < I::W; i++) {
            sum[i] = I::zero();
        }
#pragma GCC unroll 2
        for (int first = 0; first < NC; first += AT_ONCE) {
            const uint8_t * key[AT_ONCE];
#pragma GCC unroll 8
            for (int j = 0; j < AT_ONCE; j++) {
                key[j] = keys.data + list.cell[c + first + j] * keys.step;
                if (keys.soon != nullptr) {
                    fetch(*keys.soon);
                }
            }
            for (int64_t d = 0; d < dk; d += STEP) {
                V scale[AT_ONCE];
#pragma GCC unroll 8
                for (int j = 0; j < AT_ONCE; j++) {
                    scale[j] = scale_at<I, T>(key[j], d);
                }
#pragma GCC unroll 4
                for (int64_t e = d; e < d + STEP; e += I::W) {
                    V k[AT_ONCE];
#pragma GCC unroll 8
                    for (int j = 0; j < AT_ONCE; j++) {
                        k[j] = I::template numbers<T>(key[j], e, scale[j]);
                    }
#pragma GCC unroll 4
                    for (int i = 0; i < NL; i++) {
                        const V line = I::load(q + i * dk + e);
#pragma GCC unroll 8
                        for (int j = 0; j < AT_ONCE; j++) {
                            sum[i * NC + first + j] = I::fma(line, k[j], sum[i * NC + first + j]);
                        }
                    }
                }
            }
        }
        I::store(scores, I::sums(sum));
    }
}

// One number for each line, in the lanes of that line.
template <class I, int NL> static inline typename I::V spread(const float * lines) {
    constexpr int NC = cells_at_once<I>(NL);
    float lanes[I::W] = {};
#pragma GCC unroll 4
    for (int i = 0; i < NL; i++) {
        for (int j = 0; j < NC; j++) {
            lanes[i * NC + j] = lines[i];
        }
    }
    return I::load(lanes);
}

template <class I, int NL> static inline void gather(typename I::V v, float * lines) {
    constexpr int NC = cells_at_once<I>(NL);
    float lanes[I::W];
    I::store(lanes, v);
#pragma GCC unroll 4
    for (int i = 0; i < NL; i++) {
        lines[i] = lanes[i * NC];
    }
}

// Scores become weights; m and l are brought up to date, `factor` is what the output so far is to be multiplied by. Every cell
// of the list is open for every line, so the maximum is a number.
template <class I, int NL>
static void few_softmax(float * scores, const CellList & list, const float * slopes, float cap, const State & s, float * factor) {
    using V = typename I::V;
    constexpr int NC = cells_at_once<I>(NL);
    const V slope = spread<I, NL>(slopes);
    const V old = spread<I, NL>(s.m);
    V top = I::set1(-__builtin_inff());
    float * x = scores;
    for (int c = 0; c < list.n; c += NC, x += I::W) {
        V v = I::load(x);
        v = cap != 0.0f ? soft_capped<I>(v, cap) : v;
        v = list.masked ? I::masked(v, I::template repeat<NC>(list.bias + c), slope) : v;
        I::store(x, v);
        top = I::max(v, top);
    }
    top = I::max(old, group_max<I, NC>(top));
    V sum = I::zero();
    x = scores;
    for (int c = 0; c < list.n; c += NC, x += I::W) {
        const V v = exp_of<I>(I::sub(I::load(x), top));
        I::store(x, v);
        sum = I::add(sum, v);
    }
    const V f = exp_of<I>(I::sub(old, top));
    gather<I, NL>(top, s.m);
    gather<I, NL>(f, factor);
    gather<I, NL>(I::fma(spread<I, NL>(s.l), f, group_sum<I, NC>(sum)), s.l);
}

template <class I, KvType T, int NL, int NV>
static inline void few_values_part(const float * weights, const CellList & list, const Cells & values, int64_t d,
                                   const float * factor, float * o, int64_t dv) {
    using V = typename I::V;
    constexpr int NC = cells_at_once<I>(NL);
    Fetch * const soon = d == 0 ? values.soon : nullptr;
    const auto line = [=](int i) { return o + i * dv + d; };
    V sum[NL][NV];
    load_scaled<I>(sum, factor, line);
    for (int c = 0; c < list.n; c += NC, weights += I::W) {
#pragma GCC unroll 4
        for (int k = 0; k < NC; k++) {
            const uint8_t * value = values.data + list.cell[c + k] * values.step;
            if (soon != nullptr) {
                fetch(*soon);
            }
            V v[NV];
            V scale = scale_at<I, T>(value, d);
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) {
                scale = j > 0 && j * I::W % 32 == 0 ? scale_at<I, T>(value, d + j * I::W) : scale;
                v[j] = I::template numbers<T>(value, d + j * I::W, scale);
            }
#pragma GCC unroll 4
            for (int i = 0; i < NL; i++) {
                const V w = I::set1(weights[i * NC + k]);
#pragma GCC unroll 4
                for (int j = 0; j < NV; j++) {
                    sum[i][j] = I::fma(w, v[j], sum[i][j]);
                }
            }
        }
    }
    store_lines<I>(sum, line);
}

template <class I, KvType T, int NL>
static void few_values(const float * weights, const CellList & list, const Cells & values, const float * factor, float * o,
                       int64_t dv) {
    constexpr int NV = NL > 2 ? I::FEW_VECTORS : 4;
    int64_t d = 0;
    for (; d + NV * I::W <= dv; d += NV * I::W) {
        few_values_part<I, T, NL, NV>(weights, list, values, d, factor, o, dv);
    }
    for (; d + 2 * I::W <= dv; d += 2 * I::W) {
        few_values_part<I, T, NL, 2>(weights, list, values, d, factor, o, dv);
    }
    for (; d < dv; d += I::W) {
        few_values_part<I, T, NL, 1>(weights, list, values, d, factor, o, dv);
    }
}

// Lines of one head of K and V.
struct FewLines {
    const float * q;         // n lines of dk
    const float * slopes;
    Cells keys, values;
    State state;
    float * scores;          // of CELLS * n
};

template <class I, int NL> static void few_lines(const Attention & a, const CellList & list, const FewLines & f) {
    float factor[4];
    switch (a.k_type) {
        case KvType::f16:  few_scores<I, KvType::f16, NL>(f.q, a.dk, f.keys, list, f.scores); break;
        case KvType::bf16: few_scores<I, KvType::bf16, NL>(f.q, a.dk, f.keys, list, f.scores); break;
        case KvType::q8_0: few_scores<I, KvType::q8_0, NL>(f.q, a.dk, f.keys, list, f.scores); break;
    }
    few_softmax<I, NL>(f.scores, list, f.slopes, a.soft_cap, f.state, factor);
    float * o = f.state.o;
    switch (a.v_type) {
        case KvType::f16:  few_values<I, KvType::f16, NL>(f.scores, list, f.values, factor, o, a.dv); break;
        case KvType::bf16: few_values<I, KvType::bf16, NL>(f.scores, list, f.values, factor, o, a.dv); break;
        case KvType::q8_0: few_values<I, KvType::q8_0, NL>(f.scores, list, f.values, factor, o, a.dv); break;
    }
}

// All lines of a group, at most four at a time.
template <class I> static void few_group(const Attention & a, const CellList & list, FewLines f) {
    for (int64_t left = a.group; left > 0;) {
        const int64_t n = left == 5 || left == 6 ? 3 : left > 4 ? 4 : left;
        switch (n) {
            case 1:  few_lines<I, 1>(a, list, f); break;
            case 2:  few_lines<I, 2>(a, list, f); break;
            case 3:  few_lines<I, 3>(a, list, f); break;
            default: few_lines<I, 4>(a, list, f); break;
        }
        left -= n;
        f.keys.soon = f.values.soon = nullptr;
        f.q += n * a.dk;
        f.slopes += n;
        f.state.m += n;
        f.state.l += n;
        f.state.o += n * a.dv;
    }
}

} // namespace
} // namespace lc::kernels
