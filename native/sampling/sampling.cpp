// Sampling: our own draw for what it can do; llama.cpp's samplers, chained in the order of its own tools, for the rest.
#include "sampling/fast_sampler.h"
#include "shim/error.h"
#include "sampling/logprobs.h"
#include "sampling/logit_simd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

using lc::sampler_ptr;

constexpr size_t MIN_KEEP = 1;

int64_t argmax(const llama_token_data_array & candidates) {
    int64_t best = -1;
    float   max  = -std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < candidates.size; i++) {
        if (candidates.data[i].logit > max) {
            max  = candidates.data[i].logit;
            best = static_cast<int64_t>(i);
        }
    }
    return best;
}

// This thread's candidate array, filled from `logits`. It stays allocated from one token to the next. Tokens that are excluded
// already stay out: some of llama.cpp's samplers (typical) make NaN of them.
llama_token_data_array fill_candidates(const float * logits, size_t n) {
    static thread_local std::vector<llama_token_data> buffer;
    buffer.resize(n);
    bool   is_nan = false;
    size_t size   = 0;
    for (size_t i = 0; i < n; i++) {
        buffer[size] = { static_cast<llama_token>(i), logits[i], 0.0f };
        size += logits[i] != -std::numeric_limits<float>::infinity() ? 1 : 0;
        is_nan |= std::isnan(logits[i]);
    }
    if (is_nan) {
        throw lc::bad_logits("the model's logits contain NaN");
    }
    if (size == 0) {
        throw lc::no_choice();
    }
    return { buffer.data(), size, -1, false };
}

void require_finite(float value, const char * name) {
    if (!std::isfinite(value)) {
        throw lc::invalid_argument(std::string(name) + ": must be a finite number");
    }
}

void validate(const lc_sampling_params & p, int32_t n_vocab) {
    require_finite(p.temperature, "temperature");
    require_finite(p.dynatemp_range, "dynatemp_range");
    require_finite(p.dynatemp_exponent, "dynatemp_exponent");
    require_finite(p.top_p, "top_p");
    require_finite(p.min_p, "min_p");
    require_finite(p.typical_p, "typical_p");
    require_finite(p.top_n_sigma, "top_n_sigma");
    require_finite(p.xtc_probability, "xtc_probability");
    require_finite(p.xtc_threshold, "xtc_threshold");
    require_finite(p.repeat_penalty, "repeat_penalty");
    require_finite(p.frequency_penalty, "frequency_penalty");
    require_finite(p.presence_penalty, "presence_penalty");
    require_finite(p.dry_multiplier, "dry_multiplier");
    require_finite(p.dry_base, "dry_base");
    require_finite(p.mirostat_tau, "mirostat_tau");
    require_finite(p.mirostat_eta, "mirostat_eta");
    lc::require(p.repeat_penalty > 0 && std::isfinite(1 / p.repeat_penalty), "repeat_penalty: must be greater than 0");
    lc::require(p.repeat_last_n >= -1, "repeat_last_n: must be -1 (all) or more");
    lc::require(p.dry_penalty_last_n >= -1, "dry_penalty_last_n: must be -1 (all) or more");
    lc::require(p.dry_allowed_length >= 0, "dry_allowed_length: must not be negative");
    lc::require(p.dry_multiplier == 0 || p.dry_base >= 1, "dry_base: must be at least 1");
    lc::require(p.mirostat >= 0 && p.mirostat <= 2, "mirostat: must be 0, 1 or 2");

    const bool looks_back = p.repeat_penalty != 1 || p.frequency_penalty != 0 || p.presence_penalty != 0 || p.dry_multiplier != 0;
    lc::require(!looks_back || p.n_ctx > 0, "n_ctx: must be positive where a penalty looks back");

    lc::require(p.n_dry_breakers >= 0, "n_dry_breakers: must not be negative");
    lc::require(p.n_dry_breakers == 0 || p.dry_breakers != nullptr, "dry_breakers: must not be NULL");
    for (int32_t i = 0; i < p.n_dry_breakers; i++) {
        lc::require(p.dry_breakers[i] != nullptr, "dry_breakers: no entry may be NULL");
    }
    lc::require(p.n_logit_bias >= 0, "n_logit_bias: must not be negative");
    lc::require(p.n_logit_bias == 0 || p.logit_bias != nullptr, "logit_bias: must not be NULL");
    for (int32_t i = 0; i < p.n_logit_bias; i++) {
        const llama_logit_bias & entry = p.logit_bias[i];
        if (entry.token < 0 || entry.token >= n_vocab) {
            throw lc::invalid_argument("logit_bias: token " + std::to_string(entry.token) + " is not in the vocabulary (0 to " +
                                       std::to_string(n_vocab - 1) + ")");
        }
        // Minus infinity forbids a token; plus infinity would make the probabilities NaN.
        lc::require(!std::isnan(entry.bias) && !(std::isinf(entry.bias) && entry.bias > 0),
                    "logit_bias: must be a number, and not plus infinity");
    }
}

