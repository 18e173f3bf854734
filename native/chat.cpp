// Chat templates by llama-common: JSON in, JSON out.
#include "chat_seam.h"
#include "error.h"
#include "llmcore.h"

#include "log.h"

#include <memory>
#include <optional>

struct lc_chat {
    common_chat_templates_ptr templates;
    common_chat_templates_ptr answers;  // by which answers are read and held, where that is another
    // Found out when they are first asked, by rendering.
    std::optional<bool> knows_tools;
    std::optional<bool> can_think;

    const common_chat_templates * for_answers() const { return answers != nullptr ? answers.get() : templates.get(); }
};

namespace {

// llama-common writes its own log to stderr from a thread of its own and has no callback. What matters comes back as an
// exception, so it is kept silent (and the thread is never started).
void silence_common_log() {
    static const bool done = [] {
        common_log_set_verbosity_thold(-1);
        return true;
    }();
    (void) done;
}

// llama-common rethrows a template's error as a bare std::exception, whose message is lost; parsing it once more tells.
[[noreturn]] void rethrow_template_error(const std::string & source) {
    try {
        common_chat_template probe(source, "", "");
    } catch (const std::exception & e) {
        throw std::runtime_error(std::string("the chat template cannot be used: ") + e.what());
    }
    throw;
}

common_chat_templates_ptr parse_templates(const llama_model * model, const char * template_override) {
    const std::string source = template_override != nullptr ? template_override : "";
    try {
        return common_chat_templates_init(model, source);
    } catch (const std::exception &) {
        const char * own = llama_model_chat_template(model, nullptr);
        rethrow_template_error(source.empty() && own != nullptr ? own : source);
    }
}

// llama-common finds out how a template writes calls by rendering some. In Mistral Small 3.2's it mistakes [ARGS] for the end of
// the function's name once the tokenizer has an EOS (its own tests have none), and then reads no call of that model. So the
// answers to such a template are read as if there were no EOS. NULL for all others.
common_chat_templates_ptr parse_for_answers(const llama_model * model, const common_chat_templates * templates) {
    const std::string source = common_chat_templates_source(templates);
    if (source.find("[CALL_ID]") == std::string::npos || source.find("eos_token") == std::string::npos) {
        return nullptr;
    }
    const llama_vocab * vocab = llama_model_get_vocab(model);
    const llama_token   bos   = llama_vocab_bos(vocab);
    return common_chat_templates_init(nullptr, source, bos == LLAMA_TOKEN_NULL ? "" : common_token_to_piece(vocab, bos, true), "");
}

constexpr const char * FIELDS[] = { "messages", "add_generation_prompt", "continue_final_message", "tools", "held_tools",
                                    "tool_choice", "tool_name", "parallel_tool_calls", "chat_template_kwargs" };

common_json parse_request(const char * text) {
    common_json request = common_json::parse_no_throw(text);
    lc::require(!request.is_discarded() && request.is_object(), "request: is not a JSON object");
    for (const auto & item : request.items()) {
        bool is_known = false;
        for (const char * name : FIELDS) {
            is_known = is_known || item.key() == name;
        }
        if (!is_known) {
            throw lc::invalid_argument("request: unknown field '" + item.key() + "'");
        }
    }
    lc::require(request.contains("messages"), "messages: missing");
    return request;
}

bool get_bool(const common_json & request, const char * name, bool otherwise) {
    if (!request.contains(name)) {
        return otherwise;
    }
    if (!request.at(name).is_boolean()) {
        throw lc::invalid_argument(std::string(name) + ": must be true or false");
    }
    return request.at(name).get<bool>();
}

std::string get_string(const common_json & request, const char * name) {
    if (!request.contains(name)) {
        return "";
    }
    if (!request.at(name).is_string()) {
        throw lc::invalid_argument(std::string(name) + ": must be a string");
    }
    return request.at(name).get<std::string>();
}

void read_template_kwargs(const common_json & request, common_chat_templates_inputs & inputs) {
    // As llama-server: a conversation that goes on begins as it did before, its reasoning included, and is found in the cache.
    inputs.chat_template_kwargs["preserve_reasoning"] = "true";
    if (!request.contains("chat_template_kwargs")) {
        return;
    }
    const common_json & kwargs = request.at("chat_template_kwargs");
    lc::require(kwargs.is_object(), "chat_template_kwargs: must be an object");
    for (const auto & item : kwargs.items()) {
        inputs.chat_template_kwargs[item.key()] = item.value().dump();
    }
    // A template variable like the others, but llama-common also chooses the parser by it.
    lc::require(!kwargs.contains("enable_thinking") || kwargs.at("enable_thinking").is_boolean(),
                "chat_template_kwargs.enable_thinking: must be true or false");
    inputs.enable_thinking = get_bool(kwargs, "enable_thinking", inputs.enable_thinking);
}

// What a request asks for.
struct wish {
    common_chat_templates_inputs  inputs;
    std::vector<common_chat_tool> held;       // the tools as calls are held to them
    std::vector<bool>             is_strict;  // of each tool
    std::string                   tool_name;  // the one that must be called; "" for any
    bool                          is_held_otherwise = false;

