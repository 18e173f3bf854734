// AMX tiles of bf16 as assembly. The compiler does not model tile registers, so every operation is volatile and those that access
// memory clobber it: they keep their order among each other and to the stores to buffers that tiles are loaded from.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lc::kernels {
namespace {

inline constexpr int64_t TILE_BYTES = 1024; // 16 rows of 64 bytes

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
static_assert(sizeof(TileConfig) == 64, "ldtilecfg reads 64 bytes");

// Configures the tile registers for the lifetime of the object, then restores the former configuration: ggml's own AMX kernels
// configure each of their threads once for good, and ours run in the same threads. (Without a configuration the palette is 0, and
// loading palette 0 releases the registers.) Does not use _tile_loadconfig(): gcc takes its operand to be 8 bytes long and drops the
// stores to the rest.
class TileSession {
public:
    explicit inline __attribute__((always_inline)) TileSession(const TileRows & tiles) {
        __asm__ volatile("sttilecfg\t%0" : "=m"(before_));
        TileConfig config = {};
        config.palette    = 1;
        for (int t = 0; t < 8; t++) {
            config.row_bytes[t] = 64;
            config.rows[t]      = tiles.rows[t];
        }
        __asm__ volatile("ldtilecfg\t%0" : : "m"(config));
    }
    inline __attribute__((always_inline)) ~TileSession() { __asm__ volatile("ldtilecfg\t%0" : : "m"(before_) : "memory"); }
    TileSession(const TileSession &)             = delete;
    TileSession & operator=(const TileSession &) = delete;

private:
    TileConfig before_;
};

template <int T> static inline __attribute__((always_inline)) void tile_zero() {
    __asm__ volatile("tilezero\t%%tmm%c0" : : "i"(T));
}

// AddressSanitizer does not see the accesses of assembly. With it, the first and last byte of each row of the tile are read here.
template <int T> static inline __attribute__((always_inline)) void tile_touch(const void * at, int64_t stride) {
#ifdef __SANITIZE_ADDRESS__
    TileConfig config;
    __asm__ volatile("sttilecfg\t%0" : "=m"(config));
    for (int row = 0; row < config.rows[T]; row++) {
        const auto * bytes = static_cast<const volatile uint8_t *>(at) + row * stride;
        (void) bytes[0];
        (void) bytes[63];
    }
#else
    (void) at;
    (void) stride;
#endif
}

template <int T> static inline __attribute__((always_inline)) void tile_load(const void * from, int64_t stride) {
    tile_touch<T>(from, stride);
    __asm__ volatile("tileloadd\t(%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(stride) : "memory");
}

// Loads with a hint that the data need not stay in L1.
template <int T> static inline __attribute__((always_inline)) void tile_stream(const void * from, int64_t stride) {
    tile_touch<T>(from, stride);
    __asm__ volatile("tileloaddt1\t(%1,%2,1), %%tmm%c0" : : "i"(T), "r"(from), "r"(stride) : "memory");
}

template <int T> static inline __attribute__((always_inline)) void tile_store(void * to, int64_t stride) {
    tile_touch<T>(to, stride);
    __asm__ volatile("tilestored\t%%tmm%c0, (%1,%2,1)" : : "i"(T), "r"(to), "r"(stride) : "memory");
}

// C += A B, where each 32-bit element of B is a pair of consecutive k.
template <int C, int A, int B> static inline __attribute__((always_inline)) void tile_product() {
    __asm__ volatile("tdpbf16ps\t%%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

} // namespace
} // namespace lc::kernels
