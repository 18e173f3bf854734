// Microkernels of blocked: many lines x one block of cells, whose keys and values have been converted to fp32 panels once for all
// lines. Included by the file of each instruction set; see attention_impl.h. The three steps (scores, online softmax, values)
// work on plain buffers:
//
//   q       [line / 4][dk][line % 4], scaled     keys    [dk][CELLS]
//   scores  [line][CELLS]                        values  [CELLS][dv]
//
// Scores and values are products with a register tile of BLOCKED_MR lines x NR vectors. They have the bits of gather's: the numbers of
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

// sum[i][j] of the n numbers at `q` and `keys`, in their order.
template <class S, int NR>
static inline __attribute__((always_inline)) void blocked_scores_lane(const float * q, int64_t n, const float * keys,
                                                                      typename S::F32 (&sum)[BLOCKED_MR][NR]) {
    using F32 = typename S::F32;
#pragma GCC unroll 4
    for (int i = 0; i < BLOCKED_MR; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            sum[i][j] = S::zero();
        }
    }
    for (int64_t d = 0; d < n; d++, keys += CELLS, q += BLOCKED_MR) {
        F32 k[NR];
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            k[j] = S::load(keys + j * S::LANES);
        }
#pragma GCC unroll 4
        for (int i = 0; i < BLOCKED_MR; i++) {
            const F32 x = S::broadcast(q[i]);
#pragma GCC unroll 4
            for (int j = 0; j < NR; j++) {
                sum[i][j] = S::fma(x, k[j], sum[i][j]);
            }
        }
    }
}

// scores: BLOCKED_MR lines x NR vectors of cells. The sums of the lanes are added as a tree: those that wait for their neighbour are in
// `waiting`, by the number of lanes in them.
template <class S, int NR>
static inline void blocked_scores_tile(const float * q, int64_t dk, const float * keys, float * scores) {
    using F32         = typename S::F32;
    const int64_t n   = dk / S::LANES;
    constexpr int TOP = S::LANES == 16 ? 4 : 3;
    static_assert(1 << TOP == S::LANES);
    F32 waiting[TOP][BLOCKED_MR][NR];
    F32 sum[BLOCKED_MR][NR];
    for (int lane = 0; lane < S::LANES; lane++, q += n * BLOCKED_MR, keys += n * CELLS) {
        blocked_scores_lane<S, NR>(q, n, keys, sum);
        int level = 0;
        for (; (lane >> level & 1) != 0; level++) {
#pragma GCC unroll 4
            for (int i = 0; i < BLOCKED_MR; i++) {
#pragma GCC unroll 4
                for (int j = 0; j < NR; j++) {
                    sum[i][j] = S::add(waiting[level][i][j], sum[i][j]);
                }
            }
        }
        if (level < TOP) {
#pragma GCC unroll 4
            for (int i = 0; i < BLOCKED_MR; i++) {
#pragma GCC unroll 4
                for (int j = 0; j < NR; j++) {
                    waiting[level][i][j] = sum[i][j];
                }
            }
        }
    }
    store_tile<S>(sum, [=](int i) { return scores + i * CELLS; });
}

// n_lines is a multiple of BLOCKED_MR.
template <class S> static void blocked_scores(const float * q, int64_t n_lines, int64_t dk, const float * keys, float * scores) {
    constexpr int NR = S::BLOCKED_NR;
    for (int64_t i = 0; i < n_lines; i += BLOCKED_MR, q += BLOCKED_MR * dk, scores += BLOCKED_MR * CELLS) {
        int64_t c = 0;
        for (; c + NR * S::LANES <= CELLS; c += NR * S::LANES) {
            blocked_scores_tile<S, NR>(q, dk, keys + c, scores + c);
        }
        for (; c + 2 * S::LANES <= CELLS; c += 2 * S::LANES) {
            blocked_scores_tile<S, 2>(q, dk, keys + c, scores + c);
        }
        for (; c < CELLS; c += S::LANES) {
            blocked_scores_tile<S, 1>(q, dk, keys + c, scores + c);
        }
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
    load_tile_scaled<S>(sum, factor, line);
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
