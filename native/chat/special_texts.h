// The texts that a tokenizer reads as special tokens, and how to find them in a text.
#pragma once

#include "llama.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace lc {

struct SpecialText {
    std::string text;
    llama_token token;
    bool        is_guarded; // only the template may write it
    bool        ends_answer;
    bool        strips_left, strips_right; // white space beside it is dropped
};

// Control and unknown tokens are guarded. So are user-defined tokens that the chat template writes as tags, such as Command-R's
// <|START_OF_TURN_TOKEN|>. Other user-defined tokens, such as runs of spaces, are parts of ordinary text.
class SpecialTexts {
public:
    SpecialTexts(const llama_vocab * vocab, const std::string & template_source);

    struct Match {
        size_t longest     = 0; // bytes; 0 if there is none
        bool   is_single   = false; // one of them is a single character
        bool   ends_answer = false;
    };

    // In the order in which llama.cpp looks for them: longest first.
    const std::vector<SpecialText> & all() const { return texts_; }
    bool has_guarded() const { return !guarded_.empty(); }
    bool is_guarded(llama_token token) const { return guarded_.count(token) != 0; }

    // All that follows ignores the case of ASCII letters, because templates may change it.

    // The guarded texts that begin at `at`.
    Match match(std::string_view text, size_t at) const;
    // True if `text` ends with the beginning of a guarded text, which what follows may complete.
    bool ends_with_beginning(std::string_view text) const;
    // True if `text` begins with the end of a guarded text.
    bool begins_with_end(std::string_view text) const;
    // True if a guarded text is `name` between punctuation: "think" for <think>.
    bool is_inside(std::string_view name) const;

private:
    struct Node {
        Match match; // of the texts that end here
        bool  has_children = false;
    };

    std::vector<SpecialText>               texts_;
    std::unordered_set<llama_token>        guarded_;
    std::vector<Node>                      nodes_; // a trie of the guarded texts; the root is the first
    std::unordered_map<uint64_t, uint32_t> edges_; // (node, byte) → node
    std::unordered_set<std::string>        ends_;
    std::unordered_set<std::string>        inner_;
    size_t                                 longest_        = 0;
    bool                                   is_first_[256]  = {}; // bytes that a guarded text begins with

    void add(const SpecialText & special);
    void add_inner(const std::string & text);
    uint32_t child(uint32_t node, char byte) const; // 0 if there is none
};

} // namespace lc
