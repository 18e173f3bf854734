#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/op_params.h"

#include <cstring>

namespace lc::kernels {
namespace {

// A row of a tensor, by its place in the dimensions 1 to 3.
struct RowIndex {
    int64_t i1, i2, i3;
};

template <typename T>
T * row_of(const ggml_tensor * t, const RowIndex & r) {
    // A dimension of size 1 is broadcast, as ggml does with src[1] of ADD and MUL.
    return reinterpret_cast<T *>(static_cast<char *>(t->data) + (r.i1 % t->ne[1]) * t->nb[1] + (r.i2 % t->ne[2]) * t->nb[2] +
                                 (r.i3 % t->ne[3]) * t->nb[3]);
}

bool is_f32_rows(const ggml_tensor * t) {
    return t != nullptr && t->type == GGML_TYPE_F32 && t->nb[0] == sizeof(float);
}

bool glu_supported(const ggml_tensor * node) {
    const ggml_glu_op op = ggml_get_glu_op(node);
    return (op == GGML_GLU_OP_SWIGLU || op == GGML_GLU_OP_GEGLU) && is_f32_rows(node->src[0]) &&
        (node->src[1] == nullptr || is_f32_rows(node->src[1]));
}

bool binary_supported(const ggml_tensor * node) {
    return is_f32_rows(node) && is_f32_rows(node->src[0]) && is_f32_rows(node->src[1]) && node->src[1]->ne[0] == node->ne[0];
}

// Rows of keys and values are written to the cells that src[1] lists.
bool set_rows_supported(const ggml_tensor * node) {
    const bool is_known = node->type == GGML_TYPE_F16 || node->type == GGML_TYPE_BF16 || node->type == GGML_TYPE_F32 ||
        node->type == GGML_TYPE_Q8_0;
    const ggml_tensor * x = node->src[0];
    return is_known && is_f32_rows(x) && x->ne[0] >= 16 && x->ne[2] == 1 && x->ne[3] == 1 &&
        (node->type != GGML_TYPE_Q8_0 || x->ne[0] % 32 == 0) &&
        (node->src[1]->type == GGML_TYPE_I64 || node->src[1]->type == GGML_TYPE_I32);
}

bool get_rows_supported(const ggml_tensor * node) {
    const ggml_tensor * table = node->src[0];
    return node->type == GGML_TYPE_F32 && table->ne[2] == 1 && table->ne[3] == 1 && node->src[1]->type == GGML_TYPE_I32 &&
        ggml_is_vector(node->src[1]) && (table->type == GGML_TYPE_F32 || ggml_get_type_traits(table->type)->to_float != nullptr);
}

void run_glu(const ggml_tensor * node, const RowIndex & r, int64_t begin, int64_t n, const RowOps & ops) {
    const bool    is_swapped = node->op_params[1] != 0;
    const float * gate       = row_of<float>(node->src[0], r);
    const float * up;
    if (node->src[1] != nullptr) {
        up = row_of<float>(node->src[1], r);
    } else {
        up = gate + (is_swapped ? 0 : node->ne[0]);
        gate += is_swapped ? node->ne[0] : 0;
    }
    const auto run = ggml_get_glu_op(node) == GGML_GLU_OP_SWIGLU ? ops.swiglu : ops.geglu;
    run(n, gate + begin, up + begin, row_of<float>(node, r) + begin);
}

void run_set_rows(const ggml_tensor * node, const RowIndex & r, const RowOps & ops) {
    const ggml_tensor * at    = node->src[1];
    const char *        where = static_cast<const char *>(at->data) + r.i1 * at->nb[0];
    int64_t             cell;
    if (at->type == GGML_TYPE_I64) {
        memcpy(&cell, where, sizeof(cell));
    } else {
        int32_t narrow;
        memcpy(&narrow, where, sizeof(narrow));
        cell = narrow;
    }
    GGML_ASSERT(cell >= 0 && cell < node->ne[1]);
    const float * x = row_of<float>(node->src[0], r);
    void *        y = static_cast<char *>(node->data) + cell * node->nb[1];
    const int64_t n = node->ne[0];
    switch (node->type) {
        case GGML_TYPE_F32:  memcpy(y, x, n * sizeof(float)); break;
        case GGML_TYPE_F16:  ops.to_f16(n, x, static_cast<uint16_t *>(y)); break;
        case GGML_TYPE_BF16: ops.to_bf16(n, x, static_cast<uint16_t *>(y)); break;
        default:             ggml_get_type_traits(node->type)->from_float_ref(x, y, n); break;
    }
}

void run_get_rows(const ggml_tensor * node, int64_t item) {
    const ggml_tensor * table = node->src[0];
    int32_t             row;
    memcpy(&row, static_cast<const char *>(node->src[1]->data) + item * node->src[1]->nb[0], sizeof(row));
    GGML_ASSERT(row >= 0 && row < table->ne[1]);
    const char * from = static_cast<const char *>(table->data) + row * table->nb[1];
    auto *       to   = reinterpret_cast<float *>(static_cast<char *>(node->data) + item * node->nb[1]);
    if (table->type == GGML_TYPE_F32) {
        memcpy(to, from, node->ne[0] * sizeof(float));
    } else {
        ggml_get_type_traits(table->type)->to_float(from, to, node->ne[0]);
    }
}

void run_one_row(const ggml_tensor * node, const RowIndex & r, const RowOps & ops) {
    const int64_t n = node->ne[0];
    const float * x = row_of<float>(node->src[0], r);
    switch (node->op) {
        case GGML_OP_ADD:      ops.add(n, x, row_of<float>(node->src[1], r), row_of<float>(node, r)); break;
        case GGML_OP_MUL:      ops.mul(n, x, row_of<float>(node->src[1], r), row_of<float>(node, r)); break;
        case GGML_OP_SCALE:    ops.scale(n, x, float_param(node, 0), float_param(node, 1), row_of<float>(node, r)); break;
        case GGML_OP_RMS_NORM: ops.rms_norm(n, x, float_param(node, 0), row_of<float>(node, r)); break;
        case GGML_OP_GLU:      run_glu(node, r, 0, n, ops); break;
        case GGML_OP_SET_ROWS: run_set_rows(node, r, ops); break;
        default:               GGML_ABORT("%s is not computed here", ggml_op_desc(node));
    }
}

// The tensor whose rows are the items. SET_ROWS writes only some rows of its destination, so its source counts.
const ggml_tensor * item_tensor(const ggml_tensor * node) {
    return node->op == GGML_OP_SET_ROWS ? node->src[0] : node;
}

} // namespace

bool row_op_supported(const ggml_tensor * node) {
    switch (node->op) {
        case GGML_OP_ADD:
        case GGML_OP_MUL:      return binary_supported(node);
        case GGML_OP_SCALE:
        case GGML_OP_RMS_NORM: return is_f32_rows(node) && is_f32_rows(node->src[0]);
        case GGML_OP_GLU:      return is_f32_rows(node) && glu_supported(node);
        case GGML_OP_SET_ROWS: return set_rows_supported(node);
        case GGML_OP_GET_ROWS: return get_rows_supported(node);
        default:               return false;
    }
}

int64_t count_row_items(const ggml_tensor * node) {
    const ggml_tensor * t     = item_tensor(node);
    const int64_t       outer = t->ne[2] * t->ne[3];
    return outer > 1 ? outer : t->ne[1];
}

void run_rows(const ggml_tensor * node, int64_t first, int64_t last, const RowOps & ops) {
    if (node->op == GGML_OP_GET_ROWS) {
        for (int64_t item = first; item < last; item++) {
            run_get_rows(node, item);
        }
        return;
    }
    const ggml_tensor * t = item_tensor(node);
    if (t->ne[2] * t->ne[3] == 1) {
        for (int64_t i1 = first; i1 < last; i1++) {
            run_one_row(node, {i1, 0, 0}, ops);
        }
        return;
    }
    for (int64_t item = first; item < last; item++) {
        for (int64_t i1 = 0; i1 < t->ne[1]; i1++) {
            run_one_row(node, {i1, item % t->ne[2], item / t->ne[2]}, ops);
        }
    }
}

bool can_split_row(const ggml_tensor * node) {
    return node->op == GGML_OP_GLU && ggml_nrows(node) == 1;
}

void run_row_part(const ggml_tensor * node, int64_t first, int64_t last, const RowOps & ops) {
    run_glu(node, {0, 0, 0}, first, last - first, ops);
}

} // namespace lc::kernels
