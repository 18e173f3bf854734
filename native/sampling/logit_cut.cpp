#include "sampling/logit_cut.h"

#include "sampling/logit_simd.h"
#include "sampling/sampling_errors.h"

#include <algorithm>
#include <cmath>

namespace lc {

namespace {

constexpr float INFINITE = std::numeric_limits<float>::infinity();
constexpr float LOWEST   = std::numeric_limits<float>::lowest();
constexpr float TINY     = std::numeric_limits<float>::min(); // every weight but 0 is at least this

// Sorting this few tokens is faster than one more bisection, which reads every block that may hold one of them.
constexpr size_t N_SORTED = 256;

// Normal logits need far fewer bisections until N_SORTED tokens are left. After these, all that are left are sorted.
constexpr int MAX_BISECTIONS = 40;

// Calls visit(block, start, end) for each block whose maximum is at least `least`.
template <typename Visit> void each_block(const std::vector<float> & block_max, size_t n, float least, Visit && visit) {
    for (size_t block = 0; block < block_max.size(); block++) {
        if (block_max[block] >= least) {
            const size_t start = block * BLOCK;
            visit(block, start, std::min(start + BLOCK, n));
        }
    }
}

// Returns the first index at which the running sum of `weights` exceeds `target`, and subtracts the sum before it from `target`.
// If rounding keeps the sum below the target, returns the last index with a weight above 0.
size_t find_in_cumulative_sum(const float * weights, size_t n, double & target) {
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (weights[i] > 0) {
            if (target < weights[i]) {
                return i;
            }
            target -= weights[i];
            last = i;
        }
    }
    return last;
}

} // namespace

// Weights of a row at a temperature; 0 for tokens that are not kept.
class LogitCut::KeptWeights {
public:
    KeptWeights(const LogitCut & cut, float temperature)
        : cut_(cut), at_floor_(cut.top_, temperature, cut.floor_),
          above_floor_(cut.top_, temperature, std::nextafter(cut.floor_, INFINITE)) {}

    // Returns the sum of the weights of the tokens in [start, end), which lie in one block.
    float sum(size_t start, size_t end) const {
        return sum_by_tie(start, end, [&](size_t from, size_t to, const WeightFunction & function) {
            return sum_weights(cut_.logits_ + from, to - from, function);
        });
    }

    // The same, and writes the weights: that of token `start` to weights[0].
    float store(size_t start, size_t end, float * weights) const {
        return sum_by_tie(start, end, [&](size_t from, size_t to, const WeightFunction & function) {
            return store_weights(cut_.logits_ + from, to - from, function, weights + (from - start));
        });
    }

    // Writes the weights of any logits, those equal to the floor included.
    void store(const std::vector<float> & logits, std::vector<float> & weights) const {
        weights.resize(logits.size());
        for (size_t start = 0; start < logits.size(); start += BLOCK) {
            const size_t size = std::min(BLOCK, logits.size() - start);
            store_weights(logits.data() + start, size, at_floor_, weights.data() + start);
        }
    }

private:
    const LogitCut &     cut_;
    const WeightFunction at_floor_;    // for tokens before tie_end
    const WeightFunction above_floor_; // for tokens from tie_end on

    template <typename Sum> float sum_by_tie(size_t start, size_t end, Sum && sum) const {
        const size_t middle = std::min(std::max(cut_.tie_end_, start), end);
        const float  first  = middle > start ? sum(start, middle, at_floor_) : 0;
        return end > middle ? first + sum(middle, end, above_floor_) : first;
    }
};

// Finds the last token to keep: the one at which a measure of all tokens, from the best one down, reaches a target. Bisects over
// keys, then sorts the tokens that are left.
//
// By count, the measure is the number of tokens and a token's key is its logit. By weight, the measure is the sum of the weights at
// temperature 1, which are also the keys.
class LogitCut::FloorSearch {
public:
    static FloorSearch by_count(const LogitCut & cut, size_t target) {
        return {cut, cut.logits_, cut.buffers_.block_max, false, static_cast<double>(target)};
    }

    // The weights are in the cut's buffers.
    static FloorSearch by_weight(const LogitCut & cut, double target) {
        return {cut, cut.buffers_.weights.data(), cut.buffers_.block_max_weight, true, target};
    }

    // Raises the floor of `cut` to the token. If the target is not reached (there are fewer tokens, or by rounding) the floor
    // stays, because all tokens are kept then.
    void raise_floor(LogitCut & cut) {
        if (!find_bounds()) {
            return;
        }
        for (int i = 0; i < MAX_BISECTIONS; i++) {
            if (from_low_.count - from_high_.count <= N_SORTED || !bisect()) {
                break;
            }
        }
        sort_and_set_floor(cut);
    }

private:
    const size_t               n_;
    const float * const        logits_;
    const float * const        keys_;
    const std::vector<float> & block_max_;
    const bool                 is_by_weight_;
    const float                top_;
    const double               target_;

    // Invariant: the token's key is in [low, high). low and high are the keys at depths low_depth and high_depth below the top.
    float high_depth_ = 0, low_depth_ = 1;
    float high_ = INFINITE, low_;
    Tally from_high_, from_low_; // the tokens with keys from high or low up

    FloorSearch(const LogitCut & cut, const float * keys, const std::vector<float> & block_max, bool is_by_weight, double target)
        : n_(cut.n_), logits_(cut.logits_), keys_(keys), block_max_(block_max), is_by_weight_(is_by_weight), top_(cut.top_),
          target_(target) {}

