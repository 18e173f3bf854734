// Counts of the last tokens of a sequence, for penalties.
#pragma once

#include "llama.h"

#include <cstddef>
#include <unordered_map>
#include <vector>

namespace lc {

// Returns the length of the history for a parameter such as repeat_last_n (-1: the whole context). Never more than the context, so
// that no value of the parameter allocates without bound.
inline size_t history_length(int32_t last_n, int32_t n_ctx) {
    return static_cast<size_t>(last_n < 0 || last_n > n_ctx ? n_ctx : last_n);
}

class TokenHistory {
public:
    struct TokenCount {
        llama_token token;
        int32_t     count;
    };

    // Counts the last `n_max` tokens; 0 counts none.
    explicit TokenHistory(size_t n_max) : n_max_(n_max) {}

    void add(llama_token token);
    void add(const llama_token * tokens, size_t n_tokens);
    void clear();

    // Each distinct token once, in no particular order.
    const std::vector<TokenCount> & counts() const { return counts_; }

private:
    const size_t                            n_max_;
    std::vector<llama_token>                ring_;       // grows up to n_max: most sequences stay far below
    size_t                                  oldest_ = 0; // index of the oldest token in a full ring
    std::vector<TokenCount>                 counts_;
    std::unordered_map<llama_token, size_t> index_; // of a token in counts_

    void remove(llama_token token);
};

} // namespace lc
