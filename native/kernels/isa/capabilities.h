// The instructions that this machine can execute, and the choice of an implementation by them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lc::kernels {

// A set of features. Each feature is a group of instructions that kernels require together. A feature is present if the CPU has
// the instructions, the operating system preserves their registers and this process may use them.
using Features = uint32_t;

inline constexpr Features NO_FEATURES = 0;
inline constexpr Features AVX2        = 1u << 0; // AVX, AVX2, FMA, F16C, BMI2
inline constexpr Features AVX_VNNI    = 1u << 1; // vpdpbusd on 256 bits
inline constexpr Features AVX512      = 1u << 2; // AVX-512 F, BW, DQ, VL and VNNI
inline constexpr Features AVX512_BF16 = 1u << 3;
inline constexpr Features AMX_BF16    = 1u << 4; // AMX tiles of bf16

constexpr bool has_all(Features features, Features needed) {
    return (features & needed) == needed;
}

// The features of this machine. The first call asks Linux for the permission to use AMX tiles.
Features machine_features();

// One implementation of an operation, and the features that its code was compiled with.
template <class T> struct Variant {
    Features needed;
    T        implementation;
};

// The first variant that `features` allow. Variants are in order of preference; the last one must fit, so callers check first
// that `features` has at least what that one needs.
template <class T, size_t N> const T & choose(const Variant<T> (&variants)[N], Features features) {
    size_t i = 0;
    while (i + 1 < N && !has_all(features, variants[i].needed)) {
        i++;
    }
    return variants[i].implementation;
}

} // namespace lc::kernels
