#include "kernels/backend/plan.h"

#include "kernels/attention/attention.h"
#include "kernels/backend/product.h"
#include "kernels/elementwise/elementwise.h"

#include "ggml-impl.h"

#include <algorithm>

namespace lc::kernels {

namespace {

constexpr size_t LINE = 64;

// Products that follow one another without a barrier work in scratch of their own; beyond this much they wait instead.
constexpr size_t SCRATCH_SIDE_BY_SIDE = 1 << 20;

size_t aligned(size_t n) {
    return (n + LINE - 1) / LINE * LINE;
}

// Memory that a step touches, and how it lies: items are `stride` bytes apart (0: every item touches all of it).
struct Touched {
    const char * begin;
    const char * end;
    int64_t      stride;
    bool         is_written;
};

Touched touched(const ggml_tensor * t, int64_t items, bool is_written) {
    const char * begin = static_cast<const char *>(t->data);
    const int64_t outer = t->ne[2] * t->ne[3];
    int64_t stride = 0;
    if (outer == items && outer > 1) {
        stride = t->ne[3] == 1 ? static_cast<int64_t>(t->nb[2]) : 0;
    } else if (outer == 1 && t->ne[1] == items) {
        stride = static_cast<int64_t>(t->nb[1]);
    }
    return {begin, begin + ggml_nbytes(t), stride, is_written};
}

// The steps since the last barrier, as far as the next one must know them.
class Group {
public:
    void clear() {
        ranges.clear();
        scratch = 0;
        is_empty = true;
    }

    // Whether `step` may run beside the group's steps: each thread may be anywhere among them.
    bool admits(const Step & step, size_t scratch_needed) const {
        if (is_empty) {
            return true;
        }
        const bool both_products = kind == StepKind::matmul && step.kind == StepKind::matmul;
        const bool both_rows = is_by_rows(kind) && is_by_rows(step.kind) && items == step.items;
        if (!both_products && !both_rows) {
            return false;
        }
        if (both_products && scratch + scratch_needed > SCRATCH_SIDE_BY_SIDE) {
            return false;
        }
        for (const Touched & mine : touched_by(step)) {
            for (const Touched & other : ranges) {
                if (collide(mine, other, both_rows)) {
                    return false;
                }
            }
        }
        return true;
    }

    void take(const Step & step, size_t scratch_needed) {
        const std::vector<Touched> more = touched_by(step);
        ranges.insert(ranges.end(), more.begin(), more.end());
        kind = step.kind;
        items = step.items;
        scratch += scratch_needed;
        is_empty = false;
    }

    size_t scratch_used() const { return scratch; }

private:
    static bool is_by_rows(StepKind kind) { return kind == StepKind::rows || kind == StepKind::rope; }

    static std::vector<Touched> touched_by(const Step & step) {
        std::vector<Touched> all;
        all.reserve(GGML_MAX_SRC + 1);
        all.push_back(touched(step.node, step.items, true));
        for (int i = 0; i < GGML_MAX_SRC; i++) {
            const ggml_tensor * source = step.node->src[i];
            // SET_ROWS names its destination among its sources.
            const bool is_target = step.node->op == GGML_OP_SET_ROWS && source != nullptr && source->data == step.node->data;
            if (source != nullptr && !is_target) {
                all.push_back(touched(source, step.items, false));
            }
        }
        return all;
    }

    // Two steps collide where one writes what the other touches, unless each thread meets its own items only.
    static bool collide(const Touched & a, const Touched & b, bool both_rows) {
        if ((!a.is_written && !b.is_written) || a.end <= b.begin || b.end <= a.begin) {
            return false;
        }
        return !(both_rows && a.begin == b.begin && a.stride == b.stride && a.stride != 0);
    }

    std::vector<Touched> ranges;
    StepKind             kind = StepKind::rows;
    int64_t              items = 0;
    size_t               scratch = 0;
    bool                 is_empty = true;
};

int rope_table(const ggml_tensor * node, Plan & plan) {
    const Rope rope(node);
    for (size_t i = 0; i < plan.tables.size(); i++) {
        if (plan.tables[i].rope.same_angles(rope)) {
            return static_cast<int>(i);
        }
    }
    plan.tables.push_back({rope, 0});
    return static_cast<int>(plan.tables.size()) - 1;
}

Step step_of(const ggml_tensor * node, int n_threads, Plan & plan) {
    Step step{StepKind::rows, node, 0, 0, 0, -1, true};
    switch (node->op) {
        case GGML_OP_MUL_MAT:
            step.kind = StepKind::matmul;
            break;
        case GGML_OP_FLASH_ATTN_EXT:
            step.kind = StepKind::attention;
            break;
        case GGML_OP_ROPE:
            step.kind = StepKind::rope;
            step.items = node->ne[2];
            step.rope_table = rope_table(node, plan);
            break;
        default:
            if (n_threads > 1 && rows_can_cut(node)) {
                step.kind = StepKind::cut;
                step.items = node->ne[0];
            } else {
                step.items = rows_items(node);
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

void make_plan(const ggml_cgraph * graph, Isa isa, int n_threads, Plan & plan) {
    plan.steps.clear();
    plan.tables.clear();
    plan.group_counters = 0;
    size_t working = 0;
    int i_in_group = 0;
    Group group;
    for (int i = 0; i < graph->n_nodes; i++) {
        const ggml_tensor * node = graph->nodes[i];
        if (ggml_op_is_empty(node->op) || (node->flags & GGML_TENSOR_FLAG_COMPUTE) == 0 || ggml_is_empty(node)) {
            continue;
        }
        Step step = step_of(node, n_threads, plan);
        const size_t needed = scratch_of(step, isa, n_threads);
        step.barrier_before = !group.admits(step, needed);
        if (step.barrier_before) {
            group.clear();
            i_in_group = 0;
        }
        step.counters = i_in_group;
        i_in_group += step.kind == StepKind::matmul || step.kind == StepKind::attention;
        plan.group_counters = std::max(plan.group_counters, i_in_group);
        step.scratch = group.scratch_used();
        group.take(step, needed);
        working = std::max(working, group.scratch_used());
        plan.steps.push_back(step);
    }
    size_t offset = aligned(working);
    for (RopeTable & table : plan.tables) {
        table.offset = offset;
        offset += aligned(table.rope.table_floats() * sizeof(float));
    }
    plan.scratch_bytes = offset;
}

} // namespace lc::kernels
