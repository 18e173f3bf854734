// Tools: for templates that know none, and tools whose parameters make no grammar.
#include "chat/chat_seam.h"
#include "shim/error.h"

#include "json-schema-to-grammar.h"

#include <algorithm>
#include <regex>

namespace lc {

namespace {

// A form that many models have seen: Hermes', which Qwen 2.5 and others took over.
constexpr const char * CALL_START     = "<tool_call>";
constexpr const char * CALL_END       = "</tool_call>";
constexpr const char * RESPONSE_START = "<tool_response>";
constexpr const char * RESPONSE_END   = "</tool_response>";

// Spaces and line feeds that may stand beside a tag.
constexpr int N_BLANK = 4;

std::string introduction(const std::vector<common_chat_tool> & tools) {
    std::string text = "You can call functions. Their signatures:\n<tools>";
    for (const common_json & tool : common_chat_tools_to_json_oaicompat(tools)) {
        text += "\n" + tool.dump();
    }
    text += "\n</tools>\nTo call one, write its name and arguments as JSON, in this form:\n";
    text += std::string(CALL_START) + "\n{\"name\": <name>, \"arguments\": <object>}\n" + CALL_END;
    return text;
}

std::string text_of(const common_chat_msg & message) {
    return message.content_parts.empty() ? message.content : message.render_content("\n");
}

void set_text(common_chat_msg & message, const std::string & text) {
    message.content = text;
    message.content_parts.clear();
}

std::string call_text(const common_chat_tool_call & call) {
    const common_json name = call.name;
    const std::string arguments = call.arguments.empty() ? "{}" : call.arguments;
    return std::string(CALL_START) + "\n{\"name\": " + name.dump() + ", \"arguments\": " + arguments + "}\n" + CALL_END;
}

void tell_calls(common_chat_msg & message) {
    std::string text = text_of(message);
    for (const common_chat_tool_call & call : message.tool_calls) {
        text += (text.empty() ? "" : "\n") + call_text(call);
    }
    set_text(message, text);
    message.tool_calls.clear();
}

void tell_introduction(std::vector<common_chat_msg> & messages, const std::string & text) {
    const bool has_system = !messages.empty() && (messages.front().role == "system" || messages.front().role == "developer");
    if (!has_system) {
        common_chat_msg system;
        system.role = "system";
        messages.insert(messages.begin(), system);
    }
    const std::string given = text_of(messages.front());
    set_text(messages.front(), given.empty() ? text : given + "\n\n" + text);
}

void check_schema(const common_chat_tool & tool) {
    const common_json parameters = common_json::parse_no_throw(tool.parameters.empty() ? "{}" : tool.parameters);
    require(parameters.is_object(), "is not an object");
    if (!parameters.empty()) {
        json_schema_to_grammar(parameters, true);
    }
}

// llama-common lets JSON be indented by up to 20 spaces, of which a small model writes many.
void spare_space(std::string & grammar) {
    const std::string rule  = "\nspace ::= ";
    const size_t      start = grammar.find(rule);
    if (start != std::string::npos) {
        const size_t end = grammar.find('\n', start + rule.size());
        grammar.replace(start, end - start, rule + "[ \\n]?");
    }
}

common_chat_tool probe_tool() {
    return { "probe", "", R"({"type": "object", "properties": {"a": {"type": "string"}}})" };
}

} // namespace

std::vector<relaxed_tool> relax_tools(std::vector<common_chat_tool> & tools, const std::vector<bool> & is_strict) {
    std::vector<relaxed_tool> relaxed;
    for (size_t i = 0; i < tools.size(); i++) {
        try {
            check_schema(tools[i]);
        } catch (const std::exception & e) {
            const std::string where = "tools[" + std::to_string(i) + "].function.parameters: ";
            if (is_strict[i]) {
                throw invalid_argument(where + "the schema of '" + tools[i].name + "' cannot be honoured: " + e.what());
            }
            tools[i].parameters = R"({"type": "object"})";
            relaxed.push_back({ i, e.what() });
        }
    }
    return relaxed;
}

bool knows_tools(const common_chat_templates * templates) {
    common_chat_templates_inputs inputs;
    common_chat_msg              message;
    message.role       = "user";
    message.content    = "Hi";
    inputs.messages    = { message };
    inputs.tools       = { probe_tool() };
    inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    try {
        return !common_chat_templates_apply(templates, inputs).grammar.empty();
    } catch (const std::exception &) {
        return false;
    }
}

void hold_to_calls_at_once(std::string & grammar) {
    static const std::regex content(R"( until-[0-9]+\??( space)?(?= \(?(ling3-)?(tool-call|tools)))");
    const std::string       root  = "root ::= ";
    const size_t            start = grammar.rfind(root, 0) == 0 ? 0 : grammar.find("\n" + root);
    if (start != std::string::npos) {
        const size_t end = std::min(grammar.find('\n', start + 1), grammar.size());
        const char * blank = grammar.find("\nspace ::= ") == std::string::npos ? "" : " space";
        grammar.replace(start, end - start, std::regex_replace(grammar.substr(start, end - start), content, blank));
    }
}

void hold_bare_calls(common_chat_params & params, const std::string & required, const std::vector<common_chat_tool> & tools) {
    static const std::string root = "\nroot ::= ", calls = "tool-call";
    const size_t start = required.find(root);
    if (start == std::string::npos || required.find("\n" + calls + " ::= ") == std::string::npos) {
        return;
    }
    std::string names;
    for (const common_chat_tool & tool : tools) {
        names += (names.empty() ? "" : "|") + regex_escape(tool.name);
    }
    params.grammar = required;
    params.grammar.replace(start, required.find('\n', start + 1) - start, root + calls);
    params.grammar_lazy     = true;
    params.grammar_triggers = { { COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN,
                                  R"(\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"(?:)" + names + ")\"" } };
}

