#include "sampling/gbnf_checks.h"

#include "shim/error.h"

#include "llama-grammar.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace lc {

namespace {

// Most rules that llama.cpp may visit when it checks a grammar for left recursion.
constexpr uint64_t MAX_VISITS = 1'000'000;

// Returns the position after the literal ("…") or character class ([…]) that begins at `at`.
size_t skip_quoted(const std::string & source, size_t at) {
    const char end = source[at] == '"' ? '"' : ']';
    for (at++; at < source.size() && source[at] != end; at++) {
        at += source[at] == '\\' ? 1 : 0;
    }
    return at + 1;
}

// Throws for {m,n} with m > n: llama.cpp's parser counts up from m until it reaches n.
void check_repetitions(const std::string & source) {
    for (size_t at = 0; at < source.size();) {
        if (source[at] == '"' || source[at] == '[') {
            at = skip_quoted(source, at);
            continue;
        }
        unsigned long long min = 0;
        unsigned long long max = 0;
        if (source[at] == '{' && std::sscanf(source.c_str() + at, "{ %19llu , %19llu", &min, &max) == 2) {
            require(min <= max, "a repetition asks for more than it allows");
        }
        at++;
    }
}

// Counts the rules that llama.cpp visits when it checks for left recursion. It visits a rule again from each place that refers
// to it, so the number can double with each level of nesting.
class RecursionVisits {
public:
    explicit RecursionVisits(const llama_grammar_rules & rules) : rules_(rules), visits_(rules.size(), 0) {}

    // Returns the number of visits at and below a rule, or MAX_VISITS + 1 if it is greater.
    uint64_t from(size_t rule) {
        if (visits_[rule] == 0) {
            visits_[rule] = 1; // llama.cpp stops at a rule that is left-recursive
            visits_[rule] = count(rules_[rule]);
        }
        return visits_[rule];
    }

private:
    const llama_grammar_rules & rules_;
    std::vector<uint64_t>       visits_; // 0 if not counted yet

    static bool ends_alternative(const llama_grammar_element & element) {
        return element.type == LLAMA_GRETYPE_END || element.type == LLAMA_GRETYPE_ALT;
    }

    uint64_t count(const llama_grammar_rule & rule) {
        uint64_t n        = 1 + rule.size() / 16;
        bool     is_first = true; // of its alternative, after elements that may be empty
        for (const llama_grammar_element & element : rule) {
            if (element.type == LLAMA_GRETYPE_RULE_REF && is_first) {
                n        = std::min(n + from(element.value), MAX_VISITS + 1);
                is_first = may_be_empty(rules_[element.value]);
            } else {
                is_first = ends_alternative(element);
            }
        }
        return n;
    }

    // True if an alternative of the rule has no elements: llama.cpp's meaning of empty.
    static bool may_be_empty(const llama_grammar_rule & rule) {
        bool has_elements = false;
        for (const llama_grammar_element & element : rule) {
            if (ends_alternative(element) && !has_elements) {
                return true;
            }
            has_elements = !ends_alternative(element);
        }
        return false;
    }
};

void check_recursion(const llama_vocab * vocab, const std::string & source) {
    llama_grammar_parser parser(vocab);
    if (!parser.parse(source.c_str())) {
        return; // llama.cpp reports this itself when it compiles the grammar
    }
    RecursionVisits visits(parser.rules);
    uint64_t        n = 0;
    for (size_t rule = 0; rule < parser.rules.size(); rule++) {
        n += visits.from(rule);
        require(n <= MAX_VISITS, "its repetitions and optional parts are nested too often");
    }
}

} // namespace

void check_gbnf(const llama_vocab * vocab, const std::string & source) {
    check_repetitions(source);
    check_recursion(vocab, source);
}

} // namespace lc
