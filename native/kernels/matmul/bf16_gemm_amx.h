// Matrix products of many rows with AMX: how matmul.cpp reaches bf16_gemm_amx.cpp. Same terms as matmul.h's functions.
#pragma once

#include "kernels/matmul/matmul.h"

namespace lc::kernels {

size_t gemm_amx_scratch(const MatMul & m, int n_threads);

void gemm_amx(const MatMul & m, const Team & team);

} // namespace lc::kernels
