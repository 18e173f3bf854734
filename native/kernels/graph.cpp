#include "graph.h"

#include "attention.h"
#include "profile.h"
#include "rowwise.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>

namespace lc::kernels {

namespace {

// 64 bytes apart, see team_take().
constexpr int COUNTER_WORDS = N_COUNTERS * 8;

// What a thread does of n items.
struct Share {
    int64_t first, last;
    Share(int64_t n, int ith, int nth) : first(n * ith / nth), last(n * (ith + 1) / nth) {}
};

} // namespace

void team_barrier(const Team & team) {
    if (team.nth > 1) {
#pragma omp barrier
    }
}

Computer::~Computer() {
    if (scratch != nullptr) {
        munmap(scratch, scratch_size);
    }
}

// Memory for the plan. Scratch only grows, in steps that seldom recur.
bool Computer::prepare() {
    counters.assign(plan.steps.size() * COUNTER_WORDS + 8, 0);
    if (plan.scratch_bytes <= scratch_size) {
        return true;
    }
    const size_t size = (plan.scratch_bytes + plan.scratch_bytes / 4 + 4095) / 4096 * 4096;
    void * memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    if (scratch != nullptr) {
        munmap(scratch, scratch_size);
    }
    scratch = static_cast<uint8_t *>(memory);
    scratch_size = size;
    return true;
}

ggml_status Computer::compute(const ggml_cgraph * graph) {
    make_plan(graph, level, n_threads, plan);
    if (!prepare()) {
        return GGML_STATUS_ALLOC_FAILED;
    }
    const int n_steps = static_cast<int>(plan.steps.size());
    stop_at = n_steps;
    if (n_threads == 1) {
        run(0, 1);
    } else {
#pragma omp parallel num_threads(n_threads)
        run(omp_get_thread_num(), omp_get_num_threads());
    }
    return stop_at < n_steps ? GGML_STATUS_ABORTED : GGML_STATUS_SUCCESS;
}

void Computer::run(int ith, int nth) {
    fill_tables(ith, nth);
    const int n_steps = static_cast<int>(plan.steps.size());
    int64_t * const words = counters.data() + (8 - reinterpret_cast<uintptr_t>(counters.data()) / sizeof(int64_t) % 8) % 8;
    const Team team{ith, nth, nullptr, nullptr};
    Profile profile(ith);
    for (int i = 0; i < n_steps; i++) {
        const Step & step = plan.steps[i];
        if (step.barrier_before) {
            // Thread 0 alone asks, before the barrier; everybody reads the answer behind it.
            if (ith == 0 && abort_callback != nullptr && abort_callback(abort_data)) {
                stop_at = i;
            }
            team_barrier(team);
            if (stop_at <= i) {
                break;
            }
            profile.lap();
        }
        run_step(step, words + i * COUNTER_WORDS, ith, nth);
        profile.add(step.node);
    }
    team_barrier(team);
    profile.lap();
}

// Before the first step that turns anything there is a barrier: products of the same graph come first, or the region's begin.
void Computer::fill_tables(int ith, int nth) {
    for (const RopeTable & table : plan.tables) {
        const Share share(table.rope.n_tokens, ith, nth);
        auto * floats = reinterpret_cast<float *>(scratch + table.offset);
        for (int64_t token = share.first; token < share.last; token++) {
            table.rope.fill(token, floats + token * table.rope.n_dims);
        }
    }
    if (!plan.tables.empty()) {
        team_barrier({ith, nth, nullptr, nullptr});
    }
}

void Computer::run_step(const Step & step, int64_t * step_counters, int ith, int nth) {
    const Team team{ith, nth, step_counters, scratch + step.scratch};
    const Share share(step.items, ith, nth);
    switch (step.kind) {
        case StepKind::rows:      rows_run(step.node, share.first, share.last, row_ops(level)); break;
        case StepKind::cut:       rows_run_cut(step.node, share.first, share.last, row_ops(level)); break;
        case StepKind::matmul:    matmul(level, matmul_of(step.node), team); break;
        case StepKind::attention: attention(level, step.node, team); break;
        case StepKind::rope: {
            const RopeTable & table = plan.tables[step.rope_table];
            const auto * floats = reinterpret_cast<const float *>(scratch + table.offset);
            for (int64_t token = share.first; token < share.last; token++) {
                table.rope.turn(step.node, token, floats + token * table.rope.n_dims, row_ops(level));
            }
            break;
        }
    }
}

} // namespace lc::kernels
