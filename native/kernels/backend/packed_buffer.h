// The buffer type of packed weights: it does not claim to be host memory, so that every tensor passes through set_tensor, which packs
// it, and get_tensor, which gives it back in the file's layout. Tensors of other types and shapes, such as those of adapters, which
// llama.cpp puts beside the weights that they change, lie there as they are.
#pragma once

#include "ggml-backend.h"

#include <cstdint>

namespace lc::kernels {

ggml_backend_buffer_type_t packed_buffer_type();

// Its device, set once when the devices are made.
void packed_buffer_set_device(ggml_backend_dev_t device);

// Threads that pack. (The thread count of a context is not known when weights are loaded.)
void packed_buffer_set_threads(int n_threads);

// Bytes of all packed weights in this process.
uint64_t packed_buffers_bytes();

// Bytes of packed weights that were read back in the file's layout, since the process began.
uint64_t packed_buffers_unpacked_bytes();

// Whether `t`, or what it is a view of, is in a buffer of this type.
bool in_packed_buffer(const ggml_tensor * t);

// Whether a tensor that is no view is packed there.
bool lies_packed(const ggml_tensor * root);

} // namespace lc::kernels
