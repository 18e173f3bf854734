// Answers of a chat: content, reasoning and tool calls, by llama-common's parsers.
#include "chat/chat_parser.h"

#include "chat-peg-parser.h"
#include "shim/error.h"
#include "shim/llmcore.h"

namespace lc {

std::string write_syntax(const common_chat_params & params, bool reads_calls, bool is_continuation) {
    const common_json syntax = {
        {"format", static_cast<int>(params.format)},
        {"generation_prompt", params.generation_prompt},
        {"parser", params.parser},
        {"reads_calls", reads_calls},
        {"is_continuation", is_continuation},
    };
    return syntax.dump();
}

common_chat_parser_params read_syntax(const std::string & text) {
    const common_json syntax = common_json::parse_no_throw(text);
    require(!syntax.is_discarded() && syntax.is_object(), "syntax: is not a JSON object");
    common_chat_parser_params params;
    params.format            = static_cast<common_chat_format>(syntax.at("format").get<int>());
    params.reasoning_format  = COMMON_REASONING_FORMAT_DEEPSEEK;
    params.generation_prompt = syntax.at("generation_prompt").get<std::string>();
    params.parse_tool_calls  = syntax.at("reads_calls").get<bool>();
    params.is_continuation   = syntax.at("is_continuation").get<bool>();
    const std::string parser = syntax.at("parser").get<std::string>();
    if (!parser.empty()) {
        params.parser.load(parser);
    }
    return params;
}

} // namespace lc

namespace {

std::string message_json(const common_chat_msg & message) {
    common_json calls = common_json::array();
    for (const common_chat_tool_call & call : message.tool_calls) {
        calls.push_back({{"id", call.id}, {"name", call.name}, {"arguments", call.arguments}});
    }
    const common_json parsed = {
        {"content", message.content},
        {"reasoning", message.reasoning_content},
        {"calls", calls},
    };
    return parsed.dump_safe();
}

} // namespace

struct lc_chat_parser {
    common_chat_parser_params params;
};

lc_chat_parser * lc_chat_parser_new(const char * syntax) {
    return lc::guard_new([&] {
        lc::require(syntax != nullptr, "syntax: must not be NULL");
        return new lc_chat_parser{lc::read_syntax(syntax)};
    });
}

void lc_chat_parser_free(lc_chat_parser * parser) {
    delete parser;
}

lc_status lc_chat_parse(lc_chat_parser * parser, const char * text, bool is_partial, char ** out) {
    return lc::guard([&] {
        lc::require(parser != nullptr, "parser: must not be NULL");
        lc::require(text != nullptr, "text: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        *out = lc::copy_string(message_json(common_chat_parse(text, is_partial, parser->params)));
    });
}
