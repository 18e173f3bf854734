// Which of ggml's products the kernels compute, and how one is told to them.
#pragma once

#include "kernels/matmul/matmul.h"

#include "ggml.h"

namespace lc::kernels {

// A product of packed weights (whole, or whole groups of their columns), with rows of f32 that may lie anyhow.
bool product_supported(const ggml_tensor * op);

// The plain data of a supported product.
MatMul matmul_of(const ggml_tensor * node);

} // namespace lc::kernels
