// Chat templates by llama-common: JSON in, JSON out.
#include "chat/chat_seam.h"
#include "shim/deep_stack.h"
#include "shim/error.h"
#include "shim/llmcore.h"

#include "log.h"

#include <cstring>
#include <memory>
#include <mutex>
#include <optional>

struct lc_chat {
    common_chat_templates_ptr templates;
    common_chat_templates_ptr answers;  // by which answers are read and held, where that is another
    // Found out when they are first asked, by rendering. Several threads may render.
    std::mutex          finding;
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
        const char * own = source.empty() ? llama_model_chat_template(model, nullptr) : nullptr;
        rethrow_template_error(own != nullptr ? own : source);
    }
}

// llama-common finds out how a template writes calls by rendering some. In Mistral Small 3.2's it mistakes [ARGS] for the end of
// the function's name once the tokenizer has an EOS (its own tests have none), and then reads no call of that model. So the
// answers to such a template are read as if there were no EOS. NULL for all others.
common_chat_templates_ptr parse_for_answers(const llama_model * model, const common_chat_templates * templates) {
    const std::string source = common_chat_templates_source(templates);
    const bool        is_one = source.find("[CALL_ID]") != std::string::npos && source.find("eos_token") != std::string::npos;
    if (!is_one || model == nullptr) {
        return nullptr;
    }
    const llama_vocab * vocab = llama_model_get_vocab(model);
    const llama_token   bos   = llama_vocab_bos(vocab);
    return common_chat_templates_init(nullptr, source, bos == LLAMA_TOKEN_NULL ? "" : common_token_to_piece(vocab, bos, true), "");
}

// What a template makes of a request.
struct rendering {
    common_chat_params            params;
    bool                          reads_calls = false;
    std::vector<lc::relaxed_tool> relaxed;
};

// All tools are told of, whichever may be called, so that the prompt stays the same from turn to turn.
rendering render_native(const lc_chat & chat, const lc::wish & wanted, const std::vector<common_chat_tool> & tools,
                        bool is_told_otherwise) {
    rendering found;
    common_chat_templates_inputs inputs = wanted.inputs;
    inputs.tools = lc::callable(wanted, tools);
    found.params = common_chat_templates_apply(chat.for_answers(), inputs);
    if (wanted.may_call() && found.params.grammar.empty()) {
        inputs.tool_choice = COMMON_CHAT_TOOL_CHOICE_REQUIRED;
        lc::hold_bare_calls(found.params, common_chat_templates_apply(chat.for_answers(), inputs).grammar, inputs.tools);
    }
    const bool is_begun = wanted.inputs.continue_final_message != COMMON_CHAT_CONTINUATION_NONE;  // with content
    if (wanted.inputs.tool_choice == COMMON_CHAT_TOOL_CHOICE_REQUIRED && !is_begun) {
        lc::hold_to_calls_at_once(found.params.grammar);
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

rendering render_told(const common_chat_templates * templates, const lc::wish & wanted, const std::vector<common_chat_tool> & tools) {
    rendering found;
    common_chat_templates_inputs inputs = wanted.inputs;
    lc::tell_tools(inputs);
    found.params = common_chat_templates_apply(templates, inputs);
    if (wanted.may_call()) {
        lc::hold_to_tools(found.params, lc::callable(wanted, tools), wanted.inputs.tool_choice, wanted.inputs.parallel_tool_calls);
    }
    return found;
}

rendering render(const lc_chat & chat, const lc::wish & wanted) {
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

std::string response_json(const rendering & rendered, const lc::wish & wanted) {
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

bool is_found_out(lc_chat & chat) {
    const std::lock_guard<std::mutex> lock(chat.finding);
    return chat.can_think.has_value() && chat.knows_tools.has_value();
}

void find_out(lc_chat & chat) {
    const std::lock_guard<std::mutex> lock(chat.finding);
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
        lc::require(model != nullptr || template_override != nullptr, "model: must not be NULL");
        lc::require(template_override == nullptr || *template_override != '\0', "template_override: must not be empty");
        silence_common_log();
        auto chat = std::make_unique<lc_chat>();
        lc::render_bounded(0, [&] {
            chat->templates = parse_templates(model, template_override);
            chat->answers   = parse_for_answers(model, chat->templates.get());
            if (template_override != nullptr) {
                // The error is reported now where a user chose the template. A model's own may be of no use and its completions still be.
                chat->can_think = can_think(chat->templates.get());
            }
        });
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
        if (!is_found_out(*chat)) {
            lc::render_bounded(0, [&] { find_out(*chat); });
        }
        lc::render_bounded(std::strlen(request), [&] {
            const lc::wish wanted = lc::read_wish(request, *chat->can_think);
            *out = lc::copy_string(response_json(render(*chat, wanted), wanted));
        });
    });
}

lc_status lc_chat_describe(lc_chat * chat, char ** out) {
    return lc::guard([&] {
        lc::require(chat != nullptr, "chat: must not be NULL");
        lc::require(out != nullptr, "out: must not be NULL");
        const common_chat_templates * templates = chat->templates.get();
        lc::render_bounded(0, [&] {
            const common_json description = {
                { "source", common_chat_templates_source(templates) },
                { "caps", common_chat_templates_get_caps(templates) },
                { "explicit", common_chat_templates_was_explicit(templates) },
                { "knows_tools", lc::knows_tools(templates) },
            };
            *out = lc::copy_string(description.dump_safe());
        });
    });
}
