// Tool-call grammars of llama-common, as it writes them: GBNF, begun at once or by a trigger. A token is drawn first and
// checked then; only if the grammar refuses it, all tokens are.
#pragma once

#include "reasoning.h"

#include "llama.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lc {

struct sampler_deleter {
    void operator()(llama_sampler * sampler) const { llama_sampler_free(sampler); }
};

using sampler_ptr = std::unique_ptr<llama_sampler, sampler_deleter>;

class grammar {
  public:
    // `description` is the "grammar" of lc_chat_render(). Throws invalid_argument if it is none.
    grammar(const llama_vocab * vocab, const char * description);

    // Whether the answer may go on with this token.
    bool allows(llama_token token);
    // Sets the logits of all others to minus infinity.
    void mask(std::vector<float> & logits);
    void accept(llama_token token);
    void reset();

  private:
    const llama_vocab * vocab;
    bool                is_lazy = false;
    sampler_ptr         rules;
    bool                is_lost = false;  // the text that triggered it already broke it: there is nothing to hold any more

    // Where the template knows reasoning: a trigger inside of it is none.
    std::optional<reasoning_watch> reasoning;

    std::string              begun_text;  // what the prompt holds of the answer
    std::vector<llama_token> begun;

    void begin();
    bool applies() const;
};

} // namespace lc
