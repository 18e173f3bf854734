#include "sampling/grammar.h"

#include "sampling/gbnf_checks.h"
#include "sampling/sampling_errors.h"
#include "shim/error.h"

#include "common.h"
#include "json.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>

// Defined in libllama by native/fixes/bounded_grammar.h.
extern "C" uint64_t llmcore_grammar_allow(uint64_t n);

namespace lc {

namespace {

// Budget of one call of llama.cpp's matcher, in character comparisons of about 5 ns. Masking a vocabulary of 128,000 tokens by
// a list of 128 tools takes 17 million.
constexpr uint64_t N_COMPARISONS_MAX = 25'000'000;

// Runs llama.cpp's matcher within the budget. Throws GrammarTooAmbiguous.
template <typename Body> void match_bounded(Body && body) {
    llmcore_grammar_allow(N_COMPARISONS_MAX);
    try {
        body();
        llmcore_grammar_allow(UINT64_MAX);
    } catch (...) {
        if (llmcore_grammar_allow(UINT64_MAX) == 0) {
            throw GrammarTooAmbiguous();
        }
        throw;
    }
}

std::vector<const char *> c_strings(const std::vector<std::string> & texts) {
    std::vector<const char *> pointers;
    pointers.reserve(texts.size());
    for (const std::string & text : texts) {
        pointers.push_back(text.c_str());
    }
    return pointers;
}

common_json parse_description(const char * text) {
    common_json description = common_json::parse_no_throw(text);
    require(!description.is_discarded() && description.is_object(), "grammar: is not a JSON object");
    for (const char * name : {"grammar", "lazy", "triggers", "generation_prompt", "thinking_start", "thinking_ends"}) {
        if (!description.contains(name)) {
            throw InvalidArgument(std::string("grammar: '") + name + "' is missing");
        }
    }
    return description;
}

// Returns NULL if llama.cpp cannot compile the grammar.
SamplerPtr make_matcher(const llama_vocab * vocab, const common_json & description) {
    const std::string        source = description.at("grammar").get<std::string>();
    std::vector<std::string> patterns;
    std::vector<llama_token> tokens;
    check_gbnf(vocab, source);
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
    std::vector<const char *> pattern_pointers = c_strings(patterns);
    return SamplerPtr(description.at("lazy").get<bool>()
                          ? llama_sampler_init_grammar_lazy_patterns(vocab, source.c_str(), "root", pattern_pointers.data(),
                                                                     pattern_pointers.size(), tokens.data(), tokens.size())
                          : llama_sampler_init_grammar(vocab, source.c_str(), "root"));
}

std::optional<ReasoningTracker> make_reasoning_tracker(const common_json & description) {
    const std::string        start_tag = description.at("thinking_start").get<std::string>();
    std::vector<std::string> end_tags;
    for (const auto & tag : description.at("thinking_ends")) {
        if (!tag.get<std::string>().empty()) {
            end_tags.push_back(tag.get<std::string>());
        }
    }
    return start_tag.empty() || end_tags.empty() ? std::nullopt : std::make_optional<ReasoningTracker>(start_tag, end_tags);
}

bool begins_with_space(const std::string & text) {
    return !text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0;
}

// Returns tokens that spell `text` exactly. Some tokenizers put a space before a text and join it with the first word. For these a
// line feed is put in front, which they do not join with a word, and its tokens are removed.
std::vector<llama_token> tokenize_exactly(const llama_vocab * vocab, const std::string & text) {
    std::vector<llama_token> tokens = text.empty() ? std::vector<llama_token>{} : common_tokenize(vocab, text, false, true);
    if (tokens.empty() || begins_with_space(text) || !begins_with_space(common_token_to_piece(vocab, tokens.front(), true))) {
        return tokens;
    }
    tokens          = common_tokenize(vocab, "\n" + text, false, true);
    size_t n_before = 0;
    while (n_before < tokens.size() && common_token_to_piece(vocab, tokens[n_before++], true).find('\n') == std::string::npos) {
    }
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(n_before));
    return tokens;
}

} // namespace

