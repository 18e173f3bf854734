// What is to be done for a graph: steps, the barriers between them, and where in the scratch memory each one works.
#pragma once

#include "kernels/isa/isa.h"
#include "kernels/elementwise/rope.h"

#include "ggml.h"

#include <vector>

struct ggml_cgraph;

namespace lc::kernels {

enum class StepKind { rows, cut, rope, matmul, attention };

struct Step {
    StepKind            kind;
    const ggml_tensor * node;
    int64_t             items;            // rows, rope: shared among the threads in contiguous ranges; cut: elements
    size_t              scratch;          // offset of this step's scratch
    int                 counters;         // which of the counters, see Plan
    int                 rope_table;       // rope: which table
    bool                barrier_before;
};

// The angles of one kind of ROPE in the graph (models have one, or two where layers differ).
struct RopeTable {
    Rope   rope;
    size_t offset;  // in the scratch
};

struct Plan {
    std::vector<Step>      steps;
    std::vector<RopeTable> tables;
    size_t                 scratch_bytes = 0;
    // Steps between two barriers have counters of their own, and three such groups follow one another in a ring: those of the group
    // before last, which everybody has left, are made zero again for the next.
    int                    group_counters = 0;  // sets of a group
};

// Every node must be one that the device supports, or empty. `plan` is filled anew (its memory is used again).
void make_plan(const ggml_cgraph * graph, Isa isa, int n_threads, Plan & plan);

} // namespace lc::kernels
