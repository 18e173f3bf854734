#include "sampling/logit_simd.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

// The shim is compiled for the baseline CPU of its architecture. These loops have variants for wider vectors, which the loader
// chooses.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define LC_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LC_WIDE
#endif

// `#pragma omp simd` (with -fopenmp-simd, without the OpenMP runtime) vectorizes the loops over lanes. Without it GCC unrolls them
// and vectorizes the outer loop, with more shuffles than additions.

namespace lc {

namespace {

// Number of independent accumulators: the floats of the widest vector. It is fixed, so that the order of additions is the same on
// every CPU.
constexpr size_t LANES = 16;

constexpr float LOWEST   = std::numeric_limits<float>::lowest();
constexpr float EXCLUDED = -std::numeric_limits<float>::infinity();

template <typename T> inline T sum_of(T * lanes) {
    for (size_t width = LANES / 2; width > 0; width /= 2) {
#pragma omp simd
        for (size_t lane = 0; lane < width; lane++) {
            lanes[lane] += lanes[lane + width];
        }
    }
    return lanes[0];
}

inline float max_of(float * lanes) {
    for (size_t width = LANES / 2; width > 0; width /= 2) {
#pragma omp simd
        for (size_t lane = 0; lane < width; lane++) {
            lanes[lane] = lanes[lane + width] > lanes[lane] ? lanes[lane + width] : lanes[lane];
        }
    }
    return lanes[0];
}

// Computes 2^x as 2^k * 2^f with an integer k and |f| <= 1/2. 2^f is a minimax polynomial of degree 5 (relative error 9e-8)
// that is 1 at 0; 2^k is added to its exponent bits. Results that would not be normal numbers are below `least` and masked.
inline float weight_of(float logit, const WeightFunction & function) {
    constexpr float ROUND = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer, which is in the lowest bits

    const float x       = (logit - function.top) * function.scale;
    const float shifted = x + ROUND;
    const float f       = x - (shifted - ROUND);

    float power = 1.3264727e-3f;
    power       = power * f + 9.671513e-3f;
    power       = power * f + 5.5507336e-2f;
    power       = power * f + 2.4022242e-1f;
    power       = power * f + 6.9314700e-1f;
    power       = power * f + 1.0f;

    uint32_t k, bits;
    std::memcpy(&k, &shifted, sizeof(k));
    std::memcpy(&bits, &power, sizeof(bits));
    // A bit mask instead of a conditional expression, which GCC turns into a branch and then does not vectorize.
    bits = (bits + (k << 23)) & (logit >= function.least ? ~0u : 0u);
    float weight;
    std::memcpy(&weight, &bits, sizeof(weight));
    return weight;
}

} // namespace

WeightFunction::WeightFunction(float top, float temperature, float floor) : top(top) {
    constexpr float LOG2_E  = 1.44269504f;
    constexpr float DEEPEST = 85.0f; // e^-85 is a normal number, whatever the rounding
    // Within these bounds no product overflows; beyond them the weights do not change any more.
    const float bounded = std::min(std::max(temperature, 1e-30f), 1e30f);
    scale               = LOG2_E / bounded;
    least               = std::max(floor, std::max(LOWEST, top - DEEPEST * bounded));
}

LC_WIDE bool find_block_max(const float * logits, size_t n, float * block_max) {
    int is_nan[LANES] = {};
    for (size_t start = 0; start < n; start += BLOCK) {
        const float * block = logits + start;
        const size_t  size  = std::min(BLOCK, n - start);
        float         lanes[LANES];
        std::fill(lanes, lanes + LANES, EXCLUDED);
        size_t i = 0;
        for (; i + LANES <= size; i += LANES) {
#pragma omp simd
            for (size_t lane = 0; lane < LANES; lane++) {
                const float logit = block[i + lane];
                lanes[lane]       = logit > lanes[lane] ? logit : lanes[lane];
                is_nan[lane] |= logit != logit;
            }
        }
        for (; i < size; i++) {
            lanes[0] = block[i] > lanes[0] ? block[i] : lanes[0];
            is_nan[0] |= block[i] != block[i];
        }
        block_max[start / BLOCK] = max_of(lanes);
    }
    return sum_of(is_nan) == 0;
}

LC_WIDE void copy_masked(const float * logits, size_t n, const uint32_t * mask, float * out) {
    constexpr size_t WORD = 32;
    for (size_t start = 0; start < n; start += WORD) {
        const uint32_t word = mask[start / WORD];
        const size_t   size = std::min(WORD, n - start);
        // Most words of a mask are all zeros or all ones.
        if (word == 0) {
            std::fill(out + start, out + start + size, EXCLUDED);
        } else if (word == ~0u) {
            std::copy(logits + start, logits + start + size, out + start);
        } else {
            for (size_t i = 0; i < size; i++) {
                out[start + i] = (word >> i & 1) != 0 ? logits[start + i] : EXCLUDED;
            }
        }
    }
}

LC_WIDE float sum_weights(const float * logits, size_t n, const WeightFunction & function) {
    const WeightFunction local        = function; // a copy stays in registers: no store can alias it
    float                lanes[LANES] = {};
    size_t               i            = 0;
    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (size_t lane = 0; lane < LANES; lane++) {
            lanes[lane] += weight_of(logits[i + lane], local);
        }
    }
    for (; i < n; i++) {
        lanes[i % LANES] += weight_of(logits[i], local);
    }
    return sum_of(lanes);
}

LC_WIDE float store_weights(const float * logits, size_t n, const WeightFunction & function, float * weights) {
    const WeightFunction local        = function;
    float                lanes[LANES] = {};
    size_t               i            = 0;
    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (size_t lane = 0; lane < LANES; lane++) {
            const float weight = weight_of(logits[i + lane], local);
            weights[i + lane]  = weight;
            lanes[lane] += weight;
        }
    }
    for (; i < n; i++) {
        weights[i] = weight_of(logits[i], local);
        lanes[i % LANES] += weights[i];
    }
    return sum_of(lanes);
}

LC_WIDE Tally tally_from(const float * keys, size_t n, float least) {
    int    counts[LANES] = {};
    float  sums[LANES]   = {};
    size_t i             = 0;
    for (; i + LANES <= n; i += LANES) {
#pragma omp simd
        for (size_t lane = 0; lane < LANES; lane++) {
            const float key = keys[i + lane];
            counts[lane] += key >= least ? 1 : 0;
            sums[lane] += key >= least ? key : 0.0f;
        }
    }
    for (; i < n; i++) {
        counts[i % LANES] += keys[i] >= least ? 1 : 0;
        sums[i % LANES] += keys[i] >= least ? keys[i] : 0.0f;
    }
    return {static_cast<size_t>(sum_of(counts)), sum_of(sums)};
}

LC_WIDE size_t find_between(const float * keys, size_t n, float least, float below, int * indices) {
    size_t n_found = 0;
    for (size_t i = 0; i < n; i += LANES) {
        const size_t end = std::min(n, i + LANES);
        int          any = end < i + LANES;
        if (!any) {
#pragma omp simd reduction(| : any)
            for (size_t lane = 0; lane < LANES; lane++) {
                any |= (keys[i + lane] >= least) & (keys[i + lane] < below);
            }
        }
        for (size_t j = i; any && j < end; j++) {
            indices[n_found] = static_cast<int>(j);
            n_found += (keys[j] >= least) & (keys[j] < below);
        }
    }
    return n_found;
}

} // namespace lc
