// Finds where reasoning begins and ends in an answer, by its text, like llama-common's parsers. Tokens are not enough: a tag may be
// spelled by several tokens, and the tokenizer may join its edges with the text beside it.
#pragma once

#include "llama.h"

#include <deque>
#include <string>
#include <vector>

namespace lc {

class ReasoningTracker {
public:
    // No tag may be empty, and `end_tags` must have one or more.
    ReasoningTracker(std::string start_tag, std::vector<std::string> end_tags);

    bool is_inside() const { return is_inside_; }

    // Starts a new answer. `prefilled` is the part of the prompt that belongs to it; it may begin the reasoning.
    void reset(const std::string & prefilled);

    // Adds a token with its text. Returns the last tokens, including this one, that spell the end tag if the token ends the
    // reasoning; else none.
    std::vector<llama_token> accept(llama_token token, const std::string & piece);

private:
    struct TokenSize {
        llama_token token;
        size_t      n_bytes;
    };

    std::string              start_tag_;
    std::vector<std::string> end_tags_;
    size_t                   longest_end_tag_ = 0; // bytes

    bool                  is_inside_ = false;
    std::string           tail_;        // the last bytes, which may be the beginning of a tag
    std::deque<TokenSize> last_tokens_; // as many as an end tag may have

    bool find_tag(size_t & at, size_t & size) const;
    std::vector<llama_token> tokens_of_tail(size_t n_bytes) const;
    void trim();
};

} // namespace lc
