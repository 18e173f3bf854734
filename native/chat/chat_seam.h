// What the files of the chat seam share. Only they know llama-common's C++ types.
#pragma once

#include "chat-peg-parser.h"
#include "chat.h"

#include <optional>
#include <string>
#include <vector>

namespace lc {

// What a request asks for.
struct wish {
    common_chat_templates_inputs  inputs;
    std::vector<common_chat_tool> held;       // the tools as calls are held to them
    std::vector<bool>             is_strict;  // of each tool
    std::string                   tool_name;  // the one that must be called; "" for any
    bool                          is_held_otherwise = false;

    bool may_call() const { return !inputs.tools.empty() && inputs.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE; }
};

// Reads a request of lc_chat_render(). Throws invalid_argument. `can_think`: whether the template can.
wish read_wish(const char * text, bool can_think);

// Those of `tools` that may be called. Throws invalid_argument if the one that must be is not among them.
std::vector<common_chat_tool> callable(const wish & wanted, const std::vector<common_chat_tool> & tools);

// A tool whose parameters llama-common cannot make a grammar of.
struct relaxed_tool {
    size_t      index;
    std::string reason;
};

// Replaces the parameters of such tools by "any object". Throws invalid_argument, naming the tool, if it is a strict one.
std::vector<relaxed_tool> relax_tools(std::vector<common_chat_tool> & tools, const std::vector<bool> & is_strict);

// Whether the answers of a template can hold tool calls that llama-common knows how to read.
bool knows_tools(const common_chat_templates * templates);

// Templates whose calls are bare JSON, as Llama 3's: nothing marks where a call begins, so llama-common holds it only where it must
// come. Holds it from the name of a tool on. `required`: the grammar of a call that must come.
void hold_bare_calls(common_chat_params & params, const std::string & required, const std::vector<common_chat_tool> & tools);

// llama-common lets calls of some forms be repeated though one was asked for.
void hold_to_one_call(std::string & grammar);

// Where a call is required, llama-common lets a model say what it likes before, without end. This leaves the call, and reasoning.
void hold_to_calls_at_once(std::string & grammar);

// For templates that know no tools: tells of them in the system message, and of calls and results in plain messages.
void tell_tools(common_chat_templates_inputs & inputs);

// The parser and grammar of answers to such messages. `tools`: those that may be called.
void hold_to_tools(common_chat_params & params, const std::vector<common_chat_tool> & tools, common_chat_tool_choice choice,
                   bool is_parallel);

// The parts of common_chat_params that its answers are read by, as text; and back.
std::string               syntax_text(const common_chat_params & params, bool reads_calls, bool is_continuation);
common_chat_parser_params read_syntax(const std::string & text);

} // namespace lc
