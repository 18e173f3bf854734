// exp, soft caps, reductions and scales on vectors. Included by each level's file; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_shape.h"

#include <immintrin.h>
#include <string.h>

namespace lc::kernels {
namespace {

// e^x for x <= 0 (and small positive x), relative error 2e-7; 0 below -87, NaN stays NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2; the polynomial is fitted to e^r's relative error.
template <class I> static inline typename I::V exp_of(typename I::V x) {
    using V = typename I::V;
    const V low = I::set1(-87.0f);
    const V y = I::max(low, x);  // in this order NaN comes through
    const V n = I::round(I::mul(y, I::set1(1.44269504f)));
    V r = I::fma(n, I::set1(-0.693359375f), y);
    r = I::fma(n, I::set1(2.12194440e-4f), r);
    V p = I::set1(0.00831252429f);
    p = I::fma(p, r, I::set1(0.0418901145f));
    p = I::fma(p, r, I::set1(0.166671142f));
    p = I::fma(p, r, I::set1(0.499992311f));
    p = I::fma(p, r, I::set1(1.0f));
    p = I::fma(p, r, I::set1(1.0f));
    return I::zero_below(I::scale2(p, n), x, low);
}

// cap * tanh(x)
template <class I> static inline typename I::V soft_capped(typename I::V x, float cap) {
    using V = typename I::V;
    const V sign_bit = I::set1(-0.0f);
    const V size = I::bit_andnot(sign_bit, x);
    const V e = exp_of<I>(I::mul(size, I::set1(-2.0f)));
    const V one = I::set1(1.0f);
    const V t = I::mul(I::set1(cap), I::div(I::sub(one, e), I::add(one, e)));
    return I::bit_or(t, I::bit_and(sign_bit, x));
}

template <class I> static inline float exp_of_one(float x) {
    return I::first(exp_of<I>(I::set1(x)));
}

// op over each N lanes, in all of them.
template <class I, int N, class Op> static inline typename I::V group_of(typename I::V x, Op op) {
    x = op(x, I::template swapped<1>(x));
    if constexpr (N >= 4) {
        x = op(x, I::template swapped<2>(x));
    }
    if constexpr (N >= 8) {
        x = op(x, I::template swapped<4>(x));
    }
    if constexpr (N >= 16) {
        x = op(x, I::template swapped<8>(x));
    }
    return x;
}

template <class I, int N> static inline typename I::V group_max(typename I::V x) {
    return group_of<I, N>(x, [](typename I::V a, typename I::V b) { return I::max(a, b); });
}

template <class I, int N> static inline typename I::V group_sum(typename I::V x) {
    return group_of<I, N>(x, [](typename I::V a, typename I::V b) { return I::add(a, b); });
}

// What a cell's numbers from d on, up to a multiple of 32, are multiplied by: q8_0 is blocks of an f16 scale and 32 int8.
template <class I, KvType T> static inline typename I::V scale_at(const uint8_t * p, int64_t d) {
    if constexpr (T == KvType::q8_0) {
        uint16_t half;
        memcpy(&half, p + d / 32 * 34, sizeof(half));
        return I::set1(_cvtsh_ss(half));
    } else {
        return I::zero();  // not used
    }
}

// Lines of NV vectors each: the i-th lies at(i).
template <class I, int NL, int NV, class At>
static inline __attribute__((always_inline)) void load_scaled(typename I::V (&lines)[NL][NV], const float * factor, At at) {
#pragma GCC unroll 4
    for (int i = 0; i < NL; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            lines[i][j] = I::mul(I::load(at(i) + j * I::W), I::set1(factor[i]));
        }
    }
}

template <class I, int NL, int NV, class At>
static inline __attribute__((always_inline)) void store_lines(const typename I::V (&lines)[NL][NV], At at) {
#pragma GCC unroll 4
    for (int i = 0; i < NL; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            I::store(at(i) + j * I::W, lines[i][j]);
        }
    }
}

} // namespace
} // namespace lc::kernels
