// gcc 12's own AVX-512 headers use what they call undefined values.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "kernels/matmul/bf16_gemm_amx.h"

#include "kernels/matmul/bf16_gemm_dequantize.h"
#include "kernels/matmul/bf16_gemm_activations.h"
#include "kernels/matmul/bf16_gemm_panels.h"
#include "kernels/matmul/bf16_gemm_plan.h"
#include "kernels/isa/amx_tiles.h"

namespace lc::kernels {
namespace {

constexpr int COUNT_PACK = 0;
constexpr int COUNT_ITEM = 1;

// Tile registers: 0-3 sums (row tile 0 times group 0, 1; row tile 1 times group 0, 1), 4-5 activations, 6-7 weights.
TileRows registers(const GemmPlan & p) {
    const uint8_t rows = static_cast<uint8_t>(p.tile_rows);
    return {{rows, rows, rows, rows, rows, rows, 16, 16}};
}

// The sums of a pair of row tiles lie in memory in the order of their registers.
constexpr int64_t PAIR_BYTES = 4 * TILE_BYTES;

template <int TILES, int GROUPS> static inline __attribute__((always_inline)) void zero_sums() {
    tile_zero<0>();
    if constexpr (GROUPS > 1) {
        tile_zero<1>();
    }
    if constexpr (TILES > 1) {
        tile_zero<2>();
        if constexpr (GROUPS > 1) {
            tile_zero<3>();
        }
    }
}

template <int TILES, int GROUPS> static inline __attribute__((always_inline)) void load_sums(uint8_t * sums) {
    tile_load<0>(sums, 64);
    if constexpr (GROUPS > 1) {
        tile_load<1>(sums + TILE_BYTES, 64);
    }
    if constexpr (TILES > 1) {
        tile_load<2>(sums + 2 * TILE_BYTES, 64);
        if constexpr (GROUPS > 1) {
            tile_load<3>(sums + 3 * TILE_BYTES, 64);
        }
    }
}

template <int TILES, int GROUPS> static inline __attribute__((always_inline)) void store_sums(uint8_t * sums) {
    tile_store<0>(sums, 64);
    if constexpr (GROUPS > 1) {
        tile_store<1>(sums + TILE_BYTES, 64);
    }
    if constexpr (TILES > 1) {
        tile_store<2>(sums + 2 * TILE_BYTES, 64);
        if constexpr (GROUPS > 1) {
            tile_store<3>(sums + 3 * TILE_BYTES, 64);
        }
    }
}

// One block of k.
template <int TILES, int GROUPS>
static inline __attribute__((always_inline)) void multiply_block(const uint8_t * x, const uint8_t * w, int64_t x_tile) {
    tile_load<6>(w, 64);
    tile_stream<4>(x, 64);
    tile_product<0, 4, 6>();
    if constexpr (GROUPS > 1) {
        tile_load<7>(w + TILE_BYTES, 64);
        tile_product<1, 4, 7>();
    }
    if constexpr (TILES > 1) {
        tile_stream<5>(x + x_tile, 64);
        tile_product<2, 5, 6>();
        if constexpr (GROUPS > 1) {
            tile_product<3, 5, 7>();
        }
    }
}

// The sums of the next pair are fetched meanwhile, a few lines a block.
template <int TILES, int GROUPS>
void multiply_pair(const uint8_t * x, const uint8_t * w, int64_t x_tile, int64_t n_blocks, const uint8_t * sums,
                   PanelFeed * feed) {
    const int64_t each = ceil_div(PAIR_BYTES, n_blocks * 64) * 64;
    for (int64_t b = 0; b < n_blocks; b++) {
        for (int64_t line = 0; line < each; line += 64) {
            __builtin_prefetch(sums + PAIR_BYTES + b * each + line, 1);
        }
        multiply_block<TILES, GROUPS>(x + b * TILES * x_tile, w + b * GROUPS * TILE_BYTES, x_tile);
        feed->step();
    }
}

class PanelProduct {
  public:
    PanelProduct(const MatMul & m, const GemmPlan & p, uint8_t * activations, uint8_t * sums)
        : m_(m), p_(p), activations_(activations), sums_(sums) {}

    void run(const Panel & panel, const uint8_t * w, PanelFeed * feed) {
        const int64_t n_tiles = p_.tiles_of(panel.row_block);
        for (int64_t tile = 0; tile < n_tiles; tile += 2) {
            const bool two = tile + 1 < n_tiles;
            if (panel.n_groups == 2) {
                two ? pair<2, 2>(panel, tile, w, feed) : pair<1, 2>(panel, tile, w, feed);
            } else {
                two ? pair<2, 1>(panel, tile, w, feed) : pair<1, 1>(panel, tile, w, feed);
            }
        }
        if (panel.last_chunk && panel.place + 1 == panel.n_places) {
            put_item(panel);
        }
    }

