// Force-included into llama.cpp's models/plamo2.cpp only (native/cmake/Fixes.cmake).
//
// Two places of the graph are wrong for several sequences in a step (at the pinned commit):
// - The input projection {n, tokens, sequences} is permuted to {n, sequences, tokens} but used in the first order, so that
//   prompts in one step get each other's tokens. The permutation is not needed, and it is the only ggml_permute in the file.
// - New states are written from row kv_head * n_seqs on instead of row kv_head: over another sequence's states, or past the end,
//   which aborts the process.
#pragma once

#include "ggml.h"

#define ggml_permute(ctx, a, axis0, axis1, axis2, axis3) (a)
#define ggml_view_1d(ctx, a, n, offset) \
    (ggml_view_1d)((ctx), (a), (n), (a) == ssm_states_all ? (offset) / n_seqs : (offset))
