// Tool-call grammars of llama-common, as it writes them: GBNF, begun at once or by a trigger. A token is drawn first and
// checked then; only if the grammar refuses it, all tokens are.
#pragma once

#include "chat/reasoning.h"

#include "llama.h"

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace lc {

struct sampler_deleter {
    void operator()(llama_sampler * sampler) const { llama_sampler_free(sampler); }
};

using sampler_ptr = std::unique_ptr<llama_sampler, sampler_deleter>;

// Finding out what a grammar allows next would take too long: it can be read in too many ways.
struct grammar_spent : std::runtime_error {
    grammar_spent() : std::runtime_error("the grammar allows too many readings of the answer") {}
};

class grammar {
  public:
    // `description` is the "grammar" of lc_chat_render(). Throws invalid_argument if it is none, or is too ambiguous.
    grammar(const llama_vocab * vocab, const char * description);

    // Whether the answer may go on with this token. Throws grammar_spent.
    bool allows(llama_token token);
    // Sets the logits of all others to minus infinity. Throws grammar_spent.
    void mask(std::vector<float> & logits);
    // If this takes too long, the next of the above throws.
    void accept(llama_token token);
    void reset();

  private:
    const llama_vocab * vocab;
    bool                is_lazy = false;
    sampler_ptr         rules;
    bool                is_lost = false;  // the text that triggered it already broke it: there is nothing to hold any more
    bool                is_spent = false;

    // Where the template knows reasoning: a trigger inside of it is none.
    std::optional<reasoning_watch> reasoning;

    std::string              begun_text;  // what the prompt holds of the answer
    std::vector<llama_token> begun;

    void begin();
    bool applies() const;
    void check_spent() const;
};

} // namespace lc