  private:
    uint8_t * sums_of(int64_t place, int64_t tile) const { return sums_ + (place * p_.pairs() + tile / 2) * PAIR_BYTES; }

    template <int TILES, int GROUPS> void pair(const Panel & panel, int64_t tile, const uint8_t * w, PanelFeed * feed) {
        uint8_t * sums = sums_of(panel.place, tile);
        if (panel.first_chunk) {
            zero_sums<TILES, GROUPS>();
        } else if (!p_.sums_stay()) {
            load_sums<TILES, GROUPS>(sums);
        }
        const uint8_t * x = activation_tile(p_, activations_, panel.row_block, tile, panel.block_begin);
        multiply_pair<TILES, GROUPS>(x, w, p_.row_tile_bytes(), panel.n_blocks, sums, feed);
        if (panel.last_chunk || !p_.sums_stay()) {
            store_sums<TILES, GROUPS>(sums);
        }
    }

    // From the sums to y, row by row through all panels of the item.
    void put_item(const Panel & panel) {
        const int64_t first = (panel.first_group / 2 - panel.place) * 2 * GROUP;
        const int64_t rows  = p_.rows_of(panel.row_block);
        const int64_t left  = m_.n_cols - first;
        const int64_t cols  = left < panel.n_places * 2 * GROUP ? left : panel.n_places * 2 * GROUP;
        for (int64_t r = 0; r < rows; r++) {
            const int64_t   tile = r / p_.tile_rows;
            const uint8_t * from = sums_of(0, tile) + tile % 2 * 2 * TILE_BYTES + r % p_.tile_rows * 64;
            put_row(from, m_.y + (panel.row_block * p_.block_rows + r) * m_.y_stride + first, cols);
        }
    }

    void put_row(const uint8_t * from, float * y, int64_t cols) const {
        for (int64_t c = 0; c < cols; c += GROUP) {
            const uint8_t * sums = from + c / (2 * GROUP) * p_.pairs() * PAIR_BYTES + c / GROUP % 2 * TILE_BYTES;
            const __mmask16 mask = static_cast<__mmask16>(cols - c < GROUP ? (1 << (cols - c)) - 1 : 0xFFFF);
            _mm512_mask_storeu_ps(y + c, mask, _mm512_load_ps(sums));
        }
    }

    const MatMul &   m_;
    const GemmPlan & p_;
    uint8_t *        activations_;
    uint8_t *        sums_;
};

template <Format F> __attribute__((noinline)) void record_to_tile(const uint8_t * record, uint8_t * tile) {
    dequant_record<F>(record, tile);
}

PanelFeed::Record record_function(Format format) {
    return format == Format::w4 ? record_to_tile<Format::w4> : format == Format::w5 ? record_to_tile<Format::w5>
         : format == Format::w6 ? record_to_tile<Format::w6> : record_to_tile<Format::w8>;
}

void multiply(const MatMul & m, const GemmPlan & p, const Team & team) {
    uint8_t *    mine       = team.scratch + p.activation_bytes() + team.ith * p.thread_bytes();
    uint8_t *    buffers[2] = {mine, mine + p.panel_bytes()};
    PanelStream  stream(p, team, COUNT_ITEM);
    PanelFeed    feed(record_function(m.format), record_bytes(m.format), m.weights, p.n_blocks);
    PanelProduct product(m, p, team.scratch, mine + 2 * p.panel_bytes());

    Panel panel;
    Panel next;
    if (!stream.next(&panel)) {
        return;
    }
    feed.begin(panel, buffers[0], 1);
    feed.finish();
    for (int64_t i = 0;; i++) {
        const bool more = stream.next(&next);
        if (more) {
            feed.begin(next, buffers[(i + 1) % 2], (p.tiles_of(panel.row_block) + 1) / 2 * panel.n_blocks);
        }
        product.run(panel, buffers[i % 2], &feed);
        feed.finish();
        if (!more) {
            return;
        }
        panel = next;
    }
}

} // namespace

size_t gemm_amx_scratch(const MatMul & m, int n_threads) {
    const GemmPlan p = plan_gemm(m, n_threads);
    return static_cast<size_t>(p.activation_bytes() + n_threads * p.thread_bytes());
}

void gemm_amx(const MatMul & m, const Team & team) {
    const GemmPlan p = plan_gemm(m, team.nth);
    pack_activations(m, p, team, COUNT_PACK);
    team_barrier(team);
    const TileSession session(registers(p));
    multiply(m, p, team);
}

} // namespace lc::kernels
