#include "kernels/weights/packed.h"

#include "kernels/weights/formats.h"

#include <cstring>

namespace lc::kernels {
namespace {

template <class F, class B>
void pack_panel(const void * rows, int64_t k, int64_t first_col, int64_t n_cols, typename F::PackedBlock * panel) {
    using Block                     = typename B::Block;
    constexpr int64_t N             = B::N_COLUMN_BLOCKS;
    const int64_t     n_ggml_blocks = k / BLOCK_K / N;
    std::memset(static_cast<void *>(panel), 0, static_cast<size_t>(n_ggml_blocks * N) * sizeof(*panel));
    for (int64_t i = 0; i < n_ggml_blocks; i++) {
        for (int64_t column = 0; column < PANEL_COLS && first_col + column < n_cols; column++) {
            const Block * row = static_cast<const Block *>(rows) + (first_col + column) * n_ggml_blocks;
            ColumnBlock   blocks[N];
            B::read(row[i], blocks);
            for (int64_t b = 0; b < N; b++) {
                F::pack(blocks[b], column, &panel[i * N + b]);
            }
        }
    }
}

template <class F, class B> void unpack_panel(const typename F::PackedBlock * panel, int64_t k, int64_t n_cols, void * rows) {
    using Block                     = typename B::Block;
    constexpr int64_t N             = B::N_COLUMN_BLOCKS;
    const int64_t     n_ggml_blocks = k / BLOCK_K / N;
    for (int64_t column = 0; column < n_cols; column++) {
        Block * row = static_cast<Block *>(rows) + column * n_ggml_blocks;
        for (int64_t i = 0; i < n_ggml_blocks; i++) {
            ColumnBlock blocks[N] = {};
            for (int64_t b = 0; b < N; b++) {
                F::unpack(panel[i * N + b], column, &blocks[b]);
            }
            B::write(blocks, &row[i]);
        }
    }
}

} // namespace

Format format_of(ggml_type type) {
    Format format = Format::none;
    visit_ggml_type(type, [&](auto traits, auto) { format = traits.FORMAT; });
    return format;
}

int64_t packed_block_bytes(Format format) {
    int64_t bytes = 0;
    visit_format(format, [&](auto traits) { bytes = sizeof(typename decltype(traits)::PackedBlock); });
    return bytes;
}

int64_t packed_bytes(Format format, int64_t k, int64_t n_cols) {
    return panels_of(n_cols) * (k / BLOCK_K) * packed_block_bytes(format);
}

void pack(ggml_type type, const void * rows, int64_t k, int64_t n_cols, int64_t panel_begin, int64_t panel_end, void * packed) {
    const bool is_packed = visit_ggml_type(type, [&](auto traits, auto block) {
        using F    = decltype(traits);
        auto * all = static_cast<typename F::PackedBlock *>(packed);
        for (int64_t panel = panel_begin; panel < panel_end; panel++) {
            pack_panel<F, decltype(block)>(rows, k, panel * PANEL_COLS, n_cols, all + panel * (k / BLOCK_K));
        }
    });
    GGML_ASSERT(is_packed);
}

void unpack(ggml_type type, const void * packed, int64_t k, int64_t n_cols, int64_t panel, void * rows) {
    const int64_t left = n_cols - panel * PANEL_COLS, n = left < PANEL_COLS ? left : PANEL_COLS;
    const bool    is_packed = visit_ggml_type(type, [&](auto traits, auto block) {
        using F          = decltype(traits);
        const auto * all = static_cast<const typename F::PackedBlock *>(packed);
        unpack_panel<F, decltype(block)>(all + panel * (k / BLOCK_K), k, n, rows);
    });
    GGML_ASSERT(is_packed);
}

} // namespace lc::kernels
