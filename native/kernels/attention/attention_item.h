// An item of work and the state of its lines. Included by each level's file; see attention_impl.h.
#pragma once

#include "kernels/attention/attention_math.h"
#include "kernels/attention/attention_plan.h"

namespace lc::kernels {
namespace {

// The state of consecutive lines: maximum, sum, output.
struct State {
    float * m;
    float * l;
    float * o;
};

// An item of work, and where its state lies.
struct Item {
    int64_t tile, stream;
    int64_t row, n_rows;                // the first, of the stream
    int64_t head, n_heads;              // of K and V
    int32_t entry, end;                 // of the plan
    float * state;
    bool    is_whole;                   // the tile's only span
};

static inline State state_of(const Attention & a, float * base, int64_t head, int64_t line) {
    float * s = base + head * a.line_pad * (2 + a.dv);
    return {s + line, s + a.line_pad + line, s + 2 * a.line_pad + line * a.dv};
}

static inline float * slot_of(const Attention & a, const ThreadTeam & team, int64_t slot) {
    return reinterpret_cast<float *>(team.scratch + a.slots_at) + slot * a.slot_floats;
}

// Spans of the tiles before `tile` that have several: the number of their slots.
static inline int64_t slots_before(const Plan & p, int64_t tile) {
    int64_t n = 0;
    for (int64_t t = 0; t < tile; t++) {
        const int64_t spans = p.spans[t + 1] - p.spans[t];
        n += spans > 1 ? spans : 0;
    }
    return n;
}

static inline const uint8_t * head_of(const Vectors & v, int64_t stream, int64_t row, int64_t head) {
    return v.data + stream * v.stream + row * v.step + head * v.head;
}

static inline const float * line_of(const Attention & a, const Item & item, int64_t head, int64_t line) {
    const int64_t row = item.row + line / a.group;
    return reinterpret_cast<const float *>(head_of(a.q, item.stream, row, head * a.group + line % a.group));
}

static inline void clear_state(const Attention & a, const Item & item) {
    for (int64_t h = 0; h < item.n_heads; h++) {
        const State s = state_of(a, item.state, h, 0);
        const int64_t n = item.n_rows * a.group;
        for (int64_t i = 0; i < n; i++) {
            s.m[i] = -__builtin_inff();
            s.l[i] = 0.0f;
        }
        memset(s.o, 0, static_cast<size_t>(n * a.dv) * sizeof(float));
    }
}

// Divides by the sum (with the sink's share) and writes the output. A line without open cells is 0.
template <class I> static void write_line(const Attention & a, const Item & item, int64_t head, int64_t line, const State & s) {
    const int64_t q_head = head * a.group + line % a.group;
    float factor = 1.0f;
    float sum = *s.l;
    if (a.sinks != nullptr) {
        const float sink = a.sinks[q_head];
        const float top = sink > *s.m ? sink : *s.m;
        factor = exp_of_one<I>(*s.m - top);
        sum = sum * factor + exp_of_one<I>(sink - top);
    }
    factor = sum == 0.0f ? 0.0f : factor / sum;
    float * out = a.out + ((item.stream * a.n_rows + item.row + line / a.group) * a.n_head + q_head) * a.dv;
    for (int64_t d = 0; d < a.dv; d += I::W) {
        I::store(out + d, I::mul(I::load(s.o + d), I::set1(factor)));
    }
}

} // namespace
} // namespace lc::kernels
