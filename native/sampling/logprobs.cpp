#include "sampling/logprobs.h"

#include "shim/error.h"
#include "sampling/logit_simd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace lc {

namespace {

constexpr float INFINITE = std::numeric_limits<float>::infinity();

// The logarithm of the sum of exp(logit). Each block is summed in float, the blocks in double.
double log_sum(const float * logits, size_t n, float top, const std::vector<float> & peaks) {
    const weighing how(top, 1, -INFINITE);
    double         total = 0;
    for (size_t block = 0; block < peaks.size(); block++) {
        if (peaks[block] >= how.least) {
            const size_t start = block * BLOCK;
            total += sum_weights(logits + start, std::min(BLOCK, n - start), how);
        }
    }
    return top + std::log(total);
}

// The `n_top` tokens of the greatest logits, in their order: insertion into a short list, and only from blocks whose greatest
// logit would enter it.
void find_top(const float * logits, size_t n, const std::vector<float> & peaks, size_t n_top, llama_token * best) {
    size_t size = 0;
    for (size_t block = 0; block < peaks.size(); block++) {
        if (size == n_top && peaks[block] <= logits[best[size - 1]]) {
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

void logprobs(const float * logits, size_t n, llama_token token, size_t n_top, llama_token * tokens, float * values) {
    static thread_local std::vector<float> peaks;
    peaks.resize((n + BLOCK - 1) / BLOCK);
    const bool  is_sound = find_peaks(logits, n, peaks.data());
    const float top      = *std::max_element(peaks.begin(), peaks.end());
    if (!is_sound || std::isinf(top)) {
        throw bad_logits("the model's logits are not finite: they have no probabilities");
    }
    const double total = log_sum(logits, n, top, peaks);
    std::fill(tokens, tokens + 1 + n_top, LLAMA_TOKEN_NULL);
    tokens[0] = token;
    if (n_top > 0) {
        find_top(logits, n, peaks, n_top, tokens + 1);
    }
    for (size_t i = 0; i <= n_top; i++) {
        values[i] = tokens[i] == LLAMA_TOKEN_NULL ? -INFINITE : static_cast<float>(logits[tokens[i]] - total);
    }
}

} // namespace lc
