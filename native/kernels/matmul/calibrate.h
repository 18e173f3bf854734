// Where one kind of kernel overtakes another is measured, not believed.
#pragma once

#include "kernels/isa/isa.h"

namespace lc::kernels {

// Finds from how many rows on the AMX product is faster than the integer kernels on this machine, with so many threads, and
// tells it to matmul(). Takes some 20 ms; does nothing below Level::amx, or when it was done before.
void calibrate(Level level, int n_threads);

} // namespace lc::kernels
