// The operations of row_ops.h, compiled once for each instruction set: loops that the compiler vectorizes, and conversions over
// the SIMD traits S (isa/simd/simd.h). Internal linkage, because every file that includes this is compiled with flags of its own.
#pragma once

#include "kernels/elementwise/row_ops.h"
#include "kernels/isa/simd/simd.h"

#include <math.h>
#include <string.h>

namespace lc::kernels {
namespace {

// e^x in a form that the compiler vectorizes: x = n ln 2 + r with |r| <= ln 2 / 2, Taylor's polynomial to the sixth power for e^r
// (error below 3e-7 there), 2^n by the exponent's bits. 0 below -87, e^88 above 88.
LC_INLINE float exp_of_element(float x) {
    const float clamped = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    const float n       = __builtin_rintf(clamped * 1.44269504f);
    const float r       = clamped - n * 0.693359375f + n * 2.12194440e-4f;
    const float p       = 1.0f +
        r * (1.0f + r * (0.5f + r * (0.16666667f + r * (0.041666668f + r * (0.0083333333f + r * 0.0013888889f)))));
    const uint32_t bits = (static_cast<uint32_t>(static_cast<int32_t>(n)) + 127u) << 23;
    float          power;
    memcpy(&power, &bits, sizeof(power));
    return x < -87.0f ? 0.0f : p * power;
}

void add(int64_t n, const float * a, const float * b, float * y) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

void mul(int64_t n, const float * a, const float * b, float * y) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = a[i] * b[i];
    }
}

void scale(int64_t n, const float * x, float factor, float bias, float * y) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * factor + bias;
    }
}

void rms_norm(int64_t n, const float * x, float eps, float * y) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    const float factor = 1.0f / sqrtf(sum / static_cast<float>(n) + eps);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * factor;
    }
}

void swiglu(int64_t n, const float * gate, const float * up, float * y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = gate[i] / (1.0f + exp_of_element(-gate[i])) * up[i];
    }
}

void geglu(int64_t n, const float * gate, const float * up, float * y) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float x = gate[i];
        // 0.5 x (1 + tanh(u)) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
        const float u = 0.7978845608f * x * (1.0f + 0.044715f * x * x);
        y[i]          = x / (1.0f + exp_of_element(-2.0f * u)) * up[i];
    }
}

void rope(int64_t n, const float * cos_sin, const float * x, float * y) {
#pragma omp simd
    for (int64_t i = 0; i < n / 2; i++) {
        const float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i]     = a * cos_sin[2 * i] - b * cos_sin[2 * i + 1];
        y[2 * i + 1] = a * cos_sin[2 * i + 1] + b * cos_sin[2 * i];
    }
}

void rope_neox(int64_t n, const float * cos_sin, const float * x, float * y) {
    const int64_t half = n / 2;
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const float a = x[i], b = x[half + i];
        y[i]        = a * cos_sin[2 * i] - b * cos_sin[2 * i + 1];
        y[half + i] = a * cos_sin[2 * i + 1] + b * cos_sin[2 * i];
    }
}

template <class S> void to_f16(int64_t n, const float * x, uint16_t * y) {
    int64_t i = 0;
    for (; i + S::LANES <= n; i += S::LANES) {
        S::store_f16(y + i, S::load(x + i));
    }
    for (; i < n; i++) {
        y[i] = S::float_to_half(x[i]);
    }
}

void to_bf16(int64_t n, const float * x, uint16_t * y) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof(bits));
        const bool     is_nan  = (bits & 0x7fffffffu) > 0x7f800000u;
        const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
        y[i]                   = static_cast<uint16_t>((is_nan ? bits | 0x00400000u : rounded) >> 16);
    }
}

// to_f16 is limited by memory, so the shorter vectors, whose remainder is shorter, are enough.
template <class S> constexpr RowOps row_ops_of() {
    return {add, mul, scale, rms_norm, swiglu, geglu, rope, rope_neox, to_f16<typename S::Half>, to_bf16};
}

} // namespace
} // namespace lc::kernels
