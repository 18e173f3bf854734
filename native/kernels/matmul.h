// y = x W: rows of activations times packed weights.
#pragma once

#include "level.h"
#include "packed.h"
#include "team.h"

namespace lc::kernels {

struct MatMul {
    Format       format;
    const void * weights;   // packed.h
    int64_t      k;         // a multiple of 32
    int64_t      n_cols;
    int64_t      n_rows;    // at least 1
    const float * x;        // n_rows rows of k
    int64_t      x_stride;  // in floats
    float *      y;         // n_rows rows of n_cols
    int64_t      y_stride;  // in floats
};

// Bytes of shared scratch that matmul() needs.
size_t matmul_scratch(Level level, const MatMul & m, int n_threads);

// Called by every thread of the team. Begins with x complete; y is complete after the caller's next barrier.
void matmul(Level level, const MatMul & m, const Team & team);

// The weights that a thread begins with, for a product of few rows; NULL where that is not known before. Whoever has time asks the
// memory for them.
const void * matmul_first(Level level, const MatMul & m, int ith, int n_threads);

// From how many rows on AMX is used instead of the integer kernels. Measured by calibrate().
void matmul_set_amx_rows(int64_t n_rows);
int64_t matmul_amx_rows();

} // namespace lc::kernels
