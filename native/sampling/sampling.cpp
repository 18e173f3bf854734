// The sampling functions of the C ABI: making samplers, and sampling the rows of a step.
#include "sampling/chain_sampler.h"
#include "sampling/fast_sampler.h"
#include "sampling/logit_simd.h"
#include "sampling/logprobs.h"
#include "sampling/sampling_errors.h"
#include "sampling/sampling_params.h"
#include "shim/error.h"

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

lc_sampler * make_sampler(const llama_model * model, const lc_sampling_params & params) {
    const llama_vocab * vocab   = llama_model_get_vocab(model);
    const int32_t       n_vocab = llama_vocab_n_tokens(vocab);
    lc::check_sampling_params(params, n_vocab);
    std::vector<llama_logit_bias> biases = lc::collect_biases(vocab, params);
    // A random seed is chosen here and not by llama.cpp, so that reset() restores it.
    const uint32_t seed = params.seed != LLAMA_DEFAULT_SEED ? params.seed : std::random_device{}() & 0x7fffffff;
    if (lc::can_sample_fast(params)) {
        return new lc::FastSampler(static_cast<size_t>(n_vocab), params, std::move(biases), seed);
    }
    return new lc::ChainSampler(vocab, params, biases, seed);
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

// Returns a copy of the logits, in a buffer of this thread, without the tokens that the mask excludes.
const float * apply_mask(const float * logits, size_t n, const uint32_t * mask) {
    static thread_local std::vector<float> buffer;
    buffer.resize(n);
    lc::copy_masked(logits, n, mask, buffer.data());
    return buffer.data();
}

// Samples and accepts the token of row i. A row without a token gets the reason in `out`; it does not fail the call, so that the
// other rows keep their tokens.
void sample_row(lc_sampler & sampler, const float * logits, const lc_sample_extras * extras, size_t i, llama_token * out) {
    const uint32_t * mask = extras != nullptr && extras->masks != nullptr ? extras->masks[i] : nullptr;
    try {
        out[i] = sampler.sample(mask == nullptr ? logits : apply_mask(logits, sampler.n_vocab, mask));
        if (extras != nullptr && extras->n_top != nullptr && extras->n_top[i] >= 0) {
            const auto at = i * static_cast<size_t>(extras->stride);
            lc::write_logprobs(logits, sampler.n_vocab, out[i], static_cast<size_t>(extras->n_top[i]), extras->tokens + at,
                               extras->logprobs + at);
        }
    } catch (const lc::NoTokenLeft &) {
        out[i] = LLAMA_TOKEN_NULL;
        return;
    } catch (const lc::BadLogits &) {
        out[i] = LC_TOKEN_BAD_LOGITS;
        return;
    }
    sampler.accept(out[i]);
}

} // namespace

lc_sampler * lc_sampler_new(const llama_model * model, const lc_sampling_params * params) {
    return lc::guard_new([&] {
        lc::require(model != nullptr, "model: must not be NULL");
        lc::require(params != nullptr, "params: must not be NULL");
        return make_sampler(model, *params);
    });
}

void lc_sampler_free(lc_sampler * sampler) {
    delete sampler;
}

lc_status lc_sampler_reset(lc_sampler * sampler) {
    return lc::guard([&] {
        lc::require(sampler != nullptr, "sampler: must not be NULL");
        sampler->reset();
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
            sampler->accept(tokens[i]);
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
                throw lc::InvalidArgument("rows: the last decode has no logits for row " + std::to_string(rows[i]));
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
        *out = sampler->sample(logits);
        sampler->accept(*out);
    });
}
