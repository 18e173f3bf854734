#include "kernels/attention/attention.h"

#include "kernels/attention/attention_shape.h"

namespace lc::kernels {
namespace {

struct Implementation {
    void (*run)(const Attention & a, const ThreadTeam & team);
    int64_t tile_lines; // of a tile and one head of K and V
};

// Keys and values are converted once for the lines of a tile. With AMX the conversion is a large part of the work. Without it,
// more lines gain nothing, and in a causal chunk more cells are masked for some of them.
constexpr Variant<Implementation> VARIANTS[] = {
    {AVX2 | AVX512 | AVX512_BF16 | AMX_BF16, {attention_amx, 256}},
    {AVX2 | AVX512, {attention_avx512, 128}},
    {AVX2, {attention_avx2, 128}},
};

const Implementation & implementation_for(Isa isa) {
    return choose(VARIANTS, isa_features(isa));
}

} // namespace

bool attention_supported(Isa isa, const ggml_tensor * node) {
    Attention a;
    return isa != Isa::none && attention_read(node, 1, implementation_for(isa).tile_lines, a);
}

size_t attention_scratch(Isa isa, const ggml_tensor * node, int n_threads) {
    Attention a;
    return attention_read(node, n_threads, implementation_for(isa).tile_lines, a) ? static_cast<size_t>(a.total_bytes) : 0;
}

void attention(Isa isa, const ggml_tensor * node, const ThreadTeam & team) {
    const Implementation & implementation = implementation_for(isa);
    Attention              a;
    if (isa != Isa::none && attention_read(node, team.nth, implementation.tile_lines, a)) {
        implementation.run(a, team);
    }
}

} // namespace lc::kernels
