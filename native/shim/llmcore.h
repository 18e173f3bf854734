// The shim: everything of llama.cpp that may throw C++ exceptions, behind a flat C ABI.
//
// Rules. No exception crosses this boundary: a function that can fail returns an lc_status (or NULL for a
// constructor) and leaves the reason in lc_last_error() of the calling thread. Strings are UTF-8. A `char **out`
// receives a string that the caller frees with lc_string_free(). Functions that merely return libllama's own plain C
// results are not repeated here: llmcore/ffi.py binds those directly.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "llama.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LC_API __attribute__((visibility("default")))

typedef enum lc_status {
    LC_OK              = 0,
    LC_ERR_INVALID     = 1,  // the caller's argument is wrong; lc_last_error() says which
    LC_ERR_NATIVE      = 2,  // llama.cpp threw or refused; lc_last_error() carries its message
    LC_ERR_NO_MEMORY   = 3,  // std::bad_alloc
} lc_status;

// Message of the last failure on this thread; "" if there was none. Valid until the next lc_* call on this thread.
LC_API const char * lc_last_error(void);
LC_API void         lc_string_free(char * s);

// --- abi.cpp: what the headers of this build say, for the hand-written structures in ffi.py ---------------------------

typedef struct lc_abi_entry {
    const char * name;   // "llama_model_params" (its size) or "llama_model_params.n_gpu_layers" (an offset)
    uint64_t     value;  // sizeof or offsetof, in bytes
    uint64_t     size;   // sizeof the structure or of the field, in bytes
} lc_abi_entry;

// The table has *n entries; it lives as long as the library.
LC_API const lc_abi_entry * lc_abi_table(size_t * n);

// One JSON object: {"llama_cpp": version, "llama_cpp_commit", "compiler", "cpu_build": "native"|"all",
// "blas": {"built": bool, "source": "scipy-openblas32"|"system"|""}, "openblas_config": str}
LC_API const char * lc_build_info(void);

// --- watch.cpp: what llama.cpp says ------------------------------------------------------------------------------------

typedef void (*lc_log_callback)(enum ggml_log_level level, const char * text, void * user);
typedef void (*lc_abort_callback)(const char * message);

// Where log lines go, and the last message of a process that native code ends: an abort, or an exception that nobody catches.
// Before anything else.
LC_API void lc_set_callbacks(lc_log_callback log, lc_abort_callback abort);

// --- loading.cpp: llama.cpp's functions of these names, save that an assertion on this thread, or an exception, is a failure ----

// NULL where it failed: lc_last_error() carries llama.cpp's words.
LC_API struct llama_model *   lc_model_load(const char * path, const struct llama_model_params * params);
LC_API struct llama_context * lc_context_new(struct llama_model * model, const struct llama_context_params * params);

// Like llama_model_quantize(). The work ends with a failure at the next tensor once *stop is not 0.
LC_API lc_status lc_quantize(const char * source, const char * target, const struct llama_model_quantize_params * params,
                             const int32_t * stop);

// Like the function in llama.h. INT32_MIN where it failed, with a reason in lc_last_error(); without a reason there, the text is too long.
LC_API int32_t lc_tokenize(const struct llama_vocab * vocab, const char * text, int32_t size, llama_token * tokens,
                           int32_t n_max, bool add_special, bool parse_special);
// The same for callers who know no failure: no tokens then.
LC_API int32_t lc_tokenize_or_none(const struct llama_vocab * vocab, const char * text, int32_t size, llama_token * tokens,
                                   int32_t n_max, bool add_special, bool parse_special);
LC_API int32_t lc_detokenize(const struct llama_vocab * vocab, const llama_token * tokens, int32_t n_tokens, char * text,
                             int32_t size, bool remove_special, bool unparse_special);
LC_API int32_t lc_token_to_piece(const struct llama_vocab * vocab, llama_token token, char * text, int32_t size, bool special);

// --- backend.cpp: which ggml backends take part ---------------------------------------------------------------------

// Loads the loadable backends (CPU variants of an LLMCORE_CPU=all build) from `dir`; a build with linked backends
// does nothing. Idempotent.
LC_API lc_status lc_backends_load(const char * dir);

