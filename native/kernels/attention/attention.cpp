#include "kernels/attention/attention.h"

#include "kernels/attention/attention_index.h"

namespace lc::kernels {
namespace {

struct Implementation {
    void (*run)(const Attention & a, const AttentionIndex & index, const ThreadTeam & team);
    MaskReader     read_mask;
    AttentionSizes sizes;
};

// Keys and values are converted once for the lines of a tile. With AMX the conversion is a large part of the work. Without it,
// more lines gain nothing, and in a causal chunk more cells are masked for some of them. Parts are as small as merging them allows.
constexpr Variant<Implementation> VARIANTS[] = {
    {AVX2 | AVX512 | AVX512_BF16 | AMX_BF16, {attention_amx, read_mask_avx512, {256, 8}}},
    {AVX2 | AVX512, {attention_avx512, read_mask_avx512, {128, 4}}},
    {AVX2, {attention_avx2, read_mask_avx2, {128, 4}}},
};

const Implementation & implementation_for(Isa isa) {
    return choose(VARIANTS, isa_features(isa));
}

} // namespace

bool attention_supported(Isa isa, const ggml_tensor * node) {
    Attention a;
    return isa != Isa::none && attention_read(node, 1, implementation_for(isa).sizes, a);
}

size_t attention_scratch(Isa isa, const ggml_tensor * node, int n_threads) {
    Attention a;
    return attention_read(node, n_threads, implementation_for(isa).sizes, a) ? static_cast<size_t>(a.total_bytes) : 0;
}

bool attention_shares_index(const ggml_tensor * node, const ggml_tensor * other) {
    const ggml_tensor * k       = node->src[1];
    const ggml_tensor * k_other = other->src[1];
    return node->src[3] != nullptr && node->src[3] == other->src[3] && node->src[0]->ne[1] == other->src[0]->ne[1] &&
        k->ne[1] == k_other->ne[1] && k->ne[3] == k_other->ne[3] && k->view_offs == k_other->view_offs;
}

size_t attention_index_size(Isa isa, const ggml_tensor * node) {
    Attention a;
    return attention_read(node, 1, implementation_for(isa).sizes, a) ? static_cast<size_t>(attention_index_bytes(a)) : 0;
}

const AttentionIndex * attention_index(Isa isa, const ggml_tensor * node, const int32_t * positions, uint8_t * memory) {
    const Implementation & implementation = implementation_for(isa);
    Attention              a;
    if (!attention_read(node, 1, implementation.sizes, a)) {
        return nullptr;
    }
    return make_attention_index(a, positions, implementation.read_mask, memory);
}

void attention(Isa isa, const ggml_tensor * node, const AttentionIndex & index, const ThreadTeam & team) {
    const Implementation & implementation = implementation_for(isa);
    Attention              a;
    if (isa != Isa::none && attention_read(node, team.nth, implementation.sizes, a)) {
        implementation.run(a, index, team);
    }
}

} // namespace lc::kernels
