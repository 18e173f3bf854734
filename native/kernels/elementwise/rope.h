// GGML_OP_ROPE: the cosines and sines of a step are the same for all layers, so they are computed once for each graph.
#pragma once

#include "kernels/elementwise/row_ops.h"

#include "ggml.h"

namespace lc::kernels {

// Source: Su et al., RoFormer (arXiv 2104.09864); long contexts by Peng et al., YaRN (arXiv 2309.00071), in ggml's
// parametrization.
struct Rope {
    explicit Rope(const ggml_tensor * node);

    bool same_angles(const Rope & other) const;

    int64_t table_floats() const { return n_tokens * n_dims; }

    // cos, sin of each pair for one token, times the magnitude.
    void fill(int64_t token, float * cos_sin) const;

    // Turns all heads of one token (of one stream). `cos_sin` is the token's row of the table.
    void turn(const ggml_tensor * node, int64_t token, const float * cos_sin, const RowOps & ops) const;

    const int32_t * positions;
    const float *   freq_factors;  // NULL: all 1
    int64_t n_tokens;
    int32_t n_dims;
    int32_t mode;
    int32_t n_ctx_orig;
    float   freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow;
};

bool rope_supported(const ggml_tensor * node);

} // namespace lc::kernels
