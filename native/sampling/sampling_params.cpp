#include "sampling/sampling_params.h"

#include "shim/error.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

namespace lc {

namespace {

void check_finite(const lc_sampling_params & p) {
    const std::pair<const char *, float> values[] = {
        {"temperature", p.temperature},
        {"dynatemp_range", p.dynatemp_range},
        {"dynatemp_exponent", p.dynatemp_exponent},
        {"top_p", p.top_p},
        {"min_p", p.min_p},
        {"typical_p", p.typical_p},
        {"top_n_sigma", p.top_n_sigma},
        {"xtc_probability", p.xtc_probability},
        {"xtc_threshold", p.xtc_threshold},
        {"repeat_penalty", p.repeat_penalty},
        {"frequency_penalty", p.frequency_penalty},
        {"presence_penalty", p.presence_penalty},
        {"dry_multiplier", p.dry_multiplier},
        {"dry_base", p.dry_base},
        {"mirostat_tau", p.mirostat_tau},
        {"mirostat_eta", p.mirostat_eta},
    };
    for (const auto & [name, value] : values) {
        if (!std::isfinite(value)) {
            throw InvalidArgument(std::string(name) + ": must be a finite number");
        }
    }
}

void check_ranges(const lc_sampling_params & p) {
    require(p.repeat_penalty > 0 && std::isfinite(1 / p.repeat_penalty), "repeat_penalty: must be greater than 0");
    require(p.repeat_last_n >= -1, "repeat_last_n: must be -1 (all) or more");
    require(p.dry_penalty_last_n >= -1, "dry_penalty_last_n: must be -1 (all) or more");
    require(p.dry_allowed_length >= 0, "dry_allowed_length: must not be negative");
    require(p.dry_multiplier == 0 || p.dry_base >= 1, "dry_base: must be at least 1");
    require(p.mirostat >= 0 && p.mirostat <= 2, "mirostat: must be 0, 1 or 2");

    const bool has_history = p.repeat_penalty != 1 || p.frequency_penalty != 0 || p.presence_penalty != 0 || p.dry_multiplier != 0;
    require(!has_history || p.n_ctx > 0, "n_ctx: must be positive where a penalty looks back");
}

void check_lists(const lc_sampling_params & p, int32_t n_vocab) {
    require(p.n_dry_breakers >= 0, "n_dry_breakers: must not be negative");
    require(p.n_dry_breakers == 0 || p.dry_breakers != nullptr, "dry_breakers: must not be NULL");
    for (int32_t i = 0; i < p.n_dry_breakers; i++) {
        require(p.dry_breakers[i] != nullptr, "dry_breakers: no entry may be NULL");
    }
    require(p.n_logit_bias >= 0, "n_logit_bias: must not be negative");
    require(p.n_logit_bias == 0 || p.logit_bias != nullptr, "logit_bias: must not be NULL");
    for (int32_t i = 0; i < p.n_logit_bias; i++) {
        const llama_logit_bias & entry = p.logit_bias[i];
        if (entry.token < 0 || entry.token >= n_vocab) {
            throw InvalidArgument("logit_bias: token " + std::to_string(entry.token) + " is not in the vocabulary (0 to " +
                                  std::to_string(n_vocab - 1) + ")");
        }
        // Minus infinity forbids a token; plus infinity would make the probabilities NaN.
        require(!std::isnan(entry.bias) && !(std::isinf(entry.bias) && entry.bias > 0),
                "logit_bias: must be a number, and not plus infinity");
    }
}

} // namespace

void check_sampling_params(const lc_sampling_params & p, int32_t n_vocab) {
    check_finite(p);
    check_ranges(p);
    check_lists(p, n_vocab);
}

std::vector<llama_logit_bias> collect_biases(const llama_vocab * vocab, const lc_sampling_params & p) {
    std::vector<llama_logit_bias> biases(p.logit_bias, p.logit_bias + p.n_logit_bias);
    int32_t                       n_suppressed = 0;
    const llama_token *           suppressed   = llama_vocab_get_suppress_tokens(vocab, &n_suppressed);
    for (int32_t i = 0; i < n_suppressed; i++) {
        biases.push_back({suppressed[i], -std::numeric_limits<float>::infinity()});
    }
    return biases;
}

bool can_sample_fast(const lc_sampling_params & p) {
    const bool has_dry        = p.dry_multiplier != 0 && p.dry_penalty_last_n != 0;
    const bool has_truncation = p.typical_p < 1 || p.top_n_sigma > 0 || p.xtc_probability > 0;
    return !has_dry && (p.temperature <= 0 || (p.mirostat == 0 && !has_truncation && p.dynatemp_range <= 0));
}

} // namespace lc
