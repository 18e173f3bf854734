#include "kernels/attention/attention_index.h"

#include <algorithm>
#include <climits>

namespace lc::kernels {
namespace {

constexpr int32_t MIXED_CELLS = INT32_MIN;
constexpr int32_t NONE        = -1;

// Block numbers between the lowest and the highest position in a buffer, besides those of its length.
constexpr int64_t SPREAD_NUMBERS = 16384;

int32_t lowest_bit(uint64_t bits) {
    return __builtin_ctzll(bits);
}

// Bits first to end - 1; end is at least 1.
uint64_t bits_between(int32_t first, int32_t end) {
    return (~uint64_t{0} << first) & (~uint64_t{0} >> (64 - end));
}

// The part of a block that the current row sees.
struct Piece {
    int32_t   number;
    int32_t   base; // MIXED_CELLS: see `cells`
    uint64_t  visible;
    int32_t * cells; // room for CELLS

    int32_t cell(int32_t place) const { return base == MIXED_CELLS ? cells[place] : base + place; }
};

class IndexBuilder {
public:
    // Without memory, only bytes() may be called.
    IndexBuilder(const Attention & a, uint8_t * memory)
        : a_(a), memory_(memory), n_groups_((a.n_cells + CELLS - 1) / CELLS), n_numbers_(SPREAD_NUMBERS + 4 * n_groups_) {
        const int64_t n_rows = a.n_streams * a.n_rows;
        index_               = take<AttentionIndex>(1);
        blocks_              = take<CellBlock>(a.max_blocks);
        order_               = take<int32_t>(a.max_blocks);
        row_blocks_          = take<RowBlock>(n_rows * a.max_row_blocks);
        row_begins_          = take<int32_t>(n_rows + 1);
        is_biased_           = take<uint8_t>(n_rows);
        positions_           = take<int32_t>(a.n_streams * a.n_cells);
        visible_             = take<uint64_t>(n_groups_);
        breaks_              = take<uint64_t>(n_groups_);
        pieces_              = take<Piece>(a.max_row_blocks);
        cells_               = take<int32_t>(a.max_row_blocks * CELLS);
        ranks_               = take<int32_t>(a.max_blocks);
        piece_of_            = take<int32_t>(n_numbers_);
        newest_of_           = take<int32_t>(n_numbers_);
    }

    int64_t bytes() const { return bytes_; }

