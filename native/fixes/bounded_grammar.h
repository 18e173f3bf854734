// Force-included into llama.cpp's llama-grammar.cpp, and into nothing else (see LlamaCpp.cmake).
//
// The matcher keeps every stack that an ambiguous grammar allows: 20 characters of a caller's schema, "((a?){30}){30}", make more
// than memory holds, inside of one call that nothing can interrupt. Here each comparison of characters and of stacks is counted;
// when a thread has spent its allowance, the call ends with an exception. Without an allowance there is no limit.
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

// Sets this thread's allowance for what follows. Returns what was left of the former one.
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

// One for each character that is compared with an element of the grammar, which asserts something first.
#undef GGML_ASSERT
#define GGML_ASSERT(x) \
    do { \
        if (llmcore_grammar_charge(1) && !(x)) { \
            GGML_ABORT("GGML_ASSERT(%s) failed", #x); \
        } \
    } while (0)

// For two stacks (a and b) that are compared with each other: about as long as that takes.
#define lexicographical_compare(first, ...) \
    lexicographical_compare((llmcore_grammar_charge(8 + std::min(a.size(), b.size()) / 4), first), __VA_ARGS__)

// For a stack that is looked for in a list of stacks: std::find(first, last, stack). All other functions of that name stay.
#define LLMCORE_FIND_IN(first, last, ...) find(llmcore_grammar_charged(first, last), last, __VA_ARGS__)
#define LLMCORE_FIND(...) find(__VA_ARGS__)
#define LLMCORE_FOURTH(a, b, c, name, ...) name
#define find(...) LLMCORE_FOURTH(__VA_ARGS__, LLMCORE_FIND_IN, LLMCORE_FIND, LLMCORE_FIND, )(__VA_ARGS__)
