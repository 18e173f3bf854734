// The common scale of a K-quant's block, recovered from the scales that were packed.
//
// A K-quant stores one f16 scale for 256 weights and a small whole number for each 16 or 32 of them. Packed, only the products
// of both are left, rounded to f16. find_common_scale() returns a scale and whole numbers that have exactly these products. The
// scale may differ from the file's in its last bits; the weights do not.
#pragma once

#include "kernels/weights/half.h"

#include <cmath>
#include <cstdint>

namespace lc::kernels {
namespace {

// products[i] = scale * multipliers[i], rounded to f16.
struct CommonScale {
    uint16_t scale;
    int      multipliers[16];
};

// Multipliers that the type can store. `likely` is tried first for the largest product: quantizers use the whole range.
struct MultiplierRange {
    int least, most, likely;
};

inline constexpr MultiplierRange SIX_BITS = {0, 63, 63}, SIGNED_BYTES = {-128, 127, -128};

// Writes the multipliers for `scale` to `out`; false if one of the products has none in the range.
inline bool divide_by(const uint16_t * products, int n, const MultiplierRange & range, uint16_t scale, CommonScale * out) {
    const float value = from_half(scale);
    out->scale        = scale;
    for (int i = 0; i < n; i++) {
        const float ratio      = value == 0.0f ? 0.0f : from_half(products[i]) / value;
        const int   multiplier = static_cast<int>(std::lrint(ratio));
        if (std::fabs(ratio) > 256.0f || multiplier < range.least || multiplier > range.most ||
            to_half(value * static_cast<float>(multiplier)) != products[i]) {
            return false;
        }
        out->multipliers[i] = multiplier;
    }
    return true;
}

// Assumes that the largest product has this multiplier. That fixes the scale up to rounding: its f16 neighbours are tried too.
inline bool try_multiplier(const uint16_t * products, int n, const MultiplierRange & range, uint16_t largest, int multiplier,
                           CommonScale * out) {
    if (multiplier == 0) {
        return false;
    }
    const uint16_t near    = to_half(from_half(largest) / static_cast<float>(multiplier));
    constexpr int  STEPS[] = {0, -1, 1};
    for (const int step : STEPS) {
        const auto scale = static_cast<uint16_t>(near + step);
        if (is_finite(scale) && divide_by(products, n, range, scale, out)) {
            return true;
        }
    }
    return false;
}

// For products that have no finite common scale. They were infinite or NaN in the file, too.
inline CommonScale scale_of_no_numbers(const uint16_t * products, int n, uint16_t largest) {
    CommonScale out = {largest, {}};
    for (int i = 0; i < n; i++) {
        out.multipliers[i] = products[i] == largest ? 1 : 0;
    }
    return out;
}

// For products that are all zero. Zeros keep their signs.
inline CommonScale scale_of_zeros(const uint16_t * products, int n, const MultiplierRange & range) {
    CommonScale out = {products[0], {}};
    for (int i = 0; i < n; i++) {
        out.multipliers[i] = products[i] != products[0] && range.least < 0 ? -1 : 0;
    }
    return out;
}

inline CommonScale find_common_scale(const uint16_t * products, int n, const MultiplierRange & range) {
    uint16_t largest = products[0];
    for (int i = 1; i < n; i++) {
        largest = (products[i] & 0x7FFF) > (largest & 0x7FFF) ? products[i] : largest;
    }
    if ((largest & 0x7FFF) == 0) {
        return scale_of_zeros(products, n, range);
    }
    if (!is_finite(largest)) {
        return scale_of_no_numbers(products, n, largest);
    }
    CommonScale out = {};
    if (try_multiplier(products, n, range, largest, range.likely, &out)) {
        return out;
    }
    for (int multiplier = range.most; multiplier >= range.least; multiplier--) {
        if (try_multiplier(products, n, range, largest, multiplier, &out)) {
            return out;
        }
    }
    return scale_of_no_numbers(products, n, largest);
}

} // namespace
} // namespace lc::kernels