// The caller's biases, and the tokens that the model's file says must never be produced (as llama.cpp's tools do).
std::vector<llama_logit_bias> all_biases(const llama_vocab * vocab, const lc_sampling_params & p) {
    std::vector<llama_logit_bias> biases(p.logit_bias, p.logit_bias + p.n_logit_bias);
    int32_t             n_suppressed = 0;
    const llama_token * suppressed   = llama_vocab_get_suppress_tokens(vocab, &n_suppressed);
    for (int32_t i = 0; i < n_suppressed; i++) {
        biases.push_back({ suppressed[i], -std::numeric_limits<float>::infinity() });
    }
    return biases;
}

bool is_draw_enough(const lc_sampling_params & p) {
    const bool is_dry       = p.dry_multiplier != 0 && p.dry_penalty_last_n != 0;
    const bool is_truncated = p.typical_p < 1 || p.top_n_sigma > 0 || p.xtc_probability > 0;
    return !is_dry && (p.temperature <= 0 || (p.mirostat == 0 && !is_truncated && p.dynatemp_range <= 0));
}

// llama.cpp's samplers.
class chain final : public lc_sampler {
  public:
    chain(const llama_vocab * vocab, const lc_sampling_params & p, const std::vector<llama_logit_bias> & biases, uint32_t seed)
        : lc_sampler(static_cast<size_t>(llama_vocab_n_tokens(vocab))), is_greedy(p.temperature <= 0) {
        llama_sampler_chain_params params = llama_sampler_chain_default_params();
        params.no_perf = true;
        all.reset(llama_sampler_chain_init(params));
        if (!biases.empty()) {
            add(llama_sampler_init_logit_bias(static_cast<int32_t>(n_vocab), static_cast<int32_t>(biases.size()), biases.data()));
        }
        add_penalties(vocab, p);
        if (is_greedy) {
            return;
        }
        if (p.mirostat != 0) {
            add_mirostat(p, seed);
        } else {
            add_truncation(p, seed);
        }
    }

    llama_token sample(const float * logits) override {
        llama_token_data_array candidates = fill_candidates(logits, n_vocab);
        llama_sampler_apply(all.get(), &candidates);
        const int64_t i = is_greedy ? argmax(candidates) : candidates.selected;
        if (i < 0 || static_cast<size_t>(i) >= candidates.size ||
            candidates.data[i].logit == -std::numeric_limits<float>::infinity()) {
            throw lc::no_choice();
        }
        return candidates.data[i].id;
    }

    void accept(llama_token token) override { llama_sampler_accept(all.get(), token); }

    void prime(const llama_token * tokens, size_t n_tokens) override {
        feed(repeat, repeat_last_n, tokens, n_tokens);
        feed(dry, dry_last_n, tokens, n_tokens);
    }

    void reset() override { llama_sampler_reset(all.get()); }

  private:
    const bool      is_greedy;  // the greatest logit after the chain, which then only biases and penalizes
    sampler_ptr     all;
    llama_sampler * repeat = nullptr;  // owned by the chain, like dry; NULL where off
    llama_sampler * dry    = nullptr;
    size_t          repeat_last_n = 0;
    size_t          dry_last_n    = 0;

    static void feed(llama_sampler * sampler, size_t last_n, const llama_token * tokens, size_t n_tokens) {
        if (sampler != nullptr) {
            for (size_t i = n_tokens - std::min(n_tokens, last_n); i < n_tokens; i++) {
                llama_sampler_accept(sampler, tokens[i]);
            }
        }
    }

    llama_sampler * add(llama_sampler * sampler) {
        if (sampler == nullptr) {
            throw std::bad_alloc();
        }
        llama_sampler_chain_add(all.get(), sampler);
        return sampler;
    }

