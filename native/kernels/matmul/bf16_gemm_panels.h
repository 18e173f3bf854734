// The panels of weights that a thread multiplies: which, and their way into tiles of bf16.
#pragma once

#include "kernels/matmul/bf16_gemm_plan.h"
#include "kernels/isa/amx_tiles.h"

#include <immintrin.h>

namespace lc::kernels {
namespace {

// A chunk of a panel for the rows of a row block.
struct Panel {
    int64_t row_block;
    int64_t first_group;
    int64_t n_groups;      // 1 or 2
    int64_t block_begin;
    int64_t n_blocks;
    int64_t place;         // which panel of its item
    int64_t n_places;      // panels of the item
    bool    first_chunk;
    bool    last_chunk;
};

class PanelStream {
  public:
    PanelStream(const GemmPlan & p, const Team & team, int counter)
        : p_(p), team_(team), counter_(counter), chunk_(p.n_chunks) {}

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
        out->row_block      = row_block_;
        out->first_group    = 2 * panel;
        out->n_groups       = p_.n_groups - 2 * panel < 2 ? 1 : 2;
        out->block_begin    = begin;
        out->n_blocks       = left < p_.chunk ? left : p_.chunk;
        out->place          = place_;
        out->n_places       = n_places_;
        out->first_chunk    = chunk_ == 0;
        out->last_chunk     = chunk_ + 1 == p_.n_chunks;
        place_++;
        return true;
    }

  private:
    bool take_item() {
        const int64_t item = team_take(team_, counter_, 1);
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
    int              counter_;
    int64_t          row_block_   = 0;
    int64_t          first_panel_ = 0;
    int64_t          n_places_    = 0;
    int64_t          place_       = 0;
    int64_t          chunk_;
};

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

} // namespace
} // namespace lc::kernels
