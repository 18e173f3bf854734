#include "kernels/attention/attention_shape.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lc::kernels {
namespace {

constexpr int64_t MAX_VECTOR          = 576; // length of a vector of Q, K and V: the longest in use (MLA)
constexpr int64_t ITEMS_PER_THREAD    = 4;
constexpr int64_t MAX_SLOT_BYTES      = 64 << 20; // of all slots

int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}

bool read_type(ggml_type type, KvType & out) {
    switch (type) {
        case GGML_TYPE_F16:  out = KvType::f16; return true;
        case GGML_TYPE_BF16: out = KvType::bf16; return true;
        case GGML_TYPE_Q8_0: out = KvType::q8_0; return true;
        default:             return false;
    }
}

bool is_length_supported(int64_t n, KvType type) {
    return n > 0 && n <= MAX_VECTOR && n % (type == KvType::q8_0 ? 32 : 16) == 0;
}

StridedVectors vectors_of(const ggml_tensor * t) {
    return {static_cast<const uint8_t *>(t->data), static_cast<int64_t>(t->nb[1]), static_cast<int64_t>(t->nb[2]),
            static_cast<int64_t>(t->nb[3])};
}

bool read_sources(const ggml_tensor * node, Attention & a) {
    const ggml_tensor * q = node->src[0];
    const ggml_tensor * k = node->src[1];
    const ggml_tensor * v = node->src[2];
    if (q == nullptr || k == nullptr || v == nullptr || q->type != GGML_TYPE_F32 || node->type != GGML_TYPE_F32 ||
        !read_type(k->type, a.k_type) || !read_type(v->type, a.v_type)) {
        return false;
    }
    a.dk        = q->ne[0];
    a.dv        = v->ne[0];
    a.n_rows    = q->ne[1];
    a.n_head    = q->ne[2];
    a.n_streams = q->ne[3];
    a.n_cells   = k->ne[1];
    a.n_head_kv = k->ne[2];
    if (a.n_rows < 1 || a.n_cells < 1 || a.n_head_kv < 1 || a.n_head < 1 || a.n_streams < 1) {
        return false;
    }
    a.group = a.n_head / a.n_head_kv;
    a.q     = vectors_of(q);
    a.k     = vectors_of(k);
    a.v     = vectors_of(v);
    a.out   = static_cast<float *>(node->data);
    return is_length_supported(a.dk, a.k_type) && is_length_supported(a.dv, a.v_type) && k->ne[0] == a.dk &&
        a.n_head % a.n_head_kv == 0 && k->ne[3] == a.n_streams && v->ne[1] == a.n_cells && v->ne[2] == a.n_head_kv &&
        v->ne[3] == a.n_streams && q->nb[0] == sizeof(float) && k->nb[0] == ggml_type_size(k->type) &&
        v->nb[0] == ggml_type_size(v->type) && ggml_is_contiguous(node);
}

bool read_mask(const ggml_tensor * node, Attention & a) {
    const ggml_tensor * mask  = node->src[3];
    const ggml_tensor * sinks = node->src[4];
    a.mask                    = nullptr;
    a.mask_row = a.mask_stream = 0;
    a.sinks                    = nullptr;
    if (sinks != nullptr) {
        if (sinks->type != GGML_TYPE_F32 || sinks->ne[0] != a.n_head || sinks->nb[0] != sizeof(float)) {
            return false;
        }
        a.sinks = static_cast<const float *>(sinks->data);
    }
    if (mask == nullptr) {
        return a.max_bias == 0.0f;
    }
    a.mask        = static_cast<const uint8_t *>(mask->data);
    a.mask_row    = static_cast<int64_t>(mask->nb[1]);
    a.mask_stream = mask->ne[3] > 1 ? static_cast<int64_t>(mask->nb[3]) : 0;
    return mask->type == GGML_TYPE_F16 && mask->nb[0] == ggml_type_size(GGML_TYPE_F16) && mask->ne[0] >= a.n_cells &&
        mask->ne[1] >= a.n_rows && mask->ne[2] == 1 && (mask->ne[3] == 1 || mask->ne[3] == a.n_streams);
}

// Entries of all tiles: a tile has each block once.
int64_t max_entries(const Attention & a) {
    return std::min(a.n_tiles * a.max_blocks, a.n_streams * a.n_rows * a.max_row_blocks);
}

