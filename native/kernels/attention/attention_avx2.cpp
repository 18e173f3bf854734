#include "kernels/isa/simd/avx2.h"

#include "kernels/attention/attention_impl.h"

namespace lc::kernels {
namespace {

struct Avx2Attention : simd::Avx2 {
    static constexpr int  GATHER_NR  = 2;
    static constexpr int  BLOCKED_NR = 3;
    static constexpr bool HAS_TILES  = false;
};

} // namespace

void attention_avx2(const Attention & a, const ThreadTeam & team) {
    run_attention<Avx2Attention>(a, team);
}

} // namespace lc::kernels
