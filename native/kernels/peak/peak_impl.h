// The measurements of peak.h as templates over the SIMD traits S (isa/simd/simd.h). Internal linkage, because every file that
// includes this is compiled with flags of its own.
#pragma once

#include "kernels/peak/peak.h"

namespace lc::kernels {
namespace {

constexpr int CHAINS = 12; // independent sums: enough to hide the latency of any unit

template <class S> int64_t read_bytes(const uint8_t * bytes, size_t n, float * sink) {
    using I32   = typename S::I32;
    I32 sums[4] = {};
    for (size_t i = 0; i + 4 * S::BYTES <= n; i += 4 * S::BYTES) {
        for (int j = 0; j < 4; j++) {
            sums[j] = S::bit_xor(sums[j], S::load_bytes_aligned(bytes + i + S::BYTES * j));
        }
    }
    *sink += static_cast<float>(S::first_i32(S::bit_xor(S::bit_xor(sums[0], sums[1]), S::bit_xor(sums[2], sums[3]))));
    return static_cast<int64_t>(n);
}

template <class S> int64_t multiply_fp32(int64_t rounds, float * sink) {
    using F32 = typename S::F32;
    F32 sums[CHAINS];
    for (F32 & sum : sums) {
        sum = S::broadcast(1.0f);
    }
    const F32 factor = S::broadcast(0.999f);
    for (int64_t i = 0; i < rounds * 100; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = S::fma(sums[j], factor, factor);
        }
    }
    for (const F32 & sum : sums) {
        *sink += S::first(sum);
    }
    return rounds * 100 * CHAINS * S::LANES * 2;
}

template <class S> int64_t multiply_int8(int64_t rounds, float * sink) {
    using I32              = typename S::I32;
    I32       sums[CHAINS] = {};
    const I32 bytes        = S::broadcast_i8(3);
    for (int64_t i = 0; i < rounds * 100; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            // Without VNNI the product does not depend on the sum: the exclusive or keeps the compiler from computing it once.
            const I32 u = S::HAS_VNNI ? bytes : S::bit_xor(bytes, sums[j]);
            sums[j]     = S::dot(sums[j], u, bytes);
        }
    }
    for (const I32 & sum : sums) {
        *sink += static_cast<float>(S::first_i32(sum));
    }
    return rounds * 100 * CHAINS * S::BYTES * 2;
}

template <class S> constexpr Peak peak_of() {
    return {read_bytes<S>, multiply_fp32<S>, multiply_int8<S>};
}

} // namespace
} // namespace lc::kernels
