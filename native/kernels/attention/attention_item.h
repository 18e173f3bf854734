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
    int64_t from, to;      // its rows that the item computes: all but in an item without BLOCKED entries
    int64_t head, n_heads; // the first head of K and V
    int32_t entry, end;    // entries of the plan
    float * slots;         // of the tile's parts, from this head on; NULL: the tile has no other span
};

// For each head: line_pad maxima, line_pad sums, line_pad outputs.
static inline LineState state_of(const Attention & a, float * base, int64_t head, int64_t line) {
    float * s = base + head * a.line_pad * (2 + a.dv);
    return {s + line, s + a.line_pad + line, s + 2 * a.line_pad + line * a.dv};
}

static inline float * slot_of(const Attention & a, const ThreadTeam & team, int64_t slot) {
    return reinterpret_cast<float *>(team.scratch) + slot * a.slot_floats;
}

static inline const uint8_t * head_of(const StridedVectors & v, int64_t stream, int64_t row, int64_t head) {
    return v.data + stream * v.stream + row * v.step + head * v.head;
}

static inline const float * line_of(const Attention & a, const WorkItem & item, int64_t head, int64_t line) {
    const int64_t row = item.row + line / a.group;
    return reinterpret_cast<const float *>(head_of(a.q, item.stream, row, head * a.group + line % a.group));
}

// The state of the item's lines within a part, see state_of(). The first part begins the sum.
static inline float * part_state(const Attention & a, const WorkItem & item, int32_t part, bool is_first, const Workspace & workspace) {
    return item.slots != nullptr ? item.slots + part * a.slot_floats : is_first ? workspace.slot : workspace.part;
}

static inline void clear_lines(const Attention & a, float * state, int64_t n_heads, int64_t line, int64_t n) {
    for (int64_t h = 0; h < n_heads; h++) {
        const LineState s = state_of(a, state, h, line);
        for (int64_t i = 0; i < n; i++) {
            s.m[i] = -__builtin_inff();
            s.l[i] = 0.0f;
        }
        memset(s.o, 0, static_cast<size_t>(n * a.dv) * sizeof(float));
    }
}

// Adds the state of n consecutive lines in the next part to the sum of the parts before. The result does not depend on which lines are
// added together.
template <class S> static void add_part(const LineState & sum, const LineState & part, int64_t n, int64_t dv) {
    using F32 = typename S::F32;
    for (int64_t first = 0; first < n; first += S::LANES) {
        const int64_t n_now = min_of(S::LANES, n - first);
        float         m[S::LANES] = {}, l[S::LANES] = {}, part_m[S::LANES] = {}, part_l[S::LANES] = {};
        for (int64_t i = 0; i < n_now; i++) {
            m[i]      = sum.m[first + i];
            l[i]      = sum.l[first + i];
            part_m[i] = part.m[first + i];
            part_l[i] = part.l[first + i];
        }
        const F32 top        = S::max(S::load(part_m), S::load(m));
        const F32 old_factor = vector_exp<S>(S::sub(S::load(m), top));
        const F32 factor     = vector_exp<S>(S::sub(S::load(part_m), top));
        float     tops[S::LANES], old_factors[S::LANES], factors[S::LANES];
        S::store(l, S::fma(S::load(part_l), factor, S::mul(S::load(l), old_factor)));
        S::store(tops, top);
        S::store(old_factors, old_factor);
        S::store(factors, factor);
        for (int64_t i = 0; i < n_now; i++) {
            if (part_l[i] == 0.0f) {
                continue; // no visible cells: m is minus infinity, perhaps in both
            }
            sum.m[first + i]          = tops[i];
            sum.l[first + i]          = l[i];
            float *       to          = sum.o + (first + i) * dv;
            const float * from        = part.o + (first + i) * dv;
            const F32     line_old    = S::broadcast(old_factors[i]);
            const F32     line_factor = S::broadcast(factors[i]);
            for (int64_t d = 0; d < dv; d += S::LANES) {
                S::store(to + d, S::fma(S::load(from + d), line_factor, S::mul(S::load(to + d), line_old)));
            }
        }
    }
}

// Divides the output by the sum (with the sink's share) and writes it. The output of a line without visible cells is 0.
template <class S>
static __attribute__((noinline)) void write_line(const Attention & a, const WorkItem & item, int64_t head, int64_t line, const LineState & s) {
    const int64_t q_head = head * a.group + line % a.group;
    float         factor = 1.0f;
    float         sum    = *s.l;
    if (a.sinks != nullptr) {
        const float sink = a.sinks[q_head];
        const float top  = sink > *s.m ? sink : *s.m;
        factor           = scalar_exp<S>(*s.m - top);
        sum              = __builtin_fmaf(sum, factor, scalar_exp<S>(sink - top));
    }
    factor      = sum == 0.0f ? 0.0f : factor / sum;
    float * out = a.out + ((item.stream * a.n_rows + item.row + line / a.group) * a.n_head + q_head) * a.dv;
    for (int64_t d = 0; d < a.dv; d += S::LANES) {
        S::store(out + d, S::mul(S::load(s.o + d), S::broadcast(factor)));
    }
}

} // namespace
} // namespace lc::kernels
