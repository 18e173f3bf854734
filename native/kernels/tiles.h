// AMX tiles of bf16. The compiler knows nothing of tile registers: every operation is volatile and clobbers memory, so that
// they keep their order among one another and to the stores of the buffers that tiles are loaded from.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace lc::kernels {
namespace {

inline constexpr int64_t TILE_BYTES = 1024;  // 16 rows of 64 bytes

// Rows of 64 bytes in each of the eight tile registers.
struct TileRows {
    uint8_t rows[8];
};

struct alignas(64) TileConfig {
    uint8_t  palette;
    uint8_t  start_row;
    uint8_t  reserved[14];
    uint16_t row_bytes[16];
    uint8_t  rows[16];
};
static_assert(sizeof(TileConfig) == 64, "what ldtilecfg reads");

// Not _tile_loadconfig(): gcc takes 8 bytes for its operand and drops the stores to the others.
static inline __attribute__((always_inline)) void tile_configure(const TileRows & tiles) {
    TileConfig config = {};
    config.palette    = 1;
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = 64;
        config.rows[t]      = tiles.rows[t];
    }
    __asm__ volatile("ldtilecfg\t%0" : : "m"(config));
}

static inline __attribute__((always_inline)) void tile_release() {
    __asm__ volatile("tilerelease" : : : "memory");
}

template <int T> static inline __attribute__((always_inline)) void tile_zero() {
    __asm__ volatile("tilezero\t%%tmm%c0" : : "i"(T));
}

template <int T> static inline __attribute__((always_inline)) void tile_load(const void * from, int64_t stride) {
    __asm__ volatile("tileloadd\t(%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(stride) : "memory");
}

// Likewise, of what is not to stay in L1.
template <int T> static inline __attribute__((always_inline)) void tile_stream(const void * from, int64_t stride) {
    __asm__ volatile("tileloaddt1\t(%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(stride) : "memory");
}

template <int T> static inline __attribute__((always_inline)) void tile_store(void * to, int64_t stride) {
    __asm__ volatile("tilestored\t%%tmm%c0, (%1,%2,1)" : : "i"(T), "r"(to), "r"(stride) : "memory");
}

// C += A B, where B holds pairs of consecutive k.
template <int C, int A, int B> static inline __attribute__((always_inline)) void tile_product() {
    __asm__ volatile("tdpbf16ps\t%%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

} // namespace
} // namespace lc::kernels
