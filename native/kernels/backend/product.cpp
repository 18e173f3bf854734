#include "kernels/backend/product.h"

#include "kernels/backend/packed_buffer.h"

namespace lc::kernels {

namespace {

// The tensor that owns the memory of `t`. (ggml's view_src is never a view itself.)
const ggml_tensor * root_of(const ggml_tensor * t) {
    return t->view_src != nullptr ? t->view_src : t;
}

// The first column of a view within its root; -1 if the view is not a range of columns that begins with a panel.
int64_t first_column(const ggml_tensor * weights) {
    const ggml_tensor * root = root_of(weights);
    if (weights == root) {
        return 0;
    }
    const auto offset = static_cast<int64_t>(weights->view_offs), row = static_cast<int64_t>(root->nb[1]);
    const bool is_range = weights->type == root->type && weights->ne[0] == root->ne[0] && weights->nb[0] == root->nb[0] &&
        (weights->nb[1] == root->nb[1] || weights->ne[1] == 1) && offset % (row * PANEL_COLS) == 0;
    return is_range ? offset / row : -1;
}

bool weights_supported(const ggml_tensor * weights) {
    const ggml_tensor * root = root_of(weights);
    return in_packed_buffer(weights) && lies_packed(root) && weights->ne[2] == 1 && weights->ne[3] == 1 &&
        first_column(weights) >= 0;
}

bool is_floats(const ggml_tensor * t) {
    bool aligned = t->type == GGML_TYPE_F32 && t->nb[0] == sizeof(float);
    for (const size_t stride : t->nb) {
        aligned = aligned && stride % sizeof(float) == 0;
    }
    return aligned;
}

int64_t floats(size_t bytes) {
    return static_cast<int64_t>(bytes / sizeof(float));
}

// Describes where the rows of x lie, with as few nested strides as possible: mostly one.
void set_rows(const ggml_tensor * x, MatMul * m) {
    int64_t counts[3] = {1, ALL_ROWS, ALL_ROWS}, strides[3] = {0, 0, 0};
    int     depth = 0;
    for (int i = 1; i < 4; i++) {
        const int64_t stride = floats(x->nb[i]);
        if (x->ne[i] == 1) {
            continue;
        }
        if (counts[depth] == 1) {
            counts[depth]  = x->ne[i];
            strides[depth] = stride;
        } else if (stride == counts[depth] * strides[depth]) {
            counts[depth] *= x->ne[i];
        } else {
            depth++;
            counts[depth]  = x->ne[i];
            strides[depth] = stride;
        }
    }
    m->x_stride = strides[0];
    if (depth > 0) {
        m->x_n1      = counts[0];
        m->x_stride2 = strides[1];
    }
    if (depth > 1) {
        m->x_n2      = counts[1];
        m->x_stride3 = strides[2];
    }
}

} // namespace

bool product_supported(const ggml_tensor * op) {
    return op->op == GGML_OP_MUL_MAT && weights_supported(op->src[0]) && is_floats(op->src[1]) && !in_packed_buffer(op->src[1]) &&
        op->type == GGML_TYPE_F32 && ggml_is_contiguous(op);
}

MatMul matmul_of(const ggml_tensor * node) {
    const ggml_tensor * weights = node->src[0];
    const ggml_tensor * x       = node->src[1];
    const ggml_tensor * root    = root_of(weights);
    const Format        format  = format_of(weights->type);
    const int64_t       panel   = first_column(weights) / PANEL_COLS;
    MatMul              m{
        format,
        static_cast<const uint8_t *>(root->data) + packed_bytes(format, weights->ne[0], panel * PANEL_COLS),
        weights->ne[0],
        weights->ne[1],
        x->ne[1] * x->ne[2] * x->ne[3],
        static_cast<const float *>(x->data),
        0,
        static_cast<float *>(node->data),
        node->ne[0],
    };
    set_rows(x, &m);
    return m;
}

} // namespace lc::kernels
