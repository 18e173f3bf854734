// One operation by itself, outside of a graph: its memory and its team. For measurements and tests; not for files of one level.
#pragma once

#include "kernels/isa/thread_team.h"

#include <omp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace lc::kernels {

struct FreeAligned {
    void operator()(uint8_t * bytes) const { ::operator delete(bytes, std::align_val_t{64}); }
};

using AlignedBytes = std::unique_ptr<uint8_t, FreeAligned>;

// Exactly n, so that AddressSanitizer sees what goes beyond them; 64-byte aligned, not zeroed.
inline AlignedBytes aligned_bytes(size_t n) {
    return AlignedBytes(static_cast<uint8_t *>(::operator new(n, std::align_val_t{64})));
}

// work(team) in each thread.
template <typename Work> void run_team(int n_threads, uint8_t * scratch, const Work & work) {
    alignas(64) int64_t counters[COUNTER_STRIDE * N_COUNTERS] = {};
#pragma omp parallel num_threads(n_threads)
    work(ThreadTeam{omp_get_thread_num(), omp_get_num_threads(), counters, scratch});
}

} // namespace lc::kernels
