// The number of rows from which on the AMX product is faster than the int8 product, measured on this machine.
#pragma once

#include "kernels/isa/isa.h"

namespace lc::kernels {

// Measures that number with `n_threads` threads and passes it to set_amx_min_rows(). Takes about 20 ms. Does nothing without
// AMX, or when it was done before.
void calibrate(Isa isa, int n_threads);

} // namespace lc::kernels
