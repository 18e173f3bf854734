// Microkernels of blocked: many lines x one block of cells, whose keys and values have been converted to fp32 panels once for all
// lines. Included by the file of each instruction set; see attention_impl.h. The three steps (scores, online softmax, values)
// work on plain buffers:
//
//   q       [line / 4][dk][line % 4], scaled     keys    [dk][CELLS]
//   scores  [line][CELLS]                        values  [CELLS][dv]
//
// Scores and values are products with register tiles of BLOCKED_MR lines. They have the bits of gather's: the numbers of
// a key are packed in the order in which their products are added (packed_number()).
#pragma once

#include "kernels/attention/attention_gather_kernels.h"

namespace lc::kernels {
namespace {

constexpr int BLOCKED_MR = 4; // lines of a register tile

// Where number d of a vector of dk numbers stands in its packed form. The numbers that gather adds up in one lane lie side by side,
// and lanes in the order in which horizontal_sums() adds them: of four, 0 + 2 and 1 + 3; then these; then pairs of fours, and so on.
template <class S> static inline int64_t packed_number(int64_t d, int64_t dk) {
    const int64_t lane = d % S::LANES;
    const int64_t leaf = (lane & ~int64_t{3}) | (lane & 1) << 1 | (lane >> 1 & 1);
    return leaf * (dk / S::LANES) + d / S::LANES;
}

// Packs the keys of CELLS cells, transposed.
template <class S, KvType T>
static void convert_keys(const CellVectors & cells, const int32_t * cell, int64_t dk, float * out) {
    using F32 = typename S::F32;
    for (int64_t c = 0; c < CELLS; c += S::LANES) {
        const uint8_t * key[S::LANES];
#pragma GCC unroll 16
        for (int j = 0; j < S::LANES; j++) {
            key[j] = cells.data + cell[c + j] * cells.step;
            prefetch_next(*cells.prefetch);
        }
        for (int64_t d = 0; d < dk; d += S::LANES) {
            F32 v[S::LANES];
#pragma GCC unroll 16
            for (int j = 0; j < S::LANES; j++) {
                v[j] = load_kv<S, T>(key[j], d);
            }
            S::transpose(v);
#pragma GCC unroll 16
            for (int j = 0; j < S::LANES; j++) {
                S::store(out + packed_number<S>(d + j, dk) * CELLS + c, v[j]);
            }
        }
    }
}

// Packs the values of CELLS cells. False if a value is infinite or NaN.
template <class S, KvType T>
static bool convert_values(const CellVectors & cells, const int32_t * cell, int64_t dv, float * out) {
    using F32 = typename S::F32;
    F32 check = S::zero();
    for (int64_t c = 0; c < CELLS; c++, out += dv) {
        const uint8_t * value = cells.data + cell[c] * cells.step;
        prefetch_next(*cells.prefetch);
        for (int64_t d = 0; d < dv; d += S::LANES) {
            const F32 v = load_kv<S, T>(value, d);
            check       = S::fma(v, S::zero(), check);
            S::store(out + d, v);
        }
    }
    return !S::any_nan(check);
}

template <class S, int NR> using ScoreTile = typename S::F32[BLOCKED_MR][NR];

template <class S, int NR>
static inline __attribute__((always_inline)) void add_score_tile(ScoreTile<S, NR> & sum, const ScoreTile<S, NR> & more) {
#pragma GCC unroll 4
    for (int i = 0; i < BLOCKED_MR; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            sum[i][j] = S::add(sum[i][j], more[i][j]);
        }
    }
}

// The sum of a lane: over n packed numbers. N: n if it is known to the compiler, else 0.
template <class S, int NR, int N>
static inline __attribute__((always_inline)) void blocked_scores_of_lane(const float * q, int64_t n, const float * keys,
                                                                         ScoreTile<S, NR> & sum) {
    using F32 = typename S::F32;
#pragma GCC unroll 4
    for (int i = 0; i < BLOCKED_MR; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            sum[i][j] = S::zero();
        }
    }
#pragma GCC unroll 8
    for (int64_t d = 0; d < (N > 0 ? N : n); d++) {
        F32 k[NR];
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            k[j] = S::load(keys + d * CELLS + j * S::LANES);
        }
#pragma GCC unroll 4
        for (int i = 0; i < BLOCKED_MR; i++) {
            const F32 x = S::broadcast(q[d * BLOCKED_MR + i]);
#pragma GCC unroll 4
            for (int j = 0; j < NR; j++) {
                sum[i][j] = S::fma(x, k[j], sum[i][j]);
            }
        }
    }
}

// The sum of LANES lanes, as a tree.
template <class S, int NR, int N, int LANES>
static inline __attribute__((always_inline)) void blocked_scores_tree(const float * q, int64_t n, const float * keys,
                                                                      ScoreTile<S, NR> & sum) {
    if constexpr (LANES == 1) {
        blocked_scores_of_lane<S, NR, N>(q, n, keys, sum);
    } else {
        const int64_t   half = LANES / 2 * (N > 0 ? N : n);
        typename S::F32 right[BLOCKED_MR][NR];
        blocked_scores_tree<S, NR, N, LANES / 2>(q, n, keys, sum);
        blocked_scores_tree<S, NR, N, LANES / 2>(q + half * BLOCKED_MR, n, keys + half * CELLS, right);
        add_score_tile<S, NR>(sum, right);
    }
}

