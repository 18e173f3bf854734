// Parameters of ggml's operations, which lie in an array of int32_t whatever their type.
#pragma once

#include "ggml.h"

#include <cstring>

namespace lc::kernels {

inline float float_param(const ggml_tensor * node, int index) {
    float value;
    std::memcpy(&value, node->op_params + index, sizeof(value));
    return value;
}

} // namespace lc::kernels
