#include "kernels/elementwise/rope.h"

#include "kernels/elementwise/op_params.h"

#include <cmath>
#include <cstring>

namespace lc::kernels {

Rope::Rope(const ggml_tensor * node)
    : positions(static_cast<const int32_t *>(node->src[1]->data)),
      freq_factors(node->src[2] != nullptr ? static_cast<const float *>(node->src[2]->data) : nullptr), n_tokens(node->ne[2]),
      n_dims(node->op_params[1]), mode(node->op_params[2]), n_ctx_orig(node->op_params[4]), freq_base(float_param(node, 5)),
      freq_scale(float_param(node, 6)), ext_factor(float_param(node, 7)), attn_factor(float_param(node, 8)),
      beta_fast(float_param(node, 9)), beta_slow(float_param(node, 10)) {}

bool Rope::has_same_angles(const Rope & other) const {
    return positions == other.positions && freq_factors == other.freq_factors && n_tokens == other.n_tokens &&
        n_dims == other.n_dims && n_ctx_orig == other.n_ctx_orig && freq_base == other.freq_base &&
        freq_scale == other.freq_scale && ext_factor == other.ext_factor && attn_factor == other.attn_factor &&
        beta_fast == other.beta_fast && beta_slow == other.beta_slow;
}

void Rope::fill_table_row(int64_t token, float * cos_sin) const {
    const double pi       = 3.14159265358979323846;
    const double log_base = std::log(static_cast<double>(freq_base));
    // YaRN: the dimensions between which angles change from extrapolated to interpolated.
    const auto   dimension = [&](double beta) { return n_dims * std::log(n_ctx_orig / (beta * 2 * pi)) / (2 * log_base); };
    const bool   is_yarn   = ext_factor != 0.0f;
    const double low       = is_yarn ? std::fmax(0.0, std::floor(dimension(beta_fast))) : 0.0;
    const double high      = is_yarn ? std::fmin(n_dims - 1, std::ceil(dimension(beta_slow))) : 0.0;
    const double magnitude = attn_factor * (is_yarn ? 1.0 + 0.1 * std::log(1.0 / freq_scale) : 1.0);
    for (int pair = 0; pair < n_dims / 2; pair++) {
        const double factor  = freq_factors != nullptr ? freq_factors[pair] : 1.0;
        const double outside = positions[token] * std::exp(-2.0 * pair / n_dims * log_base) / factor;
        double       angle   = freq_scale * outside;
        if (is_yarn) {
            const double ramp = (pair - low) / std::fmax(0.001, high - low);
            const double mix  = (1.0 - std::fmin(1.0, std::fmax(0.0, ramp))) * ext_factor;
            angle             = angle * (1.0 - mix) + outside * mix;
        }
        cos_sin[2 * pair]     = static_cast<float>(std::cos(angle) * magnitude);
        cos_sin[2 * pair + 1] = static_cast<float>(std::sin(angle) * magnitude);
    }
}

void Rope::rotate(const ggml_tensor * node, int64_t token, const float * cos_sin, const RowOps & ops) const {
    const ggml_tensor * x   = node->src[0];
    const char *        in  = static_cast<const char *>(x->data) + token * x->nb[2];
    char *              out = static_cast<char *>(node->data) + token * node->nb[2];
    for (int64_t head = 0; head < node->ne[1]; head++) {
        const auto * from = reinterpret_cast<const float *>(in + head * x->nb[1]);
        auto *       to   = reinterpret_cast<float *>(out + head * node->nb[1]);
        (mode == GGML_ROPE_TYPE_NEOX ? ops.rope_neox : ops.rope)(n_dims, cos_sin, from, to);
        if (to != from) {
            memcpy(to + n_dims, from + n_dims, (node->ne[0] - n_dims) * sizeof(float));
        }
    }
}

bool rope_supported(const ggml_tensor * node) {
    const ggml_tensor * x    = node->src[0];
    const int32_t       mode = node->op_params[2];
    return x->type == GGML_TYPE_F32 && node->type == GGML_TYPE_F32 && node->src[1]->type == GGML_TYPE_I32 &&
        (mode == GGML_ROPE_TYPE_NORMAL || mode == GGML_ROPE_TYPE_NEOX) && node->ne[3] == 1 && node->op_params[15] == 0 &&
        x->nb[0] == sizeof(float) && node->nb[0] == sizeof(float) &&
        (node->src[2] == nullptr || node->src[2]->type == GGML_TYPE_F32);
}

} // namespace lc::kernels
