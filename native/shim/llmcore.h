// The C ABI of libllmcore.so: the functions of llama.cpp that may throw C++ exceptions or abort, and our own code.
//
// Sections, with the files under native/ that implement them:
//   Errors and strings      shim/error.cpp
//   Build and ABI table     shim/build_info.cpp, shim/abi_table.cpp
//   Logs and aborts         shim/abort_guard.cpp
//   Models and contexts     shim/model.cpp
//   Tokenizer               shim/tokenizer.cpp
//   Memory                  shim/memory.cpp
//   Backends                shim/backend.cpp
//   Remote devices          shim/rpc.cpp
//   Sampling                sampling/sampling.cpp
//   Chat templates          chat/chat.cpp
//   Answers of a chat       chat/chat_parser.cpp
//   Kernels                 kernels/backend/c_api.cpp, c_api_test_*.cpp; c_api_none.cpp in builds without kernels
//
// Rules. No exception crosses this boundary. A function that can fail returns an lc_status, a constructor returns NULL; the
// reason is then in lc_last_error() of the calling thread. Strings are UTF-8. A `char ** out` receives a string that the caller
// frees with lc_string_free(). Functions of llama.cpp that cannot throw are not wrapped: llmcore/llama/ffi binds them directly.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "llama.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LC_API __attribute__((visibility("default")))

// --- Errors and strings: shim/error.cpp -------------------------------------------------------------------------------

typedef enum lc_status {
    LC_OK            = 0,
    LC_ERR_INVALID   = 1, // an argument is wrong; lc_last_error() names it
    LC_ERR_NATIVE    = 2, // llama.cpp threw or refused; lc_last_error() has its message
    LC_ERR_NO_MEMORY = 3, // std::bad_alloc
} lc_status;

// Message of the last failure on this thread; "" if there was none. Valid until the next lc_* call on this thread.
LC_API const char * lc_last_error(void);
LC_API void lc_string_free(char * s);

// --- Build and ABI table: shim/build_info.cpp, shim/abi_table.cpp -----------------------------------------------------

// Returns a JSON object: {"llama_cpp": version, "llama_cpp_commit", "compiler", "cpu_build": "native"|"all",
// "blas": {"built": bool, "source": "scipy-openblas32"|"system"|""}, "openblas_config": str}
LC_API const char * lc_build_info(void);

typedef struct lc_abi_entry {
    const char * name;  // "llama_model_params" (its size) or "llama_model_params.n_gpu_layers" (its offset)
    uint64_t     value; // sizeof or offsetof, in bytes
    uint64_t     size;  // sizeof the structure or the field, in bytes
} lc_abi_entry;

// Returns the table with which llmcore/llama/ffi/abi.py checks its structures. It has *n entries and lives as long as the library.
LC_API const lc_abi_entry * lc_abi_table(size_t * n);

// --- Logs and aborts: shim/abort_guard.cpp ----------------------------------------------------------------------------

typedef void (*lc_log_callback)(enum ggml_log_level level, const char * text, void * user);
typedef void (*lc_abort_callback)(const char * message);

// Sets the callback for log lines, and the one for the last message of a process that is about to end: ggml_abort(), or an
// exception that nothing catches. Called once, before any other function.
LC_API void lc_set_callbacks(lc_log_callback log, lc_abort_callback abort);

// A ggml_abort_callback that returns *(const volatile bool *) flag: a step ends early once the flag is set. It needs no
// interpreter lock.
LC_API bool lc_abort_if_set(void * flag);

// --- Models and contexts: shim/model.cpp ------------------------------------------------------------------------------

// Like llama_model_load_from_file() and llama_init_from_model(), but an assertion that fails on this thread, or an exception, is a
// failure. NULL after a failure; lc_last_error() then has llama.cpp's error lines.
LC_API struct llama_model * lc_model_load(const char * path, const struct llama_model_params * params);
LC_API struct llama_context * lc_context_new(struct llama_model * model, const struct llama_context_params * params);

// Frees a context of lc_context_new().
LC_API void lc_context_free(struct llama_context * context);

// Like llama_model_quantize(). Fails at the next tensor once *stop is not 0.
LC_API lc_status lc_quantize(const char * source, const char * target, const struct llama_model_quantize_params * params,
                             const int32_t * stop);

// True if this build's llama.cpp has an architecture of that name (`general.architecture` of a GGUF file).
LC_API bool lc_architecture_known(const char * name);

// Releases this process's pages of a mapped file (an absolute path). The next read maps them again from the page cache.
LC_API lc_status lc_mapping_release(const char * path);

// --- Tokenizer: shim/tokenizer.cpp ------------------------------------------------------------------------------------

