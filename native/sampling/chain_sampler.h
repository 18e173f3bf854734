// llama.cpp's samplers, chained in the order of its own tools: for all parameters.
#pragma once

#include "sampling/sampler.h"

#include "llama.h"

#include <memory>
#include <vector>

namespace lc {

struct SamplerDeleter {
    void operator()(llama_sampler * sampler) const { llama_sampler_free(sampler); }
};

using SamplerPtr = std::unique_ptr<llama_sampler, SamplerDeleter>;

class ChainSampler final : public lc_sampler {
public:
    ChainSampler(const llama_vocab * vocab, const lc_sampling_params & params, const std::vector<llama_logit_bias> & biases,
                 uint32_t seed);

    llama_token sample(const float * logits) override;
    void accept(llama_token token) override;
    void prime(const llama_token * tokens, size_t n_tokens) override;
    void reset() override;

private:
    const bool      is_greedy_; // takes the greatest logit after the chain, which then has only biases and penalties
    SamplerPtr      chain_;
    llama_sampler * repeat_        = nullptr; // in the chain, which owns it; NULL if the penalty is off. Likewise dry_.
    llama_sampler * dry_           = nullptr;
    size_t          repeat_length_ = 0; // tokens of their histories
    size_t          dry_length_    = 0;

    llama_sampler * add(llama_sampler * sampler);
    void add_penalties(const llama_vocab * vocab, const lc_sampling_params & params);
    void add_truncation(const lc_sampling_params & params, uint32_t seed);
    void add_mirostat(const lc_sampling_params & params, uint32_t seed);
};

} // namespace lc
