// Force-included into llama.cpp's models/cogvlm.cpp only (native/cmake/Fixes.cmake).
//
// A graph must return logits only for the rows that have outputs: llama.cpp takes the first rows of the result for these. This
// graph returns all rows (at the pinned commit), so that a prompt's last token gets the logits of its first, or of another
// caller's token. Here the rows are selected before the last norm.
#pragma once

#include "models/models.h"

#define build_norm(x, weight, ...) \
    build_norm((weight) == model.output_norm ? ggml_get_rows(ctx0, (x), build_inp_out_ids()) : (x), (weight), __VA_ARGS__)
