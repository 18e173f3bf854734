// A row of logits, cut down to the tokens that may be sampled.
//
// Tokens are ordered by falling logit, equal ones by rising id. Each truncation (top-k, top-p, min-p) keeps the first tokens of
// that order, so one floor describes what is kept, and only the few tokens near the new floor are sorted to raise it.
#pragma once

#include "llama.h"

#include <cstddef>
#include <limits>
#include <vector>

namespace lc {

// Buffers that cuts use one after the other, so that they need not allocate.
struct LogitCutBuffers {
    std::vector<float>       block_max;        // greatest logit of each block
    std::vector<float>       weights;          // weight of each token; undefined in blocks that were skipped
    std::vector<float>       block_max_weight; // greatest weight of each block
    std::vector<float>       block_sums;       // sum of the weights of each block
    std::vector<llama_token> near_floor;       // tokens near the new floor
};

class LogitCut {
public:
    // `logits` and `buffers` must outlive the cut, and only one cut at a time may use the buffers. Throws BadLogits if a logit is
    // NaN, NoTokenLeft if all are minus infinity.
    LogitCut(const float * logits, size_t n, LogitCutBuffers & buffers);

    // Returns the first token of the order.
    llama_token best() const;

    // Each truncation keeps one token or more. Throws BadLogits if the greatest logit is infinite.
    void keep_top_k(size_t k);
    // Keeps the fewest tokens that together have at least `p` of the probability of those that are left.
    void keep_top_p(float p);
    // Keeps the tokens that have at least `p` times the probability of the best one.
    void keep_min_p(float p);

    // Samples from the kept tokens at `temperature` (> 0). `uniform` is a random number in [0, 1).
    llama_token sample(float temperature, double uniform);

private:
    class KeptWeights;
    class FloorSearch;

    const float * const logits_;
    const size_t        n_;
    LogitCutBuffers &   buffers_;
    float               top_; // greatest logit

    // Kept are the tokens with a logit above the floor, and of those with a logit equal to it the ones with an id below tie_end.
    float  floor_   = -std::numeric_limits<float>::infinity();
    size_t tie_end_ = std::numeric_limits<size_t>::max();

    void require_finite_top() const;
};

} // namespace lc
