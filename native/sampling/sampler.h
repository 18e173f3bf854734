// The interface of a sampler: FastSampler for most requests, ChainSampler for all others.
#pragma once

#include "shim/llmcore.h"

#include <cstddef>

struct lc_sampler {
    const size_t n_vocab;

    explicit lc_sampler(size_t n_vocab) : n_vocab(n_vocab) {}
    lc_sampler(const lc_sampler &)             = delete;
    lc_sampler & operator=(const lc_sampler &) = delete;
    virtual ~lc_sampler()                      = default;

    // Samples from n_vocab logits, which are not changed. Throws BadLogits or NoTokenLeft.
    virtual llama_token sample(const float * logits) = 0;
    // Adds a token of the answer to the penalties' histories.
    virtual void accept(llama_token token) = 0;
    // Adds tokens of the prompt to the histories of the penalties that count the prompt.
    virtual void prime(const llama_token * tokens, size_t n_tokens) = 0;
    // Restores the state of a new sampler with the same seed.
    virtual void reset() = 0;
};
