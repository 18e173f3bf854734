// gcc 12's own AVX-512 headers use what they call undefined values.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "kernels/matmul/bf16_gemm_amx.h"

#include "kernels/matmul/bf16_gemm_activations.h"
#include "kernels/matmul/bf16_gemm_dequantize.h"
#include "kernels/matmul/bf16_gemm_plan.h"
#include "kernels/matmul/bf16_gemm_strips.h"
#include "kernels/matmul/bf16_microkernel.h"
#include "kernels/weights/formats.h"

namespace lc::kernels {
namespace {

// The team's counters.
constexpr int PACKED_TILES = 0;
constexpr int WORK_ITEMS   = 1;

// The slices of a thread's work items, times the packed activations.
class StripProduct {
public:
    StripProduct(const MatMul & m, const Bf16GemmPlan & p, uint8_t * activations, uint8_t * sums)
        : m_(m), p_(p), activations_(activations), sums_(sums) {}

    // `w`: the slice in bf16. After the last slice of a work item, its rows of y are complete.
    void multiply(const StripSlice & slice, const uint8_t * w, StripDequantizer * next_slice) {
        const int64_t n_tiles = p_.tiles_of(slice.row_block);
        for (int64_t tile = 0; tile < n_tiles; tile += 2) {
            const bool has_two = tile + 1 < n_tiles;
            if (slice.n_panels == 2) {
                has_two ? multiply_pair<2, 2>(slice, tile, w, next_slice) : multiply_pair<1, 2>(slice, tile, w, next_slice);
            } else {
                has_two ? multiply_pair<2, 1>(slice, tile, w, next_slice) : multiply_pair<1, 1>(slice, tile, w, next_slice);
            }
        }
        if (slice.is_last && slice.i_in_item + 1 == slice.n_in_item) {
            put_item(slice);
        }
    }

private:
    uint8_t * sums_of(int64_t i_strip, int64_t tile) const { return sums_ + (i_strip * p_.tile_pairs() + tile / 2) * PAIR_BYTES; }

    template <int N_TILES, int N_PANELS>
    void multiply_pair(const StripSlice & slice, int64_t tile, const uint8_t * w, StripDequantizer * next_slice) {
        uint8_t * sums = sums_of(slice.i_in_item, tile);
        if (slice.is_first) {
            zero_sums<N_TILES, N_PANELS>();
        } else if (!p_.sums_stay()) {
            load_sums<N_TILES, N_PANELS>(sums);
        }
        const uint8_t * x = activation_tile(p_, activations_, slice.row_block, tile, slice.first_block);
        multiply_slice<N_TILES, N_PANELS>(x, w, p_.row_tile_bytes(), slice.n_blocks, sums, next_slice);
        if (slice.is_last || !p_.sums_stay()) {
            store_sums<N_TILES, N_PANELS>(sums);
        }
    }

    // Copies the item's sums to y, row by row through all its strips. `slice`: the item's last.
    void put_item(const StripSlice & slice) {
        const int64_t first = (slice.first_panel / 2 - slice.i_in_item) * 2 * PANEL_COLS;
        const int64_t rows  = p_.rows_of(slice.row_block);
        const int64_t left  = m_.n_cols - first;
        const int64_t cols  = left < slice.n_in_item * 2 * PANEL_COLS ? left : slice.n_in_item * 2 * PANEL_COLS;
        for (int64_t r = 0; r < rows; r++) {
            const int64_t   tile = r / p_.tile_rows;
            const uint8_t * from = sums_of(0, tile) + tile % 2 * 2 * TILE_BYTES + r % p_.tile_rows * 64;
            put_row(from, m_.y + (slice.row_block * p_.block_rows + r) * m_.y_stride + first, cols);
        }
    }

    void put_row(const uint8_t * from, float * y, int64_t cols) const {
        for (int64_t c = 0; c < cols; c += PANEL_COLS) {
            const uint8_t * sums = from + c / (2 * PANEL_COLS) * p_.tile_pairs() * PAIR_BYTES + c / PANEL_COLS % 2 * TILE_BYTES;
            const __mmask16 mask = static_cast<__mmask16>(cols - c < PANEL_COLS ? (1 << (cols - c)) - 1 : 0xFFFF);
            _mm512_mask_storeu_ps(y + c, mask, _mm512_load_ps(sums));
        }
    }

    const MatMul &       m_;
    const Bf16GemmPlan & p_;
    uint8_t *            activations_;
    uint8_t *            sums_;
};

template <class F> __attribute__((noinline)) void block_to_tile(const uint8_t * packed_block, uint8_t * tile) {
    F::template to_bf16<Bf16TileWriter>(*reinterpret_cast<const typename F::PackedBlock *>(packed_block),
                                        reinterpret_cast<__m512i *>(tile));
}

StripDequantizer::BlockToTile block_to_tile_of(Format format) {
    StripDequantizer::BlockToTile function = nullptr;
    visit_format(format, [&](auto traits) { function = block_to_tile<decltype(traits)>; });
    return function;
}

// Multiplies one slice while the next one is dequantized, in two buffers by turns.
void multiply(const MatMul & m, const Bf16GemmPlan & p, const ThreadTeam & team) {
    uint8_t *        mine       = team.scratch + p.activation_bytes() + team.ith * p.thread_bytes();
    uint8_t *        buffers[2] = {mine, mine + p.strip_buffer_bytes()};
    StripSliceQueue  slices(p, team, WORK_ITEMS);
    StripDequantizer dequantizer(block_to_tile_of(m.format), packed_block_bytes(m.format), m.weights, p.n_blocks);
    StripProduct     product(m, p, team.scratch, mine + 2 * p.strip_buffer_bytes());

    StripSlice slice;
    StripSlice next;
    if (!slices.next(&slice)) {
        return;
    }
    dequantizer.begin(slice, buffers[0], 1);
    dequantizer.finish();
    for (int64_t i = 0;; i++) {
        const bool has_next = slices.next(&next);
        if (has_next) {
            dequantizer.begin(next, buffers[(i + 1) % 2], (p.tiles_of(slice.row_block) + 1) / 2 * slice.n_blocks);
        }
        product.multiply(slice, buffers[i % 2], &dequantizer);
        dequantizer.finish();
        if (!has_next) {
            return;
        }
        slice = next;
    }
}

} // namespace

size_t bf16_gemm_scratch(const MatMul & m, int n_threads) {
    const Bf16GemmPlan p = plan_bf16_gemm(m, n_threads);
    return static_cast<size_t>(p.activation_bytes() + n_threads * p.thread_bytes());
}

void bf16_gemm_amx(const MatMul & m, const ThreadTeam & team) {
    const Bf16GemmPlan p = plan_bf16_gemm(m, team.nth);
    pack_activations(m, p, team, PACKED_TILES);
    team_barrier(team);
    const TileSession session(tile_register_rows(p));
    multiply(m, p, team);
}

} // namespace lc::kernels
