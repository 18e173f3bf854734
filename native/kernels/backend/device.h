// Our devices in ggml's registry.
#pragma once

#include "kernels/isa/isa.h"

namespace lc::kernels {

// Registers the devices when called first. From then on models that are loaded have their weights packed, and graphs use the
// kernels, or not any more (Level::none). Packed models stay usable in either case. `n_threads` pack.
void devices_use(Isa isa, int n_threads);

Isa devices_isa();

} // namespace lc::kernels
