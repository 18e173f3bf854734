// y = x W: rows of activations times packed weights.
#pragma once

#include "kernels/isa/isa.h"
#include "kernels/weights/packed.h"
#include "kernels/isa/thread_team.h"

#include <limits>

namespace lc::kernels {

inline constexpr int64_t ALL_ROWS = std::numeric_limits<int64_t>::max();

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
    // Where rows of x are not evenly spaced: every x_rows rows a slice begins, every x_slices slices a part. Strides in floats.
    int64_t      x_rows = ALL_ROWS;
    int64_t      x_slice_stride = 0;
    int64_t      x_slices = ALL_ROWS;
    int64_t      x_part_stride = 0;
};

static inline __attribute__((always_inline)) const float * row_of_x(const MatMul & m, int64_t row) {
    if (row < m.x_rows) {
        return m.x + row * m.x_stride;
    }
    const int64_t slice = row / m.x_rows;
    return m.x + row % m.x_rows * m.x_stride + slice % m.x_slices * m.x_slice_stride + slice / m.x_slices * m.x_part_stride;
}

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
