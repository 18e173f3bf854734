// Operations on one row of `n` floats, compiled for each instruction set.
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
    void (*geglu)(int64_t n, const float * gate, const float * up, float * y); // GELU by its tanh approximation
    // Rotates n / 2 pairs of x. cos_sin: cosine and sine of the first pair, of the second, ... The two elements of a pair are
    // neighbours (rope) or n / 2 apart (rope_neox).
    void (*rope)(int64_t n, const float * cos_sin, const float * x, float * y);
    void (*rope_neox)(int64_t n, const float * cos_sin, const float * x, float * y);
    void (*to_f16)(int64_t n, const float * x, uint16_t * y);
    void (*to_bf16)(int64_t n, const float * x, uint16_t * y); // rounded to nearest even; NaN stays NaN
};

// For any instruction set but Isa::none.
const RowOps & row_ops(Isa isa);

extern const RowOps row_ops_avx2;
extern const RowOps row_ops_avx512;

} // namespace lc::kernels
