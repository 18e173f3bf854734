// Loops over a run of logits, written so that compilers turn them into vector instructions. They know nothing of sampling
// parameters. On one machine, results depend on the values alone: not on where in memory they lie.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lc {

// Longer rows are worked on in blocks of this many, so that most of a row need not be looked at again.
constexpr size_t BLOCK = 256;

// The greatest logit of each block of a row of `n`: minus infinity where none exceeds that. False if any logit is NaN.
bool find_peaks(const float * logits, size_t n, float * peaks);

// Copies a row of `n` logits; those of tokens whose bit (t % 32 of word t / 32) is not set become minus infinity.
void copy_masked(const float * logits, size_t n, const uint32_t * mask, float * out);

// How logits become weights: exp((logit - top) / temperature) from `least` up, and 0 below. No logit exceeds `top`, so
// weights are at most 1, and exactly that at the top. Their relative error is below 4e-6, and below 1e-6 where they are
// above 1e-9; those below 1e-37 are 0.
struct weighing {
    float top;
    float scale;  // to base 2
    float least;

    weighing(float top, float temperature, float floor);
};

// The sum of the weights of at most BLOCK logits; the second also keeps the weights themselves.
float sum_weights(const float * logits, size_t n, const weighing & how);
float store_weights(const float * logits, size_t n, const weighing & how, float * weights);

struct tally {
    size_t count = 0;
    double sum   = 0;
};

// How many of at most BLOCK keys are at least `least`, and their sum.
tally tally_from(const float * keys, size_t n, float least);

// Writes the places of keys in [least, below) to `places`, which has room for n; returns how many there are.
size_t find_between(const float * keys, size_t n, float least, float below, int * places);

} // namespace lc
