// Writing JSON without a JSON library: the few objects about this build and this machine.
#pragma once

#include <string>
#include <string_view>

namespace lc {

// A JSON string literal, quotes included. Bytes above 0x7F pass as they are (UTF-8).
std::string json_quote(std::string_view text);

} // namespace lc