// Lets the BLAS backend take part in contexts created from now on, or not. LC_ERR_INVALID if it was not built.
LC_API lc_status lc_blas_enable(bool enabled);
LC_API bool      lc_blas_enabled(void);

// JSON array of {"name", "devices": [{"name", "description", "type"}], "features": {"AVX2": "1", ...}} of the backends
// that take part.
LC_API lc_status lc_backends_json(char ** out);

// Free memory of the GPUs of this machine, which models use unless they are told other devices; 0 without any.
LC_API uint64_t lc_gpu_free_bytes(void);

// Whether libllama of this build knows the value of `general.architecture`.
LC_API bool lc_architecture_known(const char * name);

// How many bytes of a text one token stands for at most, and by `counted` (256 of them) which bytes become tokens at all: a text
// with n of these has at least n / that many tokens. 0 where the tokenizer allows no such bound.
LC_API int32_t lc_token_bytes_max(const struct llama_vocab * vocab, uint8_t * counted);

// What a model with these parameters would allocate of this machine's memory (not of GPUs and of other machines), by loading it
// without allocating (llama.cpp's no_alloc).
typedef struct lc_memory_need {
    uint64_t model_bytes;
    uint64_t context_bytes;   // KV cells and recurrent state
    uint64_t compute_bytes;
} lc_memory_need;

LC_API lc_status lc_memory_required(const char * path, const struct llama_model_params * mparams,
                                    const struct llama_context_params * cparams, lc_memory_need * out);
// The same of a live context.
LC_API lc_status lc_memory_used(const struct llama_context * ctx, lc_memory_need * out);

// Lets go of this process's pages of a mapped file (an absolute path): they come back from the page cache when they are read.
LC_API lc_status lc_mapping_release(const char * path);

// A ggml_abort_callback that returns *(const volatile bool *) flag: a step ends early when the flag is set, and polling it
// needs no interpreter lock. (In backend.cpp.)
LC_API bool lc_abort_if_set(void * flag);

// --- rpc.cpp: machines that compute a part of a model -----------------------------------------------------------------

// The version of the RPC protocol, 256 * major + minor; 0 in a build without it.
LC_API int32_t lc_rpc_protocol(void);

// The devices of n servers ("host:port"), NULL behind the last, for llama_model_params.devices, and the free memory of all of
// them. They live as long as the process. llama.cpp ABORTS THE PROCESS if it cannot connect, or if the server speaks another
// version: look first (llmcore/rpc.py). LC_ERR_INVALID in a build without it.
LC_API lc_status lc_rpc_devices(size_t n, const char * const * endpoints, void ** out, size_t n_out, uint64_t * free_bytes);

// --- sampling.cpp ---------------------------------------------------------------------------------------------------

typedef struct lc_sampler lc_sampler;

typedef struct lc_sampling_params {
    uint32_t seed;
    float    temperature;        // <= 0: greedy
    float    dynatemp_range;     // 0 = off
    float    dynatemp_exponent;
    int32_t  top_k;              // <= 0: off
    float    top_p;              // >= 1: off
    float    min_p;              // <= 0: off
    float    typical_p;          // >= 1: off
    float    top_n_sigma;        // <= 0: off
    float    xtc_probability;    // <= 0: off
    float    xtc_threshold;
    float    repeat_penalty;     // 1: off; over prompt and answer, the last repeat_last_n tokens
    int32_t  repeat_last_n;      // -1: everything that the context holds
    float    frequency_penalty;  // 0: off; over the answer alone, as OpenAI's
    float    presence_penalty;   // 0: off; likewise
    float    dry_multiplier;     // 0: off
    float    dry_base;
    int32_t  dry_allowed_length;
    int32_t  dry_penalty_last_n; // -1: everything that the context holds
    int32_t  mirostat;           // 0: off, 1, 2
    float    mirostat_tau;
    float    mirostat_eta;
    int32_t  n_ctx;              // what -1 above stands for
    int32_t  n_dry_breakers;
    const char * const * dry_breakers;
    int32_t  n_logit_bias;
    const llama_logit_bias * logit_bias;
} lc_sampling_params;

