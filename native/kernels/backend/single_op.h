// Memory and threads for one operation outside of a graph, for measurements and tests. Not to be included by the files that are
// compiled for one instruction set.
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

// Exactly n bytes, so that AddressSanitizer detects accesses beyond them; 64-byte aligned, not zeroed.
inline AlignedBytes aligned_bytes(size_t n) {
    return AlignedBytes(static_cast<uint8_t *>(::operator new(n, std::align_val_t{64})));
}

// Calls work(team) in each of n_threads threads.
template <typename Work> void run_team(int n_threads, uint8_t * scratch, const Work & work) {
    alignas(64) int64_t counters[COUNTER_STRIDE * N_COUNTERS] = {};
#pragma omp parallel num_threads(n_threads)
    work(ThreadTeam{omp_get_thread_num(), omp_get_num_threads(), counters, scratch});
}

} // namespace lc::kernels
