#include "kernels/isa/simd/avx2.h"

#include "kernels/attention/attention_impl.h"

namespace lc::kernels {
namespace {

struct Avx2Attention : simd::Avx2 {
    static constexpr int  GATHER_NR  = 2;
    static constexpr int  BLOCKED_NR = 3;
    static constexpr int  SCORES_NR  = 1;
    static constexpr bool HAS_TILES  = false;
};

} // namespace

void attention_avx2(const Attention & a, const AttentionIndex & index, const ThreadTeam & team) {
    run_attention<Avx2Attention>(a, index, team);
}

bool read_mask_avx2(const uint16_t * mask, int64_t n, uint64_t * visible) {
    return read_mask<Avx2Attention>(mask, n, visible);
}

} // namespace lc::kernels
