#include "chat/marked_tokens.h"

#include "chat/content_marks.h"

#include <algorithm>
#include <cctype>
#include <climits>
#include <stdexcept>
#include <string_view>

namespace lc {

namespace {

using Tokens = std::vector<llama_token>;

// A special token of the text, or what lies between two of them.
struct Fragment {
    size_t              start, end; // bytes
    const SpecialText * special;    // NULL for text
};

bool is_space(char byte) {
    return std::isspace(static_cast<unsigned char>(byte)) != 0;
}

class MarkedText {
public:
    MarkedText(const llama_vocab * vocab, const SpecialTexts & specials, const std::string & text, const std::string & mark)
        : vocab_(vocab), specials_(specials), text_(text), mark_(mark) {}

    Tokens tokens(bool add_special) const;

private:
    const llama_vocab *  vocab_;
    const SpecialTexts & specials_;
    const std::string &  text_;
    const std::string &  mark_;

    std::vector<Fragment> fragments() const;
    void split(const Fragment & fragment, const SpecialText & special, std::vector<Fragment> & out) const;
    size_t find(const SpecialText & special, size_t start, size_t end) const;
    void add_text(size_t start, size_t end, Tokens & out) const;
    void add_marked(const std::string & marked, Tokens & out) const;
    void add_pieces(const std::string & plain, const std::vector<size_t> & cuts, Tokens & out) const;
    bool add_joined(const std::string & plain, const std::vector<size_t> & cuts, Tokens & out) const;
    bool has_guarded(const Tokens & tokens) const;
    bool is_cut(const std::string & plain, size_t at) const;
    Tokens tokenize(const std::string & text, bool add_special, bool parse_special) const;
    Tokens tokens_of_mark() const;
    void append(Tokens & out, const Tokens & more) const { out.insert(out.end(), more.begin(), more.end()); }
};

Tokens MarkedText::tokens(bool add_special) const {
    Tokens out, ending;
    if (add_special) {
        ending = tokenize("", true, false);
        if (!ending.empty() && llama_vocab_get_add_bos(vocab_)) {
            out.push_back(ending.front());
            ending.erase(ending.begin());
        }
    }
    // Text between two guarded tokens is tokenized together, with the other special tokens in it.
    size_t start = std::string::npos, end = 0;
    for (const Fragment & fragment : fragments()) {
        if (fragment.special == nullptr || !fragment.special->is_guarded) {
            start = std::min(start, fragment.start);
            end   = fragment.end;
            continue;
        }
        add_text(start, end, out);
        start = std::string::npos;
        out.push_back(fragment.special->token);
    }
    add_text(start, end, out);
    append(out, ending);
    return out;
}

// Splits the text at its special tokens as llama.cpp does.
std::vector<Fragment> MarkedText::fragments() const {
    std::vector<Fragment> found;
    if (!text_.empty()) {
        found.push_back({0, text_.size(), nullptr});
    }
    for (const SpecialText & special : specials_.all()) {
        if (find(special, 0, text_.size()) == std::string::npos) {
            continue;
        }
        std::vector<Fragment> next;
        for (const Fragment & fragment : found) {
            if (fragment.special != nullptr) {
                next.push_back(fragment);
            } else {
                split(fragment, special, next);
            }
        }
        found = std::move(next);
    }
    return found;
}

void MarkedText::split(const Fragment & fragment, const SpecialText & special, std::vector<Fragment> & out) const {
    size_t start = fragment.start;
    while (start < fragment.end) {
        const size_t at = find(special, start, fragment.end);
        if (at == std::string::npos) {
            out.push_back({start, fragment.end, nullptr});
            return;
        }
        size_t left = at;
        while (special.strips_left && left > start && is_space(text_[left - 1])) {
            left--;
        }
        if (left > start) {
            out.push_back({start, left, nullptr});
        }
        start = at + special.text.size();
        out.push_back({at, start, &special});
        while (special.strips_right && start < fragment.end && is_space(text_[start])) {
            start++;
        }
    }
}

// The text of one character cannot hold a mark: it is behind the mark.
size_t MarkedText::find(const SpecialText & special, size_t start, size_t end) const {
    const std::string_view text = std::string_view(text_).substr(0, end);
    for (size_t at = text.find(special.text, start); at != std::string::npos; at = text.find(special.text, at + 1)) {
        const bool is_marked = special.is_guarded && at >= mark_.size() && text_.compare(at - mark_.size(), mark_.size(), mark_) == 0;
        const bool is_single =
            std::count_if(special.text.begin(), special.text.end(), [](char byte) { return (byte & 0xC0) != 0x80; }) == 1;
        if (!is_marked || !is_single) {
            return at;
        }
    }
    return std::string::npos;
}

void MarkedText::add_text(size_t start, size_t end, Tokens & out) const {
    if (start == std::string::npos) {
        return;
    }
    const std::string text = text_.substr(start, end - start);
    if (text.find(mark_) == std::string::npos) {
        append(out, tokenize(text, false, true));
    } else {
        add_marked(text, out);
    }
}

// Plain text can become guarded tokens all the same: user-defined ones, and any that a tokenizer makes of ordinary merges. Then the
// text is cut where the marks were.
void MarkedText::add_marked(const std::string & marked, Tokens & out) const {
    const std::string plain  = remove_marks(marked, mark_);
    const Tokens      tokens = tokenize(plain, false, false);
    if (!has_guarded(tokens)) {
        append(out, tokens);
        return;
    }
    std::vector<size_t> cuts;
    size_t              n_marks = 0;
    for (size_t at = marked.find(mark_); at != std::string::npos; at = marked.find(mark_, at + mark_.size())) {
        const size_t place = at - n_marks++ * mark_.size();
        if (is_cut(plain, place)) {
            cuts.push_back(place);
        }
    }
    if (llama_vocab_type(vocab_) != LLAMA_VOCAB_TYPE_SPM || !add_joined(plain, cuts, out)) {
        add_pieces(plain, cuts, out);
    }
}

bool MarkedText::has_guarded(const Tokens & tokens) const {
    return std::any_of(tokens.begin(), tokens.end(), [&](llama_token token) { return specials_.is_guarded(token); });
}

// True if a guarded text is across `at`.
bool MarkedText::is_cut(const std::string & plain, size_t at) const {
    return std::any_of(specials_.all().begin(), specials_.all().end(), [&](const SpecialText & special) {
        if (!special.is_guarded) {
            return false;
        }
        const size_t           size   = special.text.size();
        const size_t           first  = at >= size ? at - size + 1 : 0;
        const std::string_view around = std::string_view(plain).substr(first, at - first + size - 1);
        return around.find(special.text) != std::string_view::npos;
    });
}

void MarkedText::add_pieces(const std::string & plain, const std::vector<size_t> & cuts, Tokens & out) const {
    size_t start = 0;
    for (const size_t at : cuts) {
        append(out, tokenize(plain.substr(start, at - start), false, false));
        start = at;
    }
    append(out, tokenize(plain.substr(start), false, false));
}

// A SentencePiece tokenizer puts a space before a text, and so before each piece. Here the mark stays between the pieces and its
// tokens are removed. Returns false if the vocabulary has no tokens for it.
bool MarkedText::add_joined(const std::string & plain, const std::vector<size_t> & cuts, Tokens & out) const {
    const Tokens mark = tokens_of_mark();
    if (mark.empty()) {
        return false;
    }
    std::string marked;
    size_t      start = 0;
    for (const size_t at : cuts) {
        marked.append(plain, start, at - start).append(mark_);
        start = at;
    }
    const Tokens tokens = tokenize(marked.append(plain, start), false, false);
    for (auto at = tokens.begin();;) {
        const auto found = std::search(at, tokens.end(), mark.begin(), mark.end());
        out.insert(out.end(), at, found);
        if (found == tokens.end()) {
            return true;
        }
        at = found + static_cast<std::ptrdiff_t>(mark.size());
    }
}

// Returns the byte tokens of the mark, or none if it has another form.
Tokens MarkedText::tokens_of_mark() const {
    Tokens tokens = tokenize(mark_, false, false);
    if (tokens.size() < mark_.size()) {
        return {};
    }
    tokens.erase(tokens.begin(), tokens.end() - static_cast<std::ptrdiff_t>(mark_.size()));
    const bool are_bytes = std::all_of(tokens.begin(), tokens.end(), [&](llama_token token) {
        return (llama_vocab_get_attr(vocab_, token) & LLAMA_TOKEN_ATTR_BYTE) != 0;
    });
    return are_bytes ? tokens : Tokens();
}

Tokens MarkedText::tokenize(const std::string & text, bool add_special, bool parse_special) const {
    if (text.size() > INT32_MAX) {
        throw std::runtime_error("the text is too long");
    }
    Tokens        tokens(text.size() + 4);
    const int32_t size = static_cast<int32_t>(text.size());
    int32_t       n    = llama_tokenize(vocab_, text.c_str(), size, tokens.data(), static_cast<int32_t>(tokens.size()), add_special,
                                        parse_special);
    if (n < 0 && n != INT32_MIN) {
        tokens.resize(static_cast<size_t>(-n));
        n = llama_tokenize(vocab_, text.c_str(), size, tokens.data(), -n, add_special, parse_special);
    }
    if (n < 0) {
        throw std::runtime_error("the text is too long");
    }
    tokens.resize(static_cast<size_t>(n));
    return tokens;
}

} // namespace

std::vector<llama_token> tokenize_marked(const llama_vocab * vocab, const SpecialTexts & specials, const std::string & text,
                                         const std::string & mark, bool add_special) {
    return MarkedText(vocab, specials, text, mark).tokens(add_special);
}

} // namespace lc