LC_API lc_sampler * lc_sampler_new(const struct llama_model * model, const lc_sampling_params * params);
LC_API void         lc_sampler_free(lc_sampler * sampler);
// Back to the state after lc_sampler_new (seed included).
LC_API lc_status    lc_sampler_reset(lc_sampler * sampler);
// Tells the prompt to the samplers that look back at it (repeat penalty, DRY), and to no other.
LC_API lc_status    lc_sampler_prime(lc_sampler * sampler, const llama_token * tokens, size_t n_tokens);

// Holds the answer to a tool-call grammar: the "grammar" that lc_chat_render() gave. Tokens that it refuses are not drawn.
LC_API lc_status    lc_sampler_set_grammar(lc_sampler * sampler, const struct llama_model * model, const char * grammar);

// Tells tokens of the answer that were not drawn (a constraint left no choice).
LC_API lc_status    lc_sampler_accept(lc_sampler * sampler, const llama_token * tokens, size_t n_tokens);

// What some of the n rows of a draw need besides.
typedef struct lc_sample_extras {
    const uint32_t * const * masks;         // n of them, or NULL: bit t % 32 of word t / 32 allows token t; NULL allows all
    size_t                   n_mask_words;  // of each
    const int32_t *          n_top;         // n of them, or NULL: how many most probable tokens to tell; below 0, nothing
    int32_t                  stride;        // above every n_top
    // n * stride each: a row's drawn token, then its most probable ones, with their log-probabilities. These are the model's
    // own: of the logits before mask, biases, penalties and temperature.
    llama_token * tokens;
    float *       logprobs;
} lc_sample_extras;

// See lc_sample().
#define LC_TOKEN_BAD_LOGITS (-2)
#define LC_TOKEN_GRAMMAR_LIMIT (-3)

// Samples and accepts one token for each of n rows of the last decode: samplers[i] from the logits of batch index
// rows[i]. `extras` may be NULL. A row that has no token to choose (its mask, or odd parameters, leave none) gets
// LLAMA_TOKEN_NULL, one whose logits are no numbers to draw by (NaN, or infinity) LC_TOKEN_BAD_LOGITS, one whose grammar allows too
// many readings to be followed LC_TOKEN_GRAMMAR_LIMIT; nothing else of it is to be used. On failure no token of the call is.
LC_API lc_status lc_sample(struct llama_context * ctx, size_t n, lc_sampler * const * samplers, const int32_t * rows,
                           const lc_sample_extras * extras, llama_token * out);

// The same from logits in memory (n_vocab floats), which are left as they are: for tests and tools.
LC_API lc_status lc_sample_logits(lc_sampler * sampler, const float * logits, size_t n_vocab, llama_token * out);

// --- chat.cpp: llama-common's chat templates ------------------------------------------------------------------------

typedef struct lc_chat lc_chat;

// template_override: Jinja source, or NULL for the model's own. With one, `model` may be NULL: there are no special tokens then.
LC_API lc_chat * lc_chat_new(const struct llama_model * model, const char * template_override);
LC_API void      lc_chat_free(lc_chat * chat);

// request:  {"messages": [OpenAI messages], "add_generation_prompt": bool, "continue_final_message": bool?,
//            "tools": [...]?, "held_tools": [...]? (the same, with the parameters that calls are held to), "tool_choice": "auto"|"none"|"required"?, "tool_name": str? (the one that must be called),
//            "parallel_tool_calls": bool?, "chat_template_kwargs": {name: JSON value}?}
// response: {"prompt", "stops": [...], "preserved": [texts of special tokens that the parser must see],
//            "syntax": str (for lc_chat_parser_new; "" where the answer's text is its content),
//            "grammar": str (for lc_sampler_set_grammar; "" for none), "thinking_start", "thinking_ends": [...],
//            "relaxed": [{"tool": index, "reason": str}] (tools whose parameters are held to being an object alone)}
LC_API lc_status lc_chat_render(lc_chat * chat, const char * request, char ** out);

// {"source": Jinja source, "caps": {...}, "explicit": bool}: explicit is false where the model carries no template and
// llama-common's ChatML stands in.
LC_API lc_status lc_chat_describe(lc_chat * chat, char ** out);

