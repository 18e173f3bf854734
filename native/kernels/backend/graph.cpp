#include "kernels/backend/graph.h"

#include "kernels/attention/attention.h"
#include "kernels/backend/product.h"
#include "kernels/backend/profile.h"
#include "kernels/elementwise/elementwise.h"

#include "ggml-impl.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>

namespace lc::kernels {

namespace {

// 64 bytes apart, see team_take().
constexpr int COUNTER_WORDS = N_COUNTERS * COUNTER_STRIDE;

// Groups of steps whose counters lie side by side, see Plan.
constexpr int RING = 3;

// Bytes of weights to ask for ahead of a product, by a thread that has nothing else to do and by one that is expected elsewhere; how
// many steps to look ahead for it.
constexpr int64_t FETCH_IDLE = 32 * 1024, FETCH_BUSY = 1024;
constexpr int     FETCH_STEPS = 6;

// What a thread does of n items.
struct Share {
    int64_t first, last;
    Share(int64_t n, int ith, int nth) : first(n * ith / nth), last(n * (ith + 1) / nth) {}
};

} // namespace

void team_barrier(const ThreadTeam & team) {
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
    counters.assign(static_cast<size_t>(RING * plan.group_counters * COUNTER_WORDS + 8), 0);
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
    // llama.cpp computes the same graph again as long as its shapes stay; only then does it keep its number.
    if (graph->uid == 0 || graph->uid != planned_uid || n_threads != planned_threads) {
        planned_uid = 0;
        make_plan(graph, isa, n_threads, plan);
        planned_uid = graph->uid;
        planned_threads = n_threads;
    }
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

int64_t * Computer::counters_of(int group) {
    int64_t * const words = counters.data() + (8 - reinterpret_cast<uintptr_t>(counters.data()) / sizeof(int64_t) % 8) % 8;
    return words + static_cast<int64_t>(group % RING) * plan.group_counters * COUNTER_WORDS;
}

void Computer::run(int ith, int nth) {
    fill_tables(ith, nth);
    const int n_steps = static_cast<int>(plan.steps.size());
    const ThreadTeam team{ith, nth, nullptr, nullptr};
    Profile profile(ith);
    bool is_idle = false;  // this thread had nothing to do since the last barrier
    int  group = 0;
    for (int i = 0; i < n_steps; i++) {
        const Step & step = plan.steps[i];
        if (step.barrier_before) {
            fetch_weights(i, is_idle, ith, nth);
            is_idle = true;
            // Thread 0 alone asks, before the barrier; everybody reads the answer behind it.
            if (ith == 0 && abort_callback != nullptr && abort_callback(abort_data)) {
                stop_at = i;
            }
            team_barrier(team);
            if (stop_at <= i) {
                break;
            }
            profile.lap();
            group++;
            if (ith == 0) {
                std::fill_n(counters_of(group + 1), plan.group_counters * COUNTER_WORDS, 0);
            }
        }
        is_idle = is_idle && step.kind != StepKind::matmul && step.items * (ith + 1) / nth == step.items * ith / nth;
        run_step(step, counters_of(group) + step.counters * COUNTER_WORDS, ith, nth);
        profile.add(step.node);
    }
    team_barrier(team);
    profile.lap();
}

// Small steps leave the memory idle, and threads too: meanwhile the weights that the next product begins with can come.
void Computer::fetch_weights(int i_step, bool is_idle, int ith, int nth) const {
    const int n_steps = static_cast<int>(plan.steps.size());
    int i = i_step;
    while (i < n_steps && i < i_step + FETCH_STEPS && plan.steps[i].kind != StepKind::matmul) {
        i++;
    }
    if (i >= n_steps || plan.steps[i].kind != StepKind::matmul || (i > i_step && !is_idle)) {
        return;
    }
    const auto * first = static_cast<const char *>(matmul_first_weights(isa, matmul_of(plan.steps[i].node), ith, nth));
    const int64_t n = is_idle ? FETCH_IDLE : FETCH_BUSY;
    for (int64_t at = 0; first != nullptr && at < n; at += 64) {
        __builtin_prefetch(first + at, 0, 2);
    }
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
    const ThreadTeam team{ith, nth, step_counters, scratch + step.scratch};
    const Share share(step.items, ith, nth);
    switch (step.kind) {
        case StepKind::rows:      rows_run(step.node, share.first, share.last, row_ops(isa)); break;
        case StepKind::cut:       rows_run_cut(step.node, share.first, share.last, row_ops(isa)); break;
        case StepKind::matmul:    matmul(isa, matmul_of(step.node), team); break;
        case StepKind::attention: attention(isa, step.node, team); break;
        case StepKind::rope: {
            const RopeTable & table = plan.tables[step.rope_table];
            const auto * floats = reinterpret_cast<const float *>(scratch + table.offset);
            for (int64_t token = share.first; token < share.last; token++) {
                table.rope.turn(step.node, token, floats + token * table.rope.n_dims, row_ops(isa));
            }
            break;
        }
    }
}

} // namespace lc::kernels
