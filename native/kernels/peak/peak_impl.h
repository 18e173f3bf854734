// The measurements of peak.h over a level's vectors `S`, local to each file as int8_gemm_impl.h is:
//   I, V               vectors of integers and of floats, BYTES long
//   load, either       of integers: aligned bytes, exclusive or
//   dot(sum, bytes)    adds products of 8 bits to sums of 32
//   word, first        the first lane
#pragma once

#include "kernels/peak/peak.h"

#include <immintrin.h>

namespace lc::kernels {
namespace {

constexpr int CHAINS = 12;  // more than any unit's latency

template <class S> int64_t read_bytes(const uint8_t * bytes, size_t n, float * sink) {
    typename S::I sums[4] = {};
    for (size_t i = 0; i + 4 * S::BYTES <= n; i += 4 * S::BYTES) {
        for (int j = 0; j < 4; j++) {
            sums[j] = S::either(sums[j], S::load(bytes + i + S::BYTES * j));
        }
    }
    *sink += static_cast<float>(S::word(S::either(S::either(sums[0], sums[1]), S::either(sums[2], sums[3]))));
    return static_cast<int64_t>(n);
}

template <class S> int64_t fp32(int64_t rounds, float * sink) {
    typename S::V sums[CHAINS];
    for (typename S::V & sum : sums) {
        sum = S::all(1.0f);
    }
    const typename S::V factor = S::all(0.999f);
    for (int64_t i = 0; i < rounds * 100; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = S::fma(sums[j], factor, factor);
        }
    }
    for (const typename S::V & sum : sums) {
        *sink += S::first(sum);
    }
    return rounds * 100 * CHAINS * (S::BYTES / 4) * 2;
}

template <class S> int64_t int8(int64_t rounds, float * sink) {
    typename S::I sums[CHAINS] = {};
    const typename S::I bytes = S::bytes(3);
    for (int64_t i = 0; i < rounds * 100; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = S::dot(sums[j], bytes);
        }
    }
    for (const typename S::I & sum : sums) {
        *sink += static_cast<float>(S::word(sum));
    }
    return rounds * 100 * CHAINS * S::BYTES * 2;
}

} // namespace
} // namespace lc::kernels

#define LC_LIMIT(S) {read_bytes<S>, fp32<S>, int8<S>, nullptr}
