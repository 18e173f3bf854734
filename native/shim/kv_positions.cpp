#include "shim/kv_positions.h"

#include "llama.h"

// Their types are compared with those in libllama.
#pragma GCC visibility push(default)
#include "llama-kv-cache-dsa.h"
#include "llama-kv-cache-iswa.h"
#include "llama-kv-cache-msa.h"
#include "llama-kv-cache.h"
#include "llama-memory-hybrid-iswa.h"
#include "llama-memory-hybrid.h"
#pragma GCC visibility pop

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace lc {

namespace {

struct Caches {
    std::mutex mutex;
    // By the keys of each layer.
    std::unordered_map<const ggml_tensor *, const llama_kv_cache *> by_storage;
};

Caches & caches() {
    static Caches all;
    return all;
}

// The caches of a context whose cells are the tokens of sequences. Empty for kinds of memory that are not listed here.
std::vector<const llama_kv_cache *> caches_of(const llama_context * context) {
    const llama_memory_i * memory = llama_get_memory(context);
    if (const auto * plain = dynamic_cast<const llama_kv_cache *>(memory)) {
        return {plain};
    }
    if (const auto * windows = dynamic_cast<const llama_kv_cache_iswa *>(memory)) {
        return {windows->get_base(), windows->get_swa()};
    }
    if (const auto * hybrid = dynamic_cast<const llama_memory_hybrid *>(memory)) {
        return {hybrid->get_mem_attn()};
    }
    if (const auto * hybrid = dynamic_cast<const llama_memory_hybrid_iswa *>(memory)) {
        return {hybrid->get_mem_attn()->get_base(), hybrid->get_mem_attn()->get_swa()};
    }
    if (const auto * sparse = dynamic_cast<const llama_kv_cache_dsa *>(memory)) {
        return {sparse->get_mla(), sparse->get_lid()};
    }
    if (const auto * sparse = dynamic_cast<const llama_kv_cache_msa *>(memory)) {
        return {sparse->get_base()};
    }
    return {};
}

// The cells of a stream; NULL if there is no such stream.
const llama_kv_cells * cells_of(const llama_kv_cache & cache, int64_t stream) {
    for (uint32_t slot = 0; slot < cache.get_n_seq_max(); slot++) {
        if (cache.get_stream(static_cast<llama_seq_id>(slot)) == stream) {
            return &cache.get_cells(static_cast<llama_seq_id>(slot));
        }
    }
    return nullptr;
}

} // namespace

void add_caches(const llama_context * context) {
    Caches &                          all = caches();
    const std::lock_guard<std::mutex> lock(all.mutex);
    for (const llama_kv_cache * cache : caches_of(context)) {
        for (const uint32_t layer : cache->get_layer_ids()) {
            all.by_storage[cache->get_k_storage(static_cast<int32_t>(layer))] = cache;
        }
    }
}

void remove_caches(const llama_context * context) {
    Caches &                          all = caches();
    const std::lock_guard<std::mutex> lock(all.mutex);
    for (const llama_kv_cache * cache : caches_of(context)) {
        for (const uint32_t layer : cache->get_layer_ids()) {
            all.by_storage.erase(cache->get_k_storage(static_cast<int32_t>(layer)));
        }
    }
}

bool read_cell_positions(const ggml_tensor * storage, int64_t stream, int64_t n, int32_t * out) {
    const llama_kv_cells * cells = nullptr;
    {
        Caches &                          all = caches();
        const std::lock_guard<std::mutex> lock(all.mutex);
        const auto                        found = all.by_storage.find(storage);
        cells                                   = found == all.by_storage.end() ? nullptr : cells_of(*found->second, stream);
    }
    if (cells == nullptr) {
        return false;
    }
    const int64_t n_known = std::min<int64_t>(n, cells->size());
    for (int64_t i = 0; i < n_known; i++) {
        const auto cell = static_cast<uint32_t>(i);
        out[i]          = cells->is_empty(cell) ? -1 : cells->pos_get(cell);
    }
    std::fill(out + n_known, out + n, -1);
    return true;
}

} // namespace lc
