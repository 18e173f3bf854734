// How few tokens a text may become.
#include "shim/error.h"

#include "llama.h"

#include <algorithm>
#include <cstring>

namespace {

// A vocabulary that lacks bytes drops them; blanks beside a token that strips them are dropped too.
int32_t measure(const llama_vocab * vocab, uint8_t * counted) {
    const bool drops_bytes = llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_BPE;
    bool       strips      = false;
    int32_t    longest     = 0;
    std::memset(counted, drops_bytes ? 0 : 1, 256);
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); token++) {
        char          piece[4];
        const int32_t n = llama_token_to_piece(vocab, token, piece, sizeof(piece), 0, true);
        if (n == 1) {
            counted[static_cast<uint8_t>(piece[0])] = 1;
        }
        // The text as it stands in the file may be longer (blanks are written as U+2581), and a text may hold just that.
        const int32_t n_text = static_cast<int32_t>(std::strlen(llama_vocab_get_text(vocab, token)));
        longest = std::max({ longest, n < 0 ? -n : n, n_text });
        strips |= (llama_vocab_get_attr(vocab, token) & (LLAMA_TOKEN_ATTR_LSTRIP | LLAMA_TOKEN_ATTR_RSTRIP)) != 0;
    }
    for (const char blank : { ' ', '\t', '\n', '\r', '\v', '\f' }) {
        counted[static_cast<uint8_t>(blank)] &= !strips;
    }
    return longest;
}

} // namespace

int32_t lc_token_bytes_max(const llama_vocab * vocab, uint8_t * counted) {
    int32_t longest = 0;
    lc::guard([&] {
        lc::require(vocab != nullptr && counted != nullptr, "vocab, counted: must not be NULL");
        const auto type = llama_vocab_type(vocab);
        // Others drop blanks, or make one token of a whole unknown word.
        if (type == LLAMA_VOCAB_TYPE_SPM || type == LLAMA_VOCAB_TYPE_BPE) {
            longest = measure(vocab, counted);
        }
    });
    return longest;
}
