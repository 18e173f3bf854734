// One row of logits, narrowed down to the tokens that a draw may give. Every truncation here (top-k, top-p, min-p) keeps the
// first tokens of one order: by falling logit, equal ones by rising id. So a floor in that order tells all that they leave,
// and raising it sorts nothing but the few tokens around it.
#pragma once

#include "llama.h"

#include <cstddef>
#include <limits>
#include <vector>

namespace lc {

// Memory that rows use one after the other, so that each need not allocate its own.
struct row_memory {
    std::vector<float>       peaks;         // greatest logit of each block
    std::vector<float>       weights;       // of each token; those of blocks that were passed over are stale
    std::vector<float>       weight_peaks;  // greatest weight of each block
    std::vector<float>       sums;          // of each block's weights
    std::vector<llama_token> near;          // tokens around the floor
};

class row {
  public:
    // `logits` and `memory` must outlive it, and only one row at a time uses a memory. Throws if a logit is NaN, or none is
    // above minus infinity.
    row(const float * logits, size_t n, row_memory & memory);

    // The first token of the order.
    llama_token best() const;

    void keep_top_k(size_t k);
    // As few as have `p` of the probability of those left; at least one.
    void keep_top_p(float p);
    // Those that have `p` of the best one's probability, or more.
    void keep_min_p(float p);

    // Draws by the probabilities at `temperature` (> 0). `chance` is uniform in [0, 1).
    llama_token pick(float temperature, double chance);

  private:
    class cut;
    class search;

    const float * const logits;
    const size_t        n;
    row_memory &        memory;
    float               top;  // greatest logit

    // Kept are the logits above the floor, and those equal to it of tokens before tie_end.
    float  floor   = -std::numeric_limits<float>::infinity();
    size_t tie_end = std::numeric_limits<size_t>::max();

    void require_finite_top() const;
};

} // namespace lc
