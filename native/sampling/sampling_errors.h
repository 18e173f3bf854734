// Reasons why a row of logits has no token.
#pragma once

#include <stdexcept>

namespace lc {

// Every token is excluded.
struct NoTokenLeft : std::runtime_error {
    NoTokenLeft() : std::runtime_error("no token can be chosen: the logits (with their bias) exclude every one") {}
};

// A logit is NaN or plus infinity.
struct BadLogits : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The grammar is so ambiguous that matching it exceeds its budget.
struct GrammarTooAmbiguous : std::runtime_error {
    GrammarTooAmbiguous() : std::runtime_error("the grammar allows too many readings of the answer") {}
};

} // namespace lc
