// A tool-call grammar of llama-common (GBNF), which applies from the beginning of the answer or, if it is lazy, from a trigger on.
#pragma once

#include "chat/reasoning.h"

#include "llama.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lc {

struct SamplerDeleter {
    void operator()(llama_sampler * sampler) const { llama_sampler_free(sampler); }
};

using SamplerPtr = std::unique_ptr<llama_sampler, SamplerDeleter>;

class Grammar {
public:
    // `description` is the "grammar" of lc_chat_render(). Throws InvalidArgument if it does not compile or is too ambiguous.
    Grammar(const llama_vocab * vocab, const char * description);

    // Returns true if the answer may continue with this token. Throws GrammarTooAmbiguous.
    bool allows(llama_token token);
    // Sets the logits of all other tokens to minus infinity. Throws GrammarTooAmbiguous.
    void mask(std::vector<float> & logits);
    // Adds a token to the answer. If that exceeds the budget, the next allows() or mask() throws.
    void accept(llama_token token);
    void reset();

private:
    const llama_vocab * vocab_;
    bool                is_lazy_ = false;
    SamplerPtr          matcher_;
    bool                is_violated_      = false; // the trigger's text broke the grammar: it applies no more
    bool                is_too_ambiguous_ = false;

    // Set if the template has reasoning: a lazy grammar ignores triggers inside it.
    std::optional<ReasoningTracker> reasoning_;

    // The part of the prompt that belongs to the answer.
    std::string              prefilled_text_;
    std::vector<llama_token> prefilled_tokens_;

    void accept_prefilled();
    bool applies() const;
    void check_budget() const;
};

} // namespace lc
