// An item of work and the state of its lines. Included by the file of each instruction set; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_math.h"
#include "kernels/attention/attention_plan.h"

namespace lc::kernels {
namespace {

// State of consecutive lines in the online softmax: maximum score, sum of weights, output before the division by the sum.
struct LineState {
    float * m;
    float * l;
    float * o;
};

struct WorkItem {
    int64_t tile, stream;
    int64_t row, n_rows;   // the first row of the tile, counted within the stream
    int64_t head, n_heads; // the first head of K and V
    int32_t entry, end;    // entries of the plan
    float * state;         // of all lines, see state_of()
    bool    is_only_span;  // the tile has no other span
};

// For each head: line_pad maxima, line_pad sums, line_pad outputs.
static inline LineState state_of(const Attention & a, float * base, int64_t head, int64_t line) {
    float * s = base + head * a.line_pad * (2 + a.dv);
    return {s + line, s + a.line_pad + line, s + 2 * a.line_pad + line * a.dv};
}

static inline float * slot_of(const Attention & a, const ThreadTeam & team, int64_t slot) {
    return reinterpret_cast<float *>(team.scratch + a.slots_at) + slot * a.slot_floats;
}

// Number of slots of the tiles before `tile`. A tile with one span has none.
static inline int64_t slots_before(const AttentionPlan & p, int64_t tile) {
    int64_t n = 0;
    for (int64_t t = 0; t < tile; t++) {
        const int64_t spans = p.spans[t + 1] - p.spans[t];
        n += spans > 1 ? spans : 0;
    }
    return n;
}

static inline const uint8_t * head_of(const StridedVectors & v, int64_t stream, int64_t row, int64_t head) {
    return v.data + stream * v.stream + row * v.step + head * v.head;
}

static inline const float * line_of(const Attention & a, const WorkItem & item, int64_t head, int64_t line) {
    const int64_t row = item.row + line / a.group;
    return reinterpret_cast<const float *>(head_of(a.q, item.stream, row, head * a.group + line % a.group));
}

static inline void clear_state(const Attention & a, const WorkItem & item) {
    for (int64_t h = 0; h < item.n_heads; h++) {
        const LineState s = state_of(a, item.state, h, 0);
        const int64_t   n = item.n_rows * a.group;
        for (int64_t i = 0; i < n; i++) {
            s.m[i] = -__builtin_inff();
            s.l[i] = 0.0f;
        }
        memset(s.o, 0, static_cast<size_t>(n * a.dv) * sizeof(float));
    }
}

// Divides the output by the sum (with the sink's share) and writes it. The output of a line without visible cells is 0.
template <class S>
static void write_line(const Attention & a, const WorkItem & item, int64_t head, int64_t line, const LineState & s) {
    const int64_t q_head = head * a.group + line % a.group;
    float         factor = 1.0f;
    float         sum    = *s.l;
    if (a.sinks != nullptr) {
        const float sink = a.sinks[q_head];
        const float top  = sink > *s.m ? sink : *s.m;
        factor           = scalar_exp<S>(*s.m - top);
        sum              = sum * factor + scalar_exp<S>(sink - top);
    }
    factor      = sum == 0.0f ? 0.0f : factor / sum;
    float * out = a.out + ((item.stream * a.n_rows + item.row + line / a.group) * a.n_head + q_head) * a.dv;
    for (int64_t d = 0; d < a.dv; d += S::LANES) {
        S::store(out + d, S::mul(S::load(s.o + d), S::broadcast(factor)));
    }
}

} // namespace
} // namespace lc::kernels
