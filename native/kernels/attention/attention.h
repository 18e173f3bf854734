// GGML_OP_FLASH_ATTN_EXT as ggml defines it. K and V are read once for all query heads of a group, sums are fp32, and blocks of
// cells that the mask excludes are skipped.
#pragma once

#include "kernels/isa/isa.h"
#include "kernels/isa/thread_team.h"

#include "ggml.h"

namespace lc::kernels {

// True if this node is computed here (by the types and shapes of its sources and by its parameters). Others stay with ggml.
bool attention_supported(Isa isa, const ggml_tensor * node);

// Bytes of shared scratch that attention() needs.
size_t attention_scratch(Isa isa, const ggml_tensor * node, int n_threads);

// Computes the node. Called by every thread of the team. node->data and the data of its sources are in host memory.
void attention(Isa isa, const ggml_tensor * node, const ThreadTeam & team);

} // namespace lc::kernels
