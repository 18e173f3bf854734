#include "sampling/logprobs.h"

#include "sampling/logit_simd.h"
#include "sampling/sampling_errors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace lc {

namespace {

constexpr float INFINITE = std::numeric_limits<float>::infinity();

// Returns log(sum of exp(logit)). Each block is summed in float, the blocks in double.
double log_sum_exp(const float * logits, size_t n, float top, const std::vector<float> & block_max) {
    const WeightFunction weight(top, 1, -INFINITE);
    double               total = 0;
    for (size_t block = 0; block < block_max.size(); block++) {
        if (block_max[block] >= weight.least) {
            const size_t start = block * BLOCK;
            total += sum_weights(logits + start, std::min(BLOCK, n - start), weight);
        }
    }
    return top + std::log(total);
}

// Writes the tokens of the `n_top` greatest logits to `best`, in falling order: insertion into a short list. Blocks whose greatest
// logit would not enter the list are skipped.
void find_top(const float * logits, size_t n, const std::vector<float> & block_max, size_t n_top, llama_token * best) {
    size_t size = 0;
    for (size_t block = 0; block < block_max.size(); block++) {
        if (size == n_top && block_max[block] <= logits[best[size - 1]]) {
            continue;
        }
        const size_t end = std::min((block + 1) * BLOCK, n);
        for (size_t i = block * BLOCK; i < end; i++) {
            if (size == n_top && logits[i] <= logits[best[size - 1]]) {
                continue;
            }
            size_t at = size < n_top ? size++ : size - 1;
            for (; at > 0 && logits[best[at - 1]] < logits[i]; at--) {
                best[at] = best[at - 1];
            }
            best[at] = static_cast<llama_token>(i);
        }
    }
}

} // namespace

void write_logprobs(const float * logits, size_t n, llama_token token, size_t n_top, llama_token * tokens, float * values) {
    static thread_local std::vector<float> block_max;
    block_max.resize((n + BLOCK - 1) / BLOCK);
    const bool  has_no_nan = find_block_max(logits, n, block_max.data());
    const float top        = *std::max_element(block_max.begin(), block_max.end());
    if (!has_no_nan || std::isinf(top)) {
        throw BadLogits("the model's logits are not finite: they have no probabilities");
    }
    const double log_total = log_sum_exp(logits, n, top, block_max);
    std::fill(tokens, tokens + 1 + n_top, LLAMA_TOKEN_NULL);
    tokens[0] = token;
    if (n_top > 0) {
        find_top(logits, n, block_max, n_top, tokens + 1);
    }
    for (size_t i = 0; i <= n_top; i++) {
        values[i] = tokens[i] == LLAMA_TOKEN_NULL ? -INFINITE : static_cast<float>(logits[tokens[i]] - log_total);
    }
}

} // namespace lc