// --- chat_parse.cpp: what a model's answer says ----------------------------------------------------------------------

typedef struct lc_chat_parser lc_chat_parser;

LC_API lc_chat_parser * lc_chat_parser_new(const char * syntax);
LC_API void             lc_chat_parser_free(lc_chat_parser * parser);

// text: all of the answer so far. Response: {"content", "reasoning", "calls": [{"id", "name", "arguments"}]}.
// LC_ERR_NATIVE if the answer does not have the template's form.
LC_API lc_status lc_chat_parse(lc_chat_parser * parser, const char * text, bool is_partial, char ** out);

// --- kernels/: our own ggml backend ---------------------------------------------------------------------------------

// Levels of instruction sets: 0 none, 1 avx2, 2 avxvnni, 3 avx512, 4 amx (native/kernels/isa/isa.h). Builds for other
// architectures than x86-64, or without OpenMP, have none.
LC_API int32_t      lc_kernels_best(void);                     // the highest that runs on this machine
LC_API bool         lc_kernels_runs(int32_t level);

// From now on models that are loaded have their weights packed by n_threads threads, and graphs use the kernels of that level;
// 0: no longer. Models that were packed stay usable. LC_ERR_INVALID for a level that does not run here.
LC_API lc_status lc_kernels_use(int32_t level, int32_t n_threads);
LC_API int32_t   lc_kernels_used(void);

// Whether flash attention over cells of these lengths (of a head's key and value) and ggml_types is computed by the kernels.
LC_API bool      lc_kernels_attends(int64_t k_length, int64_t v_length, int32_t k_type, int32_t v_type);

// Bytes of packed weights of all models in this process.
LC_API uint64_t  lc_kernels_packed_bytes(void);

// Bytes of packed weights that were read back in the file's layout since the process began: for operations that the kernels do not
// compute, in every step, and for models that are saved.
LC_API uint64_t  lc_kernels_unpacked_bytes(void);

// Time by operation of all graphs of the backend between the two calls, waiting for other threads included:
// {"MUL_MAT 8192x2048 q4_K": {"calls": n, "seconds": s}, "FLASH_ATTN_EXT": ...}.
LC_API void      lc_kernels_profile_start(void);
LC_API lc_status lc_kernels_profile_stop(char ** out);

// One GGML_OP_FLASH_ATTN_EXT on arrays, for tests and measurements. k_type and v_type: ggml's. Arrays are contiguous, the last
// index the fastest: q [stream][row][head][dk], k and v [stream][cell][K/V head][dk or dv], mask (f16, or NULL)
// [stream][row][cell], sinks (or NULL) [head], out [stream][row][head][dv]. LC_ERR_INVALID for a level that does not run here
// and for what the kernels do not compute.
LC_API lc_status lc_kernels_attention(int32_t level, int32_t n_threads, int32_t k_type, int32_t v_type, int64_t dk, int64_t dv,
                                      int64_t n_rows, int64_t n_head, int64_t n_head_kv, int64_t n_cells, int64_t n_streams,
                                      const float * q, const void * k, const void * v, const uint16_t * mask,
                                      const float * sinks, float scale, float max_bias, float soft_cap, float * out);

// y (n_rows rows of n_cols) = x (n_rows rows of k) times a weight matrix of n_cols rows of k values of the ggml type
// `type`, packed first. level: 1 avx2, 2 avxvnni, 3 avx512, 4 amx. LC_ERR_INVALID for a level that does not run here and
// for types that are not packed.
LC_API lc_status lc_kernels_matmul(int level, int type, int64_t k, int64_t n_cols, int64_t n_rows, const void * rows,
                                   const float * x, float * y, int n_threads);

// What n_threads do at most, measured in about a second each: GB/s of reading memory (0 where there are no kernels), and
// {"fp32": GFLOP/s, "int8": Gop/s, "bf16": GFLOP/s (with AMX only)}, a product and a sum counted as two.
LC_API double    lc_kernels_bandwidth(int32_t n_threads);
LC_API lc_status lc_kernels_flops(int32_t n_threads, char ** out);

#ifdef __cplusplus
}
#endif
