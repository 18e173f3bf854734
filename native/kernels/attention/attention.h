// GGML_OP_FLASH_ATTN_EXT as ggml defines it. K and V are read once for all query heads of a group, sums are fp32, and cells that the
// mask excludes are skipped.
#pragma once

#include "kernels/isa/isa.h"
#include "kernels/isa/thread_team.h"

#include "ggml.h"

namespace lc::kernels {

struct AttentionIndex; // which cells each row sees (attention_index.h)

// True if this node is computed here (by the types and shapes of its sources and by its parameters). Others stay with ggml.
bool attention_supported(Isa isa, const ggml_tensor * node);

// Bytes of shared scratch that attention() needs.
size_t attention_scratch(Isa isa, const ggml_tensor * node, int n_threads);

// True if an index of one of these nodes is one of the other, too.
bool attention_shares_index(const ggml_tensor * node, const ggml_tensor * other);

// Bytes of an index.
size_t attention_index_size(Isa isa, const ggml_tensor * node);

// Builds the index of a node in `memory`, by its mask and the positions of its cells: [stream][cell], -1 for a cell that is in no
// sequence; NULL if they are not known.
const AttentionIndex * attention_index(Isa isa, const ggml_tensor * node, const int32_t * positions, uint8_t * memory);

// Computes the node. Called by every thread of the team. node->data and the data of its sources are in host memory.
void attention(Isa isa, const ggml_tensor * node, const AttentionIndex & index, const ThreadTeam & team);

} // namespace lc::kernels
