// gcc 12's own AVX-512 headers use what they call undefined values.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "gemm_amx.h"

#include "dequant_amx.h"
#include "gemm_plan.h"
#include "tiles.h"

namespace lc::kernels {
namespace {

constexpr int COUNT_PACK = 0;
constexpr int COUNT_ITEM = 1;

// Tile registers: 0-3 sums (row tile 0 times group 0, 1; row tile 1 times group 0, 1), 4-5 activations, 6-7 weights.
TileRows registers(const GemmPlan & p) {
    const uint8_t rows = static_cast<uint8_t>(p.tile_rows);
    return {{rows, rows, rows, rows, rows, rows, 16, 16}};
}

// ---- activations ----

// Where the tile (row tile, block) lies. A pair of row tiles holds, block by block, its two tiles side by side.
uint8_t * activation_tile(const GemmPlan & p, uint8_t * base, int64_t row_block, int64_t tile, int64_t block) {
    const int64_t width = tile / 2 * 2 + 1 < p.tiles_of(row_block) ? 2 : 1;
    uint8_t *     rows  = base + (row_block * p.block_rows + tile / 2 * 2 * p.tile_rows) * p.n_blocks * 64;
    return rows + (block * width + tile % 2) * p.row_tile_bytes();
}

void pack_row(const float * x, int64_t n_blocks, uint8_t * out, int64_t stride) {
    const __m512i order = pack_order();
    for (int64_t b = 0; b < n_blocks; b++) {
        const __m512   low  = _mm512_loadu_ps(x + b * BLOCK);
        const __m512   high = _mm512_loadu_ps(x + b * BLOCK + 16);
        const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(out + b * stride, _mm512_permutexvar_epi16(order, reinterpret_cast<const __m512i &>(both)));
    }
}

void zero_row(int64_t n_blocks, uint8_t * out, int64_t stride) {
    for (int64_t b = 0; b < n_blocks; b++) {
        _mm512_store_si512(out + b * stride, _mm512_setzero_si512());
    }
}

void pack_tiles(const MatMul & m, const GemmPlan & p, uint8_t * base, int64_t row_block, int64_t tile, int64_t block_begin) {
    constexpr int64_t SPAN     = 16;
    const int64_t     left     = p.n_blocks - block_begin;
    const int64_t     n_blocks = left < SPAN ? left : SPAN;
    uint8_t *         out      = activation_tile(p, base, row_block, tile, block_begin);
    const int64_t     stride   = activation_tile(p, base, row_block, tile, block_begin + 1) - out;
    for (int64_t r = 0; r < p.tile_rows; r++) {
        const int64_t row = tile * p.tile_rows + r;
        if (row < p.rows_of(row_block)) {
            pack_row(m.x + (row_block * p.block_rows + row) * m.x_stride + block_begin * BLOCK, n_blocks, out + 64 * r, stride);
        } else {
            zero_row(n_blocks, out + 64 * r, stride);
        }
    }
}

void pack_activations(const MatMul & m, const GemmPlan & p, const Team & team) {
    constexpr int64_t SPAN    = 16;
    const int64_t     n_spans = ceil_div(p.n_blocks, SPAN);
    const int64_t     n_tiles = p.block_rows / p.tile_rows;
    const int64_t     n_units = p.n_row_blocks * n_tiles * n_spans;
    for (int64_t unit = team_take(team, COUNT_PACK, 1); unit < n_units; unit = team_take(team, COUNT_PACK, 1)) {
        const int64_t row_block = unit / n_spans / n_tiles;
        const int64_t tile      = unit / n_spans % n_tiles;
        if (tile < p.tiles_of(row_block)) {
            pack_tiles(m, p, team.scratch, row_block, tile, unit % n_spans * SPAN);
        }
    }
}

// ---- which panel comes next ----

// A chunk of a panel for the rows of a row block.
struct Panel {
    int64_t row_block;
    int64_t first_group;
    int64_t n_groups;      // 1 or 2
    int64_t block_begin;
    int64_t n_blocks;
    int64_t place;         // in the item: which partial sums
    bool    first;         // chunk of k
    bool    last;
};

class PanelStream {
  public:
    PanelStream(const GemmPlan & p, const Team & team) : p_(p), team_(team), chunk_(p.n_chunks) {}

    bool next(Panel * out) {
        if (place_ == n_places_) {
            place_ = 0;
            chunk_++;
            if (chunk_ >= p_.n_chunks && !take_item()) {
                return false;
            }
        }
        const int64_t panel = first_panel_ + place_;
        const int64_t begin = chunk_ * p_.chunk;
        const int64_t left  = p_.n_blocks - begin;
        *out = {row_block_,  2 * panel, p_.n_groups - 2 * panel < 2 ? 1 : 2,     begin, left < p_.chunk ? left : p_.chunk, place_,
                chunk_ == 0, chunk_ + 1 == p_.n_chunks};
        place_++;
        return true;
    }

