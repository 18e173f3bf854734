#include "kernels/attention/attention_impl.h"

#include <immintrin.h>

namespace lc::kernels {
namespace {

struct Avx2 {
    using V = __m256;
    static constexpr int W = 8;
    static constexpr int FEW_VECTORS = 2;   // of an output, for up to four lines
    static constexpr int MANY_VECTORS = 3;
    static constexpr bool TILES = false;

    static inline V zero() { return _mm256_setzero_ps(); }
    static inline V set1(float x) { return _mm256_set1_ps(x); }
    static inline V load(const float * p) { return _mm256_loadu_ps(p); }
    static inline void store(float * p, V x) { _mm256_storeu_ps(p, x); }
    static inline float first(V x) { return _mm256_cvtss_f32(x); }
    static inline V add(V a, V b) { return _mm256_add_ps(a, b); }
    static inline V sub(V a, V b) { return _mm256_sub_ps(a, b); }
    static inline V mul(V a, V b) { return _mm256_mul_ps(a, b); }
    static inline V div(V a, V b) { return _mm256_div_ps(a, b); }
    static inline V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
    static inline V max(V a, V b) { return _mm256_max_ps(a, b); }  // b if either is NaN
    static inline V bit_and(V a, V b) { return _mm256_and_ps(a, b); }
    static inline V bit_andnot(V a, V b) { return _mm256_andnot_ps(a, b); }
    static inline V bit_or(V a, V b) { return _mm256_or_ps(a, b); }
    static inline V round(V x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
    static inline bool any_nan(V x) { return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0; }

    // x * 2^n, n a whole number of which 2^n is a normal float.
    static inline V scale2(V x, V n) {
        const __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        return mul(x, _mm256_castsi256_ps(_mm256_slli_epi32(e, 23)));
    }

    // x, but 0 where `by` is below `low`.
    static inline V zero_below(V x, V by, V low) {
        return _mm256_andnot_ps(_mm256_cmp_ps(by, low, _CMP_LT_OQ), x);
    }

    // x + slope * bias, but minus infinity, whatever x is, where the bias is that.
    static inline V masked(V x, V bias, V slope) {
        const V closed = _mm256_cmp_ps(bias, set1(-__builtin_inff()), _CMP_EQ_OQ);
        return _mm256_blendv_ps(fma(slope, bias, x), bias, closed);
    }

    // W numbers of a vector in the cache, from number d on.
    template <KvType T> static inline V numbers(const uint8_t * p, int64_t d, [[maybe_unused]] V scale) {
        if constexpr (T == KvType::f16) {
            return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p + 2 * d)));
        } else if constexpr (T == KvType::bf16) {
            const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i *>(p + 2 * d));
            return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
        } else {
            const __m128i x = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(p + d / 32 * 34 + 2 + d % 32));
            return mul(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)), scale);
        }
    }

    static inline V halves(const uint16_t * p) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
    }

    // 0 where a bit is set, minus infinity elsewhere.
    static inline V open_bits(uint64_t bits) {
        const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        const __m256i set = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits & 0xff)), lane);
        return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane)), set1(-__builtin_inff()));
    }

    // Bit i: p[i] & bits == value, for i = 0..63.
    static inline uint64_t equal_halves(const uint16_t * p, uint16_t value, uint16_t bits) {
        const __m256i x = _mm256_set1_epi16(static_cast<short>(value));
        const __m256i b = _mm256_set1_epi16(static_cast<short>(bits));
        uint64_t out = 0;
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p + 32 * i));
            const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p + 32 * i + 16));
            const __m256i equal = _mm256_packs_epi16(_mm256_cmpeq_epi16(_mm256_and_si256(low, b), x),
                                                     _mm256_cmpeq_epi16(_mm256_and_si256(high, b), x));
            const int mask = _mm256_movemask_epi8(_mm256_permute4x64_epi64(equal, 0xd8));
            out |= static_cast<uint64_t>(static_cast<uint32_t>(mask)) << 32 * i;
        }
        return out;
    }

    // Lane i: x's lane i ^ D.
    template <int D> static inline V swapped(V x) {
        if constexpr (D < 4) {
            return _mm256_permute_ps(x, D == 1 ? 0xb1 : 0x4e);
        } else {
            return _mm256_permute2f128_ps(x, x, 1);
        }
    }

    // N numbers, again and again.
    template <int N> static inline V repeat(const float * p) {
        if constexpr (N == 2) {
            double two;
            memcpy(&two, p, sizeof(two));
            return _mm256_castpd_ps(_mm256_set1_pd(two));
        } else if constexpr (N == 4) {
            return _mm256_broadcast_ps(reinterpret_cast<const __m128 *>(p));
        } else {
            return load(p);
        }
    }

    // Lane i: the sum of x[i].
    __attribute__((always_inline)) static inline V sums(const V (&x)[W]) {
        V four[2];
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const V a = add(_mm256_unpacklo_ps(x[4 * i], x[4 * i + 1]), _mm256_unpackhi_ps(x[4 * i], x[4 * i + 1]));
            const V b = add(_mm256_unpacklo_ps(x[4 * i + 2], x[4 * i + 3]), _mm256_unpackhi_ps(x[4 * i + 2], x[4 * i + 3]));
            four[i] = add(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
        }
        return add(_mm256_permute2f128_ps(four[0], four[1], 0x20), _mm256_permute2f128_ps(four[0], four[1], 0x31));
    }

    __attribute__((always_inline)) static inline void transpose(V (&x)[W]) {
        V y[W];
#pragma GCC unroll 2
        for (int i = 0; i < W; i += 4) {  // 4 x 4 within halves
            const V a = _mm256_unpacklo_ps(x[i], x[i + 1]);
            const V b = _mm256_unpackhi_ps(x[i], x[i + 1]);
            const V c = _mm256_unpacklo_ps(x[i + 2], x[i + 3]);
            const V d = _mm256_unpackhi_ps(x[i + 2], x[i + 3]);
            y[i] = _mm256_shuffle_ps(a, c, 0x44);
            y[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
            y[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
            y[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {     // then the halves
            x[i] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x20);
            x[i + 4] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x31);
        }
    }
};

} // namespace

void attention_avx2(const Attention & a, const ThreadTeam & team) {
    run_attention<Avx2>(a, team);
}

} // namespace lc::kernels
