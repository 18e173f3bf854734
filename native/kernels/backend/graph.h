// Computes graphs that consist of our operations only: one parallel region for a graph, in the OpenMP runtime that ggml uses.
#pragma once

#include "kernels/backend/plan.h"

#include "ggml-backend.h"

#include <atomic>
#include <cstdint>
#include <vector>

namespace lc::kernels {

struct AttentionIndex;

class GraphExecutor {
public:
    explicit GraphExecutor(Isa isa) : isa_(isa) {}
    ~GraphExecutor();
    GraphExecutor(const GraphExecutor &)             = delete;
    GraphExecutor & operator=(const GraphExecutor &) = delete;

    ggml_status compute(const ggml_cgraph * graph);

    int                 n_threads      = 1;
    ggml_abort_callback abort_callback = nullptr;
    void *              abort_data     = nullptr;

private:
    bool allocate();
    void run(int ith, int nth);
    int64_t * counters_of(int group);
    void run_step(const Step & step, int64_t * counters, int ith, int nth);
    void fill_rope_tables(int ith, int nth);
    void make_index(int number);
    void prefetch_weights(int i_step, bool is_idle, int ith, int nth) const;

    const Isa            isa_;
    GraphPlan            plan_;
    uint64_t             planned_uid_     = 0; // ggml's number of the graph that plan_ is for; 0: no graph
    int                  planned_threads_ = 0;
    uint8_t *            scratch_         = nullptr;
    size_t               scratch_size_    = 0;
    std::vector<int64_t> counters_;
    std::vector<int32_t> positions_; // of cells, for an index
    std::vector<const AttentionIndex *> indexes_;
    std::atomic<int>     stop_at_{0}; // the step before which all threads stop; written by thread 0
};

} // namespace lc::kernels
