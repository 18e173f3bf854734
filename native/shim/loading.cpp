// Loading a model, creating a context, and text to tokens and back: llama.cpp's own functions, whose assertions a file can reach.
// They are failures with a message here.
#include "shim/error.h"
#include "shim/watch.h"

#include <climits>

namespace {

// A count or, where it failed, INT32_MIN with the reason in lc_last_error().
template <typename Body> int32_t counted(Body && body) noexcept {
    lc::clear_error();
    int32_t n = INT32_MIN;
    lc::guard([&] {
        const lc::abort_guard guard;
        n = body();
    });
    return n;
}

} // namespace

llama_model * lc_model_load(const char * path, const llama_model_params * params) {
    return lc::guard_new([&]() -> llama_model * {
        lc::require(path != nullptr, "path: must not be NULL");
        lc::require(params != nullptr, "params: must not be NULL");
        const lc::abort_guard guard;
        llama_model *         model = llama_model_load_from_file(path, *params);
        if (model == nullptr) {
            throw std::runtime_error(guard.reason("it gives no reason"));
        }
        return model;
    });
}

llama_context * lc_context_new(llama_model * model, const llama_context_params * params) {
    return lc::guard_new([&]() -> llama_context * {
        lc::require(model != nullptr, "model: must not be NULL");
        lc::require(params != nullptr, "params: must not be NULL");
        const lc::abort_guard guard;
        llama_context *       context = llama_init_from_model(model, *params);
        if (context == nullptr) {
            throw std::runtime_error(guard.reason("it gives no reason"));
        }
        return context;
    });
}

lc_status lc_quantize(const char * source, const char * target, const llama_model_quantize_params * params,
                      const int32_t * stop) {
    return lc::guard([&] {
        lc::require(source != nullptr && target != nullptr && params != nullptr, "source, target, params: must not be NULL");
        const lc::abort_guard guard(false, stop);
        if (llama_model_quantize(source, target, params) != 0) {
            throw std::runtime_error(guard.reason("it gives no reason"));
        }
    });
}

int32_t lc_tokenize(const llama_vocab * vocab, const char * text, int32_t size, llama_token * tokens, int32_t n_max,
                    bool add_special, bool parse_special) {
    return counted([&] { return llama_tokenize(vocab, text, size, tokens, n_max, add_special, parse_special); });
}

int32_t lc_tokenize_or_none(const llama_vocab * vocab, const char * text, int32_t size, llama_token * tokens, int32_t n_max,
                            bool add_special, bool parse_special) {
    const int32_t n = lc_tokenize(vocab, text, size, tokens, n_max, add_special, parse_special);
    return n == INT32_MIN ? 0 : n;
}

int32_t lc_detokenize(const llama_vocab * vocab, const llama_token * tokens, int32_t n_tokens, char * text, int32_t size,
                      bool remove_special, bool unparse_special) {
    return counted(
        [&] { return llama_detokenize(vocab, tokens, n_tokens, text, size, remove_special, unparse_special); });
}

int32_t lc_token_to_piece(const llama_vocab * vocab, llama_token token, char * text, int32_t size, bool special) {
    return counted([&] { return llama_token_to_piece(vocab, token, text, size, 0, special); });
}
