// The plan of a graph: its steps, the barriers between them, and where in the scratch memory each step works.
#pragma once

#include "kernels/isa/isa.h"
#include "kernels/elementwise/rope.h"

#include "ggml.h"

#include <vector>

struct ggml_cgraph;

namespace lc::kernels {

enum class StepKind { rows, row_part, rope, matmul, attention };

struct Step {
    StepKind            kind;
    const ggml_tensor * node;
    int64_t             items;      // rows, rope: items, row_part: elements; each thread takes a contiguous range
    size_t              scratch;    // offset of this step's scratch
    int                 counters;   // number of its set of counters, see GraphPlan
    int                 rope_table; // rope: number of its table
    int                 index;      // attention: number of its index
    bool                makes_index;
    bool                barrier_before;
};

// The table of cosines and sines for ROPE nodes with the same angles. Models have one table, or two if layers differ.
struct RopeTable {
    Rope   rope;
    size_t offset; // in the scratch
};

// The index of attention nodes with the same mask. Models have one, or two if some layers see a window.
struct IndexPlan {
    const ggml_tensor * node;   // the first that uses it
    size_t              offset; // in the scratch
};

struct GraphPlan {
    std::vector<Step>      steps;
    std::vector<RopeTable> tables;
    std::vector<IndexPlan> indexes;
    size_t                 scratch_bytes = 0;
    // The steps between two barriers are a group, and each step of a group that needs counters has a set of its own. Three groups
    // of sets are used in turn: while a group runs, the sets of the next one are zeroed. They were last used by the group before
    // the previous one, which all threads have left.
    int group_counters = 0; // sets in a group
};

// Plans a graph. Every node must be empty or supported by the device. Replaces what `plan` holds and reuses its memory.
void make_graph_plan(const ggml_cgraph * graph, Isa isa, int n_threads, GraphPlan & plan);

} // namespace lc::kernels