    // Depths are differences of logits for both kinds of keys, because halving these splits the tokens most evenly.
    float key_at(float depth) const { return is_by_weight_ ? std::max(std::exp(-depth), TINY) : std::max(top_ - depth, LOWEST); }

    double measure(const Tally & tokens) const { return is_by_weight_ ? tokens.sum : static_cast<double>(tokens.count); }

    Tally tally_row_from(float key) const {
        Tally tokens;
        each_block(block_max_, n_, key, [&](size_t, size_t start, size_t end) {
            const Tally part = tally_from(keys_ + start, end - start, key);
            tokens.count += part.count;
            tokens.sum += part.sum;
        });
        return tokens;
    }

    // Doubles the depth until the target is reached. Returns false if it never is.
    bool find_bounds() {
        low_      = key_at(low_depth_);
        from_low_ = tally_row_from(low_);
        while (measure(from_low_) < target_) {
            if (low_ == (is_by_weight_ ? TINY : LOWEST)) {
                return false;
            }
            from_high_ = from_low_, high_depth_ = low_depth_, high_ = low_;
            low_depth_ = 2 * low_depth_;
            low_       = key_at(low_depth_);
            from_low_  = tally_row_from(low_);
        }
        return true;
    }

    // Halves the interval. Returns false if no key lies between its ends: the tokens in it are tied, or nearly.
    bool bisect() {
        const float depth = high_depth_ + (low_depth_ - high_depth_) / 2;
        const float key   = key_at(depth);
        if (key <= low_ || key >= high_) {
            return false;
        }
        const Tally tokens = tally_row_from(key);
        if (measure(tokens) < target_) {
            from_high_ = tokens, high_depth_ = depth, high_ = key;
        } else {
            from_low_ = tokens, low_depth_ = depth, low_ = key;
        }
        return true;
    }

    void find_tokens_between(std::vector<llama_token> & tokens) const {
        int indices[BLOCK];
        tokens.clear();
        each_block(block_max_, n_, low_, [&](size_t, size_t start, size_t end) {
            const size_t n_found = find_between(keys_ + start, end - start, low_, high_, indices);
            for (size_t i = 0; i < n_found; i++) {
                tokens.push_back(static_cast<llama_token>(start) + indices[i]);
            }
        });
    }

    void sort_and_set_floor(LogitCut & cut) const {
        std::vector<llama_token> & near = cut.buffers_.near_floor;
        find_tokens_between(near);
        std::sort(near.begin(), near.end(),
                  [&](llama_token a, llama_token b) { return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b; });
        double reached = measure(from_high_);
        for (const llama_token token : near) {
            cut.floor_   = logits_[token];
            cut.tie_end_ = static_cast<size_t>(token) + 1;
            reached += is_by_weight_ ? keys_[token] : 1;
            if (reached >= target_) {
                return;
            }
        }
    }
};

LogitCut::LogitCut(const float * logits, size_t n, LogitCutBuffers & buffers) : logits_(logits), n_(n), buffers_(buffers) {
    buffers_.block_max.resize((n + BLOCK - 1) / BLOCK);
    if (!find_block_max(logits, n, buffers_.block_max.data())) {
        throw BadLogits("the model's logits contain NaN");
    }
    top_ = *std::max_element(buffers_.block_max.begin(), buffers_.block_max.end());
    if (top_ == -INFINITE) {
        throw NoTokenLeft();
    }
}

llama_token LogitCut::best() const {
    const auto   block = std::find(buffers_.block_max.begin(), buffers_.block_max.end(), top_);
    const size_t start = static_cast<size_t>(block - buffers_.block_max.begin()) * BLOCK;
    return static_cast<llama_token>(std::find(logits_ + start, logits_ + n_, top_) - logits_);
}

void LogitCut::keep_top_k(size_t k) {
    require_finite_top();
    if (k < n_) {
        FloorSearch::by_count(*this, k).raise_floor(*this);
    }
}

void LogitCut::keep_top_p(float p) {
    require_finite_top();
    const KeptWeights kept(*this, 1);
    kept.store(buffers_.block_max, buffers_.block_max_weight);
    buffers_.weights.resize(n_);
    double total = 0;
    each_block(buffers_.block_max_weight, n_, TINY,
               [&](size_t, size_t start, size_t end) { total += kept.store(start, end, buffers_.weights.data() + start); });
    FloorSearch::by_weight(*this, p * total).raise_floor(*this);
}

void LogitCut::keep_min_p(float p) {
    require_finite_top();
    const float least = top_ + std::log(std::min(p, 1.0f));
    if (least > floor_) {
        floor_   = least;
        tie_end_ = n_;
    }
}

llama_token LogitCut::sample(float temperature, double uniform) {
    require_finite_top();
    const KeptWeights kept(*this, temperature);
    double            total = 0;
    buffers_.block_sums.assign(buffers_.block_max.size(), 0);
    each_block(buffers_.block_max, n_, floor_, [&](size_t block, size_t start, size_t end) {
        buffers_.block_sums[block] = kept.sum(start, end);
        total += buffers_.block_sums[block];
    });
    double       target = uniform * total;
    const size_t start  = find_in_cumulative_sum(buffers_.block_sums.data(), buffers_.block_sums.size(), target) * BLOCK;
    const size_t end    = std::min(start + BLOCK, n_);
    float        weights[BLOCK];
    kept.store(start, end, weights);
    return static_cast<llama_token>(start + find_in_cumulative_sum(weights, end - start, target));
}

void LogitCut::require_finite_top() const {
    if (top_ == INFINITE) {
        throw BadLogits("the model's logits contain infinity");
    }
}

} // namespace lc
