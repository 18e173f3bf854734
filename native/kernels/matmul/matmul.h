// y = x W: rows of activations times packed weights, by int8_gemm.h or bf16_gemm_amx.h.
#pragma once

#include "kernels/isa/isa.h"
#include "kernels/isa/thread_team.h"
#include "kernels/weights/packed.h"

#include <limits>

namespace lc::kernels {

inline constexpr int64_t ALL_ROWS = std::numeric_limits<int64_t>::max();

// Strides are in floats. x is f32 with up to three dimensions of rows: row r of the product is row
// (r % x_n1, r / x_n1 % x_n2, r / x_n1 / x_n2) of x.
struct MatMul {
    Format        format;
    const void *  weights; // packed.h
    int64_t       k;       // a multiple of 32
    int64_t       n_cols;
    int64_t       n_rows;   // at least 1
    const float * x;        // n_rows rows of k
    int64_t       x_stride; // between rows in the first dimension
    float *       y;        // n_rows rows of n_cols
    int64_t       y_stride;
    int64_t       x_n1      = ALL_ROWS; // rows in the first dimension
    int64_t       x_stride2 = 0;
    int64_t       x_n2      = ALL_ROWS;
    int64_t       x_stride3 = 0;
};

static inline __attribute__((always_inline)) const float * x_row(const MatMul & m, int64_t row) {
    if (row < m.x_n1) {
        return m.x + row * m.x_stride;
    }
    const int64_t outer = row / m.x_n1;
    return m.x + row % m.x_n1 * m.x_stride + outer % m.x_n2 * m.x_stride2 + outer / m.x_n2 * m.x_stride3;
}

// Bytes of shared scratch that matmul() needs.
size_t matmul_scratch(Isa isa, const MatMul & m, int n_threads);

// Every thread of the team calls this, after x is complete. y is complete after the caller's next barrier.
void matmul(Isa isa, const MatMul & m, const ThreadTeam & team);

// Returns the weights that thread `ith` reads first in a product of few rows, so that an idle thread can prefetch them. NULL if
// the product shares its weights out only when it runs.
const void * matmul_first_weights(Isa isa, const MatMul & m, int ith, int n_threads);

// The number of rows from which on the AMX product is used instead of the int8 product. Measured by calibrate().
void set_amx_min_rows(int64_t n_rows);
int64_t amx_min_rows();

} // namespace lc::kernels
