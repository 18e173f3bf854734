// Where reasoning begins and ends in an answer, by its text, as llama-common's parsers see it. By tokens it cannot be found where
// a tag is no token of its own: the tokenizer may join its edges with what stands beside it.
#pragma once

#include "llama.h"

#include <deque>
#include <string>
#include <vector>

namespace lc {

class reasoning_watch {
  public:
    // No tag is empty, and there is an end.
    reasoning_watch(std::string start, std::vector<std::string> ends);

    bool is_inside() const { return inside; }

    // Back to the beginning of an answer, which `begun`, a part of the prompt, may have opened.
    void reset(const std::string & begun);

    // One more token and its text. If it ends the reasoning: the last tokens, this one included, that spell the end.
    std::vector<llama_token> accept(llama_token token, const std::string & piece);

  private:
    struct spelled {
        llama_token token;
        size_t      size;
    };

    std::string              start;
    std::vector<std::string> ends;
    size_t                   n_longest = 0;  // of the ends

    bool                inside = false;
    std::string         tail;  // what may be the beginning of a tag
    std::deque<spelled> last;  // as many tokens as may spell an end

    bool                     find_tag(size_t & at, size_t & size) const;
    std::vector<llama_token> tokens(size_t size) const;
    void                     forget();
};

} // namespace lc
