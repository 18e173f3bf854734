#include "kernels/isa/simd/avx512.h"

#include "kernels/attention/attention_impl.h"

#include "kernels/attention/attention_blocked_amx.h"

namespace lc::kernels {
namespace {

struct AmxAttention : simd::Avx512 {
    static constexpr int  GATHER_NR  = 4;
    static constexpr int  BLOCKED_NR = 4;
    static constexpr int  SCORES_NR  = 1;
    static constexpr bool HAS_TILES  = true;
};

} // namespace

void attention_amx(const Attention & a, const AttentionIndex & index, const ThreadTeam & team) {
    run_attention<AmxAttention>(a, index, team);
}

} // namespace lc::kernels
