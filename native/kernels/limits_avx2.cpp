#include "limits.h"

#include <immintrin.h>

namespace lc::kernels {
namespace {

constexpr int CHAINS = 12;

int64_t read_bytes(const uint8_t * bytes, size_t n, float * sink) {
    __m256i sums[4] = {};
    for (size_t i = 0; i + 128 <= n; i += 128) {
        for (int j = 0; j < 4; j++) {
            sums[j] = _mm256_xor_si256(sums[j], _mm256_load_si256(reinterpret_cast<const __m256i *>(bytes + i + 32 * j)));
        }
    }
    const __m256i all = _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
    *sink += static_cast<float>(_mm256_extract_epi32(all, 0));
    return static_cast<int64_t>(n);
}

int64_t fp32(int64_t rounds, float * sink) {
    __m256 sums[CHAINS];
    for (__m256 & sum : sums) {
        sum = _mm256_set1_ps(1.0f);
    }
    const __m256 factor = _mm256_set1_ps(0.999f);
    for (int64_t i = 0; i < rounds * 100; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            sums[j] = _mm256_fmadd_ps(sums[j], factor, factor);
        }
    }
    for (const __m256 & sum : sums) {
        *sink += _mm256_cvtss_f32(sum);
    }
    return rounds * 100 * CHAINS * 16;
}

// maddubs, madd and add: what a product of 8 bits takes without VNNI.
int64_t int8(int64_t rounds, float * sink) {
    __m256i sums[CHAINS] = {};
    const __m256i bytes = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    for (int64_t i = 0; i < rounds * 100; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) {
            const __m256i pairs = _mm256_maddubs_epi16(_mm256_xor_si256(bytes, sums[j]), bytes);
            sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(pairs, ones));
        }
    }
    for (const __m256i & sum : sums) {
        *sink += static_cast<float>(_mm256_extract_epi32(sum, 0));
    }
    return rounds * 100 * CHAINS * 64;
}

} // namespace

const Limit limit_avx2 = {read_bytes, fp32, int8, nullptr};

} // namespace lc::kernels
