// Trait class of AVX-VNNI: AVX2 whose dot products of bytes are one instruction. simd.h documents the members.
#pragma once

#include "kernels/isa/simd/avx2.h"

namespace lc::kernels::simd {
namespace {

struct AvxVnni : Avx2 {
    static constexpr bool HAS_VNNI = true;

    LC_INLINE I32 dot(I32 sum, I32 u, I32 s) { return _mm256_dpbusd_avx_epi32(sum, u, s); }
    LC_INLINE I32 dot_broadcast(I32 sum, I32 u, const int8_t * four) { return dot(sum, u, broadcast_4(four)); }
};

} // namespace
} // namespace lc::kernels::simd
