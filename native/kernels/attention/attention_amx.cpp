// gcc 12 takes its own header's _mm512_undefined_ps() for a mistake (bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"

#include "kernels/attention/attention_512.h"
#include "kernels/attention/attention_impl.h"
#include "kernels/attention/attention_tiles.h"

namespace lc::kernels {
namespace {

struct Amx : Avx512 {
    static constexpr bool TILES = true;
};

} // namespace

void attention_amx(const Attention & a, const ThreadTeam & team) {
    run_attention<Amx>(a, team);
}

} // namespace lc::kernels
