#include "sampling/token_history.h"

#include <algorithm>

namespace lc {

void look_back::add(llama_token token) {
    if (n_last == 0) {
        return;
    }
    if (ring.size() < n_last) {
        ring.push_back(token);
    } else {
        forget(ring[next]);
        ring[next] = token;
        next       = (next + 1) % n_last;
    }
    const auto [place, is_new] = places.try_emplace(token, entries.size());
    if (is_new) {
        entries.push_back({ token, 0 });
    }
    entries[place->second].count++;
}

void look_back::add(const llama_token * tokens, size_t n_tokens) {
    for (size_t i = n_tokens - std::min(n_tokens, n_last); i < n_tokens; i++) {
        add(tokens[i]);
    }
}

void look_back::clear() {
    ring.clear();
    next = 0;
    entries.clear();
    places.clear();
}

void look_back::forget(llama_token token) {
    const auto place = places.find(token);
    entry &    freed = entries[place->second];
    if (--freed.count > 0) {
        return;
    }
    freed                     = entries.back();
    places.at(freed.token)    = place->second;
    entries.pop_back();
    places.erase(place);
}

} // namespace lc
