// exp, soft caps and mask values on vectors. Included by each level's file; see attention_impl.h.
#pragma once

#include "attention_shape.h"

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

} // namespace
} // namespace lc::kernels
