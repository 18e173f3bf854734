// The syntax of a template's answers, as the text that lc_chat_render() returns and lc_chat_parser_new() takes.
#pragma once

#include "chat.h"

#include <string>

namespace lc {

// Writes the fields of `params` that the parser needs as JSON. `reads_calls`: tool calls are parsed, not left in the content.
std::string write_syntax(const common_chat_params & params, bool reads_calls, bool is_continuation);
common_chat_parser_params read_syntax(const std::string & text);

} // namespace lc
