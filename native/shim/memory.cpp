// Memory of a model and its context: computed before allocating (llama.cpp's no_alloc), or read from a live context.
#include "shim/abort_guard.h"
#include "shim/error.h"

#include "ggml-backend.h"
#include "llama-ext.h"

#include <cstring>
#include <memory>
#include <string>

namespace {

struct ModelDeleter {
    void operator()(llama_model * model) const { llama_model_free(model); }
};

struct ContextDeleter {
    void operator()(llama_context * ctx) const { llama_free(ctx); }
};

// Returns true for memory that is not this machine's RAM: another machine's (rpc.cpp) or a GPU's.
bool is_remote(ggml_backend_buffer_type_t type) {
    ggml_backend_dev_t device = ggml_backend_buft_get_device(type);
    if (device == nullptr) {
        return false;
    }
    const bool is_gpu = ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_GPU && !ggml_backend_buft_is_host(type);
    return is_gpu || std::strncmp(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)), "RPC", 3) == 0;
}

// Returns the sum of the context's buffers in this machine's RAM.
lc_memory_need sum_breakdown(const llama_context * ctx) {
    lc_memory_need need{};
    for (const auto & entry : llama_get_memory_breakdown(ctx)) {
        if (is_remote(entry.first)) {
            continue;
        }
        need.model_bytes += entry.second.model;
        need.context_bytes += entry.second.context;
        need.compute_bytes += entry.second.compute;
    }
    return need;
}

} // namespace

lc_status lc_memory_required(const char * path, const llama_model_params * mparams, const llama_context_params * cparams,
                             lc_memory_need * out) {
    return lc::guard([&] {
        lc::require(path != nullptr, "path: must not be NULL");
        lc::require(mparams != nullptr, "mparams: must not be NULL");
        lc::require(cparams != nullptr, "cparams: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        lc::require(!mparams->vocab_only, "mparams.vocab_only: a vocabulary alone has no context");

        llama_model_params trial          = *mparams;
        trial.no_alloc                    = true;
        trial.load_mode                   = LLAMA_LOAD_MODE_NONE;
        trial.check_tensors               = false; // there is no data to check
        trial.progress_callback           = nullptr;
        trial.progress_callback_user_data = nullptr;

        const lc::AbortGuard                             guard(lc::AbortGuard::LOG_QUIETLY);
        const std::unique_ptr<llama_model, ModelDeleter> model(llama_model_load_from_file(path, trial));
        if (model == nullptr) {
            throw std::runtime_error(guard.reason("the model cannot be loaded"));
        }
        const std::unique_ptr<llama_context, ContextDeleter> ctx(llama_init_from_model(model.get(), *cparams));
        if (ctx == nullptr) {
            throw std::runtime_error(guard.reason("no context can be created for the model"));
        }
        *out = sum_breakdown(ctx.get());
    });
}

lc_status lc_memory_used(const llama_context * ctx, lc_memory_need * out) {
    return lc::guard([&] {
        lc::require(ctx != nullptr, "ctx: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        *out = sum_breakdown(ctx);
    });
}
