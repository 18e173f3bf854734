// machine_features() on x86-64.
#include "kernels/isa/capabilities.h"

#include <cpuid.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lc::kernels {
namespace {

struct Leaf {
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
};

// Zeros if the CPU does not have the leaf.
Leaf cpuid(unsigned leaf, unsigned subleaf) {
    Leaf out;
    __get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx);
    return out;
}

// The registers that the operating system preserves when it switches threads (XCR0). Valid only if CPUID reports OSXSAVE.
uint64_t preserved_registers() {
    uint32_t low;
    uint32_t high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return static_cast<uint64_t>(high) << 32 | low;
}

constexpr uint64_t bit(int n) {
    return uint64_t{1} << n;
}

constexpr bool all(uint64_t word, uint64_t bits) {
    return (word & bits) == bits;
}

// Linux gives a thread room for the tiles' data (8 KB) only if the process has asked for it.
bool request_tiles() {
#if defined(__linux__)
    constexpr long REQUEST   = 0x1023; // ARCH_REQ_XCOMP_PERM
    constexpr long TILE_DATA = 18;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return false;
#endif
}

Features find_features() {
    const Leaf basic = cpuid(1, 0);
    if (!all(basic.ecx, bit(27))) { // OSXSAVE
        return NO_FEATURES;
    }
    const Leaf     extended  = cpuid(7, 0);
    const Leaf     more      = extended.eax >= 1 ? cpuid(7, 1) : Leaf{};
    const uint64_t preserved = preserved_registers();
    // AVX, FMA, F16C; AVX2, BMI2; vector registers of 256 bits.
    if (!all(basic.ecx, bit(28) | bit(12) | bit(29)) || !all(extended.ebx, bit(5) | bit(8)) || !all(preserved, bit(1) | bit(2))) {
        return NO_FEATURES;
    }
    Features found = AVX2;
    if (all(more.eax, bit(4))) {
        found |= AVX_VNNI;
    }
    // F, DQ, BW, VL; VNNI; mask registers and vector registers of 512 bits.
    if (!all(extended.ebx, bit(16) | bit(17) | bit(30) | bit(31)) || !all(extended.ecx, bit(11)) ||
        !all(preserved, bit(5) | bit(6) | bit(7))) {
        return found;
    }
    found |= AVX512;
    if (all(more.eax, bit(5))) {
        found |= AVX512_BF16;
    }
    // AMX-BF16, AMX-TILE; the tiles' configuration and data. Only asked for by CPUs whose kernels use them.
    if (has_all(found, AVX512_BF16) && all(extended.edx, bit(22) | bit(24)) && all(preserved, bit(17) | bit(18)) &&
        request_tiles()) {
        found |= AMX_BF16;
    }
    return found;
}

} // namespace

Features machine_features() {
    static const Features found = find_features();
    return found;
}

} // namespace lc::kernels
