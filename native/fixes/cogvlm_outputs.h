// Force-included into llama.cpp's models/cogvlm.cpp, and into nothing else (see LlamaCpp.cmake).
//
// llama.cpp reads as many rows of a step's logits as were asked for, from the first on. Every other graph picks the rows of the tokens
// that asked; this one gives those of all tokens (at the pinned commit), so that a prompt's first token answers for its last, and
// one caller's for another's. Here they are picked before the last norm.
#pragma once

#include "models/models.h"

#define build_norm(x, weight, ...) \
    build_norm((weight) == model.output_norm ? ggml_get_rows(ctx0, (x), build_inp_out_ids()) : (x), (weight), __VA_ARGS__)
