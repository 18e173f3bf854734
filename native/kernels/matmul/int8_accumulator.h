// Integer sums of the int8 microkernel: products of the weights' quants (unsigned bytes) with the activations' (signed bytes),
// added in 32 bits.
//
// Int8Accumulator<S, F> has
//   IS_SIGNED               prepare() has taken off the weights' zero point, so that sums begin with zero
//   prepare(w)              weights as add() needs them, once for all rows
//   begin(), begin(start)   sums of zero, or of *start
//   add(j, w, x)            adds 4 products to each lane. Calls have j = 0, 1, ...; `x` points to 4 bytes
//   total()                 the sums, after add() was called 8 / F::N_SCALES times: for all words of one scale
#pragma once

#include "kernels/isa/simd/simd.h"

#include <cstdint>

namespace lc::kernels {
namespace {

template <class S, class F, bool HAS_VNNI = S::HAS_VNNI> class Int8Accumulator;

template <class S, class F> class Int8Accumulator<S, F, true> {
    using I32 = typename S::I32;

public:
    static constexpr bool IS_SIGNED = false;

    LC_INLINE I32 prepare(I32 w) { return w; }

    inline __attribute__((always_inline)) void begin() { sum_ = S::zero_ints(); }
    inline __attribute__((always_inline)) void begin(const int32_t * start) { sum_ = S::broadcast_i32(*start); }
    inline __attribute__((always_inline)) void add(int, I32 w, const int8_t * x) { sum_ = S::dot_broadcast(sum_, w, x); }
    inline __attribute__((always_inline)) I32 total() const { return sum_; }

private:
    I32 sum_;
};

// Without VNNI, products come as sums of pairs in 16 bits. Several of these are added in 16 bits, as many as cannot
// overflow, then widened.
template <class S, class F> class Int8Accumulator<S, F, false> {
    using I32 = typename S::I32;

public:
    // Two products of unsigned bytes of 8 bits do not fit into 16 bits, two of signed bytes do.
    static constexpr bool IS_SIGNED = F::BITS == 8;

    LC_INLINE I32 prepare(I32 w) {
        if constexpr (IS_SIGNED) {
            return S::bit_xor(w, S::broadcast_i8(-128));
        }
        return w;
    }

    inline __attribute__((always_inline)) void begin() { wide_ = S::zero_ints(); }
    inline __attribute__((always_inline)) void begin(const int32_t * start) { wide_ = S::broadcast_i32(*start); }

    inline __attribute__((always_inline)) void add(int j, I32 w, const int8_t * four) {
        I32 x = S::broadcast_4(four);
        if constexpr (IS_SIGNED) {
            // The instruction takes its first factor as unsigned: the weight's sign goes to the activation.
            x = S::copy_sign_i8(x, w);
            w = S::abs_i8(w);
        }
        const I32 pairs = S::dot_pairs(w, x);
        narrow_         = j % N_NARROW == 0 ? pairs : S::add_i16(narrow_, pairs);
        if (j % N_NARROW == N_NARROW - 1) {
            wide_ = S::add_i32(wide_, S::widen_pairs(narrow_));
        }
    }

    inline __attribute__((always_inline)) I32 total() const { return wide_; }

private:
    // Number of pair sums that are added in 16 bits: 2 * 127 * MAX_WEIGHT * n must not exceed 32767. A power of two, so that it
    // divides the number of calls.
    static constexpr int MAX_WEIGHT = IS_SIGNED ? 128 : (1 << F::BITS) - 1;
    static constexpr int N_FIT      = 32767 / (2 * 127 * MAX_WEIGHT);
    static constexpr int N_NARROW   = N_FIT >= 8 ? 8 : N_FIT >= 4 ? 4 : N_FIT >= 2 ? 2 : 1;
    static_assert(N_FIT >= 1 && 8 / F::N_SCALES % N_NARROW == 0);

    I32 wide_;
    I32 narrow_;
};

} // namespace
} // namespace lc::kernels
