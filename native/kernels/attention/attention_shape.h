// One FLASH_ATTN_EXT node as plain data, and the division of its work and of the shared scratch.
//
// Words
//   line    one query head of one row. The `group` query heads that share a head of K and V are its lines.
//   tile    up to tile_rows consecutive rows of one stream
//   block   the cells of CELLS consecutive positions of a sequence (attention_index.h). For a row, the mask makes a block empty, full
//           or partial.
//   part    part_blocks consecutive blocks of positions. Each part of a row is computed for itself, and the results are merged in
//           the order of positions, so that they do not depend on how the parts are divided among threads.
//   span    consecutive parts of consecutive rows of a tile. Rows are divided only in tiles that are computed row by row (gather).
//   item    the unit of work that a thread takes: a tile x a range of K/V heads x a span
//   slot    the result of one part, if its tile has several spans. Slots are merged after a barrier.
#pragma once

#include "kernels/isa/thread_team.h"

#include "ggml.h"

#include <cstddef>
#include <cstdint>

namespace lc::kernels {

static constexpr int64_t CELLS           = 64;                   // positions of a block
static constexpr int64_t ITEM_LINES      = 256;                  // of an item, at most, unless one head has more
static constexpr int64_t PAIRS_IN_FLIGHT = 3;                    // pairs of 16 lines each, in attention_blocked_amx.h
static constexpr int64_t SCORE_LINES     = PAIRS_IN_FLIGHT * 32; // lines that these pairs have room for

enum class KvType : int { f16, bf16, q8_0 };

// Where the vectors of Q, K or V lie in memory. Strides are in bytes.
struct StridedVectors {
    const uint8_t * data;
    int64_t         step; // stride of rows (q) or of cells (k, v)
    int64_t         head;
    int64_t         stream;
};

struct Attention {
    int64_t         n_rows, n_cells, n_head, n_head_kv, group, n_streams;
    int64_t         dk, dv; // length of a vector of Q and K, and of V
    KvType          k_type, v_type;
    StridedVectors  q, k, v;
    const uint8_t * mask; // f16; NULL: every cell is visible
    int64_t         mask_row, mask_stream;
    const float *   sinks;    // n_head logits, or NULL
    float *         out;      // [stream][row][head][dv]
    float           scale;    // divided by the soft cap, if there is one
    float           soft_cap; // 0: none
    float           max_bias;

    int64_t part_blocks, tile_rows, stream_tiles, n_tiles;
    int64_t max_row_blocks; // blocks of a row, at most
    int64_t max_blocks;     // blocks of all rows, at most
    int64_t line_pad;       // lines of a tile and one head, rounded up to 16
    int64_t max_range_heads; // K/V heads of an item, at most
    int64_t target_items;    // the plan makes about this many items
    int64_t max_slots;       // tiles whose parts would need more are not divided into spans

    // Layout of the scratch: slots, workspaces.
    int64_t slot_floats, workspaces_at, workspace_bytes, total_bytes;
};

// A block that is not empty for some row of a tile. `block` is its number in the index and a flag (BLOCKED in attention_plan.h).
struct BlockEntry {
    int32_t block;
    int32_t cost;
    int32_t part; // number of its part among those of the tile
};

// A thread's own memory.
struct Workspace {
    BlockEntry * entries;  // of all tiles: AttentionPlan::entries
    int32_t *    tiles;    // 4 * (n_tiles + 1): AttentionPlan::begins, ::spans, ::slots and ::row_groups
    int32_t *    counts;   // 2 * max_blocks: rows and visible cells of each block
    int32_t *    cursors;  // tile_rows
    float *      slopes;   // max_range_heads * group
    int32_t *    lines;    // line_pad
    int32_t *    rows;     // line_pad
    float *      q;        // max_range_heads * group lines of dk, for gather
    float *      q_packed; // max_range_heads * line_pad lines of dk, for blocked
    float *      keys;     // dk * CELLS
    float *      values;   // CELLS * dv
    float *      scores;   // SCORE_LINES or line_pad, whichever is more, * CELLS
    float *      factor;   // line_pad
    float *      spare;    // dv: the output of padding lines
    float *      sums;     // max_range_heads * line_pad * (2 + dv): state of lines, laid out for AMX
    float *      part;     // max_range_heads * line_pad * (2 + dv): state of lines within a part, if the tile has one span
    float *      slot;     // max_range_heads * line_pad * (2 + dv): sums of the parts, if the tile has one span
};

// Sizes that an implementation chooses.
struct AttentionSizes {
    int64_t tile_lines;  // lines of a tile and one head of K and V, at most, unless one row has more
    int64_t part_blocks; // blocks of a part
};

// Reads a node. False if it is not supported.
bool attention_read(const ggml_tensor * node, int n_threads, const AttentionSizes & sizes, Attention & a);

// Bytes of a Workspace. If `base` is not NULL, also sets `workspace` to memory from there on.
int64_t attention_workspace(const Attention & a, uint8_t * base, Workspace * workspace);

// Factor of a head's mask values (ALiBi); 1 without ALiBi.
float attention_slope(const Attention & a, int64_t head);

struct AttentionIndex;

// The operation for each instruction set.
void attention_avx2(const Attention & a, const AttentionIndex & index, const ThreadTeam & team);
void attention_avx512(const Attention & a, const AttentionIndex & index, const ThreadTeam & team);
void attention_amx(const Attention & a, const AttentionIndex & index, const ThreadTeam & team);

// Reads a row of n mask values: sets the bits of visible cells, [(n + CELLS - 1) / CELLS]. True if a visible cell has a value other
// than 0.
bool read_mask_avx2(const uint16_t * mask, int64_t n, uint64_t * visible);
bool read_mask_avx512(const uint16_t * mask, int64_t n, uint64_t * visible);

} // namespace lc::kernels
