// A block of cells by many lines: keys and values are converted once, then all lines use them. Included by each level's file;
// see attention_impl.h. The three steps (scores, softmax, values) are functions of their own over plain buffers:
//
//   q       [line / 4][dk][line % 4], scaled     keys    [dk][CELLS]
//   scores  [line][CELLS]                        values  [CELLS][dv]
#pragma once

#include "kernels/attention/attention_gather.h"

namespace lc::kernels {
namespace {

constexpr int LINES = 4;  // at once

template <class I, KvType T> static inline typename I::V numbers_at(const uint8_t * vector, int64_t d) {
    return I::template numbers<T>(vector, d, scale_at<I, T>(vector, d));
}

// Keys of the n cells from cells.data on; what is missing to CELLS is copies of the last one.
template <class I, KvType T> static void convert_keys(const Cells & cells, int64_t n, int64_t dk, float * out) {
    using V = typename I::V;
    for (int64_t c = 0; c < CELLS; c += I::W) {
        const uint8_t * key[I::W];
#pragma GCC unroll 16
        for (int j = 0; j < I::W; j++) {
            key[j] = cells.data + least(c + j, n - 1) * cells.step;
            fetch(*cells.soon);
        }
        for (int64_t d = 0; d < dk; d += I::W) {
            V v[I::W];
#pragma GCC unroll 16
            for (int j = 0; j < I::W; j++) {
                v[j] = numbers_at<I, T>(key[j], d);
            }
            I::transpose(v);
#pragma GCC unroll 16
            for (int j = 0; j < I::W; j++) {
                I::store(out + (d + j) * CELLS + c, v[j]);
            }
        }
    }
}

// Likewise values. False if one of them is infinite or NaN.
template <class I, KvType T> static bool convert_values(const Cells & cells, int64_t n, int64_t dv, float * out) {
    using V = typename I::V;
    V check = I::zero();
    for (int64_t c = 0; c < CELLS; c++, out += dv) {
        const uint8_t * value = cells.data + least(c, n - 1) * cells.step;
        fetch(*cells.soon);
        for (int64_t d = 0; d < dv; d += I::W) {
            const V v = numbers_at<I, T>(value, d);
            check = I::fma(v, I::zero(), check);
            I::store(out + d, v);
        }
    }
    return !I::any_nan(check);
}

template <class I, int NV>
static inline void many_scores_part(const float * q, int64_t dk, const float * keys, float * scores) {
    using V = typename I::V;
    V sum[LINES][NV];
#pragma GCC unroll 4
    for (int i = 0; i < LINES; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            sum[i][j] = I::zero();
        }
    }
    for (int64_t d = 0; d < dk; d++, keys += CELLS, q += LINES) {
        V k[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            k[j] = I::load(keys + j * I::W);
        }
#pragma GCC unroll 4
        for (int i = 0; i < LINES; i++) {
            const V x = I::set1(q[i]);
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) {
                sum[i][j] = I::fma(x, k[j], sum[i][j]);
            }
        }
    }
    store_lines<I>(sum, [=](int i) { return scores + i * CELLS; });
}

// n_lines: a multiple of LINES.
template <class I> static void many_scores(const float * q, int64_t n_lines, int64_t dk, const float * keys, float * scores) {
    constexpr int NV = I::MANY_VECTORS;
    for (int64_t i = 0; i < n_lines; i += LINES, q += LINES * dk, scores += LINES * CELLS) {
        int64_t c = 0;
        for (; c + NV * I::W <= CELLS; c += NV * I::W) {
            many_scores_part<I, NV>(q, dk, keys + c, scores + c);
        }
        for (; c + 2 * I::W <= CELLS; c += 2 * I::W) {
            many_scores_part<I, 2>(q, dk, keys + c, scores + c);
        }
        for (; c < CELLS; c += I::W) {
            many_scores_part<I, 1>(q, dk, keys + c, scores + c);
        }
    }
}

// One line's scores become weights. bias: NULL, or CELLS of them; at least one is above minus infinity. Returns the factor of
// the output so far.
template <class I>
static inline float many_softmax(float * scores, const float * bias, float slope, float cap, float * m, float * l) {
    using V = typename I::V;
    constexpr int N = CELLS / I::W;
    V x[N];
    V top = I::set1(*m);
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
        x[i] = I::load(scores + i * I::W);
        x[i] = cap != 0.0f ? soft_capped<I>(x[i], cap) : x[i];
        x[i] = bias != nullptr ? I::masked(x[i], I::load(bias + i * I::W), I::set1(slope)) : x[i];
        top = I::max(x[i], top);
    }
    top = group_max<I, I::W>(top);
    V sum = I::zero();
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) {
        x[i] = exp_of<I>(I::sub(x[i], top));
        I::store(scores + i * I::W, x[i]);
        sum = I::add(sum, x[i]);
    }
    const float old = *m;
    *m = I::first(top);
    const float factor = old == *m ? 1.0f : exp_of_one<I>(old - *m);
    *l = *l * factor + I::first(group_sum<I, I::W>(sum));
    return factor;
}

template <class I, int NV>
static inline void many_values_part(const float * weights, const float * values, int64_t dv, const float * factor,
                                    float * const * o) {
    using V = typename I::V;
    const auto line = [=](int i) { return o[i]; };
    V sum[LINES][NV];
    load_scaled<I>(sum, factor, line);
    for (int64_t c = 0; c < CELLS; c++, values += dv) {
        V v[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            v[j] = I::load(values + j * I::W);
        }
#pragma GCC unroll 4
        for (int i = 0; i < LINES; i++) {
            const V w = I::set1(weights[i * CELLS + c]);
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) {
                sum[i][j] = I::fma(w, v[j], sum[i][j]);
            }
        }
    }
    store_lines<I>(sum, line);
}

// LINES lines: o = o * factor + weights * values.
template <class I>
static inline void many_values(const float * weights, const float * values, int64_t dv, const float * factor, float * const * o) {
    constexpr int NV = I::MANY_VECTORS;
    float * at[LINES] = {o[0], o[1], o[2], o[3]};
    for (int64_t d = 0; d < dv;) {
        const int64_t left = (dv - d) / I::W;
        const int n = left >= NV ? NV : left >= 2 ? 2 : 1;
        if (n == NV) {
            many_values_part<I, NV>(weights, values + d, dv, factor, at);
        } else if (n == 2) {
            many_values_part<I, 2>(weights, values + d, dv, factor, at);
        } else {
            many_values_part<I, 1>(weights, values + d, dv, factor, at);
        }
        d += n * I::W;
        for (float *& p : at) {
            p += n * I::W;
        }
    }
}

} // namespace
} // namespace lc::kernels
