// Which cells each row attends to, in the order of positions. Built once for all attention nodes of a graph that have the same mask
// and the same cells.
//
// The cells of a sequence lie anywhere, and elsewhere the next time. Sums over them must not depend on that. So the cells that a row
// sees are grouped into blocks of CELLS consecutive positions, and the place of a cell in its block is its position. Rows whose cells
// at these positions are the same share a block: rows of one sequence, and of sequences with a common prefix.
#pragma once

#include "kernels/attention/attention_shape.h"

namespace lc::kernels {

struct CellBlock {
    int32_t  number;      // positions number * CELLS on
    int32_t  base;        // the cell at place 0, if cells and positions run in parallel (it may not exist); else MIXED_CELLS
    int32_t  next;        // while the index is built: the previous block with this number
    uint64_t known;       // places with a cell that some row sees
    int32_t  cell[CELLS]; // at other places: any cell
};

// A block that a row sees. Bit i of `visible` is the cell at place i.
struct RowBlock {
    int32_t  block;
    uint64_t visible;
};

struct AttentionIndex {
    int32_t           n_blocks;
    const CellBlock * stored;
    const int32_t *   order;      // blocks are numbered by their positions: number -> place in `stored`
    const RowBlock *  row_blocks; // of each row in the order of blocks
    const int32_t *   row_begins; // [n_streams * n_rows + 1]
    const uint8_t *   is_biased;  // [n_streams * n_rows]: some visible cell has a mask value other than 0
};

static inline __attribute__((always_inline)) const CellBlock & block_at(const AttentionIndex & index, int32_t number) {
    return index.stored[index.order[number]];
}

using MaskReader = bool (*)(const uint16_t * mask, int64_t n, uint64_t * visible); // see read_mask_avx2()

// Bytes of the index of a node.
int64_t attention_index_bytes(const Attention & a);

// Builds the index of a node in `memory` (64-byte aligned). positions: [n_streams][n_cells], -1 for a cell that is in no sequence;
// NULL if they are not known. Then, if the cells are the tokens of the batch, a token follows the one before it if it sees it; else
// cells are taken in their order, as they also are if a row sees two cells of one position.
const AttentionIndex * make_attention_index(const Attention & a, const int32_t * positions, MaskReader read_mask, uint8_t * memory);

} // namespace lc::kernels
