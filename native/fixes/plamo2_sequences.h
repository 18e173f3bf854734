// Force-included into llama.cpp's models/plamo2.cpp, and into nothing else (see LlamaCpp.cmake).
//
// Two places in it are right for one sequence in a step and wrong for several (at the pinned commit):
// - The input projection {n, tokens, sequences} is permuted to {n, sequences, tokens} and then taken as if it were not, so that prompts
//   read in one step get each other's tokens. It is the only ggml_permute in the file, and it is not needed.
// - New states are written at kv_head * n_seqs rows where their rows begin at kv_head: over another sequence's, or past the end,
//   which ends the process.
#pragma once

#include "ggml.h"

#define ggml_permute(ctx, a, axis0, axis1, axis2, axis3) (a)
#define ggml_view_1d(ctx, a, n, offset) \
    (ggml_view_1d)((ctx), (a), (n), (a) == ssm_states_all ? (offset) / n_seqs : (offset))
