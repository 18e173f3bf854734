// The bf16 product with AMX, for many rows. Called like the functions of matmul.h.
#pragma once

#include "kernels/matmul/matmul.h"

namespace lc::kernels {

size_t bf16_gemm_scratch(const MatMul & m, int n_threads);

void bf16_gemm_amx(const MatMul & m, const ThreadTeam & team);

} // namespace lc::kernels
