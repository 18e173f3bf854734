// Our devices in ggml's registry of backends.
#pragma once

#include "kernels/isa/isa.h"

namespace lc::kernels {

// Sets the instruction set for models that are loaded and graphs that are computed from now on. Isa::none leaves them to ggml;
// models whose weights are packed already stay usable. Packing uses `n_threads`. The first call with another instruction set than
// Isa::none registers the devices.
void devices_use(Isa isa, int n_threads);

// The instruction set in use.
Isa devices_isa();

} // namespace lc::kernels