    bool may_call() const { return !inputs.tools.empty() && inputs.tool_choice != COMMON_CHAT_TOOL_CHOICE_NONE; }
};

std::vector<bool> read_strict(const common_json & tools) {
    std::vector<bool> is_strict;
    for (const common_json & tool : tools) {
        const common_json & function = tool.at("function");
        is_strict.push_back(function.contains("strict") && function.at("strict").is_boolean() && function.at("strict").get<bool>());
    }
    return is_strict;
}

void read_continuation(const common_json & request, common_chat_templates_inputs & inputs) {
    if (!get_bool(request, "continue_final_message", false)) {
        return;
    }
    lc::require(!inputs.messages.empty() && inputs.messages.back().role == "assistant",
                "continue_final_message: the last message is not the assistant's");
    lc::require(inputs.messages.back().tool_calls.empty(), "continue_final_message: a message with tool calls is complete");
    inputs.continue_final_message = COMMON_CHAT_CONTINUATION_AUTO;
    inputs.add_generation_prompt  = false;
}

// What the caller wrote wrongly is his error, unlike what a template does with it. `can_think`: what the template can.
wish read_wish(const common_json & request, bool can_think) {
    wish found;
    common_chat_templates_inputs & inputs = found.inputs;
    inputs.enable_thinking = can_think;
    try {
        inputs.messages = common_chat_msgs_parse_oaicompat(request.at("messages"));
        if (request.contains("tools")) {
            inputs.tools    = common_chat_tools_parse_oaicompat(request.at("tools"));
            found.is_strict = read_strict(request.at("tools"));
            found.held      = request.contains("held_tools") ? common_chat_tools_parse_oaicompat(request.at("held_tools")) : inputs.tools;
            lc::require(found.held.size() == inputs.tools.size(), "held_tools: must be as many as tools");
        }
        if (request.contains("tool_choice")) {
            inputs.tool_choice = common_chat_tool_choice_parse_oaicompat(get_string(request, "tool_choice"));
        }
        found.is_held_otherwise       = request.contains("held_tools");
        found.tool_name               = get_string(request, "tool_name");
        inputs.parallel_tool_calls    = get_bool(request, "parallel_tool_calls", true);
        inputs.add_generation_prompt  = get_bool(request, "add_generation_prompt", true);
        inputs.reasoning_format       = COMMON_REASONING_FORMAT_DEEPSEEK;
        read_continuation(request, inputs);
        read_template_kwargs(request, inputs);
    } catch (const lc::invalid_argument &) {
        throw;
    } catch (const std::exception & e) {
        throw lc::invalid_argument(e.what());
    }
    return found;
}

// Those that may be called.
std::vector<common_chat_tool> callable(const wish & wanted, const std::vector<common_chat_tool> & tools) {
    if (wanted.tool_name.empty()) {
        return tools;
    }
    for (const common_chat_tool & tool : tools) {
        if (tool.name == wanted.tool_name) {
            return { tool };
        }
    }
    throw lc::invalid_argument("tool_name: there is no tool '" + wanted.tool_name + "'");
}

// What a template makes of a request.
struct rendering {
    common_chat_params            params;
    bool                          reads_calls = false;
    std::vector<lc::relaxed_tool> relaxed;
};

// All tools are told of, whichever may be called, so that the prompt stays the same from turn to turn.
rendering render_native(const lc_chat & chat, const wish & wanted, const std::vector<common_chat_tool> & tools,
                        bool is_told_otherwise) {
    rendering found;
    common_chat_templates_inputs inputs = wanted.inputs;
    inputs.tools = callable(wanted, tools);
    found.params = common_chat_templates_apply(chat.for_answers(), inputs);
    if (wanted.may_call() && found.params.grammar.empty()) {
        inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
        lc::hold_bare_calls(found.params, common_chat_templates_apply(chat.for_answers(), inputs).grammar, inputs.tools);
    }
    if (!inputs.parallel_tool_calls) {
        lc::hold_to_one_call(found.params.grammar);
    }
    if (is_told_otherwise || chat.answers != nullptr) {
        inputs.tools        = wanted.inputs.tools;
        inputs.tool_choice  = COMMON_CHAT_TOOL_CHOICE_NONE;
        found.params.prompt = common_chat_templates_apply(chat.templates.get(), inputs).prompt;
    }
    return found;
}

rendering render_told(const common_chat_templates * templates, const wish & wanted, const std::vector<common_chat_tool> & tools) {
    rendering found;
    common_chat_templates_inputs inputs = wanted.inputs;
    lc::tell_tools(inputs);
    found.params = common_chat_templates_apply(templates, inputs);
    if (wanted.may_call()) {
        lc::hold_to_tools(found.params, callable(wanted, tools), wanted.inputs.tool_choice, wanted.inputs.parallel_tool_calls);
    }
    return found;
}

rendering render(const lc_chat & chat, const wish & wanted) {
    std::vector<common_chat_tool>       tools   = wanted.held;
    const std::vector<lc::relaxed_tool> relaxed = lc::relax_tools(tools, wanted.is_strict);
    const bool is_told_otherwise = wanted.is_held_otherwise || !relaxed.empty() || !wanted.tool_name.empty();
    rendering found   = *chat.knows_tools ? render_native(chat, wanted, tools, is_told_otherwise)
                                          : render_told(chat.templates.get(), wanted, tools);
    found.reads_calls = wanted.may_call();
    found.relaxed     = relaxed;
    return found;
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

std::string grammar_text(const common_chat_params & params) {
    if (params.grammar.empty() || (params.grammar_lazy && params.grammar_triggers.empty())) {
        return "";
    }
    common_json triggers = common_json::array();
    for (const common_grammar_trigger & trigger : params.grammar_triggers) {
        triggers.push_back({
            { "type", trigger_name(trigger.type) },
            { "value", trigger.value },
            { "token", trigger.token },
        });
    }
    const common_json grammar = {
        { "grammar", params.grammar },
        { "lazy", params.grammar_lazy },
        { "triggers", triggers },
        { "generation_prompt", params.generation_prompt },
        { "thinking_start", params.thinking_start_tag },
        { "thinking_ends", params.thinking_end_tags },
    };
    return grammar.dump();
}

// Whether an answer's text is its content, whatever it is.
bool is_plain(const rendering & rendered) {
    if (rendered.reads_calls || rendered.params.supports_thinking) {
        return false;
    }
    static const std::string probe = "a <b> [c] {\"d\": 1}\n- e";
    try {
        return common_chat_parse(probe, false, lc::read_syntax(lc::syntax_text(rendered.params, false, false))).content == probe;
    } catch (const std::exception &) {
        return false;
    }
}

std::string response_json(const rendering & rendered, const wish & wanted) {
    const common_chat_params & params          = rendered.params;
    const bool                 is_continuation = wanted.inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;
    common_json relaxed = common_json::array();
    for (const lc::relaxed_tool & tool : rendered.relaxed) {
        relaxed.push_back({ { "tool", tool.index }, { "reason", tool.reason } });
    }
    const common_json response = {
        { "prompt", params.prompt },
        { "stops", params.additional_stops },
        { "preserved", params.preserved_tokens },
        { "syntax", is_plain(rendered) ? "" : lc::syntax_text(params, rendered.reads_calls, is_continuation) },
        { "grammar", rendered.reads_calls ? grammar_text(params) : "" },
        { "thinking_start", params.thinking_start_tag },
        { "thinking_ends", params.thinking_end_tags },
        { "relaxed", relaxed },
    };
    return response.dump_safe();
}

} // namespace

namespace {

// Whether a template's answers may hold reasoning that llama-common can tell from content. Throws if it renders nothing at all.
bool can_think(const common_chat_templates * templates) {
    try {
        return common_chat_templates_support_enable_thinking(templates);
    } catch (const std::exception & e) {
        throw std::runtime_error(std::string("the chat template cannot render a message: ") + e.what());
    }
}

void find_out(lc_chat & chat) {
    if (!chat.can_think.has_value()) {
        chat.can_think = can_think(chat.templates.get());
    }
    if (!chat.knows_tools.has_value()) {
        chat.knows_tools = lc::knows_tools(chat.templates.get());
    }
}

} // namespace

lc_chat * lc_chat_new(const llama_model * model, const char * template_override) {
    return lc::guard_new([&] {
        lc::require(model != nullptr, "model: must not be NULL");
        lc::require(template_override == nullptr || *template_override != '\0', "template_override: must not be empty");
        silence_common_log();
        auto chat       = std::make_unique<lc_chat>();
        chat->templates = parse_templates(model, template_override);
        chat->answers   = parse_for_answers(model, chat->templates.get());
        if (template_override != nullptr) {
            // Whoever chose it is told now. A model's own may be of no use and its completions still be.
            chat->can_think = can_think(chat->templates.get());
        }
        return chat.release();
    });
}

void lc_chat_free(lc_chat * chat) {
    delete chat;
}

lc_status lc_chat_render(lc_chat * chat, const char * request, char ** out) {
    return lc::guard([&] {
        lc::require(chat != nullptr, "chat: must not be NULL");
        lc::require(request != nullptr, "request: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        const common_json asked = parse_request(request);
        find_out(*chat);
        const wish wanted = read_wish(asked, *chat->can_think);
        *out = lc::copy_string(response_json(render(*chat, wanted), wanted));
    });
}

lc_status lc_chat_describe(lc_chat * chat, char ** out) {
    return lc::guard([&] {
        lc::require(chat != nullptr, "chat: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        const common_chat_templates * templates = chat->templates.get();
        const common_json description = {
            { "source", common_chat_templates_source(templates) },
            { "caps", common_chat_templates_get_caps(templates) },
            { "explicit", common_chat_templates_was_explicit(templates) },
            { "knows_tools", lc::knows_tools(templates) },
        };
        *out = lc::copy_string(description.dump_safe());
    });
}
