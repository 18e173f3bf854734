#include "chat/chat_rendering.h"

#include "chat/chat_parser.h"
#include "chat/content_marks.h"
#include "chat/prompted_tools.h"
#include "chat/tool_grammar.h"

#include "chat-peg-parser.h"

namespace lc {

namespace {

struct Rendering {
    common_chat_params params;
    bool               reads_calls = false;
};

// Renders for a template that supports tools. `tools` have the parameters that the grammar enforces. The prompt describes all tools
// of the request, whichever may be called, so that it stays the same from turn to turn: with `renders_prompt_apart` it is rendered
// from the request's own tools.
Rendering render_supported_tools(const ChatTemplates & templates, const ChatRequest & request,
                                 const std::vector<common_chat_tool> & tools, bool renders_prompt_apart) {
    Rendering                    out;
    common_chat_templates_inputs inputs = request.inputs;
    inputs.tools                        = request.callable_tools(tools);
    out.params                          = common_chat_templates_apply(templates.for_answers, inputs);
    if (request.allows_calls() && out.params.grammar.empty()) {
        inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
        constrain_bare_json_calls(out.params, common_chat_templates_apply(templates.for_answers, inputs).grammar, inputs.tools);
    }
    // A message to continue has content already, so text before the call cannot be forbidden.
    if (request.inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED && !request.is_continuation()) {
        forbid_text_before_calls(out.params.grammar);
    }
    if (!inputs.parallel_tool_calls) {
        forbid_parallel_calls(out.params.grammar);
    }
    if (renders_prompt_apart || templates.for_answers != templates.for_prompts) {
        inputs.tools       = request.inputs.tools;
        inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_NONE;
        out.params.prompt  = common_chat_templates_apply(templates.for_prompts, inputs).prompt;
    }
    return out;
}

Rendering render_prompted_tools(const ChatTemplates & templates, const ChatRequest & request,
                                const std::vector<common_chat_tool> & tools) {
    Rendering                    out;
    common_chat_templates_inputs inputs = request.inputs;
    write_tools_into_messages(inputs);
    out.params = common_chat_templates_apply(templates.for_prompts, inputs);
    if (request.allows_calls()) {
        set_tool_call_parser(out.params, request.callable_tools(tools), request.inputs.tool_choice,
                             request.inputs.parallel_tool_calls);
    }
    return out;
}

Rendering render(const ChatTemplates & templates, const ChatRequest & request) {
    const std::vector<common_chat_tool> & tools = request.constrained_tools;
    const bool are_tools_different              = request.has_own_constraints || !request.tool_name.empty();
    Rendering  out  = templates.supports_tools ? render_supported_tools(templates, request, tools, are_tools_different)
                                               : render_prompted_tools(templates, request, tools);
    out.reads_calls = request.allows_calls();
    return out;
}

// Renders the prompt alone.
std::string render_prompt(const ChatTemplates & templates, const ChatRequest & request) {
    common_chat_templates_inputs inputs = request.inputs;
    if (!templates.supports_tools) {
        write_tools_into_messages(inputs);
    }
    inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_NONE;
    return common_chat_templates_apply(templates.for_prompts, inputs).prompt;
}

const char * trigger_name(common_grammar_trigger_type type) {
    switch (type) {
        case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN:        return "token";
        case COMMON_GRAMMAR_TRIGGER_TYPE_WORD:         return "word";
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN:      return "pattern";
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL: return "pattern_full";
    }
    throw std::runtime_error("llama-common gave a grammar trigger of an unknown type");
}

// Writes how calls are constrained as JSON; "" if nothing constrains them.
std::string write_grammar(const common_chat_params & params) {
    if (params.grammar.empty() || (params.grammar_lazy && params.grammar_triggers.empty())) {
        return "";
    }
    common_json triggers = common_json::array();
    for (const common_grammar_trigger & trigger : params.grammar_triggers) {
        triggers.push_back({
            {"type", trigger_name(trigger.type)},
            {"value", trigger.value},
            {"token", trigger.token},
        });
    }
    const common_json grammar = {
        {"grammar", params.grammar},
        {"lazy", params.grammar_lazy},
        {"triggers", triggers},
        {"generation_prompt", params.generation_prompt},
        {"thinking_start", params.thinking_start_tag},
        {"thinking_ends", params.thinking_end_tags},
    };
    return grammar.dump();
}

// True if the parser returns every answer unchanged as its content. Then no parser is needed.
bool is_plain(const Rendering & rendering) {
    if (rendering.reads_calls || rendering.params.supports_thinking) {
        return false;
    }
    static const std::string probe = "a <b> [c] {\"d\": 1}\n- e";
    try {
        return common_chat_parse(probe, false, read_syntax(write_syntax(rendering.params, false, false))).content == probe;
    } catch (const std::exception &) {
        return false;
    }
}

} // namespace

std::string render_chat(const ChatTemplates & templates, const ChatRequest & request, const MarkedRequest & marked) {
    const Rendering            rendering = render(templates, request);
    const common_chat_params & params    = rendering.params;
    const bool                 is_marked = !marked.mark.empty();
    // Grammar and parser are made without marks: an answer has none.
    const std::string marked_prompt =
        is_marked ? unescape_marks(render_prompt(templates, marked.request), marked.mark) : std::string();
    const common_json response = {
        {"prompt", is_marked ? remove_marks(marked_prompt, marked.mark) : params.prompt},
        {"marked_prompt", marked_prompt},
        {"mark", marked.mark},
        {"stops", params.additional_stops},
        {"preserved", params.preserved_tokens},
        {"syntax", is_plain(rendering) ? "" : write_syntax(params, rendering.reads_calls, request.is_continuation())},
        {"grammar", rendering.reads_calls ? write_grammar(params) : ""},
        {"thinking_start", params.thinking_start_tag},
        {"thinking_ends", params.thinking_end_tags},
    };
    return response.dump_safe();
}

} // namespace lc
