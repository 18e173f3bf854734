#include "kernels/peak/peak_impl.h"

namespace lc::kernels {
namespace {

struct Avx2 {
    using I = __m256i;
    using V = __m256;
    static constexpr int BYTES = 32;

    static inline I load(const uint8_t * p) { return _mm256_load_si256(reinterpret_cast<const I *>(p)); }
    static inline I either(I a, I b) { return _mm256_xor_si256(a, b); }
    static inline I bytes(char x) { return _mm256_set1_epi8(x); }
    static inline int word(I v) { return _mm256_extract_epi32(v, 0); }
    static inline V all(float x) { return _mm256_set1_ps(x); }
    static inline V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
    static inline float first(V v) { return _mm256_cvtss_f32(v); }

    // maddubs, madd and add: what a product of 8 bits takes without VNNI.
    static inline I dot(I sum, I x) {
        const I pairs = _mm256_maddubs_epi16(_mm256_xor_si256(x, sum), x);
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
};

} // namespace

const Limit limit_avx2 = LC_LIMIT(Avx2);

} // namespace lc::kernels
