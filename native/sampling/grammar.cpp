#include "sampling/grammar.h"

#include "shim/error.h"

#include "common.h"
#include "json.h"
#include "llama-grammar.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstdio>

// In libllama: native/fixes/bounded_grammar.h.
extern "C" uint64_t llmcore_grammar_allow(uint64_t n);

namespace lc {

namespace {

// Budget of one call, in comparisons of characters; about 5 ns each. A list of 128 tools needs 17 million to be masked for
// a vocabulary of 128,000 tokens.
constexpr uint64_t N_COMPARISONS = 25'000'000;

// Budget of rules, while llama.cpp looks for left recursion.
constexpr uint64_t MAX_VISITS = 1'000'000;

// Runs llama.cpp's matcher within that allowance. Throws grammar_spent.
template <typename Body> void within_allowance(Body && body) {
    llmcore_grammar_allow(N_COMPARISONS);
    try {
        body();
        llmcore_grammar_allow(UINT64_MAX);
    } catch (...) {
        if (llmcore_grammar_allow(UINT64_MAX) == 0) {
            throw grammar_spent();
        }
        throw;
    }
}

// What a list of strings names to llama.cpp's C interface.
std::vector<const char *> pointers(const std::vector<std::string> & texts) {
    std::vector<const char *> found;
    found.reserve(texts.size());
    for (const std::string & text : texts) {
        found.push_back(text.c_str());
    }
    return found;
}

common_json parse_description(const char * text) {
    common_json description = common_json::parse_no_throw(text);
    require(!description.is_discarded() && description.is_object(), "grammar: is not a JSON object");
    for (const char * name : { "grammar", "lazy", "triggers", "generation_prompt", "thinking_start", "thinking_ends" }) {
        if (!description.contains(name)) {
            throw invalid_argument(std::string("grammar: '") + name + "' is missing");
        }
    }
    return description;
}

// Behind a literal ("…") or a class ([…]) of a grammar, whose opening character stands at `at`.
size_t behind_quoted(const std::string & source, size_t at) {
    const char end = source[at] == '"' ? '"' : ']';
    for (at++; at < source.size() && source[at] != end; at++) {
        at += source[at] == '\\' ? 1 : 0;
    }
    return at + 1;
}

// llama.cpp's parser counts from m to n where a grammar says {m,n}, past the end of all memory if n is the smaller one.
void require_ordered_repetitions(const std::string & source) {
    for (size_t at = 0; at < source.size();) {
        if (source[at] == '"' || source[at] == '[') {
            at = behind_quoted(source, at);
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

// How many rules llama.cpp visits when it looks for left recursion below each one: it visits a rule again from every place that
// refers to it, so the number may double with each level.
class visits {
  public:
    explicit visits(const llama_grammar_rules & rules) : rules(rules), found(rules.size(), 0) {}

    uint64_t below(size_t rule) {
        if (found[rule] == 0) {
            found[rule] = 1;  // where a rule is its own beginning, llama.cpp stops
            found[rule] = count(rules[rule]);
        }
        return found[rule];
    }

  private:
    const llama_grammar_rules & rules;
    std::vector<uint64_t>       found;

    static bool ends(const llama_grammar_element & element) {
        return element.type == LLAMA_GRETYPE_END || element.type == LLAMA_GRETYPE_ALT;
    }

    uint64_t count(const llama_grammar_rule & rule) {
        uint64_t n        = 1 + rule.size() / 16;
        bool     is_first = true;
        for (const llama_grammar_element & element : rule) {
            if (element.type == LLAMA_GRETYPE_RULE_REF && is_first) {
                n        = std::min(n + below(element.value), MAX_VISITS + 1);
                is_first = may_be_empty(rules[element.value]);
            } else {
                is_first = ends(element);
            }
        }
        return n;
    }

    // Empty in the sense of llama.cpp: one of its alternatives has nothing in it.
    static bool may_be_empty(const llama_grammar_rule & rule) {
        bool is_begun = false;
        for (const llama_grammar_element & element : rule) {
            if (ends(element) && !is_begun) {
                return true;
            }
            is_begun = !ends(element);
        }
        return false;
    }
};

// Throws invalid_argument for a grammar that llama.cpp would not be done with compiling.
void require_few_visits(const llama_vocab * vocab, const std::string & source) {
    llama_grammar_parser parser(vocab);
    if (!parser.parse(source.c_str())) {
        return;  // which it says itself
    }
    visits   found(parser.rules);
    uint64_t n = 0;
    for (size_t rule = 0; rule < parser.rules.size(); rule++) {
        n += found.below(rule);
        require(n <= MAX_VISITS, "its repetitions and optional parts are nested too often");
    }
}

sampler_ptr make_rules(const llama_vocab * vocab, const common_json & description) {
    const std::string        source = description.at("grammar").get<std::string>();
    require_ordered_repetitions(source);
    require_few_visits(vocab, source);
    std::vector<std::string> patterns;
    std::vector<llama_token> tokens;
    for (const auto & trigger : description.at("triggers")) {
        const std::string type  = trigger.at("type").get<std::string>();
        const std::string value = trigger.at("value").get<std::string>();
        if (type == "token") {
            tokens.push_back(trigger.at("token").get<llama_token>());
        } else if (type == "word") {
            patterns.push_back(regex_escape(value));
        } else {
            patterns.push_back(type == "pattern_full" ? "^" + value + "$" : value);
        }
    }
    std::vector<const char *> pattern_pointers = pointers(patterns);
    return sampler_ptr(description.at("lazy").get<bool>() ?
        llama_sampler_init_grammar_lazy_patterns(vocab, source.c_str(), "root", pattern_pointers.data(), pattern_pointers.size(),
                                                 tokens.data(), tokens.size()) :
        llama_sampler_init_grammar(vocab, source.c_str(), "root"));
}

std::optional<reasoning_watch> make_reasoning(const common_json & description) {
    const std::string        start = description.at("thinking_start").get<std::string>();
    std::vector<std::string> ends;
    for (const auto & end : description.at("thinking_ends")) {
        if (!end.get<std::string>().empty()) {
            ends.push_back(end.get<std::string>());
        }
    }
    return start.empty() || ends.empty() ? std::nullopt : std::make_optional<reasoning_watch>(start, ends);
}

bool begins_with_space(const std::string & text) {
    return !text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0;
}

// Tokens that spell what the prompt holds of the answer. Some tokenizers put a space before a text, and make one token of it and
// what follows: there a line feed stands in front, which such a tokenizer joins with nothing, and goes again.
std::vector<llama_token> tokens_of(const llama_vocab * vocab, const std::string & text) {
    std::vector<llama_token> tokens = text.empty() ? std::vector<llama_token>{} : common_tokenize(vocab, text, false, true);
    if (tokens.empty() || begins_with_space(text) || !begins_with_space(common_token_to_piece(vocab, tokens.front(), true))) {
        return tokens;
    }
    tokens = common_tokenize(vocab, "\n" + text, false, true);
    size_t n_before = 0;
    while (n_before < tokens.size() && common_token_to_piece(vocab, tokens[n_before++], true).find('\n') == std::string::npos) {
    }
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(n_before));
    return tokens;
}

} // namespace

grammar::grammar(const llama_vocab * vocab, const char * text) : vocab(vocab) {
    const common_json description = parse_description(text);
    try {
        is_lazy    = description.at("lazy").get<bool>();
        within_allowance([&] { rules = make_rules(vocab, description); });
        reasoning  = make_reasoning(description);
        begun_text = description.at("generation_prompt").get<std::string>();
        begun      = tokens_of(vocab, begun_text);
    } catch (const std::exception & e) {
        throw invalid_argument(std::string("grammar: ") + e.what());
    }
    require(rules != nullptr, "grammar: llama.cpp cannot compile it");
    // llama.cpp aborts where such a token comes before the end of what its grammar describes.
    const bool has_ended = std::any_of(begun.begin(), begun.end(), [&](llama_token each) { return llama_vocab_is_eog(vocab, each); });
    require(is_lazy || !has_ended, "the message that the answer continues holds a token that ends an answer");
    try {
        begin();
    } catch (const grammar_spent & e) {
        throw invalid_argument(std::string("grammar: ") + e.what());
    } catch (const std::exception &) {  // a vocabulary may lack bytes
        throw invalid_argument("the message that the answer continues has characters that the model's tokenizer cannot spell");
    }
}

// A grammar that is not lazy describes the whole of the answer, with what the prompt holds of it.
void grammar::begin() {
    if (!is_lazy) {
        for (const llama_token token : begun) {
            within_allowance([&] { llama_sampler_accept(rules.get(), token); });
        }
    }
    if (reasoning.has_value()) {
        reasoning->reset(begun_text);
    }
}

bool grammar::applies() const {
    return !is_lost && !(is_lazy && reasoning.has_value() && reasoning->is_inside());
}

bool grammar::allows(llama_token token) {
    check_spent();
    if (!applies()) {
        return true;
    }
    llama_token_data       only       = { token, 1, 0 };
    llama_token_data_array candidates = { &only, 1, -1, false };
    within_allowance([&] { llama_sampler_apply(rules.get(), &candidates); });
    return !std::isinf(only.logit);
}

void grammar::check_spent() const {
    if (is_spent) {
        throw grammar_spent();
    }
}

void grammar::mask(std::vector<float> & logits) {
    check_spent();
    std::vector<llama_token_data> all(logits.size());
    for (size_t i = 0; i < logits.size(); i++) {
        all[i] = { static_cast<llama_token>(i), logits[i], 0 };
    }
    llama_token_data_array candidates = { all.data(), all.size(), -1, false };
    within_allowance([&] { llama_sampler_apply(rules.get(), &candidates); });
    for (size_t i = 0; i < candidates.size; i++) {
        logits[static_cast<size_t>(candidates.data[i].id)] = candidates.data[i].logit;
    }
}

void grammar::accept(llama_token token) {
    if (is_lost || is_spent) {
        return;
    }
    // What ends the reasoning may be the beginning of a trigger, or be one token with it.
    std::vector<llama_token> held;
    if (applies()) {
        held = { token };
    }
    if (reasoning.has_value()) {
        const std::vector<llama_token> ending = reasoning->accept(token, common_token_to_piece(vocab, token, true));
        held = held.empty() ? ending : held;
    }
    try {
        for (const llama_token each : held) {
            within_allowance([&] { llama_sampler_accept(rules.get(), each); });
        }
    } catch (const grammar_spent &) {
        is_spent = true;
    } catch (const std::exception &) {
        // Only a text that triggers it comes unchecked, and may have run past what the grammar knows. llama.cpp would abort if
        // it were asked again.
        is_lost = true;
    }
}

void grammar::reset() {
    within_allowance([&] { llama_sampler_reset(rules.get()); });
    is_lost  = false;
    is_spent = false;
    begin();
}

} // namespace lc