  private:
    bool take_item() {
        const int64_t item = team_take(team_, COUNT_ITEM, 1);
        if (item >= p_.n_items) {
            n_places_ = 0;
            return false;
        }
        row_block_         = item / p_.items_per_row_block();
        first_panel_       = item % p_.items_per_row_block() * p_.item_panels;
        const int64_t left = p_.n_panels - first_panel_;
        n_places_          = left < p_.item_panels ? left : p_.item_panels;
        chunk_             = 0;
        return true;
    }

    const GemmPlan & p_;
    const Team &     team_;
    int64_t          row_block_   = 0;
    int64_t          first_panel_ = 0;
    int64_t          n_places_    = 0;
    int64_t          place_       = 0;
    int64_t          chunk_;
};

// ---- weights ----

// Dequantizes a panel bit by bit, in between the tile products of the panel before it: the tile unit and the vector units
// then work side by side.
class PanelFeed {
  public:
    using Record = void (*)(const uint8_t * record, uint8_t * tile);

    PanelFeed(Record record, int64_t bytes, const void * weights, int64_t n_blocks)
        : record_(record), bytes_(bytes), weights_(static_cast<const uint8_t *>(weights)), n_blocks_(n_blocks) {}

    // To be done in `steps` calls of step().
    void begin(const Panel & panel, uint8_t * buffer, int64_t steps) {
        for (int64_t g = 0; g < 2; g++) {
            from_[g] = weights_ + ((panel.first_group + g) * n_blocks_ + panel.block_begin) * bytes_;
        }
        to_     = buffer;
        groups_ = panel.n_groups;
        left_   = panel.n_blocks;
        blocks_ = panel.n_blocks;
        steps_  = steps;
        due_    = steps - 1;
    }

    void step() {
        due_ += blocks_;
        while (due_ >= steps_ && left_ > 0) {
            due_ -= steps_;
            block();
        }
    }

    void finish() {
        while (left_ > 0) {
            block();
        }
    }

  private:
    void block() {
        for (int64_t g = 0; g < groups_; g++) {
            record_(from_[g], to_);
            for (int64_t line = 0; line < bytes_; line += 64) {
                _mm_prefetch(reinterpret_cast<const char *>(from_[g] + AHEAD * bytes_ + line), _MM_HINT_T0);
            }
            from_[g] += bytes_;
            to_ += TILE_BYTES;
        }
        left_--;
    }

    static constexpr int64_t AHEAD = 8;

