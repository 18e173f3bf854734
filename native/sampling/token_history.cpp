#include "sampling/token_history.h"

#include <algorithm>

namespace lc {

void TokenHistory::add(llama_token token) {
    if (n_max_ == 0) {
        return;
    }
    if (ring_.size() < n_max_) {
        ring_.push_back(token);
    } else {
        remove(ring_[oldest_]);
        ring_[oldest_] = token;
        oldest_        = (oldest_ + 1) % n_max_;
    }
    const auto [entry, is_new] = index_.try_emplace(token, counts_.size());
    if (is_new) {
        counts_.push_back({token, 0});
    }
    counts_[entry->second].count++;
}

void TokenHistory::add(const llama_token * tokens, size_t n_tokens) {
    for (size_t i = n_tokens - std::min(n_tokens, n_max_); i < n_tokens; i++) {
        add(tokens[i]);
    }
}

void TokenHistory::clear() {
    ring_.clear();
    oldest_ = 0;
    counts_.clear();
    index_.clear();
}

void TokenHistory::remove(llama_token token) {
    const auto   entry = index_.find(token);
    TokenCount & freed = counts_[entry->second];
    if (--freed.count > 0) {
        return;
    }
    freed                  = counts_.back();
    index_.at(freed.token) = entry->second;
    counts_.pop_back();
    index_.erase(entry);
}

} // namespace lc
