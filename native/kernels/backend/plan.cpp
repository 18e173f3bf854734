#include "kernels/backend/plan.h"

#include "kernels/attention/attention.h"
#include "kernels/backend/product.h"
#include "kernels/elementwise/elementwise.h"

#include "ggml-impl.h"

#include <algorithm>

namespace lc::kernels {

namespace {

constexpr size_t LINE = 64;

// Products between which there is no barrier need separate scratch. If that would exceed this many bytes, a barrier is set.
constexpr size_t SCRATCH_SIDE_BY_SIDE = 1 << 20;

size_t aligned(size_t n) {
    return (n + LINE - 1) / LINE * LINE;
}

// Memory that a step reads or writes. Its items are `stride` bytes apart (0: every item accesses all of it).
struct MemoryAccess {
    const char * begin;
    const char * end;
    int64_t      stride;
    bool         is_written;
};

MemoryAccess access_of(const ggml_tensor * t, int64_t items, bool is_written) {
    const char *  begin  = static_cast<const char *>(t->data);
    const int64_t outer  = t->ne[2] * t->ne[3];
    int64_t       stride = 0;
    if (outer == items && outer > 1) {
        stride = t->ne[3] == 1 ? static_cast<int64_t>(t->nb[2]) : 0;
    } else if (outer == 1 && t->ne[1] == items) {
        stride = static_cast<int64_t>(t->nb[1]);
    }
    return {begin, begin + ggml_nbytes(t), stride, is_written};
}

// The steps since the last barrier: decides whether the next step can join them or needs a barrier before it.
class StepGroup {
public:
    void clear() {
        accesses_.clear();
        scratch_  = 0;
        is_empty_ = true;
    }

    // True if `step` may run at the same time as any of the group's steps.
    bool can_join(const Step & step, size_t scratch_needed) const {
        if (is_empty_) {
            return true;
        }
        const bool both_products = kind_ == StepKind::matmul && step.kind == StepKind::matmul;
        const bool both_rows     = is_by_rows(kind_) && is_by_rows(step.kind) && items_ == step.items;
        if (!both_products && !both_rows) {
            return false;
        }
        if (both_products && scratch_ + scratch_needed > SCRATCH_SIDE_BY_SIDE) {
            return false;
        }
        for (const MemoryAccess & mine : accesses_of(step)) {
            for (const MemoryAccess & other : accesses_) {
                if (conflict(mine, other, both_rows)) {
                    return false;
                }
            }
        }
        return true;
    }

    void add(const Step & step, size_t scratch_needed) {
        const std::vector<MemoryAccess> more = accesses_of(step);
        accesses_.insert(accesses_.end(), more.begin(), more.end());
        kind_  = step.kind;
        items_ = step.items;
        scratch_ += scratch_needed;
        is_empty_ = false;
    }

    size_t scratch_used() const { return scratch_; }

private:
    static bool is_by_rows(StepKind kind) { return kind == StepKind::rows || kind == StepKind::rope; }

    static std::vector<MemoryAccess> accesses_of(const Step & step) {
        std::vector<MemoryAccess> all;
        all.reserve(GGML_MAX_SRC + 1);
        all.push_back(access_of(step.node, step.items, true));
        for (int i = 0; i < GGML_MAX_SRC; i++) {
            const ggml_tensor * source = step.node->src[i];
            // SET_ROWS has its destination among its sources.
            const bool is_destination = step.node->op == GGML_OP_SET_ROWS && source != nullptr && source->data == step.node->data;
            if (source != nullptr && !is_destination) {
                all.push_back(access_of(source, step.items, false));
            }
        }
        return all;
    }

    // Two accesses conflict if they overlap and one of them writes, unless both divide the memory into the same items, so that
    // each thread accesses only its own.
    static bool conflict(const MemoryAccess & a, const MemoryAccess & b, bool both_rows) {
        if ((!a.is_written && !b.is_written) || a.end <= b.begin || b.end <= a.begin) {
            return false;
        }
        return !(both_rows && a.begin == b.begin && a.stride == b.stride && a.stride != 0);
    }