    Record          record_;
    int64_t         bytes_;
    const uint8_t * weights_;
    int64_t         n_blocks_;
    const uint8_t * from_[2] = {};
    uint8_t *       to_      = nullptr;
    int64_t         groups_  = 0;
    int64_t         left_    = 0;
    int64_t         blocks_  = 0;
    int64_t         steps_   = 1;
    int64_t         due_     = 0;
};

// ---- products ----

struct TileSums {
    uint8_t * at;
    int64_t   stride;     // of a row
    int64_t   next_group; // bytes from a tile to the one of the next group
    int64_t   next_tile;  // ... of the next row tile
};

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

template <int TILES, int GROUPS> static inline __attribute__((always_inline)) void load_sums(const TileSums & sums) {
    tile_load<0>(sums.at, sums.stride);
    if constexpr (GROUPS > 1) {
        tile_load<1>(sums.at + sums.next_group, sums.stride);
    }
    if constexpr (TILES > 1) {
        tile_load<2>(sums.at + sums.next_tile, sums.stride);
        if constexpr (GROUPS > 1) {
            tile_load<3>(sums.at + sums.next_tile + sums.next_group, sums.stride);
        }
    }
}

template <int TILES, int GROUPS> static inline __attribute__((always_inline)) void store_sums(const TileSums & sums) {
    tile_store<0>(sums.at, sums.stride);
    if constexpr (GROUPS > 1) {
        tile_store<1>(sums.at + sums.next_group, sums.stride);
    }
    if constexpr (TILES > 1) {
        tile_store<2>(sums.at + sums.next_tile, sums.stride);
        if constexpr (GROUPS > 1) {
            tile_store<3>(sums.at + sums.next_tile + sums.next_group, sums.stride);
        }
    }
}

// One block of k.
template <int TILES, int GROUPS>
static inline __attribute__((always_inline)) void multiply_block(const uint8_t * x, const uint8_t * w, int64_t x_tile) {
    tile_load<6>(w, 64);
    tile_load<4>(x, 64);
    tile_product<0, 4, 6>();
    if constexpr (GROUPS > 1) {
        tile_load<7>(w + TILE_BYTES, 64);
        tile_product<1, 4, 7>();
    }
    if constexpr (TILES > 1) {
        tile_load<5>(x + x_tile, 64);
        tile_product<2, 5, 6>();
        if constexpr (GROUPS > 1) {
            tile_product<3, 5, 7>();
        }
    }
    for (int64_t line = 0; line < TILES * x_tile; line += 64) {
        _mm_prefetch(reinterpret_cast<const char *>(x + 2 * TILES * x_tile + line), _MM_HINT_T0);
    }
}

template <int TILES, int GROUPS>
void multiply_pair(const uint8_t * x, const uint8_t * w, int64_t x_tile, int64_t n_blocks, PanelFeed * feed) {
    for (int64_t b = 0; b < n_blocks; b++) {
        multiply_block<TILES, GROUPS>(x + b * TILES * x_tile, w + b * GROUPS * TILE_BYTES, x_tile);
        feed->step();
    }
}

// Sums of tiles that reach beyond y's rows or columns: only what belongs to y.
void copy_sums(const TileSums & sums, int64_t tile_rows, float * y, int64_t y_stride, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t * row = sums.at + r / tile_rows * sums.next_tile + r % tile_rows * sums.stride;
        for (int64_t c = 0; c < cols; c += GROUP) {
            const __mmask16 mask   = static_cast<__mmask16>(cols - c < GROUP ? (1 << (cols - c)) - 1 : 0xFFFF);
            const __m512    values = _mm512_loadu_ps(row + c / GROUP * sums.next_group);
            _mm512_mask_storeu_ps(y + r * y_stride + c, mask, values);
        }
    }
}

class PanelProduct {
  public:
    PanelProduct(const MatMul & m, const GemmPlan & p, uint8_t * activations, uint8_t * partials)
        : m_(m), p_(p), activations_(activations), partials_(partials) {}

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
    }

  private:
    // Where sums stay between the chunks. With a single pair of row tiles and one panel an item they stay in the registers.
    TileSums partials_of(const Panel & panel, int64_t tile) const {
        return {partials_ + (panel.place * p_.pairs() + tile / 2) * 4 * TILE_BYTES, 64, TILE_BYTES, 2 * TILE_BYTES};
    }

    template <int TILES, int GROUPS> void pair(const Panel & panel, int64_t tile, const uint8_t * w, PanelFeed * feed) {
        const bool     kept = p_.pairs() == 1 && p_.item_panels == 1;
        const TileSums sums = partials_of(panel, tile);
        if (panel.first) {
            zero_sums<TILES, GROUPS>();
        } else if (!kept) {
            load_sums<TILES, GROUPS>(sums);
        }
        const uint8_t * x = activation_tile(p_, activations_, panel.row_block, tile, panel.block_begin);
        multiply_pair<TILES, GROUPS>(x, w, p_.row_tile_bytes(), panel.n_blocks, feed);
        if (panel.last) {
            put<TILES, GROUPS>(panel, tile, sums);
        } else if (!kept) {
            store_sums<TILES, GROUPS>(sums);
        }
    }

    template <int TILES, int GROUPS> void put(const Panel & panel, int64_t tile, const TileSums & sums) {
        const int64_t row  = tile * p_.tile_rows;
        const int64_t col  = panel.first_group * GROUP;
        const int64_t rows = p_.rows_of(panel.row_block) - row;
        const int64_t cols = m_.n_cols - col;
        float *       y    = m_.y + (panel.row_block * p_.block_rows + row) * m_.y_stride + col;
        if (rows >= TILES * p_.tile_rows && cols >= GROUPS * GROUP) {
            const int64_t stride = m_.y_stride * 4;
            store_sums<TILES, GROUPS>({reinterpret_cast<uint8_t *>(y), stride, 64, p_.tile_rows * stride});
            return;
        }
        store_sums<TILES, GROUPS>(sums);
        copy_sums(sums, p_.tile_rows, y, m_.y_stride, rows < TILES * p_.tile_rows ? rows : TILES * p_.tile_rows,
                  cols < GROUPS * GROUP ? cols : GROUPS * GROUP);
    }

    const MatMul &   m_;
    const GemmPlan & p_;
    uint8_t *        activations_;
    uint8_t *        partials_;
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
    PanelStream  stream(p, team);
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
    pack_activations(m, p, team);
    team_barrier(team);
    const TileSession session(registers(p));
    multiply(m, p, team);
}

} // namespace lc::kernels
