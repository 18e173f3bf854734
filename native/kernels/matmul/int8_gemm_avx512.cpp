// The integer kernels with AVX-512 VNNI: a whole group of columns in a vector.
#include "kernels/matmul/int8_gemm_impl.h"

namespace lc::kernels {
namespace {

struct Avx512 {
    using I   = __m512i;
    using V   = __m512;
    using Sum = I;
    static constexpr int  LANES      = 16;
    static constexpr bool SIGNED8    = false;
    static constexpr int  ROWS       = 8;
    static constexpr int  ROWS_WHOLE = 8;

    typedef int32_t __attribute__((may_alias)) Word;

    LC_INLINE I load(const uint8_t * at) { return _mm512_loadu_si512(at); }
    LC_INLINE I low_nibbles(I v) { return _mm512_and_si512(v, _mm512_set1_epi8(0x0F)); }
    LC_INLINE I high_nibbles(I v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }

    // Bit n of the 64 bits is byte n's 16.
    LC_INLINE I add_fifth(I low, const uint8_t * bits) {
        uint64_t word;
        memcpy(&word, bits, sizeof word);
        return _mm512_mask_add_epi8(low, _cvtu64_mask64(word), low, _mm512_set1_epi8(16));
    }

    // Bits 2N and 2N + 1 of every byte of `upper` become bits 4 and 5.
    template <int N> LC_INLINE I add_upper(I low, I upper) {
        const I moved = N < 2 ? _mm512_slli_epi16(upper, 4 - 2 * (N < 2 ? N : 0)) : _mm512_srli_epi16(upper, N == 3 ? 2 : 0);
        // low | (moved & 0x30)
        return _mm512_ternarylogic_epi32(low, moved, _mm512_set1_epi8(0x30), 0xF8);
    }

    LC_INLINE void begin(Sum & sum) { sum = _mm512_setzero_si512(); }
    LC_INLINE void begin(Sum & sum, const int32_t * start) { sum = _mm512_set1_epi32(*start); }
    LC_INLINE I total(const Sum & sum) { return sum; }

    template <Format> LC_INLINE void step(Sum & sum, int, I w, const int8_t * q) {
        // As an instruction: gcc 12 makes a load of its own of the broadcast, which costs a quarter of the time.
        __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*reinterpret_cast<const Word *>(q)));
    }

    LC_INLINE V zero() { return _mm512_setzero_ps(); }
    LC_INLINE V all(const float * value) { return _mm512_set1_ps(*value); }
    // Masked by all: gcc 12 takes the unmasked forms' undefined operand for a mistake. The code is the same.
    LC_INLINE V to_floats(I v) { return _mm512_maskz_cvtepi32_ps(0xFFFF, v); }
    LC_INLINE V halves(const uint8_t * at) {
        return _mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at)));
    }
    LC_INLINE V mul(V a, V b) { return _mm512_mul_ps(a, b); }
    LC_INLINE V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }

    // The first n lanes.
    LC_INLINE void store(float * to, V v, int n) {
        if (n >= LANES) {
            _mm512_storeu_ps(to, v);
        } else {
            _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << n) - 1), v);
        }
    }
};

} // namespace

void rows_avx512(const MatMul & m, const Team & team) {
    run_format<Avx512>(m, team);
}

} // namespace lc::kernels
