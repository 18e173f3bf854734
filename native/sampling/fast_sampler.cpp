#include "sampling/fast_sampler.h"

#include <utility>

namespace lc {

namespace {

// Not at all where it is off.
size_t n_back(bool is_on, int32_t last_n, int32_t n_ctx) {
    return is_on ? n_look_back(last_n, n_ctx) : 0;
}

struct thread_memory {
    std::vector<float> changed;  // a copy of the logits, with biases and penalties
    row_memory         row;
};

thread_memory & memory_of_thread() {
    static thread_local thread_memory memory;
    return memory;
}

} // namespace

draw::draw(size_t n_vocab, const lc_sampling_params & p, std::vector<llama_logit_bias> biases, uint32_t seed)
    : lc_sampler(n_vocab), temperature(p.temperature), top_k(p.top_k), top_p(p.top_p), min_p(p.min_p),
      repeat_penalty(p.repeat_penalty), frequency_penalty(p.frequency_penalty), presence_penalty(p.presence_penalty),
      biases(std::move(biases)), seed(seed), random(seed), repeated(n_back(p.repeat_penalty != 1, p.repeat_last_n, p.n_ctx)),
      answered(n_back(p.frequency_penalty != 0 || p.presence_penalty != 0, -1, p.n_ctx)) {}

llama_token draw::sample(const float * logits) {
    thread_memory & memory = memory_of_thread();
    if (changes_logits()) {
        memory.changed.assign(logits, logits + n_vocab);
        change(memory.changed.data());
        logits = memory.changed.data();
    }
    row kept(logits, n_vocab, memory.row);
    if (temperature <= 0) {
        return kept.best();
    }
    if (top_k > 0) {
        kept.keep_top_k(static_cast<size_t>(top_k));
    }
    if (top_p < 1) {
        kept.keep_top_p(top_p);
    }
    if (min_p > 0) {
        kept.keep_min_p(min_p);
    }
    return kept.pick(temperature, chance());
}

void draw::accept(llama_token token) {
    repeated.add(token);
    answered.add(token);
}

void draw::prime(const llama_token * tokens, size_t n_tokens) {
    repeated.add(tokens, n_tokens);
}

void draw::reset() {
    random = seed;
    repeated.clear();
    answered.clear();
}

bool draw::changes_logits() const {
    return !biases.empty() || !repeated.counts().empty() || !answered.counts().empty();
}

void draw::change(float * logits) const {
    for (const llama_logit_bias & each : biases) {
        logits[each.token] += each.bias;
    }
    for (const look_back::entry & each : repeated.counts()) {
        float & logit = logits[each.token];
        // Less likely whatever the sign: https://arxiv.org/abs/1909.05858 only divides, which would favour negative logits.
        logit = logit > 0 ? logit / repeat_penalty : logit * repeat_penalty;
    }
    for (const look_back::entry & each : answered.counts()) {
        logits[each.token] -= static_cast<float>(each.count) * frequency_penalty + presence_penalty;
    }
}

// Uniform in [0, 1). SplitMix64 (https://doi.org/10.1145/2714064.2660195): its state is one number, which costs nothing to
// seed, and neighbouring seeds have nothing in common.
double draw::chance() {
    random += 0x9e3779b97f4a7c15u;
    uint64_t bits = random;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    bits ^= bits >> 31;
    return static_cast<double>(bits >> 11) * 0x1p-53;
}

} // namespace lc
