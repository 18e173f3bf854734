// How much memory a model and its context take: before allocating (llama.cpp's no_alloc), and of a live context.
#include "shim/error.h"
#include "shim/watch.h"

#include "ggml-backend.h"
#include "llama-ext.h"

#include <cstring>
#include <memory>
#include <string>

namespace {

struct model_deleter {
    void operator()(llama_model * model) const { llama_model_free(model); }
};

struct context_deleter {
    void operator()(llama_context * ctx) const { llama_free(ctx); }
};

// Another machine's memory (rpc.cpp), or a GPU's own.
bool is_elsewhere(ggml_backend_buffer_type_t type) {
    ggml_backend_dev_t device = ggml_backend_buft_get_device(type);
    if (device == nullptr) {
        return false;
    }
    const bool is_gpu = ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_GPU && !ggml_backend_buft_is_host(type);
    return is_gpu || std::strncmp(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device)), "RPC", 3) == 0;
}

lc_memory_need sum(const llama_context * ctx) {
    lc_memory_need need{};
    for (const auto & entry : llama_get_memory_breakdown(ctx)) {
        if (is_elsewhere(entry.first)) {
            continue;
        }
        need.model_bytes   += entry.second.model;
        need.context_bytes += entry.second.context;
        need.compute_bytes += entry.second.compute;
    }
    return need;
}

} // namespace

lc_status lc_memory_required(const char * path, const llama_model_params * mparams,
                             const llama_context_params * cparams, lc_memory_need * out) {
    return lc::guard([&] {
        lc::require(path != nullptr, "path: must not be NULL");
        lc::require(mparams != nullptr, "mparams: must not be NULL");
        lc::require(cparams != nullptr, "cparams: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        lc::require(!mparams->vocab_only, "mparams.vocab_only: a vocabulary alone has no context");

        llama_model_params trial           = *mparams;
        trial.no_alloc                     = true;
        trial.load_mode                    = LLAMA_LOAD_MODE_NONE;
        trial.check_tensors                = false;  // there is no data to check
        trial.progress_callback            = nullptr;
        trial.progress_callback_user_data  = nullptr;

        const lc::abort_guard quiet(true);
        const std::unique_ptr<llama_model, model_deleter> model(llama_model_load_from_file(path, trial));
        if (model == nullptr) {
            throw std::runtime_error(quiet.reason("the model cannot be loaded"));
        }
        const std::unique_ptr<llama_context, context_deleter> ctx(llama_init_from_model(model.get(), *cparams));
        if (ctx == nullptr) {
            throw std::runtime_error(quiet.reason("no context can be created for the model"));
        }
        *out = sum(ctx.get());
    });
}

lc_status lc_memory_used(const llama_context * ctx, lc_memory_need * out) {
    return lc::guard([&] {
        lc::require(ctx != nullptr, "ctx: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        *out = sum(ctx);
    });
}
