// What lc_sample() and its kin need of a sampler, of whichever kind.
#pragma once

#include "sampling/grammar.h"
#include "shim/llmcore.h"

#include <memory>

struct lc_sampler {
    const size_t                 n_vocab;
    std::unique_ptr<lc::grammar> grammar;  // what the answer is held to, or NULL

    explicit lc_sampler(size_t n_vocab) : n_vocab(n_vocab) {}
    lc_sampler(const lc_sampler &)             = delete;
    lc_sampler & operator=(const lc_sampler &) = delete;
    virtual ~lc_sampler()                      = default;

    // Draws from n_vocab logits, which stay as they are. Throws if they contain NaN, or exclude every token.
    virtual llama_token sample(const float * logits) = 0;
    // Takes note of the token that follows.
    virtual void accept(llama_token token) = 0;
    // Shows the prompt to what looks back at it.
    virtual void prime(const llama_token * tokens, size_t n_tokens) = 0;
    virtual void reset()                                            = 0;
};
