// The integer kernels with AVX-VNNI.
#include "kernels/matmul/int8_gemm_256.h"

namespace lc::kernels {
namespace {

struct AvxVnni : Vectors256 {
    static constexpr bool SIGNED8    = false;
    static constexpr int  ROWS       = 6;
    static constexpr int  ROWS_WHOLE = 2;

    using Sum = I;

    LC_INLINE void begin(Sum & sum) { sum = _mm256_setzero_si256(); }
    LC_INLINE void begin(Sum & sum, const int32_t * start) { sum = _mm256_set1_epi32(*start); }
    LC_INLINE I total(const Sum & sum) { return sum; }

    template <Format> LC_INLINE void step(Sum & sum, int, I w, const int8_t * q) {
        sum = _mm256_dpbusd_avx_epi32(sum, w, _mm256_set1_epi32(word_of(q)));
    }
};

} // namespace

void rows_avxvnni(const MatMul & m, const Team & team) {
    run_format<AvxVnni>(m, team);
}

} // namespace lc::kernels
