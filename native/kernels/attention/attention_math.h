// Functions of whole vectors over the SIMD traits S (isa/simd/simd.h): exp, soft cap, mask, reductions, numbers of the KV cache.
// Included by the file of each instruction set; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_shape.h"

#include "kernels/isa/simd/simd.h"

namespace lc::kernels {
namespace {

// e^x for x <= 0 (and small positive x), relative error 2e-7; 0 below -87, NaN stays NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2; the polynomial is fitted to the relative error of e^r.
template <class S> static inline typename S::F32 vector_exp(typename S::F32 x) {
    using F32     = typename S::F32;
    const F32 n   = S::round(S::mul(x, S::broadcast(1.44269504f)));
    F32       r   = S::fma(n, S::broadcast(-0.693359375f), x);
    r             = S::fma(n, S::broadcast(2.12194440e-4f), r);
    F32 p         = S::broadcast(0.00831252429f);
    p             = S::fma(p, r, S::broadcast(0.0418901145f));
    p             = S::fma(p, r, S::broadcast(0.166671142f));
    p             = S::fma(p, r, S::broadcast(0.499992311f));
    p             = S::fma(p, r, S::broadcast(1.0f));
    p             = S::fma(p, r, S::broadcast(1.0f));
    return S::zero_if(S::less(x, S::broadcast(-87.0f)), S::scale_by_power(p, n)); // whatever it is there, also for minus infinity
}

template <class S> static inline float scalar_exp(float x) {
    return S::first(vector_exp<S>(S::broadcast(x)));
}

// cap * tanh(x)
template <class S> static inline typename S::F32 apply_soft_cap(typename S::F32 x, float cap) {
    using F32          = typename S::F32;
    const F32 sign_bit = S::broadcast(-0.0f);
    const F32 size     = S::bit_andnot(sign_bit, x);
    const F32 e        = vector_exp<S>(S::mul(size, S::broadcast(-2.0f)));
    const F32 one      = S::broadcast(1.0f);
    const F32 t        = S::mul(S::broadcast(cap), S::div(S::sub(one, e), S::add(one, e)));
    return S::bit_or(t, S::bit_and(sign_bit, x));
}

// x + slope * bias; minus infinity where the bias is minus infinity, even if x is NaN.
template <class S> static inline typename S::F32 add_mask(typename S::F32 x, typename S::F32 bias, typename S::F32 slope) {
    const typename S::Mask is_masked = S::equal(bias, S::broadcast(-__builtin_inff()));
    return S::select(is_masked, bias, S::fma(slope, bias, x));
}

// The bias of LANES cells without mask values: 0 where the cell's bit is set, minus infinity elsewhere.
template <class S> static inline typename S::F32 visible_bias(uint64_t bits) {
    const typename S::Mask is_visible = S::mask_of_bits(bits);
    return S::zero_if(is_visible, S::broadcast(-__builtin_inff()));
}

// op over each N consecutive lanes, halves first; the result is in all of them.
template <class S, int N, class Op> static inline typename S::F32 reduce_groups(typename S::F32 x, Op op) {
    if constexpr (N >= 16) {
        x = op(x, S::template swap_lanes<8>(x));
    }
    if constexpr (N >= 8) {
        x = op(x, S::template swap_lanes<4>(x));
    }
    if constexpr (N >= 4) {
        x = op(x, S::template swap_lanes<2>(x));
    }
    return op(x, S::template swap_lanes<1>(x));
}

template <class S, int N> static inline typename S::F32 max_of_groups(typename S::F32 x) {
    return reduce_groups<S, N>(x, [](typename S::F32 a, typename S::F32 b) { return S::max(a, b); });
}

template <class S, int N> static inline typename S::F32 sum_of_groups(typename S::F32 x) {
    return reduce_groups<S, N>(x, [](typename S::F32 a, typename S::F32 b) { return S::add(a, b); });
}

// The scale of the numbers d to d + 31 (d a multiple of 32) of a vector in the cache. q8_0 consists of blocks: an f16 scale and
// 32 int8. The other types have no scale.
template <class S, KvType T> static inline typename S::F32 kv_scale(const uint8_t * vector, int64_t d) {
    if constexpr (T == KvType::q8_0) {
        uint16_t half;
        memcpy(&half, vector + d / 32 * 34, sizeof(half));
        return S::broadcast(S::half_to_float(half));
    } else {
        return S::zero(); // not used
    }
}

// LANES numbers of a vector in the cache, from number d on.
template <class S, KvType T>
static inline typename S::F32 load_kv(const uint8_t * vector, int64_t d, [[maybe_unused]] typename S::F32 scale) {
    if constexpr (T == KvType::f16) {
        return S::load_f16(vector + 2 * d);
    } else if constexpr (T == KvType::bf16) {
        return S::load_bf16(vector + 2 * d);
    } else {
        return S::mul(S::load_i8(vector + d / 32 * 34 + 2 + d % 32), scale);
    }
}

template <class S, KvType T> static inline typename S::F32 load_kv(const uint8_t * vector, int64_t d) {
    return load_kv<S, T>(vector, d, kv_scale<S, T>(vector, d));
}

// A register tile of MR lines x NR vectors. Line i lies in memory at line(i).
template <class S, int MR, int NR, class Line>
static inline __attribute__((always_inline)) void load_tile(typename S::F32 (&tile)[MR][NR], Line line) {
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            tile[i][j] = S::load(line(i) + j * S::LANES);
        }
    }
}

template <class S, int MR, int NR, class Line>
static inline __attribute__((always_inline)) void load_tile_scaled(typename S::F32 (&tile)[MR][NR], const float * factor,
                                                                   Line line) {
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            tile[i][j] = S::mul(S::load(line(i) + j * S::LANES), S::broadcast(factor[i]));
        }
    }
}

template <class S, int MR, int NR, class Line>
static inline __attribute__((always_inline)) void store_tile(const typename S::F32 (&tile)[MR][NR], Line line) {
#pragma GCC unroll 4
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) {
            S::store(line(i) + j * S::LANES, tile[i][j]);
        }
    }
}

} // namespace
} // namespace lc::kernels
