#include "kernels/attention/attention.h"

#include "kernels/attention/attention_shape.h"

namespace lc::kernels {
namespace {

// Keys and values are converted once for the lines of a tile. With AMX that is a large part of the work; without, more lines
// gain nothing, and in a causal chunk more cells are closed for some of them.
int64_t tile_lines(Level level) {
    return level == Level::amx ? 256 : 128;
}

} // namespace

bool attention_supported(Level level, const ggml_tensor * node) {
    Attention a;
    return level != Level::none && attention_read(node, 1, tile_lines(level), a);
}

size_t attention_scratch(Level level, const ggml_tensor * node, int n_threads) {
    Attention a;
    return attention_read(node, n_threads, tile_lines(level), a) ? static_cast<size_t>(a.total_bytes) : 0;
}

void attention(Level level, const ggml_tensor * node, const Team & team) {
    Attention a;
    if (!attention_read(node, team.nth, tile_lines(level), a)) {
        return;
    }
    if (level == Level::amx) {
        attention_amx(a, team);
    } else if (level == Level::avx512) {
        attention_avx512(a, team);
    } else if (level != Level::none) {
        attention_avx2(a, team);
    }
}

} // namespace lc::kernels
