// One attention operation on plain arrays, for tests and measurements. Builds the ggml node that llama.cpp would build.
#include "kernels/attention/attention.h"
#include "kernels/backend/isa_argument.h"
#include "kernels/backend/single_op.h"

#include "shim/error.h"

#include <memory>

namespace {

using lc::kernels::Isa;
using lc::kernels::ThreadTeam;

struct AttentionArrays {
    int64_t          dk, dv, n_rows, n_head, n_head_kv, n_cells, n_streams;
    ggml_type        k_type, v_type;
    const float *    q;
    const void *     k;
    const void *     v;
    const uint16_t * mask;
    const int32_t *  positions;
    const float *    sinks;
    float            scale, max_bias, soft_cap;
    float *          out;
};

// Raises for arguments at which ggml would abort.
void require_valid(const AttentionArrays & a) {
    for (const int64_t n : {a.dk, a.dv, a.n_rows, a.n_head, a.n_head_kv, a.n_cells, a.n_streams}) {
        lc::require(n > 0 && n <= INT32_MAX, "sizes: must be at least 1");
    }
    for (const ggml_type type : {a.k_type, a.v_type}) {
        lc::require(type >= 0 && type < GGML_TYPE_COUNT && ggml_blck_size(type) > 0, "types: no such type");
    }
    lc::require(a.dk % ggml_blck_size(a.k_type) == 0 && a.dv % ggml_blck_size(a.v_type) == 0,
                "sizes: not whole blocks of the type");
    lc::require(a.n_head % a.n_head_kv == 0, "heads: not a multiple of those of K and V");
    lc::require(a.q != nullptr && a.k != nullptr && a.v != nullptr && a.out != nullptr, "arrays: must not be NULL");
    lc::require(a.mask != nullptr || a.max_bias <= 0.0f, "max_bias: needs a mask");
}

ggml_tensor * tensor(ggml_context * ctx, ggml_type type, int64_t n0, int64_t n1, int64_t n2, int64_t n3, const void * data) {
    ggml_tensor * t = ggml_new_tensor_4d(ctx, type, n0, n1, n2, n3);
    t->data         = const_cast<void *>(data);
    return t;
}

// The node as llama.cpp builds it: in memory a cell's heads follow one another.
ggml_tensor * make_node(ggml_context * ctx, const AttentionArrays & a) {
    ggml_tensor * q    = tensor(ctx, GGML_TYPE_F32, a.dk, a.n_head, a.n_rows, a.n_streams, a.q);
    ggml_tensor * k    = tensor(ctx, a.k_type, a.dk, a.n_head_kv, a.n_cells, a.n_streams, a.k);
    ggml_tensor * v    = tensor(ctx, a.v_type, a.dv, a.n_head_kv, a.n_cells, a.n_streams, a.v);
    ggml_tensor * mask = nullptr;
    if (a.mask != nullptr) {
        mask = tensor(ctx, GGML_TYPE_F16, a.n_cells, a.n_rows, 1, a.n_streams, a.mask);
    }
    ggml_tensor * node = ggml_flash_attn_ext(ctx, ggml_permute(ctx, q, 0, 2, 1, 3), ggml_permute(ctx, k, 0, 2, 1, 3),
                                             ggml_permute(ctx, v, 0, 2, 1, 3), mask, a.scale, a.max_bias, a.soft_cap);
    if (a.sinks != nullptr) {
        ggml_flash_attn_ext_add_sinks(node, tensor(ctx, GGML_TYPE_F32, a.n_head, 1, 1, 1, a.sinks));
    }
    node->data = a.out;
    return node;
}

void run(Isa isa, const AttentionArrays & a, int n_threads) {
    const std::unique_ptr<ggml_context, decltype(&ggml_free)> ctx(ggml_init({16 * ggml_tensor_overhead(), nullptr, true}),
                                                                  ggml_free);
    lc::require(ctx != nullptr, "ggml_init failed");
    const ggml_tensor * node = make_node(ctx.get(), a);
    lc::require(lc::kernels::attention_supported(isa, node), "this attention is not computed by the kernels");
    const lc::kernels::AlignedBytes scratch = lc::kernels::aligned_bytes(lc::kernels::attention_scratch(isa, node, n_threads));
    const lc::kernels::AlignedBytes memory  = lc::kernels::aligned_bytes(lc::kernels::attention_index_size(isa, node));
    const auto *                    index   = lc::kernels::attention_index(isa, node, a.positions, memory.get());
    lc::kernels::run_team(n_threads, scratch.get(),
                          [&](const ThreadTeam & team) { lc::kernels::attention(isa, node, *index, team); });
}

} // namespace

lc_status lc_kernels_attention(int32_t level, int32_t n_threads, int32_t k_type, int32_t v_type, int64_t dk, int64_t dv,
                               int64_t n_rows, int64_t n_head, int64_t n_head_kv, int64_t n_cells, int64_t n_streams,
                               const float * q, const void * k, const void * v, const uint16_t * mask, const int32_t * positions,
                               const float * sinks, float scale, float max_bias, float soft_cap, float * out) {
    return lc::guard([&] {
        const Isa isa = lc::kernels::require_isa(level);
        lc::require(isa != Isa::none, "level: must not be 0");
        lc::require(n_threads > 0 && n_threads <= 1024, "n_threads: must be 1 to 1024");
        const AttentionArrays a{dk,
                                dv,
                                n_rows,
                                n_head,
                                n_head_kv,
                                n_cells,
                                n_streams,
                                static_cast<ggml_type>(k_type),
                                static_cast<ggml_type>(v_type),
                                q,
                                k,
                                v,
                                mask,
                                positions,
                                sinks,
                                scale,
                                max_bias,
                                soft_cap,
                                out};
        require_valid(a);
        run(isa, a, n_threads);
    });
}
