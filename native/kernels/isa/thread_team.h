// The threads that compute one graph together. Every thread calls the same kernels in the same order.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lc::kernels {

inline constexpr int N_COUNTERS = 4;

struct Team {
    int       ith;           // this thread, 0 to nth - 1
    int       nth;
    int64_t * counters;      // N_COUNTERS of them, shared, 64 bytes apart; zero when an operation begins
    uint8_t * scratch;       // shared by all threads, 64-byte aligned, as large as the operation's *_scratch() asked for
};

// Waits for all threads of the team. (OpenMP's barrier; in graph.cpp.)
void team_barrier(const Team & team);

// Takes `n` items of work from a counter and returns the first. Dynamic sharing: a thread without a core takes less.
static inline __attribute__((always_inline)) int64_t team_take(const Team & team, int counter, int64_t n) {
    return __atomic_fetch_add(team.counters + 8 * counter, n, __ATOMIC_RELAXED);
}

} // namespace lc::kernels
