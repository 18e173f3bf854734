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

} // namespace lc