    void add_penalties(const llama_vocab * vocab, const lc_sampling_params & p) {
        const auto n = static_cast<int32_t>(n_vocab);
        repeat_last_n = lc::n_look_back(p.repeat_last_n, p.n_ctx);
        dry_last_n    = lc::n_look_back(p.dry_penalty_last_n, p.n_ctx);
        if (p.repeat_penalty != 1 && repeat_last_n > 0) {
            repeat = add(llama_sampler_init_penalties(n, static_cast<int32_t>(repeat_last_n), p.repeat_penalty, 0, 0));
        }
        // OpenAI's penalties count the answer alone: a sampler of their own, which lc_sampler_prime() does not feed.
        if (p.frequency_penalty != 0 || p.presence_penalty != 0) {
            add(llama_sampler_init_penalties(n, p.n_ctx, 1, p.frequency_penalty, p.presence_penalty));
        }
        if (p.dry_multiplier != 0 && dry_last_n > 0) {
            std::vector<const char *> breakers(p.dry_breakers, p.dry_breakers + p.n_dry_breakers);
            dry = add(llama_sampler_init_dry(vocab, p.dry_multiplier, p.dry_base, p.dry_allowed_length,
                                             static_cast<int32_t>(dry_last_n), breakers.data(), breakers.size()));
        }
    }

    void add_truncation(const lc_sampling_params & p, uint32_t seed) {
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

    void add_mirostat(const lc_sampling_params & p, uint32_t seed) {
        add(llama_sampler_init_temp(p.temperature));
        if (p.mirostat == 1) {
            // 100: how many tokens estimate the exponent of Zipf's law, as in the paper and in llama.cpp.
            add(llama_sampler_init_mirostat(static_cast<int32_t>(n_vocab), seed, p.mirostat_tau, p.mirostat_eta, 100));
        } else {
            add(llama_sampler_init_mirostat_v2(seed, p.mirostat_tau, p.mirostat_eta));
        }
    }
};

lc_sampler * new_sampler(const llama_model * model, const lc_sampling_params & p) {
    const llama_vocab * vocab   = llama_model_get_vocab(model);
    const int32_t       n_vocab = llama_vocab_n_tokens(vocab);
    validate(p, n_vocab);
    std::vector<llama_logit_bias> biases = all_biases(vocab, p);
    // Resolved here, so that a reset repeats the draws of a random seed too.
    const uint32_t seed = p.seed != LLAMA_DEFAULT_SEED ? p.seed : std::random_device{}() & 0x7fffffff;
    if (is_draw_enough(p)) {
        return new lc::draw(static_cast<size_t>(n_vocab), p, std::move(biases), seed);
    }
    return new chain(vocab, p, biases, seed);
}

// Draws first and asks the grammar then: it nearly always agrees, and asking it for all tokens is dear.
llama_token sample_held(lc_sampler & sampler, const float * logits) {
    const llama_token token = sampler.sample(logits);
    if (sampler.grammar == nullptr || sampler.grammar->allows(token)) {
        return token;
    }
    std::vector<float> allowed(logits, logits + sampler.n_vocab);
    sampler.grammar->mask(allowed);
    return sampler.sample(allowed.data());
}

void accept_held(lc_sampler & sampler, llama_token token) {
    sampler.accept(token);
    if (sampler.grammar != nullptr) {
        sampler.grammar->accept(token);
    }
}

void check_extras(const lc_sample_extras * extras, size_t n, size_t n_vocab) {
    if (extras == nullptr || n == 0) {
        return;
    }
    lc::require(extras->masks == nullptr || extras->n_mask_words == (n_vocab + 31) / 32, "n_mask_words: not the vocabulary's");
    if (extras->n_top == nullptr) {
        return;
    }
    lc::require(extras->tokens != nullptr && extras->logprobs != nullptr, "tokens, logprobs: must not be NULL");
    lc::require(extras->stride > 0, "stride: must be positive");
    for (size_t i = 0; i < n; i++) {
        lc::require(extras->n_top[i] < extras->stride, "n_top: must be smaller than stride");
    }
}

// This thread's copy of a row's logits, without those of tokens that the mask excludes.
const float * masked(const float * logits, size_t n, const uint32_t * mask) {
    static thread_local std::vector<float> buffer;
    buffer.resize(n);
    lc::copy_masked(logits, n, mask, buffer.data());
    return buffer.data();
}

// Row i of a call of lc_sample().
void sample_row(lc_sampler & sampler, const float * logits, const lc_sample_extras * extras, size_t i, llama_token * out) {
    const uint32_t * mask = extras != nullptr && extras->masks != nullptr ? extras->masks[i] : nullptr;
    // That a constraint, or a request's odd parameters, leave nothing is its own failure, and so are numbers that ran over while
    // its tokens were computed: the other rows have their tokens all the same.
    try {
        out[i] = sample_held(sampler, mask == nullptr ? logits : masked(logits, sampler.n_vocab, mask));
        if (extras != nullptr && extras->n_top != nullptr && extras->n_top[i] >= 0) {
            const auto at = i * static_cast<size_t>(extras->stride);
            lc::logprobs(logits, sampler.n_vocab, out[i], static_cast<size_t>(extras->n_top[i]), extras->tokens + at,
                         extras->logprobs + at);
        }
    } catch (const lc::no_choice &) {
        out[i] = LLAMA_TOKEN_NULL;
        return;
    } catch (const lc::bad_logits &) {
        out[i] = LC_TOKEN_BAD_LOGITS;
        return;
    } catch (const lc::grammar_spent &) {
        out[i] = LC_TOKEN_GRAMMAR_LIMIT;
        return;
    }
    accept_held(sampler, out[i]);
}

} // namespace

