// The buffer type of packed weights. It does not claim to be host memory, so every tensor passes through set_tensor, which packs it,
// and get_tensor, which unpacks it to the file's layout. Tensors of other types and shapes are stored unchanged: llama.cpp puts an
// adapter's tensors beside the weights that they modify.
#pragma once

#include "ggml-backend.h"

#include <cstdint>

namespace lc::kernels {

ggml_backend_buffer_type_t packed_buffer_type();

// Sets the buffer type's device. Called once, when the devices are made.
void packed_buffer_set_device(ggml_backend_dev_t device);

// Sets the number of threads that pack. (The thread count of a context is not known yet when weights are loaded.)
void packed_buffer_set_threads(int n_threads);

// Bytes of all buffers of packed weights in this process.
uint64_t packed_bytes_in_use();

// Bytes of packed weights that were unpacked to the file's layout since the process began.
uint64_t unpacked_bytes_read();

// True if `t`, or the tensor that it is a view of, is in a buffer of this type.
bool in_packed_buffer(const ggml_tensor * t);

// True if a tensor that is not a view is stored packed there.
bool lies_packed(const ggml_tensor * root);

} // namespace lc::kernels