Grammar::Grammar(const llama_vocab * vocab, const char * text) : vocab_(vocab) {
    const common_json description = parse_description(text);
    try {
        is_lazy_ = description.at("lazy").get<bool>();
        match_bounded([&] { matcher_ = make_matcher(vocab, description); });
        reasoning_        = make_reasoning_tracker(description);
        prefilled_text_   = description.at("generation_prompt").get<std::string>();
        prefilled_tokens_ = tokenize_exactly(vocab, prefilled_text_);
    } catch (const std::exception & e) {
        throw InvalidArgument(std::string("grammar: ") + e.what());
    }
    require(matcher_ != nullptr, "grammar: llama.cpp cannot compile it");
    // llama.cpp aborts at an end-of-generation token before the end of the grammar.
    const bool has_end = std::any_of(prefilled_tokens_.begin(), prefilled_tokens_.end(),
                                     [&](llama_token each) { return llama_vocab_is_eog(vocab, each); });
    require(is_lazy_ || !has_end, "the message that the answer continues holds a token that ends an answer");
    try {
        accept_prefilled();
    } catch (const GrammarTooAmbiguous & e) {
        throw InvalidArgument(std::string("grammar: ") + e.what());
    } catch (const std::exception &) { // a vocabulary may lack bytes
        throw InvalidArgument("the message that the answer continues has characters that the model's tokenizer cannot spell");
    }
}

// A grammar that is not lazy describes the whole answer, including its part in the prompt.
void Grammar::accept_prefilled() {
    if (!is_lazy_) {
        for (const llama_token token : prefilled_tokens_) {
            match_bounded([&] { llama_sampler_accept(matcher_.get(), token); });
        }
    }
    if (reasoning_.has_value()) {
        reasoning_->reset(prefilled_text_);
    }
}

bool Grammar::applies() const {
    return !is_violated_ && !(is_lazy_ && reasoning_.has_value() && reasoning_->is_inside());
}

void Grammar::check_budget() const {
    if (is_too_ambiguous_) {
        throw GrammarTooAmbiguous();
    }
}

bool Grammar::allows(llama_token token) {
    check_budget();
    if (!applies()) {
        return true;
    }
    llama_token_data       candidate  = {token, 1, 0};
    llama_token_data_array candidates = {&candidate, 1, -1, false};
    match_bounded([&] { llama_sampler_apply(matcher_.get(), &candidates); });
    return !std::isinf(candidate.logit);
}

void Grammar::mask(std::vector<float> & logits) {
    check_budget();
    std::vector<llama_token_data> all(logits.size());
    for (size_t i = 0; i < logits.size(); i++) {
        all[i] = {static_cast<llama_token>(i), logits[i], 0};
    }
    llama_token_data_array candidates = {all.data(), all.size(), -1, false};
    match_bounded([&] { llama_sampler_apply(matcher_.get(), &candidates); });
    for (size_t i = 0; i < candidates.size; i++) {
        logits[static_cast<size_t>(candidates.data[i].id)] = candidates.data[i].logit;
    }
}

void Grammar::accept(llama_token token) {
    if (is_violated_ || is_too_ambiguous_) {
        return;
    }
    std::vector<llama_token> accepted;
    if (applies()) {
        accepted = {token};
    }
    if (reasoning_.has_value()) {
        const std::vector<llama_token> end_tokens = reasoning_->accept(token, common_token_to_piece(vocab_, token, true));
        // The tokens that end the reasoning count too: a trigger may begin in them.
        accepted = accepted.empty() ? end_tokens : accepted;
    }
    try {
        for (const llama_token each : accepted) {
            match_bounded([&] { llama_sampler_accept(matcher_.get(), each); });
        }
    } catch (const GrammarTooAmbiguous &) {
        is_too_ambiguous_ = true;
    } catch (const std::exception &) {
        // Only the text of a trigger reaches the matcher unchecked, and it may extend beyond what the grammar allows. llama.cpp
        // would abort at the next call, so there is none.
        is_violated_ = true;
    }
}

void Grammar::reset() {
    match_bounded([&] { llama_sampler_reset(matcher_.get()); });
    is_violated_      = false;
    is_too_ambiguous_ = false;
    accept_prefilled();
}

} // namespace lc
