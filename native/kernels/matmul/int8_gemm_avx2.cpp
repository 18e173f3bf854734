// The integer kernels with AVX2 alone.
#include "kernels/matmul/int8_gemm_256.h"

namespace lc::kernels {
namespace {

// Products of bytes come as sums of pairs in 16 bits: as many of them are added there as cannot overflow
// (weight * 127 * 2 * n <= 32767), then widened.
struct Avx2 : Vectors256 {
    static constexpr bool SIGNED8    = true;
    static constexpr int  ROWS       = 4;
    static constexpr int  ROWS_WHOLE = 2;

    struct Sum {
        I wide;
        I narrow;
    };

    LC_INLINE void begin(Sum & sum) { sum.wide = _mm256_setzero_si256(); }
    LC_INLINE void begin(Sum & sum, const int32_t * start) { sum.wide = _mm256_set1_epi32(*start); }
    LC_INLINE I total(const Sum & sum) { return sum.wide; }

    template <Format F> LC_INLINE void step(Sum & sum, int j, I w, const int8_t * q) {
        constexpr int FIT = F == Format::w4 ? 8 : F == Format::w5 ? 4 : F == Format::w6 ? 2 : 1;
        I x = _mm256_set1_epi32(word_of(q));
        if constexpr (F == Format::w8) {
            // The first factor is unsigned: the weight's sign goes to the activation, |-128| is 128.
            x = _mm256_sign_epi8(x, w);
            w = _mm256_abs_epi8(w);
        }
        const I pairs = _mm256_maddubs_epi16(w, x);
        sum.narrow    = j % FIT == 0 ? pairs : _mm256_add_epi16(sum.narrow, pairs);
        if (j % FIT == FIT - 1) {
            sum.wide = _mm256_add_epi32(sum.wide, _mm256_madd_epi16(sum.narrow, _mm256_set1_epi16(1)));
        }
    }
};

} // namespace

void rows_avx2(const MatMul & m, const Team & team) {
    run_format<Avx2>(m, team);
}

} // namespace lc::kernels
