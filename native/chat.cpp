// Chat templates by llama-common: JSON in, JSON out. The only file that knows its C++ types.
#include "error.h"

#include "chat.h"
#include "log.h"

#include <memory>
#include <string>

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

common_json parse_request(const char * text) {
    common_json request = common_json::parse_no_throw(text);
    lc::require(!request.is_discarded() && request.is_object(), "request: is not a JSON object");
    for (const auto & item : request.items()) {
        bool is_known = false;
        for (const char * name : { "messages", "add_generation_prompt", "tools", "tool_choice", "json_schema", "chat_template_kwargs" }) {
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
    if (!request.contains("chat_template_kwargs")) {
        return;
    }
    const common_json & kwargs = request.at("chat_template_kwargs");
    lc::require(kwargs.is_object(), "chat_template_kwargs: must be an object");
    for (const auto & item : kwargs.items()) {
        inputs.chat_template_kwargs[item.key()] = item.value().dump();
    }
    // A template variable like the others, but llama-common also chooses the parser by it.
    inputs.enable_thinking = get_bool(kwargs, "enable_thinking", inputs.enable_thinking);
}

// What the caller wrote wrongly is his error, unlike what a template does with it.
common_chat_templates_inputs read_inputs(const common_json & request) {
    common_chat_templates_inputs inputs;
    try {
        inputs.messages = common_chat_msgs_parse_oaicompat(request.at("messages"));
        if (request.contains("tools")) {
            inputs.tools = common_chat_tools_parse_oaicompat(request.at("tools"));
        }
        if (request.contains("tool_choice")) {
            inputs.tool_choice = common_chat_tool_choice_parse_oaicompat(get_string(request, "tool_choice"));
        }
        inputs.json_schema = get_string(request, "json_schema");
        lc::require(inputs.json_schema.empty() || !common_json::parse_no_throw(inputs.json_schema).is_discarded(),
                    "json_schema: is not valid JSON");
        inputs.add_generation_prompt = get_bool(request, "add_generation_prompt", true);
        read_template_kwargs(request, inputs);
    } catch (const lc::invalid_argument &) {
        throw;
    } catch (const std::exception & e) {
        throw lc::invalid_argument(e.what());
    }
    return inputs;
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

std::string response_json(const common_chat_params & params) {
    common_json triggers = common_json::array();
    for (const common_grammar_trigger & trigger : params.grammar_triggers) {
        triggers.push_back({
            { "type", trigger_name(trigger.type) },
            { "value", trigger.value },
            { "token", trigger.token },
        });
    }
    const common_json response = {
        { "prompt", params.prompt },
        { "format", common_chat_format_name(params.format) },
        { "grammar", params.grammar },
        { "grammar_lazy", params.grammar_lazy },
        { "grammar_triggers", triggers },
        { "stops", params.additional_stops },
        { "preserved_tokens", params.preserved_tokens },
        { "generation_prompt", params.generation_prompt },
        { "parser", params.parser },
    };
    return response.dump_safe();
}

} // namespace

struct lc_chat {
    common_chat_templates_ptr templates;
};

lc_chat * lc_chat_new(const llama_model * model, const char * template_override) {
    return lc::guard_new([&] {
        lc::require(model != nullptr, "model: must not be NULL");
        lc::require(template_override == nullptr || *template_override != '\0', "template_override: must not be empty");
        silence_common_log();
        return new lc_chat{ parse_templates(model, template_override) };
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
        const common_chat_templates_inputs inputs = read_inputs(parse_request(request));
        *out = lc::copy_string(response_json(common_chat_templates_apply(chat->templates.get(), inputs)));
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
        };
        *out = lc::copy_string(description.dump_safe());
    });
}
