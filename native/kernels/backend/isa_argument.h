// The C ABI's argument `level`: the number of an instruction set (isa.h).
#pragma once

#include "kernels/isa/isa.h"

#include "shim/error.h"

namespace lc::kernels {

// The instruction set with this number. Raises if there is none or this machine cannot run it.
inline Isa require_isa(int32_t level) {
    lc::require(is_isa(level), "level: no such level of kernels");
    lc::require(isa_runs(static_cast<Isa>(level)), "level: this CPU does not have its instructions");
    return static_cast<Isa>(level);
}

} // namespace lc::kernels
