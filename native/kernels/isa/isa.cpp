#include "kernels/isa/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdint>

namespace lc::kernels {
namespace {

#if defined(__x86_64__)

struct Leaf {
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
};

// Zeros for what the CPU does not have.
Leaf cpuid(unsigned leaf, unsigned subleaf) {
    Leaf out;
    __get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx);
    return out;
}

// Which registers the operating system keeps over a change of threads. Only after OSXSAVE was seen.
uint64_t kept_state() {
    uint32_t low;
    uint32_t high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<uint64_t>(high) << 32 | low;
}

constexpr bool all(uint64_t word, uint64_t bits) {
    return (word & bits) == bits;
}

constexpr uint64_t bit(int n) {
    return uint64_t{1} << n;
}

// Linux gives the tiles' state (8 KB a thread) only to processes that asked for it.
bool tiles_permitted() {
#if defined(__linux__)
    constexpr long REQUEST   = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long TILE_DATA = 18;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return false;
#endif
}

// Bit n: Level n runs.
unsigned find_levels() {
    unsigned   levels   = 1;
    const Leaf basic    = cpuid(1, 0);
    const Leaf extended = cpuid(7, 0);
    const Leaf more     = extended.eax >= 1 ? cpuid(7, 1) : Leaf{};
    // XSAVE by the system, AVX, FMA, F16C; AVX2, BMI2; the upper halves of the registers are kept.
    if (!all(basic.ecx, bit(27) | bit(28) | bit(12) | bit(29)) || !all(extended.ebx, bit(5) | bit(8)) ||
        !all(kept_state(), bit(1) | bit(2))) {
        return levels;
    }
    levels |= 1u << static_cast<int>(Level::avx2);
    if (all(more.eax, bit(4))) {
        levels |= 1u << static_cast<int>(Level::avxvnni);
    }
    // AVX-512 F, DQ, BW, VL and VNNI; masks and both upper parts of the registers are kept.
    if (!all(extended.ebx, bit(16) | bit(17) | bit(30) | bit(31)) || !all(extended.ecx, bit(11)) ||
        !all(kept_state(), bit(5) | bit(6) | bit(7))) {
        return levels;
    }
    levels |= 1u << static_cast<int>(Level::avx512);
    // AVX-512 BF16, AMX of bf16, tiles; their configuration and data are kept.
    if (all(more.eax, bit(5)) && all(extended.edx, bit(22) | bit(24)) && all(kept_state(), bit(17) | bit(18)) &&
        tiles_permitted()) {
        levels |= 1u << static_cast<int>(Level::amx);
    }
    return levels;
}

#else

unsigned find_levels() {
    return 1;
}

#endif

unsigned levels() {
    static const unsigned found = find_levels();
    return found;
}

} // namespace

const char * level_name(Level level) {
    switch (level) {
        case Level::avx2:    return "avx2";
        case Level::avxvnni: return "avxvnni";
        case Level::avx512:  return "avx512";
        case Level::amx:     return "amx";
        default:             return "none";
    }
}

bool level_runs(Level level) {
    const int n = static_cast<int>(level);
    return n >= 0 && n < N_LEVELS && (levels() >> n & 1) != 0;
}

Level level_best() {
    int best = 0;
    for (int n = 1; n < N_LEVELS; n++) {
        if (level_runs(static_cast<Level>(n))) {
            best = n;
        }
    }
    return static_cast<Level>(best);
}

} // namespace lc::kernels
