// A request of lc_chat_render(), in llama-common's C++ types.
#pragma once

#include "chat.h"

#include <string>
#include <vector>

namespace lc {

struct ChatRequest {
    common_chat_templates_inputs  inputs;                      // as the template sees them
    std::vector<common_chat_tool> constrained_tools;           // the tools with the parameters that the grammar is written from
    bool                          has_own_constraints = false; // these parameters differ from the template's ("held_tools")
    std::string                   tool_name;                   // the tool that must be called; "" for any
    bool                          marks_special_texts = false; // special tokens' texts of the caller's are text
    std::vector<std::string>      kept_texts;                  // but not these in assistant messages: the template looks for them

    bool allows_calls() const { return !inputs.tools.empty() && inputs.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE; }
    bool is_continuation() const { return inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE; }

    // Returns the tool of `tools` that must be called, or all of them. Throws InvalidArgument if it is not among them.
    std::vector<common_chat_tool> callable_tools(const std::vector<common_chat_tool> & tools) const;
};

// Parses the JSON of a request. `can_think` is the default of enable_thinking. Throws InvalidArgument.
ChatRequest parse_chat_request(const char * text, bool can_think);

} // namespace lc
