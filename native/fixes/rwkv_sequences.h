// Force-included into llama.cpp's models/rwkv6qwen2.cpp and models/arwkv7.cpp, and into nothing else (see LlamaCpp.cmake).
//
// The last token of every sequence is kept for the next step: a view whose sequences lie apart, of which
// build_rwkv_token_shift_store() takes as many numbers in a row. For several sequences in a step these are another token's (at the pinned
// commit), so here they are put together before.
#pragma once

#include "models/models.h"

#define build_rwkv_token_shift_store(shift, ubatch, il) build_rwkv_token_shift_store(ggml_cont(ctx0, shift), ubatch, il)
