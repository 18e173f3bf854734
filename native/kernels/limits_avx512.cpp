#include "limits.h"

#include <immintrin.h>

namespace lc::kernels {
namespace {

constexpr int CHAINS = 12;

float first_word(__m512i v) {
    alignas(64) int32_t words[16];
    _mm512_store_si512(words, v);
    return static_cast<float>(words[0]);
}

int64_t read_bytes(const uint8_t * bytes, size_t n, float * sink) {
    __m512i sums[4] = {};
    for (size_t i = 0; i + 256 <= n; i += 256) {
        for (int j = 0; j < 4; j++) {
            sums[j] = _mm512_xor_si512(sums[j], _mm512_load_si512(bytes + i + 64 * j));
        }
    }
    const __m512i all = _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]));
    *sink += first_word(all);
    return static_cast<int64_t>(n);
}

int64_t fp32(int64_t rounds, float * sink) {
    __m512 sums[CHAINS];
    for (__m512 & sum : sums) {
        sum = _mm512_set1_ps(1.0f);
    }
    const __m512 factor = _mm512_set1_ps(0.999f);
    for (int64_t i = 0; i < rounds * 100; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = _mm512_fmadd_ps(sums[j], factor, factor);
        }
    }
    for (const __m512 & sum : sums) {
        *sink += _mm512_cvtss_f32(sum);
    }
    return rounds * 100 * CHAINS * 32;
}

int64_t int8(int64_t rounds, float * sink) {
    __m512i sums[CHAINS] = {};
    const __m512i bytes = _mm512_set1_epi8(3);
    for (int64_t i = 0; i < rounds * 100; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = _mm512_dpbusd_epi32(sums[j], bytes, bytes);
        }
    }
    for (const __m512i & sum : sums) {
        *sink += first_word(sum);
    }
    return rounds * 100 * CHAINS * 128;
}

} // namespace

const Limit limit_avx512 = {read_bytes, fp32, int8, nullptr};

} // namespace lc::kernels
