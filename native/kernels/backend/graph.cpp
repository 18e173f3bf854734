#include "kernels/backend/graph.h"

#include "kernels/attention/attention.h"
#include "kernels/backend/product.h"
#include "kernels/backend/profile.h"
#include "kernels/elementwise/elementwise.h"

#include "shim/kv_positions.h"

#include "ggml-impl.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>

namespace lc::kernels {

namespace {

// Counters of one operation.
constexpr int COUNTER_WORDS = N_COUNTERS * COUNTER_STRIDE;

// Sets of counters that are used in turn, see GraphPlan.
constexpr int RING = 3;

// Bytes of weights to prefetch before a product: by a thread that has been idle since the last barrier, and by one that has not.
// The product is looked for in the next PREFETCH_STEPS steps.
constexpr int64_t PREFETCH_IDLE = 32 * 1024, PREFETCH_BUSY = 1024;
constexpr int     PREFETCH_STEPS = 6;

// A thread's share of n items: first to last - 1.
struct ThreadShare {
    int64_t first, last;
    ThreadShare(int64_t n, int ith, int nth) : first(n * ith / nth), last(n * (ith + 1) / nth) {}
};

} // namespace

void team_barrier(const ThreadTeam & team) {
    if (team.nth > 1) {
#pragma omp barrier
    }
}

GraphExecutor::~GraphExecutor() {
    if (scratch_ != nullptr) {
        munmap(scratch_, scratch_size_);
    }
}

// Allocates what the plan needs: counters, indexes and scratch. Scratch only grows, by more than is needed, so that it seldom grows again.
bool GraphExecutor::allocate() {
    counters_.assign(static_cast<size_t>(RING * plan_.group_counters * COUNTER_WORDS + 8), 0);
    indexes_.assign(plan_.indexes.size(), nullptr);
    for (const IndexPlan & index : plan_.indexes) {
        const ggml_tensor * k = index.node->src[1];
        positions_.resize(std::max(positions_.size(), static_cast<size_t>(k->ne[1] * k->ne[3])));
    }
    if (plan_.scratch_bytes <= scratch_size_) {
        return true;
    }
    const size_t size   = (plan_.scratch_bytes + plan_.scratch_bytes / 4 + 4095) / 4096 * 4096;
    void *       memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    if (scratch_ != nullptr) {
        munmap(scratch_, scratch_size_);
    }
    scratch_      = static_cast<uint8_t *>(memory);
    scratch_size_ = size;
    return true;
}

ggml_status GraphExecutor::compute(const ggml_cgraph * graph) {
    // A graph keeps its number while llama.cpp computes it again with the same shapes.
    if (graph->uid == 0 || graph->uid != planned_uid_ || n_threads != planned_threads_) {
        planned_uid_ = 0;
        make_graph_plan(graph, isa_, n_threads, plan_);
        planned_uid_     = graph->uid;
        planned_threads_ = n_threads;
    }
    if (!allocate()) {
        return GGML_STATUS_ALLOC_FAILED;
    }
    const int n_steps = static_cast<int>(plan_.steps.size());
    stop_at_          = n_steps;
    if (n_threads == 1) {
        run(0, 1);
    } else {
#pragma omp parallel num_threads(n_threads)
        run(omp_get_thread_num(), omp_get_num_threads());
    }
    return stop_at_ < n_steps ? GGML_STATUS_ABORTED : GGML_STATUS_SUCCESS;
}

int64_t * GraphExecutor::counters_of(int group) {
    int64_t * const words = counters_.data() + (8 - reinterpret_cast<uintptr_t>(counters_.data()) / sizeof(int64_t) % 8) % 8;
    return words + static_cast<int64_t>(group % RING) * plan_.group_counters * COUNTER_WORDS;
}

void GraphExecutor::run(int ith, int nth) {
    fill_rope_tables(ith, nth);
    const int        n_steps = static_cast<int>(plan_.steps.size());
    const ThreadTeam team{ith, nth, nullptr, nullptr};
    GraphProfile     profile(ith);
    bool             is_idle = false; // this thread has done nothing since the last barrier
    int              group   = 0;
    for (int i = 0; i < n_steps; i++) {
        const Step & step = plan_.steps[i];
        if (step.barrier_before) {
            prefetch_weights(i, is_idle, ith, nth);
            is_idle = true;
            // Thread 0 asks before the barrier; all threads read the answer after it.
            if (ith == 0 && abort_callback != nullptr && abort_callback(abort_data)) {
                stop_at_ = i;
            }
            team_barrier(team);
            if (stop_at_ <= i) {
                break;
            }
            profile.lap();
            group++;
            if (ith == 0) {
                std::fill_n(counters_of(group + 1), plan_.group_counters * COUNTER_WORDS, 0);
            }
        }
        is_idle = is_idle && step.kind != StepKind::matmul && step.items * (ith + 1) / nth == step.items * ith / nth;
        run_step(step, counters_of(group) + step.counters * COUNTER_WORDS, ith, nth);
        profile.add(step.node);
    }
    team_barrier(team);
    profile.lap();
}

// Small steps leave memory bandwidth and threads idle: meanwhile the first weights of the next product are prefetched.
void GraphExecutor::prefetch_weights(int i_step, bool is_idle, int ith, int nth) const {
    const int n_steps = static_cast<int>(plan_.steps.size());
    int       i       = i_step;
    while (i < n_steps && i < i_step + PREFETCH_STEPS && plan_.steps[i].kind != StepKind::matmul) {
        i++;
    }
    if (i >= n_steps || plan_.steps[i].kind != StepKind::matmul || (i > i_step && !is_idle)) {
        return;
    }
    const auto *  first = static_cast<const char *>(matmul_first_weights(isa_, matmul_of(plan_.steps[i].node), ith, nth));
    const int64_t n     = is_idle ? PREFETCH_IDLE : PREFETCH_BUSY;
    for (int64_t at = 0; first != nullptr && at < n; at += 64) {
        __builtin_prefetch(first + at, 0, 2);
    }
}

// Computes the tables of ROPE. The barrier comes before the first step, so all threads find the tables complete.
void GraphExecutor::fill_rope_tables(int ith, int nth) {
    for (const RopeTable & table : plan_.tables) {
        const ThreadShare share(table.rope.n_tokens, ith, nth);
        auto *            floats = reinterpret_cast<float *>(scratch_ + table.offset);
        for (int64_t token = share.first; token < share.last; token++) {
            table.rope.fill_table_row(token, floats + token * table.rope.n_dims);
        }
    }
    if (!plan_.tables.empty()) {
        team_barrier({ith, nth, nullptr, nullptr});
    }
}

// Called by one thread: an index is made in much less time than one attention step takes.
void GraphExecutor::make_index(int number) {
    const IndexPlan &   index   = plan_.indexes[number];
    const ggml_tensor * k       = index.node->src[1];
    const ggml_tensor * storage = k->view_src != nullptr ? k->view_src : k;
    const int64_t       first   = storage->nb[2] > 0 ? static_cast<int64_t>(k->view_offs / storage->nb[2]) : 0;
    bool                known   = true;
    for (int64_t stream = 0; known && stream < k->ne[3]; stream++) {
        known = read_cell_positions(storage, first + stream, k->ne[1], positions_.data() + stream * k->ne[1]);
    }
    indexes_[number] = attention_index(isa_, index.node, known ? positions_.data() : nullptr, scratch_ + index.offset);
}

void GraphExecutor::run_step(const Step & step, int64_t * step_counters, int ith, int nth) {
    const ThreadTeam  team{ith, nth, step_counters, scratch_ + step.scratch};
    const ThreadShare share(step.items, ith, nth);
    switch (step.kind) {
        case StepKind::rows:     run_rows(step.node, share.first, share.last, row_ops(isa_)); break;
        case StepKind::row_part: run_row_part(step.node, share.first, share.last, row_ops(isa_)); break;
        case StepKind::matmul:   matmul(isa_, matmul_of(step.node), team); break;
        case StepKind::attention:
            if (step.makes_index) {
                if (ith == 0) {
                    make_index(step.index);
                }
                team_barrier(team);
            }
            attention(isa_, step.node, *indexes_[step.index], team);
            break;
        case StepKind::rope:     {
            const RopeTable & table  = plan_.tables[step.rope_table];
            const auto *      floats = reinterpret_cast<const float *>(scratch_ + table.offset);
            for (int64_t token = share.first; token < share.last; token++) {
                table.rope.rotate(step.node, token, floats + token * table.rope.n_dims, row_ops(isa_));
            }
            break;
        }
    }
}

} // namespace lc::kernels
