// GGML_OP_ROPE. The cosines and sines of a step are the same for all layers, so they are computed once for each graph.
#pragma once

#include "kernels/elementwise/row_ops.h"

#include "ggml.h"

namespace lc::kernels {

// The parameters of one ROPE node. Sources: Su et al., RoFormer (arXiv 2104.09864); for long contexts Peng et al., YaRN (arXiv
// 2309.00071), with ggml's parameters.
struct Rope {
    explicit Rope(const ggml_tensor * node);

    // True if both nodes have the same table of cosines and sines.
    bool has_same_angles(const Rope & other) const;

    int64_t table_floats() const { return n_tokens * n_dims; }

    // Computes one token's row of the table: cosine and sine of each pair, times the magnitude.
    void fill_table_row(int64_t token, float * cos_sin) const;

    // Rotates all heads of one token (of one stream). `cos_sin` is the token's row of the table.
    void rotate(const ggml_tensor * node, int64_t token, const float * cos_sin, const RowOps & ops) const;

    const int32_t * positions;
    const float *   freq_factors; // NULL: all are 1
    int64_t         n_tokens;
    int32_t         n_dims;
    int32_t         mode;
    int32_t         n_ctx_orig;
    float           freq_base, freq_scale, ext_factor, attn_factor, beta_fast, beta_slow;
};

bool rope_supported(const ggml_tensor * node);

} // namespace lc::kernels
