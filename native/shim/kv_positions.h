// Positions of the tokens in KV cells, from llama.cpp's own books. The kernels need them: an attention mask does not tell them.
#pragma once

#include <cstdint>

struct ggml_tensor;
struct llama_context;

namespace lc {

// Makes the caches of a context known to read_cell_positions().
void add_caches(const llama_context * context);

// Forgets them. Called before the context is freed.
void remove_caches(const llama_context * context);

// Writes the positions of the first n cells of a stream; -1 for a cell that is in no sequence. storage: the keys of one layer. False
// if no known cache has it. Called while a step is computed, by the thread that called llama_decode(): cells hold the step's tokens.
bool read_cell_positions(const ggml_tensor * storage, int64_t stream, int64_t n, int32_t * out);

} // namespace lc
