// Tokenizes a rendered prompt in which the caller's special texts are marked (content_marks.h).
#pragma once

#include "chat/special_texts.h"

#include "llama.h"

#include <string>
#include <vector>

namespace lc {

// Returns the tokens that llama_tokenize() with parse_special gives for `text` without its marks, except that a special token's
// text with a mark in it becomes ordinary tokens. Throws std::runtime_error if the text is too long.
std::vector<llama_token> tokenize_marked(const llama_vocab * vocab, const SpecialTexts & specials, const std::string & text,
                                         const std::string & mark, bool add_special);

} // namespace lc
