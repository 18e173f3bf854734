// Sizes and offsets of the structures that cross the C boundary, as the compiler of this build sees them.
//
// llmcore/llama/ffi/structures.py declares the same structures by hand; abi.py beside it compares them with this table when the
// library is loaded. Each structure here has a class there.
#include "shim/llmcore.h"

#include <cstddef>

#define SIZE_OF(type) {#type, sizeof(type), sizeof(type)}
#define FIELD_OF(type, field) {#type "." #field, offsetof(type, field), sizeof(type::field)}

static const lc_abi_entry abi_table[] = {
#define S(field) FIELD_OF(llama_model_params, field)
    SIZE_OF(llama_model_params),
    S(devices),
    S(tensor_buft_overrides),
    S(n_gpu_layers),
    S(split_mode),
    S(load_mode),
    S(lazy_mode),
    S(main_gpu),
    S(tensor_split),
    S(progress_callback),
    S(progress_callback_user_data),
    S(kv_overrides),
    S(vocab_only),
    S(check_tensors),
    S(use_extra_bufts),
    S(no_host),
    S(no_alloc),
    S(load_mtp),
#undef S

#define S(field) FIELD_OF(llama_context_params, field)
    SIZE_OF(llama_context_params),
    S(n_ctx),
    S(n_batch),
    S(n_ubatch),
    S(n_seq_max),
    S(n_rs_seq),
    S(n_outputs_max),
    S(n_outputs_max_per_seq),
    S(n_threads),
    S(n_threads_batch),
    S(ctx_type),
    S(rope_scaling_type),
    S(pooling_type),
    S(attention_type),
    S(flash_attn_type),
    S(rope_freq_base),
    S(rope_freq_scale),
    S(yarn_ext_factor),
    S(yarn_attn_factor),
    S(yarn_beta_fast),
    S(yarn_beta_slow),
    S(yarn_orig_ctx),
    S(defrag_thold),
    S(cb_eval),
    S(cb_eval_user_data),
    S(type_k),
    S(type_v),
    S(abort_callback),
    S(abort_callback_data),
    S(embeddings),
    S(offload_kqv),
    S(no_perf),
    S(op_offload),
    S(swa_full),
    S(kv_unified),
    S(samplers),
    S(n_samplers),
    S(ctx_other),
#undef S

#define S(field) FIELD_OF(llama_batch, field)
    SIZE_OF(llama_batch),
    S(n_tokens),
    S(token),
    S(embd),
    S(pos),
    S(n_seq_id),
    S(seq_id),
    S(logits),
#undef S

#define S(field) FIELD_OF(llama_logit_bias, field)
    SIZE_OF(llama_logit_bias),
    S(token),
    S(bias),
#undef S

#define S(field) FIELD_OF(llama_model_kv_override, field)
    SIZE_OF(llama_model_kv_override),
    S(tag),
    S(key),
    S(val_i64),
    S(val_f64),
    S(val_bool),
    S(val_str),
#undef S

#define S(field) FIELD_OF(llama_model_quantize_params, field)
    SIZE_OF(llama_model_quantize_params),
    S(nthread),
    S(ftype),
    S(output_tensor_type),
    S(token_embedding_type),
    S(allow_requantize),
    S(quantize_output_tensor),
    S(only_copy),
    S(pure),
    S(keep_split),
    S(dry_run),
    S(imatrix),
    S(kv_overrides),
    S(tt_overrides),
    S(prune_layers),
    S(max_buf_size),
#undef S

#define S(field) FIELD_OF(lc_abi_entry, field)
    SIZE_OF(lc_abi_entry),
    S(name),
    S(value),
    S(size),
#undef S

#define S(field) FIELD_OF(lc_memory_need, field)
    SIZE_OF(lc_memory_need),
    S(model_bytes),
    S(context_bytes),
    S(compute_bytes),
#undef S

#define S(field) FIELD_OF(lc_sample_extras, field)
    SIZE_OF(lc_sample_extras),
    S(masks),
    S(n_mask_words),
    S(n_top),
    S(stride),
    S(tokens),
    S(logprobs),
#undef S

#define S(field) FIELD_OF(lc_sampling_params, field)
    SIZE_OF(lc_sampling_params),
    S(seed),
    S(temperature),
    S(dynatemp_range),
    S(dynatemp_exponent),
    S(top_k),
    S(top_p),
    S(min_p),
    S(typical_p),
    S(top_n_sigma),
    S(xtc_probability),
    S(xtc_threshold),
    S(repeat_penalty),
    S(repeat_last_n),
    S(frequency_penalty),
    S(presence_penalty),
    S(dry_multiplier),
    S(dry_base),
    S(dry_allowed_length),
    S(dry_penalty_last_n),
    S(mirostat),
    S(mirostat_tau),
    S(mirostat_eta),
    S(n_ctx),
    S(n_dry_breakers),
    S(dry_breakers),
    S(n_logit_bias),
    S(logit_bias),
#undef S
};

const lc_abi_entry * lc_abi_table(size_t * n) {
    if (n != nullptr) {
        *n = sizeof(abi_table) / sizeof(abi_table[0]);
    }
    return abi_table;
}