// scores: n_lines x CELLS. n_lines is a multiple of BLOCKED_MR.
template <class S, int N>
static void blocked_scores_of(const float * q, int64_t n_lines, int64_t dk, const float * keys, float * scores) {
    constexpr int NR = S::SCORES_NR;
    static_assert(CELLS % (NR * S::LANES) == 0);
    for (int64_t i = 0; i < n_lines; i += BLOCKED_MR, q += BLOCKED_MR * dk, scores += BLOCKED_MR * CELLS) {
        for (int64_t c = 0; c < CELLS; c += NR * S::LANES) {
            typename S::F32 sum[BLOCKED_MR][NR];
            blocked_scores_tree<S, NR, N, S::LANES>(q, dk / S::LANES, keys + c, sum);
            store_tile<S>(sum, [=](int line) { return scores + line * CELLS + c; });
        }
    }
}

template <class S> static void blocked_scores(const float * q, int64_t n_lines, int64_t dk, const float * keys, float * scores) {
    switch (dk / S::LANES) {
        case 4:  return blocked_scores_of<S, 4>(q, n_lines, dk, keys, scores);
        case 8:  return blocked_scores_of<S, 8>(q, n_lines, dk, keys, scores);
        default: return blocked_scores_of<S, 0>(q, n_lines, dk, keys, scores);
    }
}

// Replaces one line's scores by weights and updates m and l. bias: NULL, or CELLS mask values, not all minus infinity. Returns by
// how much the line's output so far has to be multiplied.
template <class S>
static inline float blocked_online_softmax(float * scores, const float * bias, float slope, float cap, float * m, float * l) {
    using F32       = typename S::F32;
    constexpr int N = CELLS / S::LANES;
    F32           x[N];
    F32           top = S::broadcast(*m);
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
        x[i] = S::load(scores + i * S::LANES);
        x[i] = cap != 0.0f ? apply_soft_cap<S>(x[i], cap) : x[i];
        x[i] = bias != nullptr ? add_mask<S>(x[i], S::load(bias + i * S::LANES), S::broadcast(slope)) : x[i];
        top  = S::max(x[i], top);
    }
    top     = max_of_groups<S, S::LANES>(top);
    F32 sum = S::zero();
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
        x[i] = vector_exp<S>(S::sub(x[i], top));
        S::store(scores + i * S::LANES, x[i]);
        sum = S::add(sum, x[i]);
    }
    const float old    = *m;
    *m                 = S::first(top);
    const float factor = old == *m ? 1.0f : scalar_exp<S>(old - *m);
    *l                 = __builtin_fmaf(*l, factor, S::first(sum_of_groups<S, S::LANES>(sum)));
    return factor;
}

// BLOCKED_MR lines x NR vectors of the output: o = o * factor + weights * values.
template <class S, int NR>
static inline void blocked_values_tile(const float * weights, const float * values, int64_t dv, const float * factor,
                                       float * const * o) {
    using F32       = typename S::F32;
    const auto line = [=](int i) { return o[i]; };
    F32        sum[BLOCKED_MR][NR];
    if (factor[0] == 1.0f && factor[1] == 1.0f && factor[2] == 1.0f && factor[3] == 1.0f) { // mostly
        load_tile<S>(sum, line);
    } else {
        load_tile_scaled<S>(sum, factor, line);
    }
    for (int64_t c = 0; c < CELLS; c++, values += dv) {
        F32 v[NR];
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            v[j] = S::load(values + j * S::LANES);
        }
#pragma GCC unroll 4
        for (int i = 0; i < BLOCKED_MR; i++) {
            const F32 w = S::broadcast(weights[i * CELLS + c]);
#pragma GCC unroll 4
            for (int j = 0; j < NR; j++) {
                sum[i][j] = S::fma(w, v[j], sum[i][j]);
            }
        }
    }
    store_tile<S>(sum, line);
}

// BLOCKED_MR lines of the output: o = o * factor + weights * values.
template <class S>
static inline void blocked_values(const float * weights, const float * values, int64_t dv, const float * factor,
                                  float * const * o) {
    constexpr int NR             = S::BLOCKED_NR;
    float *       at[BLOCKED_MR] = {o[0], o[1], o[2], o[3]};
    for (int64_t d = 0; d < dv;) {
        const int64_t left = (dv - d) / S::LANES;
        const int     n    = left >= NR ? NR : left >= 2 ? 2 : 1;
        if (n == NR) {
            blocked_values_tile<S, NR>(weights, values + d, dv, factor, at);
        } else if (n == 2) {
            blocked_values_tile<S, 2>(weights, values + d, dv, factor, at);
        } else {
            blocked_values_tile<S, 1>(weights, values + d, dv, factor, at);
        }
        d += n * S::LANES;
        for (float *& p : at) {
            p += n * S::LANES;
        }
    }
}

} // namespace
} // namespace lc::kernels
