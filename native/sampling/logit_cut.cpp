#include "sampling/logit_cut.h"

#include "shim/error.h"
#include "sampling/logit_simd.h"

#include <algorithm>
#include <cmath>

namespace lc {

namespace {

constexpr float INFINITE = std::numeric_limits<float>::infinity();
constexpr float LOWEST   = std::numeric_limits<float>::lowest();
constexpr float TINY     = std::numeric_limits<float>::min();  // no weight but 0 is smaller

// So few tokens are sooner sorted than divided once more: a division looks at every block that may hold them.
constexpr size_t FEW = 256;

// Of any but absurd logits, far fewer divisions leave FEW. What is left after these is sorted, however many.
constexpr int MOST_DIVISIONS = 40;

// Calls visit(block, start, end) for the blocks with a peak of at least `least`.
template <typename Visit> void each_block(const std::vector<float> & peaks, size_t n, float least, Visit && visit) {
    for (size_t block = 0; block < peaks.size(); block++) {
        if (peaks[block] >= least) {
            const size_t start = block * BLOCK;
            visit(block, start, std::min(start + BLOCK, n));
        }
    }
}

// The place at which the running sum of `weights` exceeds `rest`, which is lessened by those before it. Where rounding keeps
// the sum below that, the last place with any weight.
size_t walk(const float * weights, size_t n, double & rest) {
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (weights[i] > 0) {
            if (rest < weights[i]) {
                return i;
            }
            rest -= weights[i];
            last = i;
        }
    }
    return last;
}

} // namespace

// What weighs the tokens that are kept, at a temperature. Tokens from tie_end on must exceed the floor.
class row::cut {
  public:
    cut(const row & of, float temperature)
        : of(of), with_ties(of.top, temperature, of.floor), above(of.top, temperature, std::nextafter(of.floor, INFINITE)) {}

    float sum(size_t start, size_t end) const {
        return in_parts(start, end, [&](size_t from, size_t to, const weighing & how) {
            return sum_weights(of.logits + from, to - from, how);
        });
    }

    // The weight of token `start` becomes weights[0].
    float store(size_t start, size_t end, float * weights) const {
        return in_parts(start, end, [&](size_t from, size_t to, const weighing & how) {
            return store_weights(of.logits + from, to - from, how, weights + (from - start));
        });
    }

    // The weights of any logits, as if they were kept in a tie.
    void store(const std::vector<float> & logits, std::vector<float> & weights) const {
        weights.resize(logits.size());
        for (size_t start = 0; start < logits.size(); start += BLOCK) {
            const size_t size = std::min(BLOCK, logits.size() - start);
            store_weights(logits.data() + start, size, with_ties, weights.data() + start);
        }
    }

  private:
    const row &    of;
    const weighing with_ties;
    const weighing above;

    template <typename Sum> float in_parts(size_t start, size_t end, Sum && sum) const {
        const size_t middle = std::min(std::max(of.tie_end, start), end);
        const float  first  = middle > start ? sum(start, middle, with_ties) : 0;
        return end > middle ? first + sum(middle, end, above) : first;
    }
};

// Finds the token at which a measure of all tokens, from the best one down, reaches a target. The measure is their number,
// and they are told apart by their logits; or the sum of their weights (at temperature 1), by which they are told apart too.
class row::search {
  public:
    static search by_number(const row & of, size_t target) {
        return { of, of.logits, of.memory.peaks, false, static_cast<double>(target) };
    }

    // The weights are in the row's memory.
    static search by_weight(const row & of, double target) {
        return { of, of.memory.weights.data(), of.memory.weight_peaks, true, target };
    }

    // Raises the floor of `of` to the token. Where the target is never reached (there are fewer tokens; or a rounding error)
    // it stays, for all that is left is kept then.
    void raise(row & of) {
        if (!widen()) {
            return;
        }
        for (int i = 0; i < MOST_DIVISIONS; i++) {
            if (all.count - above.count <= FEW || !divide()) {
                break;
            }
        }
        settle(of);
    }

  private:
    const size_t               n;
    const float * const        logits;
    const float * const        keys;
    const std::vector<float> & peaks;
    const bool                 is_by_weight;
    const float                top;
    const double               target;

    // The token's key is in [least, below), which are the keys at two depths under the best one's. `above` and `all` are the
    // tokens from `below` up, and from `least` up.
    float shallow = 0, deep = 1;
    float below = INFINITE, least;
    tally above, all;

    search(const row & of, const float * keys, const std::vector<float> & peaks, bool is_by_weight, double target)
        : n(of.n), logits(of.logits), keys(keys), peaks(peaks), is_by_weight(is_by_weight), top(of.top), target(target) {}

