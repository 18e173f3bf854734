// Computes graphs whose nodes are all ours: one parallel region for a graph, in the OpenMP runtime that ggml uses.
#pragma once

#include "kernels/backend/plan.h"

#include "ggml-backend.h"

#include <atomic>
#include <cstdint>
#include <vector>

namespace lc::kernels {

class Computer {
public:
    explicit Computer(Isa isa) : isa(isa) {}
    ~Computer();
    Computer(const Computer &) = delete;
    Computer & operator=(const Computer &) = delete;

    ggml_status compute(const ggml_cgraph * graph);

    int                 n_threads = 1;
    ggml_abort_callback abort_callback = nullptr;
    void *              abort_data = nullptr;

private:
    bool prepare();
    void run(int ith, int nth);
    int64_t * counters_of(int group);
    void run_step(const Step & step, int64_t * counters, int ith, int nth);
    void fill_tables(int ith, int nth);
    void fetch_weights(int i_step, bool is_idle, int ith, int nth) const;

    const Isa isa;
    Plan        plan;
    uint64_t    planned_uid = 0;  // of the graph that `plan` is for; 0: of none
    int         planned_threads = 0;
    uint8_t *   scratch = nullptr;
    size_t      scratch_size = 0;
    std::vector<int64_t> counters;
    std::atomic<int> stop_at{0};  // the step before which everybody stops; thread 0 writes it
};

} // namespace lc::kernels
