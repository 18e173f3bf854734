// Operations on one row of floats, written so that the compiler makes vectors of them for each level.
#pragma once

#include "kernels/isa/isa.h"

#include <cstdint>

namespace lc::kernels {

struct RowOps {
    void (*add)(int64_t n, const float * a, const float * b, float * y);
    void (*mul)(int64_t n, const float * a, const float * b, float * y);
    void (*scale)(int64_t n, const float * x, float scale, float bias, float * y);
    void (*rms_norm)(int64_t n, const float * x, float eps, float * y);
    void (*swiglu)(int64_t n, const float * gate, const float * up, float * y);
    void (*geglu)(int64_t n, const float * gate, const float * up, float * y);  // gelu by its tanh approximation
    // n/2 pairs are turned; cos_sin is cos, sin of the first pair, of the second, ... The pairs are neighbours, or (neox)
    // half of n apart.
    void (*rope)(int64_t n, const float * cos_sin, const float * x, float * y);
    void (*rope_neox)(int64_t n, const float * cos_sin, const float * x, float * y);
    void (*to_f16)(int64_t n, const float * x, uint16_t * y);
    void (*to_bf16)(int64_t n, const float * x, uint16_t * y);  // rounded to nearest even, NaN stays NaN
};

// For Level::avx2 and above.
const RowOps & row_ops(Isa isa);

extern const RowOps row_ops_avx2;
extern const RowOps row_ops_avx512;

} // namespace lc::kernels
