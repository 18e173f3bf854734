// Our own sampler for what most requests use: biases, repeat, frequency and presence penalties, top-k, top-p, min-p, temperature.
// Its probabilities are those of llama.cpp's chain of samplers, at a fraction of the cost.
#pragma once

#include "sampling/sampler.h"
#include "sampling/token_history.h"

#include <vector>

namespace lc {

class FastSampler final : public lc_sampler {
public:
    // Ignores the fields of `params` that the file comment does not name. `biases` are added one after the other.
    FastSampler(size_t n_vocab, const lc_sampling_params & params, std::vector<llama_logit_bias> biases, uint32_t seed);

    llama_token sample(const float * logits) override;
    void accept(llama_token token) override;
    void prime(const llama_token * tokens, size_t n_tokens) override;
    void reset() override;

private:
    const float temperature_;
    const int   top_k_;
    const float top_p_;
    const float min_p_;
    const float repeat_penalty_;
    const float frequency_penalty_;
    const float presence_penalty_;

    const std::vector<llama_logit_bias> biases_;
    const uint64_t                      seed_;

    // State that reset() restores.
    uint64_t     random_state_;
    TokenHistory prompt_and_answer_; // for the repeat penalty
    TokenHistory answer_;            // for frequency and presence penalty

    bool changes_logits() const;
    void apply_biases_and_penalties(float * logits) const;
    double next_uniform();
};

} // namespace lc
