// Loading a model, creating a context, quantizing a file. A model file can reach assertions of llama.cpp; here they become failures
// with a message.
#include "shim/abort_guard.h"
#include "shim/error.h"
#include "shim/kv_positions.h"

#include "llama-arch.h"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace {

constexpr const char * NO_REASON = "it gives no reason";

} // namespace

llama_model * lc_model_load(const char * path, const llama_model_params * params) {
    return lc::guard_new([&]() -> llama_model * {
        lc::require(path != nullptr, "path: must not be NULL");
        lc::require(params != nullptr, "params: must not be NULL");
        const lc::AbortGuard guard;
        llama_model *        model = llama_model_load_from_file(path, *params);
        if (model == nullptr) {
            throw std::runtime_error(guard.reason(NO_REASON));
        }
        return model;
    });
}

llama_context * lc_context_new(llama_model * model, const llama_context_params * params) {
    return lc::guard_new([&]() -> llama_context * {
        lc::require(model != nullptr, "model: must not be NULL");
        lc::require(params != nullptr, "params: must not be NULL");
        const lc::AbortGuard guard;
        llama_context *      context = llama_init_from_model(model, *params);
        if (context == nullptr) {
            throw std::runtime_error(guard.reason(NO_REASON));
        }
        lc::add_caches(context);
        return context;
    });
}

void lc_context_free(llama_context * context) {
    if (context != nullptr) {
        lc::remove_caches(context);
        llama_free(context);
    }
}

lc_status lc_quantize(const char * source, const char * target, const llama_model_quantize_params * params, const int32_t * stop) {
    return lc::guard([&] {
        lc::require(source != nullptr && target != nullptr && params != nullptr, "source, target, params: must not be NULL");
        const lc::AbortGuard guard(lc::AbortGuard::LOG, stop);
        if (llama_model_quantize(source, target, params) != 0) {
            throw std::runtime_error(guard.reason(NO_REASON));
        }
    });
}

bool lc_architecture_known(const char * name) {
    bool is_known = false;
    lc::guard([&] { is_known = name != nullptr && llm_arch_from_string(name) != LLM_ARCH_UNKNOWN; });
    return is_known;
}

lc_status lc_mapping_release(const char * path) {
    return lc::guard([&] {
        lc::require(path != nullptr && path[0] == '/', "path: must be absolute");
        const std::string suffix = std::string(" ") + path; // a line of /proc/self/maps ends with the mapped file's path
        std::ifstream     maps("/proc/self/maps");
        for (std::string line; std::getline(maps, line);) {
            if (line.size() < suffix.size() || line.compare(line.size() - suffix.size(), suffix.size(), suffix) != 0) {
                continue;
            }
            uint64_t begin = 0, end = 0;
            if (sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &begin, &end) == 2) {
                // Safe because nothing writes to these pages: the next read maps them again.
                madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
            }
        }
    });
}
