#include "kernels/isa/simd/avx512.h"

#include "kernels/attention/attention_impl.h"

namespace lc::kernels {
namespace {

struct Avx512Attention : simd::Avx512 {
    static constexpr int  GATHER_NR  = 4;
    static constexpr int  BLOCKED_NR = 4;
    static constexpr bool HAS_TILES  = false;
};

} // namespace

void attention_avx512(const Attention & a, const ThreadTeam & team) {
    run_attention<Avx512Attention>(a, team);
}

} // namespace lc::kernels
