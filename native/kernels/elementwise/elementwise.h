// The small operations between matrix products and attention: each consists of items (a token's rows) that are independent of
// one another. They come along because every change of backend costs a graph split.
#pragma once

#include "kernels/elementwise/row_ops.h"

#include "ggml.h"

namespace lc::kernels {

// Whether the operation is computed here. ROPE is not among them (rope.h).
bool rows_supported(const ggml_tensor * node);

// The number of items: ne[1], or ne[2] * ne[3] of a tensor that has more than two dimensions.
int64_t rows_items(const ggml_tensor * node);

// Computes the items first..last-1.
void rows_run(const ggml_tensor * node, int64_t first, int64_t last, const RowOps & ops);

// Where elements do not depend on one another, an item may be cut instead: elements first..last-1 of the only item.
bool rows_can_cut(const ggml_tensor * node);
void rows_run_cut(const ggml_tensor * node, int64_t first, int64_t last, const RowOps & ops);

} // namespace lc::kernels
