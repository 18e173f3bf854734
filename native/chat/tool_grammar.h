// Grammars of tool calls: schemas that no grammar can express, and corrections of the grammars that llama-common writes.
#pragma once

#include "chat.h"

#include <string>
#include <vector>

namespace lc {

// A tool whose parameters llama-common cannot convert to a grammar.
struct RelaxedTool {
    size_t      index;
    std::string reason;
};

// Replaces the parameters of such tools by "any object". Throws InvalidArgument, with the tool's name, if the tool is strict.
std::vector<RelaxedTool> relax_unsupported_schemas(std::vector<common_chat_tool> & tools, const std::vector<bool> & is_strict);

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
