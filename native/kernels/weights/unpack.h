// Packed weights back in the file's layout.
#pragma once

#include "kernels/weights/packed.h"

namespace lc::kernels {

// Writes the columns of one group (at most 16 rows in ggml's layout) to `rows`; `n_cols` as pack() was told. What comes back packs to
// the same bytes; for types without a block of blocks it is also what was packed, bit for bit (whole_blocks.h).
void unpack(ggml_type type, const void * packed, int64_t k, int64_t n_cols, int64_t group, void * rows);

} // namespace lc::kernels
