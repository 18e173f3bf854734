// The last tokens of a sequence, counted: what a penalty goes by.
#pragma once

#include "llama.h"

#include <cstddef>
#include <unordered_map>
#include <vector>

namespace lc {

// How far a penalty looks back whose parameter is `last_n` (-1: the context): never beyond the context, so that no number can
// make it allocate without bound.
inline size_t n_look_back(int32_t last_n, int32_t n_ctx) {
    return static_cast<size_t>(last_n < 0 || last_n > n_ctx ? n_ctx : last_n);
}

class look_back {
  public:
    struct entry {
        llama_token token;
        int32_t     count;
    };

    // Over the last `n_last` tokens; 0 counts none.
    explicit look_back(size_t n_last) : n_last(n_last) {}

    void add(llama_token token);
    void add(const llama_token * tokens, size_t n_tokens);
    void clear();

    // The different tokens, in no order.
    const std::vector<entry> & counts() const { return entries; }

  private:
    const size_t             n_last;
    std::vector<llama_token> ring;      // grows to n_last, then wraps around: most sequences stay far below their limit
    size_t                   next = 0;  // where the oldest lies, once it is full
    std::vector<entry>       entries;
    std::unordered_map<llama_token, size_t> places;  // where in `entries` a token stands

    void forget(llama_token token);
};

} // namespace lc
