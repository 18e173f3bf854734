// Our own sampler, for what nearly all requests ask for: biases, repeat, frequency and presence penalties, top-k, top-p,
// min-p, temperature. It gives the probabilities that llama.cpp's chain gives, at a small part of its cost.
#pragma once

#include "sampling/token_history.h"
#include "sampling/logit_cut.h"
#include "sampling/sampler.h"

#include <vector>

namespace lc {

class draw final : public lc_sampler {
  public:
    // `biases` are added in turn; `seed` is the seed itself. See lc_sampling_params for the rest, of which only what the file
    // names above is looked at.
    draw(size_t n_vocab, const lc_sampling_params & params, std::vector<llama_logit_bias> biases, uint32_t seed);

    llama_token sample(const float * logits) override;
    void        accept(llama_token token) override;
    void        prime(const llama_token * tokens, size_t n_tokens) override;
    void        reset() override;

  private:
    const float temperature;
    const int   top_k;
    const float top_p;
    const float min_p;
    const float repeat_penalty;
    const float frequency_penalty;
    const float presence_penalty;

    const std::vector<llama_logit_bias> biases;
    const uint64_t                      seed;

    // State, which reset() restores.
    uint64_t  random;
    look_back repeated;  // in prompt and answer
    look_back answered;  // in the answer alone

    bool   changes_logits() const;
    void   change(float * logits) const;
    double chance();
};

} // namespace lc