    // Depths are differences of logits for both kinds of keys: evenly spaced, they divide the tokens best.
    float key_at(float depth) const { return is_by_weight ? std::max(std::exp(-depth), TINY) : std::max(top - depth, LOWEST); }

    double measure(const tally & tokens) const { return is_by_weight ? tokens.sum : static_cast<double>(tokens.count); }

    tally from(float key) const {
        tally tokens;
        each_block(peaks, n, key, [&](size_t, size_t start, size_t end) {
            const tally part = tally_from(keys + start, end - start, key);
            tokens.count += part.count;
            tokens.sum += part.sum;
        });
        return tokens;
    }

    bool widen() {
        least = key_at(deep);
        all   = from(least);
        while (measure(all) < target) {
            if (least == (is_by_weight ? TINY : LOWEST)) {
                return false;
            }
            above = all, shallow = deep, below = least;
            deep  = 2 * deep;
            least = key_at(deep);
            all   = from(least);
        }
        return true;
    }

    // False if there are no keys between: all tokens there are tied, or nearly.
    bool divide() {
        const float depth = shallow + (deep - shallow) / 2;
        const float key   = key_at(depth);
        if (key <= least || key >= below) {
            return false;
        }
        const tally tokens = from(key);
        if (measure(tokens) < target) {
            above = tokens, shallow = depth, below = key;
        } else {
            all = tokens, deep = depth, least = key;
        }
        return true;
    }

    void find(std::vector<llama_token> & found) const {
        int places[BLOCK];
        found.clear();
        each_block(peaks, n, least, [&](size_t, size_t start, size_t end) {
            const size_t n_found = find_between(keys + start, end - start, least, below, places);
            for (size_t i = 0; i < n_found; i++) {
                found.push_back(static_cast<llama_token>(start) + places[i]);
            }
        });
    }

    void settle(row & of) const {
        std::vector<llama_token> & near = of.memory.near;
        find(near);
        std::sort(near.begin(), near.end(), [&](llama_token a, llama_token b) {
            return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
        });
        double reached = measure(above);
        for (const llama_token token : near) {
            of.floor   = logits[token];
            of.tie_end = static_cast<size_t>(token) + 1;
            reached += is_by_weight ? keys[token] : 1;
            if (reached >= target) {
                return;
            }
        }
    }
};

row::row(const float * logits, size_t n, row_memory & memory) : logits(logits), n(n), memory(memory) {
    memory.peaks.resize((n + BLOCK - 1) / BLOCK);
    if (!find_peaks(logits, n, memory.peaks.data())) {
        throw bad_logits("the model's logits contain NaN");
    }
    top = *std::max_element(memory.peaks.begin(), memory.peaks.end());
    if (top == -INFINITE) {
        throw no_choice();
    }
}

llama_token row::best() const {
    const auto   block = std::find(memory.peaks.begin(), memory.peaks.end(), top);
    const size_t start = static_cast<size_t>(block - memory.peaks.begin()) * BLOCK;
    return static_cast<llama_token>(std::find(logits + start, logits + n, top) - logits);
}

void row::keep_top_k(size_t k) {
    require_finite_top();
    if (k < n) {
        search::by_number(*this, k).raise(*this);
    }
}

void row::keep_top_p(float p) {
    require_finite_top();
    const cut how(*this, 1);
    how.store(memory.peaks, memory.weight_peaks);
    memory.weights.resize(n);
    double total = 0;
    each_block(memory.weight_peaks, n, TINY, [&](size_t, size_t start, size_t end) {
        total += how.store(start, end, memory.weights.data() + start);
    });
    search::by_weight(*this, p * total).raise(*this);
}

void row::keep_min_p(float p) {
    require_finite_top();
    const float least = top + std::log(std::min(p, 1.0f));
    if (least > floor) {
        floor   = least;
        tie_end = n;
    }
}

llama_token row::pick(float temperature, double chance) {
    require_finite_top();
    const cut how(*this, temperature);
    double    total = 0;
    memory.sums.assign(memory.peaks.size(), 0);
    each_block(memory.peaks, n, floor, [&](size_t block, size_t start, size_t end) {
        memory.sums[block] = how.sum(start, end);
        total += memory.sums[block];
    });
    double       rest  = chance * total;
    const size_t start = walk(memory.sums.data(), memory.sums.size(), rest) * BLOCK;
    const size_t end   = std::min(start + BLOCK, n);
    float        weights[BLOCK];
    how.store(start, end, weights);
    return static_cast<llama_token>(start + walk(weights, end - start, rest));
}

void row::require_finite_top() const {
    if (top == INFINITE) {
        throw bad_logits("the model's logits contain infinity");
    }
}

} // namespace lc
