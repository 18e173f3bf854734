// The instruction sets that the option --kernels names. An instruction set is a set of features (capabilities.h); those that run
// here are tried in a fixed order of preference. They are no linear order: some CPUs have AVX-512 and not AVX-VNNI.
#pragma once

#include "kernels/isa/capabilities.h"

#include <cstdint>

namespace lc::kernels {

// The numbers are part of the C ABI (lc_kernels_*).
enum class Isa : int32_t {
    none    = 0, // everything is left to ggml
    avx2    = 1,
    avxvnni = 2,
    avx512  = 3,
    amx     = 4,
};

struct IsaInfo {
    Isa          isa;
    const char * name;
    Features     features; // all that kernels may use
};

// In order of preference.
inline constexpr IsaInfo ISAS[] = {
    {Isa::amx, "amx", AVX2 | AVX512 | AVX512_BF16 | AMX_BF16},
    {Isa::avx512, "avx512", AVX2 | AVX512},
    {Isa::avxvnni, "avxvnni", AVX2 | AVX_VNNI},
    {Isa::avx2, "avx2", AVX2},
    {Isa::none, "none", NO_FEATURES},
};

// True if ISAS has an instruction set with this number.
bool is_isa(int32_t number);

const char * isa_name(Isa isa);

Features isa_features(Isa isa);

// True if this machine has all features of the instruction set. Isa::none always runs, a number that is not in ISAS never.
bool isa_runs(Isa isa);

// The first of ISAS that runs here.
Isa best_isa();

} // namespace lc::kernels