// Like llama_tokenize(), llama_detokenize() and llama_token_to_piece(), but they return INT32_MIN after a failure, with the reason
// in lc_last_error(). INT32_MIN with an empty lc_last_error() is llama.cpp's own result for a text that is too long.
LC_API int32_t lc_tokenize(const struct llama_vocab * vocab, const char * text, int32_t size, llama_token * tokens, int32_t n_max,
                           bool add_special, bool parse_special);
LC_API int32_t lc_detokenize(const struct llama_vocab * vocab, const llama_token * tokens, int32_t n_tokens, char * text,
                             int32_t size, bool remove_special, bool unparse_special);
LC_API int32_t lc_token_to_piece(const struct llama_vocab * vocab, llama_token token, char * text, int32_t size, bool special);

// Like lc_tokenize(), but returns 0 tokens after a failure: a callback for libraries that expect no failure.
LC_API int32_t lc_tokenize_or_none(const struct llama_vocab * vocab, const char * text, int32_t size, llama_token * tokens,
                                   int32_t n_max, bool add_special, bool parse_special);

// Returns the number of bytes of the longest token, and sets counted[byte] (of 256) to 1 for each byte that the tokenizer never
// drops. A text with n such bytes has at least n / result tokens. 0 if the tokenizer has no such bound.
LC_API int32_t lc_token_bytes_max(const struct llama_vocab * vocab, uint8_t * counted);

// --- Memory: shim/memory.cpp ------------------------------------------------------------------------------------------

// Bytes of this machine's RAM: not of GPUs, not of other machines.
typedef struct lc_memory_need {
    uint64_t model_bytes;
    uint64_t context_bytes; // KV cells and recurrent state
    uint64_t compute_bytes;
} lc_memory_need;

// Computes the memory that a model and a context with these parameters would allocate, without allocating it.
LC_API lc_status lc_memory_required(const char * path, const struct llama_model_params * mparams,
                                    const struct llama_context_params * cparams, lc_memory_need * out);
// Reads the memory of a live context and its model.
LC_API lc_status lc_memory_used(const struct llama_context * ctx, lc_memory_need * out);

// --- Backends: shim/backend.cpp ---------------------------------------------------------------------------------------

// Loads the loadable backends (the CPU variants of an LLMCORE_CPU=all build) from `dir`. Does nothing in a build with linked
// backends, and from the second call on.
LC_API lc_status lc_backends_load(const char * dir);

// Lets contexts that are created from now on use the BLAS backend, or not. LC_ERR_INVALID if BLAS was not built.
LC_API lc_status lc_blas_enable(bool enabled);
LC_API bool lc_blas_enabled(void);

// Writes a JSON array of the registered backends: {"name", "devices": [{"name", "description", "type"}],
// "features": {"AVX2": "1", ...}}.
LC_API lc_status lc_backends_json(char ** out);

// Returns the free bytes of this machine's GPUs, which models use unless their parameters name other devices; 0 without a GPU.
LC_API uint64_t lc_gpu_free_bytes(void);

// --- Remote devices: shim/rpc.cpp -------------------------------------------------------------------------------------

// Returns the version of the RPC protocol, 256 * major + minor; 0 in a build without RPC.
LC_API int32_t lc_rpc_protocol(void);

// Writes the devices of n servers ("host:port") to `out`, which has room for n_out, with NULL after the last one, as
// llama_model_params.devices expects; and the sum of their free memory. The devices live as long as the process.
// llama.cpp ABORTS THE PROCESS if it cannot connect, or if the server has another version of the protocol: check the server
// first (llmcore/llama/rpc.py). LC_ERR_INVALID in a build without RPC.
LC_API lc_status lc_rpc_devices(size_t n, const char * const * endpoints, void ** out, size_t n_out, uint64_t * free_bytes);

// --- Sampling: sampling/sampling.cpp ----------------------------------------------------------------------------------

typedef struct lc_sampler lc_sampler;

typedef struct lc_sampling_params {
    uint32_t                 seed;
    float                    temperature;    // <= 0: greedy
    float                    dynatemp_range; // 0 = off
    float                    dynatemp_exponent;
    int32_t                  top_k;           // <= 0: off
    float                    top_p;           // >= 1: off
    float                    min_p;           // <= 0: off
    float                    typical_p;       // >= 1: off
    float                    top_n_sigma;     // <= 0: off
    float                    xtc_probability; // <= 0: off
    float                    xtc_threshold;
    float                    repeat_penalty;    // 1: off; over prompt and answer, the last repeat_last_n tokens
    int32_t                  repeat_last_n;     // -1: everything that the context holds
    float                    frequency_penalty; // 0: off; over the answer alone, as OpenAI's
    float                    presence_penalty;  // 0: off; likewise
    float                    dry_multiplier;    // 0: off
    float                    dry_base;
    int32_t                  dry_allowed_length;
    int32_t                  dry_penalty_last_n; // -1: everything that the context holds
    int32_t                  mirostat;           // 0: off, 1, 2
    float                    mirostat_tau;
    float                    mirostat_eta;
    int32_t                  n_ctx; // what -1 above stands for
    int32_t                  n_dry_breakers;
    const char * const *     dry_breakers;
    int32_t                  n_logit_bias;
    const llama_logit_bias * logit_bias;
} lc_sampling_params;

