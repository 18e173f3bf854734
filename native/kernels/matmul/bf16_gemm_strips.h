// The slices of strips that a thread multiplies: their order, and their dequantization to tiles of bf16.
#pragma once

#include "kernels/isa/amx_tiles.h"
#include "kernels/matmul/bf16_gemm_plan.h"

namespace lc::kernels {
namespace {

// One slice of k of a strip, for the rows of a row block.
struct StripSlice {
    int64_t row_block;
    int64_t first_panel;
    int64_t n_panels;    // 1 or 2
    int64_t first_block; // of k
    int64_t n_blocks;
    int64_t i_in_item; // number of the strip within its work item
    int64_t n_in_item; // strips of the work item
    bool    is_first;  // slice of its strip
    bool    is_last;
};

// Takes work items from the team's counter and lists their slices: slice by slice of k, in each all strips of the item.
class StripSliceQueue {
public:
    StripSliceQueue(const Bf16GemmPlan & p, const ThreadTeam & team, int counter)
        : p_(p), team_(team), counter_(counter), slice_(p.n_slices) {}

    // Returns false when all work items are taken.
    bool next(StripSlice * out) {
        if (i_strip_ == n_strips_) {
            i_strip_ = 0;
            slice_++;
            if (slice_ >= p_.n_slices && !take_item()) {
                return false;
            }
        }
        const int64_t first_panel = 2 * (first_strip_ + i_strip_);
        const int64_t first_block = slice_ * p_.slice_blocks;
        const int64_t left        = p_.n_blocks - first_block;
        out->row_block            = row_block_;
        out->first_panel          = first_panel;
        out->n_panels             = p_.n_panels - first_panel < 2 ? 1 : 2;
        out->first_block          = first_block;
        out->n_blocks             = left < p_.slice_blocks ? left : p_.slice_blocks;
        out->i_in_item            = i_strip_;
        out->n_in_item            = n_strips_;
        out->is_first             = slice_ == 0;
        out->is_last              = slice_ + 1 == p_.n_slices;
        i_strip_++;
        return true;
    }

private:
    bool take_item() {
        const int64_t item = team_take(team_, counter_, 1);
        if (item >= p_.n_items) {
            n_strips_ = 0;
            return false;
        }
        row_block_         = item / p_.items_per_row_block();
        first_strip_       = item % p_.items_per_row_block() * p_.item_strips;
        const int64_t left = p_.n_strips - first_strip_;
        n_strips_          = left < p_.item_strips ? left : p_.item_strips;
        slice_             = 0;
        return true;
    }

    const Bf16GemmPlan & p_;
    const ThreadTeam &   team_;
    int                  counter_;
    int64_t              row_block_   = 0;
    int64_t              first_strip_ = 0;
    int64_t              n_strips_    = 0;
    int64_t              i_strip_     = 0;
    int64_t              slice_;
};

// Dequantizes a slice in small steps, between the tile products of the slice before it: so the vector units work while the tile
// unit does. Both panels' tiles of a block lie side by side in the buffer.
class StripDequantizer {
public:
    using BlockToTile = void (*)(const uint8_t * packed_block, uint8_t * tile);

    StripDequantizer(BlockToTile to_tile, int64_t block_bytes, const void * weights, int64_t n_blocks)
        : to_tile_(to_tile), block_bytes_(block_bytes), weights_(static_cast<const uint8_t *>(weights)), n_blocks_(n_blocks) {}

    // The slice will be complete after `n_steps` calls of step(), or after finish().
    void begin(const StripSlice & slice, uint8_t * buffer, int64_t n_steps) {
        for (int64_t i = 0; i < 2; i++) {
            from_[i] = weights_ + ((slice.first_panel + i) * n_blocks_ + slice.first_block) * block_bytes_;
        }
        to_           = buffer;
        n_panels_     = slice.n_panels;
        n_left_       = slice.n_blocks;
        slice_blocks_ = slice.n_blocks;
        n_steps_      = n_steps;
        due_          = n_steps - 1;
    }

    // Bresenham's way of spreading slice_blocks_ blocks evenly over n_steps_ calls.
    void step() {
        due_ += slice_blocks_;
        while (due_ >= n_steps_ && n_left_ > 0) {
            due_ -= n_steps_;
            dequantize_block();
        }
    }

    void finish() {
        while (n_left_ > 0) {
            dequantize_block();
        }
    }

private:
    void dequantize_block() {
        for (int64_t i = 0; i < n_panels_; i++) {
            to_tile_(from_[i], to_);
            for (int64_t line = 0; line < block_bytes_; line += 64) {
                __builtin_prefetch(from_[i] + BLOCKS_AHEAD * block_bytes_ + line);
            }
            from_[i] += block_bytes_;
            to_ += TILE_BYTES;
        }
        n_left_--;
    }

    static constexpr int64_t BLOCKS_AHEAD = 8; // that weights are prefetched

    BlockToTile     to_tile_;
    int64_t         block_bytes_;
    const uint8_t * weights_;
    int64_t         n_blocks_;
    const uint8_t * from_[2]      = {};
    uint8_t *       to_           = nullptr;
    int64_t         n_panels_     = 0;
    int64_t         n_left_       = 0;
    int64_t         slice_blocks_ = 0;
    int64_t         n_steps_      = 1;
    int64_t         due_          = 0;
};

} // namespace
} // namespace lc::kernels
