// The small operations between matrix products and attention. Each consists of independent items (the rows of a token). They are
// computed here only because every change of backend costs a graph split.
#pragma once

#include "kernels/elementwise/row_ops.h"

#include "ggml.h"

namespace lc::kernels {

// True if the operation is computed here. ROPE has functions of its own: rope.h.
bool row_op_supported(const ggml_tensor * node);

// Number of items: ne[1], or ne[2] * ne[3] of a tensor with more than two dimensions.
int64_t count_row_items(const ggml_tensor * node);

// Computes the items first to last - 1.
void run_rows(const ggml_tensor * node, int64_t first, int64_t last, const RowOps & ops);

// An operation with one item of independent elements can be divided by elements instead: true for such a node; computes the
// elements first to last - 1.
bool can_split_row(const ggml_tensor * node);
void run_row_part(const ggml_tensor * node, int64_t first, int64_t last, const RowOps & ops);

} // namespace lc::kernels
