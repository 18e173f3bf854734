#include "sampling/chain_sampler.h"

#include "sampling/sampling_errors.h"
#include "sampling/token_history.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>

namespace lc {

namespace {

constexpr size_t MIN_KEEP = 1;

constexpr float INFINITE = std::numeric_limits<float>::infinity();

int64_t argmax(const llama_token_data_array & candidates) {
    int64_t best = -1;
    float   max  = -INFINITE;
    for (size_t i = 0; i < candidates.size; i++) {
        if (candidates.data[i].logit > max) {
            max  = candidates.data[i].logit;
            best = static_cast<int64_t>(i);
        }
    }
    return best;
}

// Returns the candidates of a row, in a buffer of this thread that stays allocated. Excluded tokens are left out, because some of
// llama.cpp's samplers (typical) make NaN of them.
llama_token_data_array make_candidates(const float * logits, size_t n) {
    static thread_local std::vector<llama_token_data> buffer;
    buffer.resize(n);
    bool   has_nan = false;
    size_t size    = 0;
    for (size_t i = 0; i < n; i++) {
        buffer[size] = {static_cast<llama_token>(i), logits[i], 0.0f};
        size += logits[i] != -INFINITE ? 1 : 0;
        has_nan |= std::isnan(logits[i]);
    }
    if (has_nan) {
        throw BadLogits("the model's logits contain NaN");
    }
    if (size == 0) {
        throw NoTokenLeft();
    }
    return {buffer.data(), size, -1, false};
}

// Adds the last `n_max` of the tokens to the history of a penalty, if the penalty is on.
void add_history(llama_sampler * penalty, size_t n_max, const llama_token * tokens, size_t n_tokens) {
    if (penalty != nullptr) {
        for (size_t i = n_tokens - std::min(n_tokens, n_max); i < n_tokens; i++) {
            llama_sampler_accept(penalty, tokens[i]);
        }
    }
}

} // namespace

ChainSampler::ChainSampler(const llama_vocab * vocab, const lc_sampling_params & p, const std::vector<llama_logit_bias> & biases,
                           uint32_t seed)
    : lc_sampler(static_cast<size_t>(llama_vocab_n_tokens(vocab))), is_greedy_(p.temperature <= 0) {
    llama_sampler_chain_params params = llama_sampler_chain_default_params();
    params.no_perf                    = true;
    chain_.reset(llama_sampler_chain_init(params));
    if (!biases.empty()) {
        add(llama_sampler_init_logit_bias(static_cast<int32_t>(n_vocab), static_cast<int32_t>(biases.size()), biases.data()));
    }
    add_penalties(vocab, p);
    if (is_greedy_) {
        return;
    }
    if (p.mirostat != 0) {
        add_mirostat(p, seed);
    } else {
        add_truncation(p, seed);
    }
}

llama_token ChainSampler::sample(const float * logits) {
    llama_token_data_array candidates = make_candidates(logits, n_vocab);
    llama_sampler_apply(chain_.get(), &candidates);
    const int64_t i = is_greedy_ ? argmax(candidates) : candidates.selected;
    if (i < 0 || static_cast<size_t>(i) >= candidates.size || candidates.data[i].logit == -INFINITE) {
        throw NoTokenLeft();
    }
    return candidates.data[i].id;
}

void ChainSampler::accept(llama_token token) {
    llama_sampler_accept(chain_.get(), token);
}

void ChainSampler::prime(const llama_token * tokens, size_t n_tokens) {
    add_history(repeat_, repeat_length_, tokens, n_tokens);
    add_history(dry_, dry_length_, tokens, n_tokens);
}

void ChainSampler::reset() {
    llama_sampler_reset(chain_.get());
}

llama_sampler * ChainSampler::add(llama_sampler * sampler) {
    if (sampler == nullptr) {
        throw std::bad_alloc();
    }
    llama_sampler_chain_add(chain_.get(), sampler);
    return sampler;
}

void ChainSampler::add_penalties(const llama_vocab * vocab, const lc_sampling_params & p) {
    const auto n   = static_cast<int32_t>(n_vocab);
    repeat_length_ = history_length(p.repeat_last_n, p.n_ctx);
    dry_length_    = history_length(p.dry_penalty_last_n, p.n_ctx);
    if (p.repeat_penalty != 1 && repeat_length_ > 0) {
        repeat_ = add(llama_sampler_init_penalties(n, static_cast<int32_t>(repeat_length_), p.repeat_penalty, 0, 0));
    }
    // OpenAI's penalties count the answer only, so they are a sampler of their own, which prime() leaves out.
    if (p.frequency_penalty != 0 || p.presence_penalty != 0) {
        add(llama_sampler_init_penalties(n, p.n_ctx, 1, p.frequency_penalty, p.presence_penalty));
    }
    if (p.dry_multiplier != 0 && dry_length_ > 0) {
        std::vector<const char *> breakers(p.dry_breakers, p.dry_breakers + p.n_dry_breakers);
        dry_ = add(llama_sampler_init_dry(vocab, p.dry_multiplier, p.dry_base, p.dry_allowed_length,
                                          static_cast<int32_t>(dry_length_), breakers.data(), breakers.size()));
    }
}

void ChainSampler::add_truncation(const lc_sampling_params & p, uint32_t seed) {
    if (p.top_n_sigma > 0) {
        add(llama_sampler_init_top_n_sigma(p.top_n_sigma));
    }
    if (p.top_k > 0) {
        add(llama_sampler_init_top_k(p.top_k));
    }
    if (p.typical_p < 1) {
        add(llama_sampler_init_typical(p.typical_p, MIN_KEEP));
    }
    if (p.top_p < 1) {
        add(llama_sampler_init_top_p(p.top_p, MIN_KEEP));
    }
    if (p.min_p > 0) {
        add(llama_sampler_init_min_p(p.min_p, MIN_KEEP));
    }
    if (p.xtc_probability > 0) {
        add(llama_sampler_init_xtc(p.xtc_probability, p.xtc_threshold, MIN_KEEP, seed));
    }
    if (p.temperature != 1 || p.dynatemp_range > 0) {
        add(llama_sampler_init_temp_ext(p.temperature, p.dynatemp_range, p.dynatemp_exponent));
    }
    add(llama_sampler_init_dist(seed));
}

void ChainSampler::add_mirostat(const lc_sampling_params & p, uint32_t seed) {
    constexpr int32_t N_ZIPF_TOKENS = 100; // for the estimate of Zipf's exponent, as in the paper and in llama.cpp
    add(llama_sampler_init_temp(p.temperature));
    if (p.mirostat == 1) {
        add(llama_sampler_init_mirostat(static_cast<int32_t>(n_vocab), seed, p.mirostat_tau, p.mirostat_eta, N_ZIPF_TOKENS));
    } else {
        add(llama_sampler_init_mirostat_v2(seed, p.mirostat_tau, p.mirostat_eta));
    }
}

} // namespace lc
