// GGML_OP_FLASH_ATTN_EXT, by ggml's definition of it: K and V are read once for all query heads of a group, sums are fp32,
// blocks of cells that the mask excludes are skipped.
#pragma once

#include "kernels/isa/isa.h"
#include "kernels/isa/thread_team.h"

#include "ggml.h"

namespace lc::kernels {

// Whether this node (its sources' types and shapes, its parameters) is computed here; everything else stays with ggml.
bool attention_supported(Isa isa, const ggml_tensor * node);

// Bytes of shared scratch that attention() needs.
size_t attention_scratch(Isa isa, const ggml_tensor * node, int n_threads);

// Called by every thread of the team. node->data and its sources' data point to host memory.
void attention(Isa isa, const ggml_tensor * node, const ThreadTeam & team);

} // namespace lc::kernels
