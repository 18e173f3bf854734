#include "attention.h"

#include "attention_shape.h"

namespace lc::kernels {

bool attention_supported(Level level, const ggml_tensor * node) {
    Attention a;
    return level != Level::none && attention_read(node, 1, a);
}

size_t attention_scratch(Level, const ggml_tensor * node, int n_threads) {
    Attention a;
    return attention_read(node, n_threads, a) ? static_cast<size_t>(a.total_bytes) : 0;
}

void attention(Level level, const ggml_tensor * node, const Team & team) {
    Attention a;
    if (!attention_read(node, team.nth, a)) {
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
