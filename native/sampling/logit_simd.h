// Loops over a row of logits, written so that compilers vectorize them. They do not depend on sampling parameters. On one machine a
// result depends on the values only, not on their alignment.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lc {

// Rows are processed in blocks of this many logits, so that later passes can skip most blocks.
constexpr size_t BLOCK = 256;

// Writes the greatest logit of each block of a row of `n`; minus infinity for a block whose logits are all excluded. Returns false
// if any logit is NaN.
bool find_block_max(const float * logits, size_t n, float * block_max);

// Copies a row of `n` logits; those of tokens whose bit (t % 32 of word t / 32) is not set become minus infinity.
void copy_masked(const float * logits, size_t n, const uint32_t * mask, float * out);

// The weight of a logit: exp((logit - top) / temperature) from `least` up, and 0 below it.
//
// No logit exceeds `top`, so weights are at most 1, and exactly 1 at the top. Their relative error is below 4e-6, and below
// 1e-6 for weights above 1e-9; weights below 1e-37 are 0.
struct WeightFunction {
    float top;
    float scale; // log2(e) / temperature
    float least;

    // `floor` is the least logit that has a weight.
    WeightFunction(float top, float temperature, float floor);
};

// Returns the sum of the weights of at most BLOCK logits; store_weights() also writes the weights.
float sum_weights(const float * logits, size_t n, const WeightFunction & function);
float store_weights(const float * logits, size_t n, const WeightFunction & function, float * weights);

struct Tally {
    size_t count = 0;
    double sum   = 0;
};

// Returns number and sum of those of at most BLOCK keys that are at least `least`.
Tally tally_from(const float * keys, size_t n, float least);

// Writes the indices of keys in [least, below) to `indices`, which has room for n. Returns their number.
size_t find_between(const float * keys, size_t n, float least, float below, int * indices);

} // namespace lc
