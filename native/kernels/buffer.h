// The buffer type of packed weights: it does not claim to be host memory, so that every tensor passes through set_tensor,
// which packs it.
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

} // namespace lc::kernels
