// Force-included into llama.cpp's llama-grammar.cpp only (native/cmake/Fixes.cmake).
//
// llama.cpp's matcher keeps a stack for each reading of an ambiguous grammar. A pattern of 20 characters in a caller's schema,
// "((a?){30}){30}", needs more than all memory, within one call that cannot be interrupted. Here each comparison of characters and
// stacks is counted, and a call that exceeds its thread's allowance throws. A thread that set no allowance has no limit.
#pragma once

#include "llama.h"
#include "llama-impl.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

struct llmcore_grammar_spent : std::runtime_error {
    llmcore_grammar_spent() : std::runtime_error("the grammar is too ambiguous") {}
};

static thread_local uint64_t llmcore_grammar_left = UINT64_MAX;

// Sets this thread's allowance. Returns the rest of the previous one; 0 if it was exceeded.
extern "C" __attribute__((visibility("default"))) uint64_t llmcore_grammar_allow(uint64_t n);
extern "C" uint64_t llmcore_grammar_allow(uint64_t n) {
    const uint64_t left  = llmcore_grammar_left;
    llmcore_grammar_left = n;
    return left;
}

static inline bool llmcore_grammar_charge(uint64_t n) {
    if (llmcore_grammar_left < n) {
        llmcore_grammar_left = 0;
        throw llmcore_grammar_spent();
    }
    llmcore_grammar_left -= n;
    return true;
}

template <class iterator>
static inline iterator llmcore_grammar_charged(iterator first, iterator last) {
    llmcore_grammar_charge(static_cast<uint64_t>(last - first) / 2);
    return first;
}

// Charges 1 for each comparison of a character with an element of the grammar: the code asserts before each of them.
#undef GGML_ASSERT
#define GGML_ASSERT(x) \
    do { \
        if (llmcore_grammar_charge(1) && !(x)) { \
            GGML_ABORT("GGML_ASSERT(%s) failed", #x); \
        } \
    } while (0)

// Charges for the comparison of two stacks, a and b, in proportion to its time.
#define lexicographical_compare(first, ...) \
    lexicographical_compare((llmcore_grammar_charge(8 + std::min(a.size(), b.size()) / 4), first), __VA_ARGS__)

// Charges for std::find(first, last, stack) in a list of stacks. Calls of other functions named find() have fewer arguments and
// stay as they are.
#define LLMCORE_FIND_IN(first, last, ...) find(llmcore_grammar_charged(first, last), last, __VA_ARGS__)
#define LLMCORE_FIND(...) find(__VA_ARGS__)
#define LLMCORE_FOURTH(a, b, c, name, ...) name
#define find(...) LLMCORE_FOURTH(__VA_ARGS__, LLMCORE_FIND_IN, LLMCORE_FIND, LLMCORE_FIND, )(__VA_ARGS__)
