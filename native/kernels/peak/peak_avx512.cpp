#include "kernels/peak/peak_impl.h"

namespace lc::kernels {
namespace {

struct Avx512 {
    using I = __m512i;
    using V = __m512;
    static constexpr int BYTES = 64;

    static inline I load(const uint8_t * p) { return _mm512_load_si512(p); }
    static inline I either(I a, I b) { return _mm512_xor_si512(a, b); }
    static inline I bytes(char x) { return _mm512_set1_epi8(x); }
    // Masked by all: gcc 12 takes the unmasked form's undefined operand for a mistake.
    static inline int word(I v) { return _mm_cvtsi128_si32(_mm512_maskz_extracti32x4_epi32(0xF, v, 0)); }
    static inline V all(float x) { return _mm512_set1_ps(x); }
    static inline V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
    static inline float first(V v) { return _mm512_cvtss_f32(v); }
    static inline I dot(I sum, I x) { return _mm512_dpbusd_epi32(sum, x, x); }
};

} // namespace

const Limit limit_avx512 = LC_LIMIT(Avx512);

} // namespace lc::kernels