LC_API lc_sampler * lc_sampler_new(const struct llama_model * model, const lc_sampling_params * params);
LC_API void lc_sampler_free(lc_sampler * sampler);
// Restores the state after lc_sampler_new(), with the same seed.
LC_API lc_status lc_sampler_reset(lc_sampler * sampler);
// Adds the prompt's tokens to the histories of the penalties that count the prompt: repeat penalty and DRY.
LC_API lc_status lc_sampler_prime(lc_sampler * sampler, const llama_token * tokens, size_t n_tokens);

// Accepts tokens of the answer that were not sampled, because a constraint left a single choice.
LC_API lc_status lc_sampler_accept(lc_sampler * sampler, const llama_token * tokens, size_t n_tokens);

// Masks and log-probabilities of the n rows of an lc_sample() call.
typedef struct lc_sample_extras {
    const uint32_t * const * masks;        // n masks, or NULL. Bit t % 32 of word t / 32 allows token t; a NULL mask allows all
    size_t                   n_mask_words; // of each mask
    const int32_t *          n_top;        // n numbers of most probable tokens to report, or NULL; below 0: no logprobs at all
    int32_t                  stride;       // greater than every n_top
    // n * stride each: a row's sampled token, then its most probable ones, with their log-probabilities. These are the model's
    // own, of the logits before mask, biases, penalties and temperature.
    llama_token * tokens;
    float *       logprobs;
} lc_sample_extras;

// Results of a row that has no token, besides LLAMA_TOKEN_NULL (-1): the mask or the parameters exclude every token.
#define LC_TOKEN_BAD_LOGITS (-2)    // a logit is NaN or plus infinity

// Samples and accepts one token for each of n rows of the last decode: samplers[i] takes the logits of batch index rows[i].
// `extras` may be NULL. A row without a token gets one of the results above, and its extras are undefined. After a failure all
// results of the call are undefined.
LC_API lc_status lc_sample(struct llama_context * ctx, size_t n, lc_sampler * const * samplers, const int32_t * rows,
                           const lc_sample_extras * extras, llama_token * out);

// Samples and accepts a token from logits in memory (n_vocab floats, not changed): for tests and tools.
LC_API lc_status lc_sample_logits(lc_sampler * sampler, const float * logits, size_t n_vocab, llama_token * out);

// --- Chat templates: chat/chat.cpp ------------------------------------------------------------------------------------

typedef struct lc_chat lc_chat;

// template_override: Jinja source, or NULL for the model's own template. With a source, `model` may be NULL; the template then
// sees no special tokens.
LC_API lc_chat * lc_chat_new(const struct llama_model * model, const char * template_override);
LC_API void lc_chat_free(lc_chat * chat);

// Renders messages to a prompt.
//
// request:  {"messages": [OpenAI messages],
//            "add_generation_prompt": bool?, "continue_final_message": bool?,
//            "tools": [...]?,
//            "held_tools": [...]?  (the same tools with the parameters that the grammar is written from, if these differ),
//            "tool_choice": "auto"|"none"|"required"?,
//            "tool_name": str?  (the tool that must be called),
//            "parallel_tool_calls": bool?, "chat_template_kwargs": {name: JSON value}?,
//            "kept_texts": [...]?  (given: special tokens' texts that the caller wrote stay text, except these in the content of
//                                   assistant messages)}
// response: {"prompt": str,
//            "marked_prompt": str, "mark": str  (the same with marks, for lc_chat_tokenize(); "" if there is nothing to mark),
//            "stops": [...],
//            "preserved": [...]  (special tokens whose text the parser must see),
//            "syntax": str  (for lc_chat_parser_new(); "" if an answer's text is its content),
//            "grammar": str  (how calls are constrained: {"grammar": GBNF, "lazy": bool, "triggers": [...], ...}; "" for none),
//            "thinking_start": str, "thinking_ends": [...]}
LC_API lc_status lc_chat_render(lc_chat * chat, const char * request, char ** out);

