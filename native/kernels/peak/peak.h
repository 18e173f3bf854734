// What the machine can do at most, for the roofline of benchmarks/kernels.py.
#pragma once

#include "kernels/isa/isa.h"

#include <cstddef>
#include <cstdint>

namespace lc::kernels {

// Each computes in one thread for about `rounds` times a few microseconds, and returns the operations (or bytes) done. The sums
// go to `sink`, so that they cannot be left out.
struct Limit {
    int64_t (*read)(const uint8_t * bytes, size_t n, float * sink);
    int64_t (*fp32)(int64_t rounds, float * sink);  // multiply and add
    int64_t (*int8)(int64_t rounds, float * sink);  // products of 8 bits
    int64_t (*bf16)(int64_t rounds, float * sink);  // AMX; nullptr below
};

extern const Limit limit_avx2;
extern const Limit limit_avx512;

int64_t limit_bf16_amx(int64_t rounds, float * sink);

} // namespace lc::kernels
