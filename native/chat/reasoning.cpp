#include "chat/reasoning.h"

#include <algorithm>

namespace lc {

reasoning_watch::reasoning_watch(std::string start, std::vector<std::string> ends) : start(std::move(start)), ends(std::move(ends)) {
    for (const std::string & end : this->ends) {
        n_longest = std::max(n_longest, end.size());
    }
}

// The first tag in the tail that would change something.
bool reasoning_watch::find_tag(size_t & at, size_t & size) const {
    if (!inside) {
        at   = tail.find(start);
        size = start.size();
        return at != std::string::npos;
    }
    at = std::string::npos;
    for (const std::string & end : ends) {
        const size_t found = tail.find(end);
        if (found < at) {
            at   = found;
            size = end.size();
        }
    }
    return at != std::string::npos;
}

// The last tokens, which hold the last `size` bytes.
std::vector<llama_token> reasoning_watch::tokens(size_t size) const {
    std::vector<llama_token> found;
    size_t n_bytes = 0;
    for (auto each = last.rbegin(); each != last.rend() && n_bytes < size; ++each) {
        n_bytes += each->size;
        found.push_back(each->token);
    }
    std::reverse(found.begin(), found.end());
    return found;
}

std::vector<llama_token> reasoning_watch::accept(llama_token token, const std::string & piece) {
    tail += piece;
    last.push_back({ token, piece.size() });
    std::vector<llama_token> ending;
    size_t at = 0, size = 0;
    while (find_tag(at, size)) {
        if (inside) {
            ending = tokens(tail.size() - at);
        }
        inside = !inside;
        tail.erase(0, at + size);
    }
    forget();
    return ending;
}

void reasoning_watch::forget() {
    const size_t n_kept = (inside ? n_longest : start.size()) - 1;
    if (tail.size() > n_kept) {
        tail.erase(0, tail.size() - n_kept);
    }
    while (last.size() > n_longest) {
        last.pop_front();
    }
}

void reasoning_watch::reset(const std::string & begun) {
    inside = false;
    tail.clear();
    accept(LLAMA_TOKEN_NULL, begun);
    last.clear();
}

} // namespace lc
