// One FLASH_ATTN_EXT node as plain data, and how its work and the shared scratch are divided.
//
// Words: a *line* is one query head of one row; the `group` query heads that share a head of K and V are its lines. A
// *tile* is up to tile_rows consecutive rows of one stream. Cells are taken in *blocks* of CELLS; the mask makes a block
// closed, open or mixed for a row. An *item* of work is a tile x a range of K/V heads x a *span* of the tile's blocks. Tiles
// with several spans leave partial results in *slots*, which are merged after a barrier.
#pragma once

#include "kernels/isa/thread_team.h"

#include "ggml.h"

#include <cstddef>
#include <cstdint>

namespace lc::kernels {

static constexpr int64_t CELLS = 64;       // of a block
static constexpr int64_t ITEM_LINES = 256; // of a tile and a range of heads, likewise
static constexpr int64_t PAIRS_UNDER_WAY = 3;                 // of 16 lines each, in attention_tiles.h
static constexpr int64_t SCORE_LINES = PAIRS_UNDER_WAY * 32;

enum class KvType : int { f16, bf16, q8_0 };

// Vectors of numbers in memory, with distances in bytes.
struct Vectors {
    const uint8_t * data;
    int64_t         step;    // from row to row (q) or from cell to cell (k, v)
    int64_t         head;
    int64_t         stream;
};

struct Attention {
    int64_t n_rows, n_cells, n_head, n_head_kv, group, n_streams;
    int64_t dk, dv;           // numbers of a vector of Q and K, and of V
    KvType  k_type, v_type;
    Vectors q, k, v;
    const uint8_t * mask;     // f16; NULL: everything is open
    int64_t mask_row, mask_stream;
    const float * sinks;      // n_head of them, or NULL
    float * out;              // [stream][row][head][dv]
    float   scale;            // with a soft cap: already divided by it
    float   soft_cap;         // 0: none
    float   max_bias;

    int64_t n_blocks, tile_rows, stream_tiles, n_tiles;
    int64_t line_pad;         // lines of a tile and one head, rounded up to whole vectors
    int64_t range_heads, n_ranges;
    int64_t most_heads;       // range_heads with any number of threads
    int64_t n_goal;           // about as many items are made
    int64_t max_slots;        // no mask leads to more
    bool    scan_alone;       // the mask is small: every thread looks at all of it, which spares a barrier

    // The scratch: states of blocks (one copy, or one for each thread where scan_alone), slots, areas of the threads.
    int64_t states_bytes, slots_at, slot_floats, local_at, local_bytes, total_bytes;
};

// A block of a tile that is open for some row. `block` carries a flag: attention_plan.h.
struct Entry {
    int32_t block;
    int32_t cost;
};

// What a thread has for itself, and the state of the lines that it works on.
struct Local {
    Entry *   entries;   // n_tiles * n_blocks: plan
    int32_t * tiles;     // 2 * (n_tiles + 1): plan
    float *   slopes;    // most_heads * group
    int32_t * lines;     // line_pad
    int32_t * rows;      // line_pad
    float *   q;         // most_heads * group lines of dk, for rows taken alone
    float *   q_packed;  // most_heads * line_pad lines of dk, for blocks taken by many lines
    float *   keys;      // dk * CELLS
    float *   values;    // CELLS * dv
    float *   scores;    // SCORE_LINES or line_pad, whichever is more, * CELLS
    float *   factor;    // line_pad
    float *   spare;     // dv: where lines that only fill up a group are added to
    float *   sums;      // most_heads * line_pad * (2 + dv): the state as attention_tiles.h keeps it
    float *   slot;      // most_heads * line_pad * (2 + dv): the state where a tile has one span
};

// False if the node is not one that is computed here. tile_lines: of a tile and one head of K and V, unless one row alone has
// more.
bool attention_read(const ggml_tensor * node, int n_threads, int64_t tile_lines, Attention & a);

// The bytes that a Local takes; with a base, `local` is set too.
int64_t attention_local(const Attention & a, uint8_t * base, Local * local);

// What a head's mask values are multiplied by (ALiBi).
float attention_slope(const Attention & a, int64_t head);

// By level.
void attention_avx2(const Attention & a, const ThreadTeam & team);
void attention_avx512(const Attention & a, const ThreadTeam & team);
void attention_amx(const Attention & a, const ThreadTeam & team);

} // namespace lc::kernels
