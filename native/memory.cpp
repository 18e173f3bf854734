// How much memory a model and its context take: before allocating (llama.cpp's no_alloc), and of a live context.
#include "error.h"

#include "ggml-backend.h"
#include "llama-ext.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

namespace {

// While a trial load runs, llama.cpp's log lines *of that thread* are swallowed, save that its errors become the message
// of the failure. Other threads' lines go where they went before: the log callback is one for the whole process.
class quiet_thread {
  public:
    quiet_thread() : lock_(mutex()) {
        ggml_log_callback callback = nullptr;
        void *            user     = nullptr;
        llama_log_get(&callback, &user);
        next_callback() = callback;
        next_user()     = user;
        errors()        = &text_;
        llama_log_set(on_log, nullptr);
    }

    ~quiet_thread() {
        llama_log_set(next_callback(), next_user());
        errors() = nullptr;
    }

    quiet_thread(const quiet_thread &)             = delete;
    quiet_thread & operator=(const quiet_thread &) = delete;

    // What was logged as an error, or `otherwise`.
    std::string reason(const char * otherwise) const {
        const size_t end = text_.find_last_not_of(" \n");
        return end == std::string::npos ? otherwise : text_.substr(0, end + 1);
    }

  private:
    static std::mutex & mutex() {
        static std::mutex instance;
        return instance;
    }

    static std::atomic<ggml_log_callback> & next_callback() {
        static std::atomic<ggml_log_callback> instance{ nullptr };
        return instance;
    }

    static std::atomic<void *> & next_user() {
        static std::atomic<void *> instance{ nullptr };
        return instance;
    }

    // Where this thread's errors go; NULL on threads that are not quiet.
    static std::string *& errors() {
        static thread_local std::string * instance = nullptr;
        return instance;
    }

    static void on_log(ggml_log_level level, const char * text, void *) {
        if (errors() == nullptr) {
            if (const ggml_log_callback next = next_callback()) {
                next(level, text, next_user());
            }
        } else if (level == GGML_LOG_LEVEL_ERROR) {
            errors()->append(text);
        }
    }

    std::lock_guard<std::mutex> lock_;
    std::string                 text_;
};

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

        const quiet_thread quiet;
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
