#include "kernels/peak/peak.h"
#include "kernels/isa/amx_tiles.h"

namespace lc::kernels {

int64_t peak_bf16_amx(int64_t rounds, float * sink) {
    alignas(64) float tile[256] = {};
    const TileSession session(TileRows{{16, 16, 16, 16, 16, 16, 16, 16}});
    tile_load<4>(tile, 64);
    tile_load<5>(tile, 64);
    tile_load<6>(tile, 64);
    tile_load<7>(tile, 64);
    for (int64_t i = 0; i < rounds * 20; i++) {
        tile_product<0, 4, 6>();
        tile_product<1, 4, 7>();
        tile_product<2, 5, 6>();
        tile_product<3, 5, 7>();
    }
    tile_store<0>(tile, 64);
    *sink += tile[0];
    return rounds * 20 * 4 * 16 * 16 * 32 * 2;
}

} // namespace lc::kernels
