#include "chat/special_texts.h"

#include "chat/prompted_tools.h"

#include <algorithm>
#include <cctype>

namespace lc {

namespace {

// Shortest user-defined token that counts as a tag.
constexpr size_t TAG_BYTES_MIN = 3;

char lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](char byte) { return lower(byte); });
    return out;
}

bool is_ascii_punctuation(char byte) {
    return std::ispunct(static_cast<unsigned char>(byte)) != 0;
}

// True if a text looks like a tag: it begins and ends with punctuation, and has letters or punctuation between.
bool looks_like_tag(const std::string & text) {
    return text.size() >= TAG_BYTES_MIN && is_ascii_punctuation(text.front()) && is_ascii_punctuation(text.back());
}

bool is_written(const std::string & text, const std::string & template_source) {
    return template_source.find(text) != std::string::npos || is_prompted_tag(text);
}

bool is_single_character(const std::string & text) {
    return std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xC0) != 0x80; }) == 1;
}

} // namespace

SpecialTexts::SpecialTexts(const llama_vocab * vocab, const std::string & template_source) : nodes_(1) {
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); token++) {
        const int  attr       = llama_vocab_get_attr(vocab, token);
        const bool is_control = (attr & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) != 0;
        if (!is_control && (attr & LLAMA_TOKEN_ATTR_USER_DEFINED) == 0) {
            continue;
        }
        const std::string text = llama_vocab_get_text(vocab, token);
        if (text.empty()) {
            continue;
        }
        const bool is_guarded = is_control || (looks_like_tag(text) && is_written(text, template_source));
        texts_.push_back({text, token, is_guarded, llama_vocab_is_eog(vocab, token),
                          (attr & LLAMA_TOKEN_ATTR_LSTRIP) != 0, (attr & LLAMA_TOKEN_ATTR_RSTRIP) != 0});
        if (is_guarded) {
            add(texts_.back());
        }
    }
    std::stable_sort(texts_.begin(), texts_.end(),
                     [](const SpecialText & a, const SpecialText & b) { return a.text.size() > b.text.size(); });
}

void SpecialTexts::add(const SpecialText & special) {
    guarded_.insert(special.token);
    const std::string text = lower(special.text);
    uint32_t          node = 0;
    for (const char byte : text) {
        uint32_t & next            = edges_[uint64_t(node) << 8 | static_cast<uint8_t>(byte)];
        nodes_[node].has_children  = true;
        if (next == 0) {
            next = static_cast<uint32_t>(nodes_.size());
            nodes_.emplace_back();
        }
        node = next;
    }
    const bool is_single = is_single_character(text);
    Match &    match     = nodes_[node].match;
    match.longest        = text.size();
    match.is_single      = match.is_single || is_single;
    match.ends_answer    = match.ends_answer || special.ends_answer;
    longest_             = std::max(longest_, text.size());
    is_first_[static_cast<uint8_t>(special.text.front())]        = true;
    is_first_[static_cast<uint8_t>(lower(special.text.front()))] = true;
    is_first_[static_cast<uint8_t>(std::toupper(static_cast<unsigned char>(special.text.front())))] = true;
    for (size_t at = 1; at < text.size(); at++) {
        ends_.insert(text.substr(at));
    }
    add_inner(text);
}

// Adds what is left when one or more characters of punctuation are taken away at both ends.
void SpecialTexts::add_inner(const std::string & text) {
    size_t n_left = 0, n_right = 0;
    while (n_left < text.size() && is_ascii_punctuation(text[n_left])) {
        n_left++;
    }
    while (n_right < text.size() - n_left && is_ascii_punctuation(text[text.size() - 1 - n_right])) {
        n_right++;
    }
    for (size_t left = 1; left <= n_left; left++) {
        for (size_t right = 1; right <= n_right; right++) {
            inner_.insert(text.substr(left, text.size() - left - right));
        }
    }
}

uint32_t SpecialTexts::child(uint32_t node, char byte) const {
    const auto found = edges_.find(uint64_t(node) << 8 | static_cast<uint8_t>(lower(byte)));
    return found == edges_.end() ? 0 : found->second;
}

SpecialTexts::Match SpecialTexts::match(std::string_view text, size_t at) const {
    Match found;
    if (!is_first_[static_cast<uint8_t>(text[at])]) {
        return found;
    }
    uint32_t node = 0;
    for (size_t i = at; i < text.size(); i++) {
        node = child(node, text[i]);
        if (node == 0) {
            break;
        }
        const Match & match = nodes_[node].match;
        found.longest       = std::max(found.longest, match.longest);
        found.is_single     = found.is_single || match.is_single;
        found.ends_answer   = found.ends_answer || match.ends_answer;
    }
    return found;
}

bool SpecialTexts::ends_with_beginning(std::string_view text) const {
    for (size_t at = text.size() > longest_ ? text.size() - longest_ : 0; at < text.size(); at++) {
        if (!is_first_[static_cast<uint8_t>(text[at])]) {
            continue;
        }
        uint32_t node = 0;
        size_t   i    = at;
        for (; i < text.size() && (node = child(node, text[i])) != 0; i++) {
        }
        if (i == text.size() && nodes_[node].has_children) {
            return true;
        }
    }
    return false;
}

bool SpecialTexts::begins_with_end(std::string_view text) const {
    const std::string beginning = lower(text.substr(0, longest_));
    for (size_t n = 1; n <= beginning.size(); n++) {
        if (ends_.count(beginning.substr(0, n)) != 0) {
            return true;
        }
    }
    return false;
}

bool SpecialTexts::is_inside(std::string_view name) const {
    return name.size() < longest_ && inner_.count(lower(name)) != 0;
}

} // namespace lc
