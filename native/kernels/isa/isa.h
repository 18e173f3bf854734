// Instruction sets that the kernels are written for, the faster the higher. Some CPUs have avx512 and not avxvnni.
#pragma once

namespace lc::kernels {

enum class Level : int {
    none    = 0,  // nothing is offered
    avx2    = 1,  // AVX2, FMA, F16C
    avxvnni = 2,  // those and AVX-VNNI: vpdpbusd in 256 bits
    avx512  = 3,  // avx2 and AVX-512 F, BW, DQ, VL and VNNI
    amx     = 4,  // avx512 and AMX tiles of bf16, AVX-512 BF16
};

inline constexpr int N_LEVELS = 5;

const char * level_name(Level level);

// Whether this CPU, its operating system and this process can run the level. For AMX the kernel has been asked for the
// permission to use the tiles.
bool level_runs(Level level);

// The highest level that runs here.
Level level_best();

} // namespace lc::kernels
