#include "chat/tool_grammar.h"

#include "common.h"

#include <algorithm>
#include <regex>

namespace lc {

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
