// Force-included into llama.cpp's models/rwkv6qwen2.cpp and models/arwkv7.cpp only (native/cmake/Fixes.cmake).
//
// The last token of each sequence is kept for the next step, as a view with gaps between sequences. build_rwkv_token_shift_store()
// copies it as if it were contiguous, so that with several sequences in a step it stores numbers of other tokens (at the pinned
// commit). Here the view is made contiguous first.
#pragma once

#include "models/models.h"

#define build_rwkv_token_shift_store(shift, ubatch, il) build_rwkv_token_shift_store(ggml_cont(ctx0, shift), ubatch, il)
