// Checks lc_sampling_params, and derives the biases and the kind of sampler from them.
#pragma once

#include "shim/llmcore.h"

#include <vector>

namespace lc {

// Throws InvalidArgument for values that no sampler accepts.
void check_sampling_params(const lc_sampling_params & params, int32_t n_vocab);

// Returns the caller's biases, and minus infinity for the tokens that the model's file forbids (as llama.cpp's tools do).
std::vector<llama_logit_bias> collect_biases(const llama_vocab * vocab, const lc_sampling_params & params);

// True if FastSampler covers these parameters.
bool can_sample_fast(const lc_sampling_params & params);

} // namespace lc
