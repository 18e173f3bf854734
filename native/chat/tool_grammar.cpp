#include "chat/tool_grammar.h"

#include "chat-peg-parser.h"
#include "json-schema-to-grammar.h"
#include "shim/error.h"

#include <algorithm>
#include <regex>

namespace lc {

namespace {

// Throws if llama-common cannot convert the tool's parameters to a grammar.
void check_schema(const common_chat_tool & tool) {
    const common_json parameters = common_json::parse_no_throw(tool.parameters.empty() ? "{}" : tool.parameters);
    require(parameters.is_object(), "is not an object");
    if (!parameters.empty()) {
        json_schema_to_grammar(parameters, true);
    }
}

} // namespace

std::vector<RelaxedTool> relax_unsupported_schemas(std::vector<common_chat_tool> & tools, const std::vector<bool> & is_strict) {
    std::vector<RelaxedTool> relaxed;
    for (size_t i = 0; i < tools.size(); i++) {
        try {
            check_schema(tools[i]);
        } catch (const std::exception & e) {
            const std::string where = "tools[" + std::to_string(i) + "].function.parameters: ";
            if (is_strict[i]) {
                throw InvalidArgument(where + "the schema of '" + tools[i].name + "' cannot be honoured: " + e.what());
            }
            tools[i].parameters = R"({"type": "object"})";
            relaxed.push_back({i, e.what()});
        }
    }
    return relaxed;
}

void constrain_bare_json_calls(common_chat_params & params, const std::string & required_grammar,
                               const std::vector<common_chat_tool> & tools) {
    static const std::string root = "\nroot ::= ", calls = "tool-call";
    const size_t             start = required_grammar.find(root);
    if (start == std::string::npos || required_grammar.find("\n" + calls + " ::= ") == std::string::npos) {
        return;
    }
    std::string names;
    for (const common_chat_tool & tool : tools) {
        names += (names.empty() ? "" : "|") + regex_escape(tool.name);
    }
    params.grammar = required_grammar;
    params.grammar.replace(start, required_grammar.find('\n', start + 1) - start, root + calls);
    params.grammar_lazy     = true;
    params.grammar_triggers = {
        {COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN, R"(\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"(?:)" + names + ")\""}};
}

void forbid_parallel_calls(std::string & grammar) {
    for (const char * rule : {"\ntool-calls ::= (", "\ntools ::= ("}) {
        const size_t start = grammar.find(rule);
        const size_t end   = start == std::string::npos ? start : grammar.find('\n', start + 1);
        if (end != std::string::npos && grammar[end - 1] == '+') {
            grammar.erase(end - 1, 1);
        }
    }
}

void forbid_text_before_calls(std::string & grammar) {
    static const std::regex content(R"( until-[0-9]+\??( space)?(?= \(?(ling3-)?(tool-call|tools)))");
    const std::string       root  = "root ::= ";
    const size_t            start = grammar.rfind(root, 0) == 0 ? 0 : grammar.find("\n" + root);
    if (start != std::string::npos) {
        const size_t end   = std::min(grammar.find('\n', start + 1), grammar.size());
        const char * space = grammar.find("\nspace ::= ") == std::string::npos ? "" : " space";
        grammar.replace(start, end - start, std::regex_replace(grammar.substr(start, end - start), content, space));
    }
}

} // namespace lc
