// JSON string literals, for the few objects that the shim writes without a JSON library.
#pragma once

#include <string>
#include <string_view>

namespace lc {

// Returns `text` as a JSON string literal with its quotes. Bytes from 0x80 up are copied unchanged (UTF-8).
std::string json_quote(std::string_view text);

} // namespace lc
