#include "kernels/isa/simd/avx512.h"

#include "kernels/attention/attention_impl.h"

namespace lc::kernels {
namespace {

struct Avx512Attention : simd::Avx512 {
    static constexpr int  GATHER_NR  = 4;
    static constexpr int  BLOCKED_NR = 4;
    static constexpr int  SCORES_NR  = 1;
    static constexpr bool HAS_TILES  = false;
};

} // namespace

void attention_avx512(const Attention & a, const AttentionIndex & index, const ThreadTeam & team) {
    run_attention<Avx512Attention>(a, index, team);
}

bool read_mask_avx512(const uint16_t * mask, int64_t n, uint64_t * visible) {
    return read_mask<Avx512Attention>(mask, n, visible);
}

} // namespace lc::kernels
