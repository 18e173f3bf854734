// Tools for chat templates that do not support them: the tools are described in the system message, and calls are read in the form
// that Hermes and Qwen 2.5 use.
#pragma once

#include "chat.h"

#include <string>
#include <vector>

namespace lc {

// True if the template's answers can contain tool calls that llama-common parses: such a template needs nothing of this file.
bool supports_tool_calls(const common_chat_templates * templates);

// True for the tags that write_tools_into_messages() writes.
bool is_prompted_tag(const std::string & text);

// Describes the tools in the system message, and writes calls and results as plain messages.
void write_tools_into_messages(common_chat_templates_inputs & inputs);

// Sets parser and grammar for the answers to such messages. `tools` are those that may be called.
void set_tool_call_parser(common_chat_params & params, const std::vector<common_chat_tool> & tools, common_chat_tool_choice choice,
                          bool is_parallel);

} // namespace lc