    const AttentionIndex * build(const int32_t * positions, MaskReader read_mask) {
        read_mask_ = read_mask;
        if (positions == nullptr) {
            positions = find_positions();
        }
        if (positions == nullptr || !add_rows(positions)) {
            for (int64_t i = 0; i < a_.n_streams * a_.n_cells; i++) {
                positions_[i] = static_cast<int32_t>(i % a_.n_cells);
            }
            add_rows(positions_);
        }
        sort_blocks();
        *index_ = {n_blocks_, blocks_, order_, row_blocks_, row_begins_, is_biased_};
        return index_;
    }

private:
    template <class T> T * take(int64_t n) {
        T * start = memory_ == nullptr ? nullptr : reinterpret_cast<T *>(memory_ + bytes_);
        bytes_ += (n * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
        return start;
    }

    bool read_row(int64_t stream, int64_t row) {
        if (a_.mask == nullptr) {
            for (int64_t g = 0; g < n_groups_; g++) {
                visible_[g] = bits_between(0, static_cast<int32_t>(std::min(CELLS, a_.n_cells - g * CELLS)));
            }
            return false;
        }
        const auto * mask = reinterpret_cast<const uint16_t *>(a_.mask + stream * a_.mask_stream + row * a_.mask_row);
        return read_mask_(mask, a_.n_cells, visible_);
    }

    // Positions of cells that are the tokens of the batch. NULL if they are not.
    const int32_t * find_positions() {
        if (a_.n_cells != a_.n_rows || a_.mask == nullptr) {
            return nullptr;
        }
        for (int64_t i = 0; i < a_.n_streams * a_.n_rows; i++) {
            const int64_t row = i % a_.n_rows;
            read_row(i / a_.n_rows, row);
            const bool follows = row > 0 && (visible_[(row - 1) / CELLS] >> (row - 1) % CELLS & 1) != 0;
            positions_[i]      = follows ? positions_[i - 1] + 1 : 0;
        }
        return positions_;
    }

    // False if a row sees two cells of one position, or there is no room.
    bool add_rows(const int32_t * positions) {
        n_blocks_      = 0;
        row_begins_[0] = 0;
        for (int64_t stream = 0; stream < a_.n_streams; stream++) {
            if (!begin_stream(positions + stream * a_.n_cells)) {
                return false;
            }
            for (int64_t row = 0; row < a_.n_rows; row++) {
                const int64_t i = stream * a_.n_rows + row;
                is_biased_[i]   = read_row(stream, row) ? 1 : 0;
                if (!find_pieces() || !store_row(i)) {
                    return false;
                }
            }
        }
        return true;
    }

    bool begin_stream(const int32_t * positions) {
        position_    = positions;
        int32_t low  = INT32_MAX;
        int32_t high = 0;
        for (int64_t g = 0; g < n_groups_; g++) {
            breaks_[g] = 0;
            for (int64_t c = g * CELLS; c < std::min(a_.n_cells, (g + 1) * CELLS); c++) {
                const int32_t p      = positions[c];
                const bool    breaks = c > g * CELLS && p != positions[c - 1] + 1;
                breaks_[g] |= static_cast<uint64_t>(breaks) << c % CELLS;
                low  = p >= 0 ? std::min(low, p) : low;
                high = std::max(high, p);
            }
        }
        first_number_   = low == INT32_MAX ? 0 : low / static_cast<int32_t>(CELLS);
        const int64_t n = high / CELLS - first_number_ + 1;
        if (n > n_numbers_) {
            return false;
        }
        std::fill_n(piece_of_, n, NONE);
        std::fill_n(newest_of_, n, NONE);
        return true;
    }

    // Divides the visible cells into pieces of blocks, in the order of positions.
    bool find_pieces() {
        n_pieces_ = 0;
        for (int64_t g = 0; g < n_groups_; g++) {
            for (uint64_t rest = visible_[g]; rest != 0;) {
                const int32_t  first = lowest_bit(rest);
                const uint64_t later = first == 63 ? 0 : breaks_[g] & (~uint64_t{0} << (first + 1));
                const uint64_t run   = rest & bits_between(first, later == 0 ? 64 : lowest_bit(later));
                if (!add_run(run, static_cast<int32_t>(g * CELLS), first)) {
                    return false;
                }
                rest &= ~run;
            }
        }
        for (int32_t i = 1; i < n_pieces_; i++) { // mostly in order already
            for (int32_t j = i; j > 0 && pieces_[j - 1].number > pieces_[j].number; j--) {
                std::swap(pieces_[j - 1], pieces_[j]);
            }
        }
        return true;
    }

    // Adds cells whose positions run in parallel. Bit i is cell `cell` + i, bit `first` is the lowest.
    bool add_run(uint64_t run, int32_t cell, int32_t first) {
        if (position_[cell + first] < 0) {
            return false;
        }
        const int32_t position = position_[cell + first] - first; // of bit 0
        const int32_t offset   = position & (CELLS - 1);
        const int32_t number   = (position - offset) / static_cast<int32_t>(CELLS);
        const int32_t base     = cell - offset;
        return add_piece(number, run << offset, base) &&
            (offset == 0 || add_piece(number + 1, run >> (CELLS - offset), base + static_cast<int32_t>(CELLS)));
    }

    bool add_piece(int32_t number, uint64_t visible, int32_t base) {
        if (visible == 0) {
            return true;
        }
        int32_t & at = piece_of_[number - first_number_];
        if (at == NONE || at >= n_pieces_ || pieces_[at].number != number) {
            if (n_pieces_ == a_.max_row_blocks) {
                return false;
            }
            at          = n_pieces_++;
            pieces_[at] = {number, base, visible, cells_ + at * CELLS};
            return true;
        }
        Piece & piece = pieces_[at];
        if ((piece.visible & visible) != 0) {
            return false;
        }
        if (piece.base != base) {
            for (uint64_t bits = piece.base == MIXED_CELLS ? 0 : piece.visible; bits != 0; bits &= bits - 1) {
                piece.cells[lowest_bit(bits)] = piece.base + lowest_bit(bits);
            }
            for (uint64_t bits = visible; bits != 0; bits &= bits - 1) {
                piece.cells[lowest_bit(bits)] = base + lowest_bit(bits);
            }
            piece.base = MIXED_CELLS;
        }
        piece.visible |= visible;
        return true;
    }

    bool store_row(int64_t row) {
        int32_t n = row_begins_[row];
        for (int32_t i = 0; i < n_pieces_; i++) {
            const int32_t block = block_of(pieces_[i]);
            if (block == NONE) {
                return false;
            }
            row_blocks_[n++] = {block, pieces_[i].visible};
        }
        row_begins_[row + 1] = n;
        return true;
    }

    // The block that has the piece's cells; a new one if there is none. NONE if there is no room.
    int32_t block_of(const Piece & piece) {
        int32_t & newest = newest_of_[piece.number - first_number_];
        for (int32_t i = newest; i != NONE; i = blocks_[i].next) {
            if (include(blocks_[i], piece)) {
                return i;
            }
        }
        if (n_blocks_ == a_.max_blocks) {
            return NONE;
        }
        CellBlock & block = blocks_[n_blocks_];
        block.number      = piece.number;
        block.base        = piece.base;
        block.next        = newest;
        block.known       = piece.visible;
        const int32_t any = piece.cell(lowest_bit(piece.visible));
        const int32_t top = static_cast<int32_t>(a_.n_cells) - 1;
        for (int32_t i = 0; i < CELLS; i++) {
            const bool is_known = (piece.visible >> i & 1) != 0;
            block.cell[i] = piece.base == MIXED_CELLS ? (is_known ? piece.cells[i] : any) : std::clamp(piece.base + i, 0, top);
        }
        newest = n_blocks_;
        return n_blocks_++;
    }

    // Adds the piece's cells to the block. False, with nothing done, if the block has other cells at these places.
    static bool include(CellBlock & block, const Piece & piece) {
        if (block.base == piece.base && piece.base != MIXED_CELLS) {
            block.known |= piece.visible;
            return true;
        }
        for (uint64_t bits = piece.visible & block.known; bits != 0; bits &= bits - 1) {
            if (block.cell[lowest_bit(bits)] != piece.cell(lowest_bit(bits))) {
                return false;
            }
        }
        for (uint64_t bits = piece.visible & ~block.known; bits != 0; bits &= bits - 1) {
            block.cell[lowest_bit(bits)] = piece.cell(lowest_bit(bits));
            block.base                   = MIXED_CELLS;
        }
        block.known |= piece.visible;
        return true;
    }

    // Numbers the blocks in the order of positions.
    void sort_blocks() {
        for (int32_t i = 0; i < n_blocks_; i++) {
            order_[i] = i;
        }
        std::sort(order_, order_ + n_blocks_, [this](int32_t a, int32_t b) {
            return blocks_[a].number != blocks_[b].number ? blocks_[a].number < blocks_[b].number : a < b;
        });
        for (int32_t i = 0; i < n_blocks_; i++) {
            ranks_[order_[i]] = i;
        }
        const int32_t n = row_begins_[a_.n_streams * a_.n_rows];
        for (int32_t i = 0; i < n; i++) {
            row_blocks_[i].block = ranks_[row_blocks_[i].block];
        }
    }

    const Attention & a_;
    uint8_t * const   memory_;
    const int64_t     n_groups_;  // of CELLS consecutive cells
    const int64_t     n_numbers_; // length of the tables by block number, which begin with first_number_
    int64_t           bytes_ = 0;
    MaskReader        read_mask_{};

    // The result.
    AttentionIndex * index_;
    CellBlock *      blocks_;
    int32_t *        order_;
    RowBlock *       row_blocks_;
    int32_t *        row_begins_;
    uint8_t *        is_biased_;
    int32_t          n_blocks_ = 0;
    int32_t *        ranks_; // the inverse of order_

    // The current stream.
    const int32_t * position_ = nullptr;
    int32_t *       positions_; // if they are not given
    uint64_t *      breaks_;    // bit i of a group: the position of its cell i does not follow that of cell i - 1
    int32_t         first_number_ = 0;
    int32_t *       newest_of_; // the last block with this number

    // The current row.
    uint64_t * visible_;
    Piece *    pieces_;
    int32_t *  cells_;
    int32_t *  piece_of_; // the piece with this number, if it still has it
    int32_t    n_pieces_ = 0;
};

} // namespace

int64_t attention_index_bytes(const Attention & a) {
    return IndexBuilder(a, nullptr).bytes();
}

const AttentionIndex * make_attention_index(const Attention & a, const int32_t * positions, MaskReader read_mask, uint8_t * memory) {
    return IndexBuilder(a, memory).build(positions, read_mask);
}

} // namespace lc::kernels