    std::vector<MemoryAccess> accesses_;
    StepKind                  kind_     = StepKind::rows;
    int64_t                   items_    = 0;
    size_t                    scratch_  = 0;
    bool                      is_empty_ = true;
};

int rope_table(const ggml_tensor * node, GraphPlan & plan) {
    const Rope rope(node);
    for (size_t i = 0; i < plan.tables.size(); i++) {
        if (plan.tables[i].rope.has_same_angles(rope)) {
            return static_cast<int>(i);
        }
    }
    plan.tables.push_back({rope, 0});
    return static_cast<int>(plan.tables.size()) - 1;
}

// Sets the number of the node's index. The first node that uses an index makes it.
void plan_index(const ggml_tensor * node, GraphPlan & plan, Step & step) {
    const auto shares = [&](const IndexPlan & each) { return attention_shares_index(node, each.node); };
    const auto found  = std::find_if(plan.indexes.begin(), plan.indexes.end(), shares);
    step.index        = static_cast<int>(found - plan.indexes.begin());
    step.makes_index  = found == plan.indexes.end();
    if (step.makes_index) {
        plan.indexes.push_back({node, 0});
    }
}

Step step_of(const ggml_tensor * node, int n_threads, GraphPlan & plan) {
    Step step{StepKind::rows, node, 0, 0, 0, -1, -1, false, true};
    switch (node->op) {
        case GGML_OP_MUL_MAT: step.kind = StepKind::matmul; break;
        case GGML_OP_FLASH_ATTN_EXT:
            step.kind = StepKind::attention;
            plan_index(node, plan, step);
            break;
        case GGML_OP_ROPE:
            step.kind       = StepKind::rope;
            step.items      = node->ne[2];
            step.rope_table = rope_table(node, plan);
            break;
        default:
            if (n_threads > 1 && can_split_row(node)) {
                step.kind  = StepKind::row_part;
                step.items = node->ne[0];
            } else {
                step.items = count_row_items(node);
            }
    }
    return step;
}

size_t scratch_of(const Step & step, Isa isa, int n_threads) {
    if (step.kind == StepKind::matmul) {
        return aligned(matmul_scratch(isa, matmul_of(step.node), n_threads));
    }
    if (step.kind == StepKind::attention) {
        return aligned(attention_scratch(isa, step.node, n_threads));
    }
    return 0;
}

} // namespace

void make_graph_plan(const ggml_cgraph * graph, Isa isa, int n_threads, GraphPlan & plan) {
    plan.steps.clear();
    plan.tables.clear();
    plan.indexes.clear();
    plan.group_counters  = 0;
    size_t    working    = 0;
    int       i_in_group = 0;
    StepGroup group;
    for (int i = 0; i < graph->n_nodes; i++) {
        const ggml_tensor * node = graph->nodes[i];
        if (ggml_op_is_empty(node->op) || (node->flags & GGML_TENSOR_FLAG_COMPUTE) == 0 || ggml_is_empty(node)) {
            continue;
        }
        Step         step   = step_of(node, n_threads, plan);
        const size_t needed = scratch_of(step, isa, n_threads);
        step.barrier_before = !group.can_join(step, needed);
        if (step.barrier_before) {
            group.clear();
            i_in_group = 0;
        }
        step.counters = i_in_group;
        i_in_group += step.kind == StepKind::matmul || step.kind == StepKind::attention;
        plan.group_counters = std::max(plan.group_counters, i_in_group);
        step.scratch        = group.scratch_used();
        group.add(step, needed);
        working = std::max(working, group.scratch_used());
        plan.steps.push_back(step);
    }
    size_t offset = aligned(working);
    for (RopeTable & table : plan.tables) {
        table.offset = offset;
        offset += aligned(table.rope.table_floats() * sizeof(float));
    }
    for (IndexPlan & index : plan.indexes) {
        index.offset = offset;
        offset += aligned(attention_index_size(isa, index.node));
    }
    plan.scratch_bytes = offset;
}

} // namespace lc::kernels
