// Tool-call grammars of llama-common, as it writes them: GBNF, begun at once or by a trigger. A token is drawn first and
// checked then; only if the grammar refuses it, all tokens are.
#pragma once

#include "llama.h"

#include <memory>
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
    sampler_ptr         reasoning;  // NULL where the template knows none; a trigger inside of reasoning is none
    bool                is_lost = false;  // the text that triggered it already broke it: there is nothing to hold any more

    std::vector<llama_token> begun;  // what the prompt holds of the answer

    void begin();
    bool applies() const;
    void accept_end_of_reasoning(bool was_held);
};

} // namespace lc
