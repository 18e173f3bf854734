#include "chat/prompted_tools.h"

#include "chat-peg-parser.h"
#include "json-schema-to-grammar.h"

#include <string>

namespace lc {

namespace {

// The form of Hermes, which Qwen 2.5 and others adopted: many models have seen it in training.
constexpr const char * CALL_START     = "<tool_call>";
constexpr const char * CALL_END       = "</tool_call>";
constexpr const char * RESPONSE_START = "<tool_response>";
constexpr const char * RESPONSE_END   = "</tool_response>";

// Most spaces and line feeds that are dropped beside a tag.
constexpr int N_BLANKS_MAX = 4;

std::string describe_tools(const std::vector<common_chat_tool> & tools) {
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
    const common_json name      = call.name;
    const std::string arguments = call.arguments.empty() ? "{}" : call.arguments;
    return std::string(CALL_START) + "\n{\"name\": " + name.dump() + ", \"arguments\": " + arguments + "}\n" + CALL_END;
}

void write_calls_as_text(common_chat_msg & message) {
    std::string text = text_of(message);
    for (const common_chat_tool_call & call : message.tool_calls) {
        text += (text.empty() ? "" : "\n") + call_text(call);
    }
    set_text(message, text);
    message.tool_calls.clear();
}

void add_to_system_message(std::vector<common_chat_msg> & messages, const std::string & text) {
    const bool has_system = !messages.empty() && (messages.front().role == "system" || messages.front().role == "developer");
    if (!has_system) {
        common_chat_msg system;
        system.role = "system";
        messages.insert(messages.begin(), system);
    }
    const std::string system_text = text_of(messages.front());
    set_text(messages.front(), system_text.empty() ? text : system_text + "\n\n" + text);
}

// Allows one space or line feed between parts of JSON. llama-common allows 20, and a small model writes many of them.
void limit_space(std::string & grammar) {
    const std::string rule  = "\nspace ::= ";
    const size_t      start = grammar.find(rule);
    if (start != std::string::npos) {
        const size_t end = grammar.find('\n', start + rule.size());
        grammar.replace(start, end - start, rule + "[ \\n]?");
    }
}

common_chat_tool probe_tool() {
    return {"probe", "", R"({"type": "object", "properties": {"a": {"type": "string"}}})"};
}

} // namespace

bool supports_tool_calls(const common_chat_templates * templates) {
    common_chat_templates_inputs inputs;
    common_chat_msg              message;
    message.role            = "user";
    message.content         = "Hi";
    inputs.messages         = {message};
    inputs.tools            = {probe_tool()};
    inputs.tool_choice      = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    try {
        return !common_chat_templates_apply(templates, inputs).grammar.empty();
    } catch (const std::exception &) {
        return false;
    }
}

bool is_prompted_tag(const std::string & text) {
    return text == CALL_START || text == CALL_END || text == RESPONSE_START || text == RESPONSE_END;
}

void write_tools_into_messages(common_chat_templates_inputs & inputs) {
    std::vector<common_chat_msg> messages;
    bool                         ends_with_results = false; // results that follow each other share a message
    for (common_chat_msg & message : inputs.messages) {
        if (message.role != "tool") {
            ends_with_results = false;
            write_calls_as_text(message);
            messages.push_back(message);
            continue;
        }
        const std::string text = std::string(RESPONSE_START) + "\n" + text_of(message) + "\n" + RESPONSE_END;
        if (ends_with_results) {
            messages.back().content += "\n" + text;
            continue;
        }
        common_chat_msg response;
        response.role    = "user";
        response.content = text;
        messages.push_back(response);
        ends_with_results = true;
    }
    if (!inputs.tools.empty()) {
        add_to_system_message(messages, describe_tools(inputs.tools));
    }
    inputs.messages = std::move(messages);
    inputs.tools.clear();
    inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_NONE;
}

void set_tool_call_parser(common_chat_params & params, const std::vector<common_chat_tool> & tools, common_chat_tool_choice choice,
                          bool is_parallel) {
    const bool             is_required = choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    const common_json      described   = common_chat_tools_to_json_oaicompat(tools);
    const std::string      think_start = params.thinking_start_tag;
    const std::string      think_end   = params.thinking_end_tags.empty() ? "" : params.thinking_end_tags.front();
    const common_peg_arena parser      = build_chat_peg_parser([&](common_chat_peg_builder & p) {
        common_peg_parser one       = p.standard_json_tools(CALL_START, CALL_END, described, false, true);
        common_peg_parser calls     = p.trigger_rule("tool-calls", is_parallel ? p.one_or_more(one + p.space()) : one + p.space());
        common_peg_parser reasoning = p.eps();
        if (!think_start.empty() && !think_end.empty()) {
            // Line feeds inside and after the tags belong neither to the reasoning nor to the content.
            const common_peg_parser blanks = p.chars("[ \n]", 0, N_BLANKS_MAX);
            reasoning = p.optional(p.literal(think_start) + blanks + p.reasoning(p.until(think_end)) + p.literal(think_end) +
                                   blanks);
        }
        common_peg_parser answer = is_required ? calls : p.content(p.until(CALL_START)) + p.optional(calls);
        return p.prefix(params.generation_prompt, think_start) + reasoning + answer + p.end();
    });
    params.format                      = COMMON_CHAT_FORMAT_PEG_NATIVE;
    params.parser                      = parser.save();
    params.grammar_lazy                = !is_required;
    params.grammar = build_grammar([&](const common_grammar_builder & builder) { parser.build_grammar(builder, !is_required); });
    limit_space(params.grammar);
    params.grammar_triggers.clear();
    if (!is_required) {
        params.grammar_triggers.push_back({COMMON_GRAMMAR_TRIGGER_TYPE_WORD, CALL_START});
    }
    params.preserved_tokens.push_back(CALL_START);
    params.preserved_tokens.push_back(CALL_END);
}

} // namespace lc