// Neither total_bytes nor any part of it may shrink with more threads: the team may be smaller than the one planned for.
void divide_work(int n_threads, const AttentionSizes & sizes, Attention & a) {
    const int64_t cell_blocks = (a.n_cells + CELLS - 1) / CELLS;
    a.max_row_blocks          = cell_blocks + 2;
    a.max_blocks              = a.n_streams * (cell_blocks + 2) + 3 * a.n_streams * a.n_rows;
    a.part_blocks             = sizes.part_blocks;
    const int64_t rows        = std::clamp<int64_t>(sizes.tile_lines / a.group, 1, a.n_rows);
    a.stream_tiles            = (a.n_rows + rows - 1) / rows;
    a.tile_rows               = (a.n_rows + a.stream_tiles - 1) / a.stream_tiles;
    a.n_tiles                 = a.stream_tiles * a.n_streams;
    const int64_t lines       = a.tile_rows * a.group;
    a.line_pad                = round_up(lines, 16);
    a.target_items            = n_threads > 1 ? ITEMS_PER_THREAD * n_threads : 1;
    a.max_range_heads     = std::clamp<int64_t>(ITEM_LINES / lines, 1, a.n_head_kv);
    const int64_t n_parts = (cell_blocks + a.part_blocks - 1) / a.part_blocks;
    a.slot_floats         = a.n_head_kv * a.line_pad * (2 + a.dv);
    // Fewer tiles than target_items cost so much that they are divided.
    const int64_t wanted = std::min(a.n_tiles, a.target_items) * (n_parts + 2);
    const int64_t fit    = MAX_SLOT_BYTES / (a.slot_floats * static_cast<int64_t>(sizeof(float)));
    a.max_slots          = a.target_items > 1 ? std::min(wanted, fit) : 0;
}

void lay_out_scratch(int n_threads, Attention & a) {
    a.workspaces_at   = round_up(a.max_slots * a.slot_floats * static_cast<int64_t>(sizeof(float)), 64);
    a.workspace_bytes = attention_workspace(a, nullptr, nullptr);
    a.total_bytes     = a.workspaces_at + n_threads * a.workspace_bytes;
}

} // namespace

bool attention_read(const ggml_tensor * node, int n_threads, const AttentionSizes & sizes, Attention & a) {
    if (node->op != GGML_OP_FLASH_ATTN_EXT || !read_sources(node, a)) {
        return false;
    }
    float params[3];
    std::memcpy(params, node->op_params, sizeof(params));
    a.soft_cap = params[2];
    a.scale    = a.soft_cap != 0.0f ? params[0] / a.soft_cap : params[0];
    a.max_bias = params[1];
    if (!read_mask(node, a)) {
        return false;
    }
    divide_work(n_threads, sizes, a);
    lay_out_scratch(n_threads, a);
    return true;
}

int64_t attention_workspace(const Attention & a, uint8_t * base, Workspace * workspace) {
    int64_t    at   = 0;
    const auto take = [&](int64_t n) {
        uint8_t * start = base == nullptr ? nullptr : base + at;
        at += round_up(n * 4, 64);
        return start;
    };
    Workspace l;
    l.entries  = reinterpret_cast<BlockEntry *>(take(3 * max_entries(a)));
    l.tiles    = reinterpret_cast<int32_t *>(take(4 * (a.n_tiles + 1)));
    l.counts   = reinterpret_cast<int32_t *>(take(2 * a.max_blocks));
    l.cursors  = reinterpret_cast<int32_t *>(take(a.tile_rows));
    l.slopes   = reinterpret_cast<float *>(take(a.max_range_heads * a.group));
    l.lines    = reinterpret_cast<int32_t *>(take(a.line_pad));
    l.rows     = reinterpret_cast<int32_t *>(take(a.line_pad));
    l.q        = reinterpret_cast<float *>(take(a.max_range_heads * a.group * a.dk));
    l.q_packed = reinterpret_cast<float *>(take(a.max_range_heads * a.line_pad * a.dk));
    l.keys     = reinterpret_cast<float *>(take(a.dk * CELLS));
    l.values   = reinterpret_cast<float *>(take(CELLS * a.dv));
    l.scores   = reinterpret_cast<float *>(take(std::max(a.line_pad, SCORE_LINES) * CELLS));
    l.factor   = reinterpret_cast<float *>(take(a.line_pad));
    l.spare    = reinterpret_cast<float *>(take(a.dv));
    l.sums     = reinterpret_cast<float *>(take(a.max_range_heads * a.line_pad * (2 + a.dv)));
    l.part     = reinterpret_cast<float *>(take(a.max_range_heads * a.line_pad * (2 + a.dv)));
    l.slot     = reinterpret_cast<float *>(take(a.max_range_heads * a.line_pad * (2 + a.dv)));
    if (workspace != nullptr) {
        *workspace = l;
    }
    return at;
}

float attention_slope(const Attention & a, int64_t head) {
    if (a.max_bias <= 0.0f) {
        return 1.0f;
    }
    const int64_t whole    = int64_t{1} << static_cast<int>(std::floor(std::log2(static_cast<double>(a.n_head))));
    const double  step     = a.max_bias / static_cast<double>(whole);
    const double  exponent = head < whole ? step * static_cast<double>(head + 1)
                                          : step / 2 * static_cast<double>(2 * (head - whole) + 1);
    return static_cast<float>(std::exp2(-exponent));
}

} // namespace lc::kernels