lc_sampler * lc_sampler_new(const llama_model * model, const lc_sampling_params * params) {
    return lc::guard_new([&] {
        lc::require(model != nullptr, "model: must not be NULL");
        lc::require(params != nullptr, "params: must not be NULL");
        return new_sampler(model, *params);
    });
}

void lc_sampler_free(lc_sampler * sampler) {
    delete sampler;
}

lc_status lc_sampler_reset(lc_sampler * sampler) {
    return lc::guard([&] {
        lc::require(sampler != nullptr, "sampler: must not be NULL");
        sampler->reset();
        if (sampler->grammar != nullptr) {
            sampler->grammar->reset();
        }
    });
}

lc_status lc_sampler_set_grammar(lc_sampler * sampler, const llama_model * model, const char * grammar) {
    return lc::guard([&] {
        lc::require(sampler != nullptr, "sampler: must not be NULL");
        lc::require(model != nullptr, "model: must not be NULL");
        lc::require(grammar != nullptr, "grammar: must not be NULL");
        sampler->grammar = std::make_unique<lc::grammar>(llama_model_get_vocab(model), grammar);
    });
}

lc_status lc_sampler_prime(lc_sampler * sampler, const llama_token * tokens, size_t n_tokens) {
    return lc::guard([&] {
        lc::require(sampler != nullptr, "sampler: must not be NULL");
        lc::require(tokens != nullptr || n_tokens == 0, "tokens: must not be NULL");
        sampler->prime(tokens, n_tokens);
    });
}

lc_status lc_sampler_accept(lc_sampler * sampler, const llama_token * tokens, size_t n_tokens) {
    return lc::guard([&] {
        lc::require(sampler != nullptr, "sampler: must not be NULL");
        lc::require(tokens != nullptr || n_tokens == 0, "tokens: must not be NULL");
        for (size_t i = 0; i < n_tokens; i++) {
            accept_held(*sampler, tokens[i]);
        }
    });
}

lc_status lc_sample(llama_context * ctx, size_t n, lc_sampler * const * samplers, const int32_t * rows,
                    const lc_sample_extras * extras, llama_token * out) {
    return lc::guard([&] {
        lc::require(ctx != nullptr, "ctx: must not be NULL");
        lc::require(n == 0 || (samplers != nullptr && rows != nullptr && out != nullptr), "samplers, rows, out: must not be NULL");
        const llama_vocab * vocab   = llama_model_get_vocab(llama_get_model(ctx));
        const auto          n_vocab = static_cast<size_t>(llama_vocab_n_tokens(vocab));
        for (size_t i = 0; i < n; i++) {
            lc::require(samplers[i] != nullptr, "samplers: no entry may be NULL");
            lc::require(samplers[i]->n_vocab == n_vocab, "samplers: made for another model");
        }
        check_extras(extras, n, n_vocab);
        for (size_t i = 0; i < n; i++) {
            const float * logits = llama_get_logits_ith(ctx, rows[i]);
            if (logits == nullptr) {
                throw lc::invalid_argument("rows: the last decode has no logits for row " + std::to_string(rows[i]));
            }
            sample_row(*samplers[i], logits, extras, i, out);
        }
    });
}

lc_status lc_sample_logits(lc_sampler * sampler, const float * logits, size_t n_vocab, llama_token * out) {
    return lc::guard([&] {
        lc::require(sampler != nullptr, "sampler: must not be NULL");
        lc::require(logits != nullptr, "logits: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        lc::require(n_vocab == sampler->n_vocab, "n_vocab: is not the model's");
        *out = sample_held(*sampler, logits);
        accept_held(*sampler, *out);
    });
}
