// Force-included into llama.cpp's ggml-cpu/amx/mmq.cpp only (native/cmake/Fixes.cmake).
//
// gcc's _tile_loadconfig() is inline assembly with the input operand `*((const void **) config)`, that is 8 bytes, but
// ldtilecfg reads 64. The optimizer therefore removes the stores to the other 56 bytes of the tile configuration, and the first
// prompt ends in a segmentation fault (llama.cpp issue 20824, PR 26954, both open at the pinned commit). Here the operand is
// the whole object.
#pragma once

#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)

#include <immintrin.h>

struct __attribute__((may_alias)) llmcore_tile_config_bytes {
    char bytes[64];
};

static inline __attribute__((always_inline)) void llmcore_tile_loadconfig(const void * config) {
    __asm__ volatile("ldtilecfg\t%X0" : : "m"(*static_cast<const llmcore_tile_config_bytes *>(config)));
}

#undef _tile_loadconfig
#define _tile_loadconfig(config) llmcore_tile_loadconfig(config)

#endif
