// Conversions of single f16 numbers, held as their 16 bits. Vectors are converted by the trait layer (isa/simd).
#pragma once

#include "ggml.h"

#include <cstdint>
#include <cstring>

namespace lc::kernels {
namespace {

inline float from_half(uint16_t half) {
    return ggml_fp16_to_fp32(half);
}

// Rounds to the nearest f16, ties to even; infinity beyond f16's range. (ggml's own conversion depends on how ggml was
// compiled.)
inline uint16_t to_half(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
    bits &= 0x7FFFFFFF;
    if (bits < 0x38800000) {
        // Subnormal in f16. Floats near 0.5 have the spacing of f16's subnormals, so the addition rounds to it.
        float magnitude;
        std::memcpy(&magnitude, &bits, sizeof bits);
        magnitude += 0.5f;
        std::memcpy(&bits, &magnitude, sizeof bits);
        return static_cast<uint16_t>(sign | (bits - 0x3F000000));
    }
    if (bits > 0x7F800000) {
        return static_cast<uint16_t>(sign | 0x7E00);
    }
    const uint32_t half = (bits - 0x38000000 + 0xFFF + (bits >> 13 & 1)) >> 13;
    return static_cast<uint16_t>(sign | (half < 0x7C00 ? half : 0x7C00));
}

inline uint16_t negated(uint16_t half) {
    return half ^ 0x8000;
}

inline bool is_finite(uint16_t half) {
    return (half & 0x7C00) != 0x7C00;
}

} // namespace
} // namespace lc::kernels
