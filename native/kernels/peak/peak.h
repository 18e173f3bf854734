// The machine's limits for the roofline of benchmarks/kernels.py: bytes read and operations computed per second.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lc::kernels {

// Each function works in one thread and returns the operations (or bytes) done. The result goes to `sink`, so that the compiler
// cannot drop the work.
struct Peak {
    int64_t (*read)(const uint8_t * bytes, size_t n, float * sink); // `bytes` is aligned to 64
    int64_t (*fp32)(int64_t rounds, float * sink);                  // multiply and add: two operations a lane
    int64_t (*int8)(int64_t rounds, float * sink);                  // products of bytes, added up: two operations a byte
};

extern const Peak peak_avx2;
extern const Peak peak_avx512;

// Products of bf16 tiles, as Peak::fp32 counts them.
int64_t peak_bf16_amx(int64_t rounds, float * sink);

} // namespace lc::kernels
