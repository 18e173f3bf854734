// Log-probabilities of a row of logits, as the model gave them.
#pragma once

#include "llama.h"

#include <cstddef>

namespace lc {

// Writes `token` with its log-probability, then the `n_top` most probable tokens with theirs (equal ones by rising id), to `tokens`
// and `values`, which have room for 1 + n_top each. If the vocabulary has fewer tokens, the rest of `tokens` is LLAMA_TOKEN_NULL.
// Throws BadLogits.
void write_logprobs(const float * logits, size_t n, llama_token token, size_t n_top, llama_token * tokens, float * values);

} // namespace lc
