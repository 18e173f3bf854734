// Corrections of the grammars of tool calls that llama-common writes.
#pragma once

#include "chat.h"

#include <string>
#include <vector>

namespace lc {

// Adds a lazy grammar for templates whose calls are bare JSON, such as Llama 3's. Nothing marks the beginning of such a call, so
// llama-common constrains it only if a call is required. The trigger here is a call's beginning up to a tool's name.
// `required_grammar` is the grammar of a required call.
void constrain_bare_json_calls(common_chat_params & params, const std::string & required_grammar,
                               const std::vector<common_chat_tool> & tools);

// Removes the repetition of calls, which llama-common allows in some formats although one call was asked for.
void forbid_parallel_calls(std::string & grammar);

// Removes the unbounded text that llama-common allows before a required call. Reasoning stays allowed.
void forbid_text_before_calls(std::string & grammar);

} // namespace lc
