// ggml's MUL_MAT nodes: which of them the kernels compute, and their translation to MatMul.
#pragma once

#include "kernels/matmul/matmul.h"

#include "ggml.h"

namespace lc::kernels {

// True for a product of packed weights (all columns, or whole groups of them) with rows of f32 of any strides.
bool product_supported(const ggml_tensor * op);

// Describes a supported product to the kernels.
MatMul matmul_of(const ggml_tensor * node);

} // namespace lc::kernels