// Tokenizes a "marked_prompt" like lc_tokenize() with parse_special. Special tokens' texts that carry the mark become the tokens of
// plain text without it.
LC_API int32_t lc_chat_tokenize(const lc_chat * chat, const char * text, int32_t size, const char * mark, llama_token * tokens,
                                int32_t n_max, bool add_special);

// Describes the template: {"source": Jinja source, "caps": {...}, "explicit": bool, "knows_tools": bool}. "explicit" is false if
// the model has no template and llama-common uses ChatML.
LC_API lc_status lc_chat_describe(lc_chat * chat, char ** out);

// --- Answers of a chat: chat/chat_parser.cpp --------------------------------------------------------------------------

typedef struct lc_chat_parser lc_chat_parser;

LC_API lc_chat_parser * lc_chat_parser_new(const char * syntax);
LC_API void lc_chat_parser_free(lc_chat_parser * parser);

// Parses all of the answer so far: {"content", "reasoning", "calls": [{"id", "name", "arguments"}]}.
// LC_ERR_NATIVE if the answer does not have the template's form.
LC_API lc_status lc_chat_parse(lc_chat_parser * parser, const char * text, bool is_partial, char ** out);

// --- Kernels: kernels/backend/c_api.cpp, c_api_test_attention.cpp, c_api_test_matmul.cpp ------------------------------

// Levels of instruction sets: 0 none, 1 avx2, 2 avxvnni, 3 avx512, 4 amx (native/kernels/isa/isa.h). Builds for other
// architectures than x86-64, or without OpenMP, have none.
LC_API int32_t lc_kernels_best(void); // the highest that runs on this machine
LC_API bool lc_kernels_runs(int32_t level);

// From now on the weights of models that are loaded are packed by n_threads threads, and graphs use the kernels of that level.
// Level 0 ends this; models whose weights are packed stay usable. LC_ERR_INVALID for a level that does not run here.
LC_API lc_status lc_kernels_use(int32_t level, int32_t n_threads);
LC_API int32_t lc_kernels_used(void);

// True if the kernels compute flash attention for these lengths of a head's key and value, and these ggml_types of the cells.
LC_API bool lc_kernels_attends(int64_t k_length, int64_t v_length, int32_t k_type, int32_t v_type);

// Bytes of packed weights of all models in this process.
LC_API uint64_t lc_kernels_packed_bytes(void);

// Bytes of packed weights that were converted back to the file's layout since the process began: in every step for operations that
// the kernels do not compute, and when a model is saved.
LC_API uint64_t lc_kernels_unpacked_bytes(void);

// Measures the time of each operation in all graphs of the backend between the two calls, including waits for other threads:
// {"MUL_MAT 8192x2048 q4_K": {"calls": n, "seconds": s}, "FLASH_ATTN_EXT": ...}.
LC_API void lc_kernels_profile_start(void);
LC_API lc_status lc_kernels_profile_stop(char ** out);

// Computes one GGML_OP_FLASH_ATTN_EXT on arrays, for tests and measurements. k_type and v_type are ggml_types. Arrays are
// contiguous with the last index fastest: q [stream][row][head][dk], k and v [stream][cell][K/V head][dk or dv],
// mask (f16, or NULL) [stream][row][cell], positions of cells (-1: none; NULL: by the mask, or their order) [stream][cell],
// sinks (or NULL) [head], out [stream][row][head][dv]. LC_ERR_INVALID for a level that
// does not run here, and for an operation that the kernels do not compute.
LC_API lc_status lc_kernels_attention(int32_t level, int32_t n_threads, int32_t k_type, int32_t v_type, int64_t dk, int64_t dv,
                                      int64_t n_rows, int64_t n_head, int64_t n_head_kv, int64_t n_cells, int64_t n_streams,
                                      const float * q, const void * k, const void * v, const uint16_t * mask,
                                      const int32_t * positions, const float * sinks, float scale, float max_bias, float soft_cap,
                                      float * out);

// Computes y (n_rows rows of n_cols) = x (n_rows rows of k) times a weight matrix of n_cols rows of k values of the ggml type
// `type`, which is packed first. LC_ERR_INVALID for a level that does not run here, and for a type that is not packed.
LC_API lc_status lc_kernels_matmul(int level, int type, int64_t k, int64_t n_cols, int64_t n_rows, const void * rows,
                                   const float * x, float * y, int n_threads);

// Measures the peak rates of n_threads, about a second each: GB/s of reading memory (0 in builds without kernels), and
// {"fp32": GFLOP/s, "int8": Gop/s, "bf16": GFLOP/s (with AMX only)}; a multiply-add counts as two operations.
LC_API double lc_kernels_bandwidth(int32_t n_threads);
LC_API lc_status lc_kernels_flops(int32_t n_threads, char ** out);

#ifdef __cplusplus
}
#endif
