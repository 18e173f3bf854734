// Checks of a GBNF grammar before llama.cpp compiles it, which would otherwise take unbounded time or memory.
#pragma once

#include "llama.h"

#include <string>

namespace lc {

// Throws InvalidArgument for a repetition {m,n} with m > n, and for rules that llama.cpp could not compile in time.
void check_gbnf(const llama_vocab * vocab, const std::string & source);

} // namespace lc
