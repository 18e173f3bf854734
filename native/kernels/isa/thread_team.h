// The threads that compute one graph together. Every thread calls the same kernels in the same order.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lc::kernels {

inline constexpr int N_COUNTERS     = 4; // of an operation
inline constexpr int COUNTER_STRIDE = 8; // words from one counter to the next: a cache line each

struct ThreadTeam {
    int       ith;      // this thread, 0 to nth - 1
    int       nth;      // number of threads
    int64_t * counters; // N_COUNTERS, shared by all threads; zero when an operation begins
    uint8_t * scratch;  // shared by all threads, 64-byte aligned, of the size that the operation's *_scratch() returned
};

// Waits for all threads of the team. (OpenMP's barrier; in graph.cpp.)
void team_barrier(const ThreadTeam & team);

// Takes the next `n` items of work from a counter and returns the first of them. A thread that gets less CPU time takes fewer.
static inline __attribute__((always_inline)) int64_t team_take(const ThreadTeam & team, int counter, int64_t n) {
    return __atomic_fetch_add(team.counters + COUNTER_STRIDE * counter, n, __ATOMIC_RELAXED);
}

} // namespace lc::kernels
