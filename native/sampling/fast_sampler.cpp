#include "sampling/fast_sampler.h"

#include "sampling/logit_cut.h"

#include <utility>

namespace lc {

namespace {

// Returns the length of a penalty's history; 0 if the penalty is off.
size_t penalty_length(bool is_on, int32_t last_n, int32_t n_ctx) {
    return is_on ? history_length(last_n, n_ctx) : 0;
}

// Buffers that all samplers of a thread share.
struct Buffers {
    std::vector<float> changed_logits;
    LogitCutBuffers    cut;
};

Buffers & thread_buffers() {
    static thread_local Buffers buffers;
    return buffers;
}

} // namespace

FastSampler::FastSampler(size_t n_vocab, const lc_sampling_params & p, std::vector<llama_logit_bias> biases, uint32_t seed)
    : lc_sampler(n_vocab), temperature_(p.temperature), top_k_(p.top_k), top_p_(p.top_p), min_p_(p.min_p),
      repeat_penalty_(p.repeat_penalty), frequency_penalty_(p.frequency_penalty), presence_penalty_(p.presence_penalty),
      biases_(std::move(biases)), seed_(seed), random_state_(seed),
      prompt_and_answer_(penalty_length(p.repeat_penalty != 1, p.repeat_last_n, p.n_ctx)),
      answer_(penalty_length(p.frequency_penalty != 0 || p.presence_penalty != 0, -1, p.n_ctx)) {}

llama_token FastSampler::sample(const float * logits) {
    Buffers & buffers = thread_buffers();
    if (changes_logits()) {
        buffers.changed_logits.assign(logits, logits + n_vocab);
        apply_biases_and_penalties(buffers.changed_logits.data());
        logits = buffers.changed_logits.data();
    }
    LogitCut cut(logits, n_vocab, buffers.cut);
    if (temperature_ <= 0) {
        return cut.best();
    }
    if (top_k_ > 0) {
        cut.keep_top_k(static_cast<size_t>(top_k_));
    }
    if (top_p_ < 1) {
        cut.keep_top_p(top_p_);
    }
    if (min_p_ > 0) {
        cut.keep_min_p(min_p_);
    }
    return cut.sample(temperature_, next_uniform());
}

void FastSampler::accept(llama_token token) {
    prompt_and_answer_.add(token);
    answer_.add(token);
}

void FastSampler::prime(const llama_token * tokens, size_t n_tokens) {
    prompt_and_answer_.add(tokens, n_tokens);
}

void FastSampler::reset() {
    random_state_ = seed_;
    prompt_and_answer_.clear();
    answer_.clear();
}

bool FastSampler::changes_logits() const {
    return !biases_.empty() || !prompt_and_answer_.counts().empty() || !answer_.counts().empty();
}

void FastSampler::apply_biases_and_penalties(float * logits) const {
    for (const llama_logit_bias & each : biases_) {
        logits[each.token] += each.bias;
    }
    for (const TokenHistory::TokenCount & each : prompt_and_answer_.counts()) {
        float & logit = logits[each.token];
        // https://arxiv.org/abs/1909.05858 always divides, which would make tokens with negative logits more likely.
        logit = logit > 0 ? logit / repeat_penalty_ : logit * repeat_penalty_;
    }
    for (const TokenHistory::TokenCount & each : answer_.counts()) {
        logits[each.token] -= static_cast<float>(each.count) * frequency_penalty_ + presence_penalty_;
    }
}

// Returns a random number, uniform in [0, 1). The generator is SplitMix64 (https://doi.org/10.1145/2714064.2660195): seeding it
// costs nothing because its state is one number, and adjacent seeds give independent sequences.
double FastSampler::next_uniform() {
    random_state_ += 0x9e3779b97f4a7c15u;
    uint64_t bits = random_state_;
    bits          = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits          = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    bits ^= bits >> 31;
    return static_cast<double>(bits >> 11) * 0x1p-53;
}

} // namespace lc
