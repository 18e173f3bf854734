// Log-probabilities of one row of logits, as the model gave them.
#pragma once

#include "llama.h"

#include <cstddef>

namespace lc {

// Writes `token` and its log-probability, then the `n_top` most probable tokens and theirs (equal ones by rising id), to
// `tokens` and `values`, which have room for 1 + n_top each. Where the vocabulary is smaller than that, the rest is
// LLAMA_TOKEN_NULL. Throws if a logit is NaN or plus infinity.
void logprobs(const float * logits, size_t n, llama_token token, size_t n_top, llama_token * tokens, float * values);

} // namespace lc
