// Text to tokens and back, and a bound for the number of tokens of a text. A vocabulary can reach assertions of llama.cpp; here
// they become failures with a message.
#include "shim/abort_guard.h"
#include "shim/error.h"

#include "llama.h"

#include <algorithm>
#include <climits>
#include <cstring>

namespace {

// Runs `body` and returns its count; INT32_MIN if it throws, with the reason in lc_last_error().
template <typename Body> int32_t guard_count(Body && body) noexcept {
    lc::clear_error();
    int32_t n = INT32_MIN;
    lc::guard([&] {
        const lc::AbortGuard guard;
        n = body();
    });
    return n;
}

// Returns the length in bytes of the longest token. Sets counted[byte] to 1 if the tokenizer never drops the byte: a BPE
// vocabulary may lack a byte, and a token that strips spaces beside it drops them.
int32_t measure_tokens(const llama_vocab * vocab, uint8_t * counted) {
    const bool may_lack_bytes = llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_BPE;
    bool       strips_spaces  = false;
    int32_t    longest        = 0;
    std::memset(counted, may_lack_bytes ? 0 : 1, 256);
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); token++) {
        char          piece[4];
        const int32_t n = llama_token_to_piece(vocab, token, piece, sizeof(piece), 0, true);
        if (n == 1) {
            counted[static_cast<uint8_t>(piece[0])] = 1;
        }
        // The token's text in the file writes a space as U+2581, which takes 3 bytes. A text may contain U+2581 itself, so the
        // longer form counts.
        const int32_t n_text = static_cast<int32_t>(std::strlen(llama_vocab_get_text(vocab, token)));
        longest              = std::max({longest, n < 0 ? -n : n, n_text});
        strips_spaces |= (llama_vocab_get_attr(vocab, token) & (LLAMA_TOKEN_ATTR_LSTRIP | LLAMA_TOKEN_ATTR_RSTRIP)) != 0;
    }
    for (const char space : {' ', '\t', '\n', '\r', '\v', '\f'}) {
        counted[static_cast<uint8_t>(space)] &= !strips_spaces;
    }
    return longest;
}

} // namespace

int32_t lc_tokenize(const llama_vocab * vocab, const char * text, int32_t size, llama_token * tokens, int32_t n_max,
                    bool add_special, bool parse_special) {
    return guard_count([&] { return llama_tokenize(vocab, text, size, tokens, n_max, add_special, parse_special); });
}

int32_t lc_tokenize_or_none(const llama_vocab * vocab, const char * text, int32_t size, llama_token * tokens, int32_t n_max,
                            bool add_special, bool parse_special) {
    const int32_t n = lc_tokenize(vocab, text, size, tokens, n_max, add_special, parse_special);
    return n == INT32_MIN ? 0 : n;
}

int32_t lc_detokenize(const llama_vocab * vocab, const llama_token * tokens, int32_t n_tokens, char * text, int32_t size,
                      bool remove_special, bool unparse_special) {
    return guard_count([&] { return llama_detokenize(vocab, tokens, n_tokens, text, size, remove_special, unparse_special); });
}

int32_t lc_token_to_piece(const llama_vocab * vocab, llama_token token, char * text, int32_t size, bool special) {
    return guard_count([&] { return llama_token_to_piece(vocab, token, text, size, 0, special); });
}

int32_t lc_token_bytes_max(const llama_vocab * vocab, uint8_t * counted) {
    int32_t longest = 0;
    lc::guard([&] {
        lc::require(vocab != nullptr && counted != nullptr, "vocab, counted: must not be NULL");
        const auto type = llama_vocab_type(vocab);
        // Other tokenizers drop spaces, or make one token of a whole unknown word: there is no bound.
        if (type == LLAMA_VOCAB_TYPE_SPM || type == LLAMA_VOCAB_TYPE_BPE) {
            longest = measure_tokens(vocab, counted);
        }
    });
    return longest;
}
