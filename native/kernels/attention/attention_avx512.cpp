// gcc 12 takes its own header's _mm512_undefined_ps() for a mistake (bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/attention/attention_512.h"
#include "kernels/attention/attention_impl.h"

namespace lc::kernels {

void attention_avx512(const Attention & a, const ThreadTeam & team) {
    run_attention<Avx512>(a, team);
}

} // namespace lc::kernels
