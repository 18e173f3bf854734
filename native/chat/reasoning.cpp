#include "chat/reasoning.h"

#include <algorithm>

namespace lc {

ReasoningTracker::ReasoningTracker(std::string start_tag, std::vector<std::string> end_tags)
    : start_tag_(std::move(start_tag)), end_tags_(std::move(end_tags)) {
    for (const std::string & tag : end_tags_) {
        longest_end_tag_ = std::max(longest_end_tag_, tag.size());
    }
}

// Finds the first tag in the tail that changes is_inside_. Returns false if there is none.
bool ReasoningTracker::find_tag(size_t & at, size_t & size) const {
    if (!is_inside_) {
        at   = tail_.find(start_tag_);
        size = start_tag_.size();
        return at != std::string::npos;
    }
    at = std::string::npos;
    for (const std::string & tag : end_tags_) {
        const size_t found = tail_.find(tag);
        if (found < at) {
            at   = found;
            size = tag.size();
        }
    }
    return at != std::string::npos;
}

// Returns the last tokens that together have n_bytes or more.
std::vector<llama_token> ReasoningTracker::tokens_of_tail(size_t n_bytes) const {
    std::vector<llama_token> tokens;
    size_t                   n_covered = 0;
    for (auto each = last_tokens_.rbegin(); each != last_tokens_.rend() && n_covered < n_bytes; ++each) {
        n_covered += each->n_bytes;
        tokens.push_back(each->token);
    }
    std::reverse(tokens.begin(), tokens.end());
    return tokens;
}

std::vector<llama_token> ReasoningTracker::accept(llama_token token, const std::string & piece) {
    tail_ += piece;
    last_tokens_.push_back({token, piece.size()});
    std::vector<llama_token> end_tokens;
    size_t                   at = 0, size = 0;
    while (find_tag(at, size)) {
        if (is_inside_) {
            end_tokens = tokens_of_tail(tail_.size() - at);
        }
        is_inside_ = !is_inside_;
        tail_.erase(0, at + size);
    }
    trim();
    return end_tokens;
}

// Drops bytes and tokens that cannot be a part of a tag any more.
void ReasoningTracker::trim() {
    const size_t n_kept = (is_inside_ ? longest_end_tag_ : start_tag_.size()) - 1;
    if (tail_.size() > n_kept) {
        tail_.erase(0, tail_.size() - n_kept);
    }
    while (last_tokens_.size() > longest_end_tag_) {
        last_tokens_.pop_front();
    }
}

void ReasoningTracker::reset(const std::string & prefilled) {
    is_inside_ = false;
    tail_.clear();
    accept(LLAMA_TOKEN_NULL, prefilled);
    last_tokens_.clear();
}

} // namespace lc