void hold_to_one_call(std::string & grammar) {
    for (const char * rule : { "\ntool-calls ::= (", "\ntools ::= (" }) {
        const size_t start = grammar.find(rule);
        const size_t end   = start == std::string::npos ? start : grammar.find('\n', start + 1);
        if (end != std::string::npos && grammar[end - 1] == '+') {
            grammar.erase(end - 1, 1);
        }
    }
}

void tell_tools(common_chat_templates_inputs & inputs) {
    std::vector<common_chat_msg> told;
    bool                         is_response = false;  // whether the last message holds results
    for (common_chat_msg & message : inputs.messages) {
        if (message.role != "tool") {
            is_response = false;
            tell_calls(message);
            told.push_back(message);
            continue;
        }
        const std::string text = std::string(RESPONSE_START) + "\n" + text_of(message) + "\n" + RESPONSE_END;
        if (is_response) {
            told.back().content += "\n" + text;
            continue;
        }
        common_chat_msg response;
        response.role    = "user";
        response.content = text;
        told.push_back(response);
        is_response = true;
    }
    if (!inputs.tools.empty()) {
        tell_introduction(told, introduction(inputs.tools));
    }
    inputs.messages = std::move(told);
    inputs.tools.clear();
    inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_NONE;
}

void hold_to_tools(common_chat_params & params, const std::vector<common_chat_tool> & tools, common_chat_tool_choice choice,
                   bool is_parallel) {
    const bool        is_required = choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    const common_json described   = common_chat_tools_to_json_oaicompat(tools);
    const std::string think_start = params.thinking_start_tag;
    const std::string think_end   = params.thinking_end_tags.empty() ? "" : params.thinking_end_tags.front();
    const common_peg_arena parser = build_chat_peg_parser([&](common_chat_peg_builder & p) {
        common_peg_parser one       = p.standard_json_tools(CALL_START, CALL_END, described, false, true);
        common_peg_parser calls     = p.trigger_rule("tool-calls", is_parallel ? p.one_or_more(one + p.space()) : one + p.space());
        common_peg_parser reasoning = p.eps();
        if (!think_start.empty() && !think_end.empty()) {
            // Models put line feeds inside of their tags and behind them, which are nobody's.
            const common_peg_parser blank = p.chars("[ \n]", 0, N_BLANK);
            reasoning = p.optional(p.literal(think_start) + blank + p.reasoning(p.until(think_end)) + p.literal(think_end) + blank);
        }
        common_peg_parser answer = is_required ? calls : p.content(p.until(CALL_START)) + p.optional(calls);
        return p.prefix(params.generation_prompt, think_start) + reasoning + answer + p.end();
    });
    params.format       = COMMON_CHAT_FORMAT_PEG_NATIVE;
    params.parser       = parser.save();
    params.grammar_lazy = !is_required;
    params.grammar      = build_grammar([&](const common_grammar_builder & builder) { parser.build_grammar(builder, !is_required); });
    spare_space(params.grammar);
    params.grammar_triggers.clear();
    if (!is_required) {
        params.grammar_triggers.push_back({ COMMON_GRAMMAR_TRIGGER_TYPE_WORD, CALL_START });
    }
    params.preserved_tokens.push_back(CALL_START);
    params.preserved_tokens.push_back(CALL_END);
}

} // namespace lc
